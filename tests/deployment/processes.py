"""A process of something that was built: started, watched until it says `ready URL`, stopped by SIGTERM."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_READY = re.compile(r"^ready (http\S+)$", re.MULTILINE)


class Process:
    """Use as a context manager; `url` is what the process said."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], cwd: Path, log: Path) -> None:
        self._command, self._environment, self._cwd = command, dict(environment), cwd
        self.log = log
        self.url = ""

    def __enter__(self) -> Process:
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, cwd=self._cwd, env=self._environment, stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        try:
            self._wait_ready(60)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self, within_s: float = 15) -> int:
        """Send SIGTERM; return the exit code. Raises AssertionError when it takes longer."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait(within_s)

    def wait(self, within_s: float = 15) -> int:
        """Return the exit code of a process that was told to stop."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"did not stop within {within_s} s\n{self.log.read_text()}") from None

    def _wait_ready(self, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not (ready := _READY.search(self.log.read_text(errors="replace"))):
            assert self._process.poll() is None, f"ended early:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"not ready within {within_s} s:\n{self.log.read_text()}"
            time.sleep(0.02)
        self.url = ready[1]
