"""Every test, in phases: what `make test` runs once the environment is there.

Whole stacks speak in real time and leave half of a machine idle, so the end-to-end tests run beside the
others and go first at the processors; the others are plain work and fill what is left. Integration tests
wait a lot, so three run at a time on two cores. All phases run even when one fails; the exit code tells
whether any did.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_GIVING_WAY = ("nice", "-n", "5")

_SPOKEN = ("tests/e2e", "-n", "2", "--dist", "loadfile")
_UNIT = ("tests/unit", "-n", "2")
_INTEGRATION = ("tests/integration", "-n", "3", "--dist", "loadscope", "--no-loadscope-reorder")


def _pytest(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "pytest", *arguments]


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is a command, and its output is for the terminal


def main() -> int:
    failed: list[str] = []
    began = time.monotonic()
    with (
        tempfile.TemporaryFile() as told,
        subprocess.Popen(_pytest(_SPOKEN), cwd=_ROOT, stdout=told, stderr=subprocess.STDOUT) as spoken,
    ):
        for name, arguments in (("unit", _UNIT), ("integration", _INTEGRATION)):
            _say(f"== {name} (end to end runs beside it)" if spoken.poll() is None else f"== {name}")
            if subprocess.run([*_GIVING_WAY, *_pytest(arguments)], cwd=_ROOT, check=False).returncode:
                failed.append(name)
        if spoken.wait():
            failed.append("end to end")
        _say("== end to end")
        told.seek(0)
        sys.stdout.buffer.write(told.read())
    if failed:
        _say(f"make test: failed in {', '.join(failed)}")
        return 1
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    _say(f"make test: all passed in {minutes} min {seconds:02} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
