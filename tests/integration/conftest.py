"""Which tests stay together when several processes share them (`--dist loadgroup`), and which begin."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_LONGEST = "half_the_machine"


def _group(item: pytest.Item) -> str:
    mark = item.get_closest_marker("xdist_group")
    return str(mark.args[0]) if mark else ""


@pytest.hookimpl(tryfirst=True)  # before the marks are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests stay in one process, which starts their stage once; the longest group begins.

    Within that group the spoken calls come before the hundred calls: while whole stacks speak beside these
    tests (see scripts/run_tests.py), the hundred have to share.
    """
    here = [item for item in items if item.path.is_relative_to(_HERE)]
    for item in here:
        if not _group(item):
            item.add_marker(pytest.mark.xdist_group(".".join(item.path.relative_to(_HERE).parts)))
    others = [item for item in items if not item.path.is_relative_to(_HERE)]
    items[:] = others + sorted(here, key=_place)


def _place(item: pytest.Item) -> int:
    if _group(item) != _LONGEST:
        return 2
    return 1 if "chaos" in item.path.parts else 0
