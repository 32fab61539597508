"""What is sent to Azure: the Functions app's package, and the files that the worker's image is built from.

Both are computed from the ignore files as azd and the image builders apply them, on the tree as it is.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

REPOSITORY = Path(__file__).resolve().parents[2]
# What azd leaves out whatever the ignore file says.
_NEVER_SENT = {".azure", ".funcignore", "local.settings.json"}


def package_files(root: Path = REPOSITORY) -> list[str]:
    """Return what azd zips for the Functions app, relative to `root`."""
    spec = GitIgnoreSpec.from_lines((root / ".funcignore").read_text().splitlines())
    return sorted(path for path in _kept(root, root, spec) if path.partition("/")[0] not in _NEVER_SENT)


def image_files(root: Path = REPOSITORY) -> list[str]:
    """Return what is sent to build the worker's image, relative to `root`.

    The lines of .dockerignore are ones that mean the same in a .gitignore, but for the first: there `*` is
    everything at the top.
    """
    lines = (root / ".dockerignore").read_text().splitlines()
    assert lines.count("*") == 1
    spec = GitIgnoreSpec.from_lines("/*" if line == "*" else line for line in lines)
    return sorted(_kept(root, root, spec))


def write_package(to: Path, root: Path = REPOSITORY) -> Path:
    """Write the Functions app's package as azd does; return its path."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as package:
        for name in package_files(root):
            package.write(root / name, name)
    return to


def size_of(names: list[str], root: Path = REPOSITORY) -> int:
    """Return the bytes of the files."""
    return sum((root / name).stat().st_size for name in names)


def _kept(directory: Path, root: Path, spec: GitIgnoreSpec) -> Iterator[str]:
    for entry in os.scandir(directory):
        name = Path(entry.path).relative_to(root).as_posix()
        if entry.is_dir(follow_symlinks=False):
            if not spec.match_file(f"{name}/"):
                yield from _kept(Path(entry.path), root, spec)
        elif not spec.match_file(name):
            yield name
