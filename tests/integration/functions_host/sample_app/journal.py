"""What ran, and how often: kept in files, so that tests see it across restarts of the host."""

import os
from pathlib import Path


def write(line: str) -> None:
    """Append a line in one write, so that a killed process leaves no half line."""
    with open(os.environ["JOURNAL"], "a", encoding="utf-8") as journal:
        journal.write(f"{line}\n")


def count(key: str) -> int:
    """Count one more run under `key`; returns how many there are now."""
    counter = Path(f"{os.environ['JOURNAL']}.{key}")
    with counter.open("a", encoding="utf-8") as marks:
        marks.write("x")
    return counter.stat().st_size
