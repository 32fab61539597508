"""Which tests stay in one process when several share them (`pytest -n`), and which begin."""

from __future__ import annotations

from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

_HERE = Path(__file__).parent

# These would slow each other down. The spoken calls come before the hundred calls: while whole stacks speak
# beside these tests (scripts/run_tests.py), the hundred would have to share.
_ONE_BY_ONE = (
    "speech/test_caller.py",
    "realtime_emulator/test_speech_call.py",
    "communication/test_speech.py",
    "chaos/test_hundred_calls.py",
)
_ONE_STAGE = ("telephony",)  # directories


class _ByStage(LoadScopeScheduling):
    """A file's tests go to one process, which starts their stage once; so do those of the files above."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0].removeprefix("tests/integration/")
        if file in _ONE_BY_ONE:
            return "one by one"
        directory = file.partition("/")[0]
        return directory if directory in _ONE_STAGE else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _ByStage(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest group begins."""
    items.sort(key=lambda item: _place(item.path))


def _place(file: Path) -> int:
    return next((at for at, name in enumerate(_ONE_BY_ONE) if file == _HERE / name), len(_ONE_BY_ONE))
