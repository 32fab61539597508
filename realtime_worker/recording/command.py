"""`python -m realtime_worker replay FILE...`"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from realtime_worker.recording.file_format import OVER, NoRecordingError, read_recording, write_recording
from realtime_worker.recording.replay import began_at_ms, describe, first_difference, play, updated

SAME = 0
DIFFERENT = 1
UNREADABLE = 2


def replay_files(paths: Iterable[Path], *, update: bool = False) -> int:
    """Replay each file and print a line about it; return the exit code of the command.

    0: all came out as recorded (or were updated). 1: one did not. 2: one can't be replayed.
    """
    return max((_replay_file(path, update=update) for path in paths), default=SAME)


def _replay_file(path: Path, *, update: bool) -> int:
    try:
        recording = read_recording(path)
    except NoRecordingError as error:
        print(f"{path}: {error.detail}", file=sys.stderr)  # noqa: T201  # what the command says
        return UNREADABLE
    played = play(recording)
    difference = first_difference(played)
    effects = sum(len(one.effects) for one in played)
    part = "" if recording.end == OVER else f" (to where it was {recording.end})"
    about = f"{path}: {len(recording.steps)} inputs{part}, {effects} effects"
    if difference is None:
        print(f"{about}, ok")  # noqa: T201
        return SAME
    if update:
        write_recording(path, updated(recording, played))
        print(f"{about}, updated from input {difference[0]} on")  # noqa: T201
        return SAME
    print(f"{about}, DIFFERENT")  # noqa: T201
    print(describe(*difference, began_at_ms(recording)))  # noqa: T201
    return DIFFERENT
