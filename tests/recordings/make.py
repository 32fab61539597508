"""Make the recordings again: `.venv/bin/python -m tests.recordings.make [NAME...]`.

Needed when the provider's events in them, or the way they are recorded, are out of date. Where only the
conversation has changed, and is right, `python -m realtime_worker replay --update tests/recordings/*.gz`
is enough.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from realtime_worker.recording.command import replay_files
from tests.integration.worker.stage import Stage
from tests.recordings import calls

HERE = Path(__file__).parent
CALLS: dict[str, Callable[[Stage], Awaitable[str]]] = {
    "every_turn": calls.every_turn,
    "takeover": calls.a_takeover,
    "trouble": calls.trouble,
}


async def make(name: str) -> Path:
    """Play one call; return its recording, that of the last owner."""
    with tempfile.TemporaryDirectory() as temporary:
        recordings = Path(temporary) / "recordings"
        async with Stage(Path(temporary), calls.settings(recordings)) as stage:
            session_id = await CALLS[name](stage)
            assert stage.worker is not None
            stage.worker.process.terminate()
            await stage.worker.process.wait()
        last = max(
            recordings.glob(f"{session_id}-*"), key=lambda path: int(path.name.split("-")[1].split(".")[0])
        )
        return Path(shutil.copyfile(last, HERE / f"{name}.jsonl.gz"))


def main() -> int:
    """Make the recordings that are named, or all; return the exit code of their replay."""
    names = sys.argv[1:] or list(CALLS)
    unknown = [name for name in names if name not in CALLS]
    if unknown:
        print(f"There is no call {unknown[0]}; there are {', '.join(CALLS)}.", file=sys.stderr)
        return 2
    return replay_files([asyncio.run(make(name)) for name in names])


if __name__ == "__main__":
    sys.exit(main())
