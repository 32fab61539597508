"""The file of one recording while it is written. Used by the recorder's thread alone."""

from __future__ import annotations

import os
import time
import zlib
from pathlib import Path

from realtime_worker.recording.file_format import FULL, GZIP, line
from realtime_worker.recording.masking import Json

# Lines wait for each other up to so many bytes: together they pack better.
CHUNK_BYTES = 64 * 1024
# Room for the last line and the end of the gzip stream.
_RESERVE_BYTES = 256


class Tape:
    """Lines to a compressed file that nobody else may read, at most `max_bytes` of it.

    Every `flush` leaves a file that can be read to that point, whatever happens to the process.
    Methods raise OSError.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._max_bytes = max_bytes
        self._packer = zlib.compressobj(wbits=GZIP)
        self._lines: list[bytes] = []
        self._waiting = 0
        self.began_at = time.monotonic()
        self.written = 0
        self.closed = False

    def add(self, value: Json) -> None:
        """Take a line; the tape may close for lack of room."""
        if self.closed:
            return
        self._lines.append(line(value))
        self._waiting += len(self._lines[-1])
        if self._waiting >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits. If there is no room for it, the recording ends before it."""
        if self.closed or not self._lines:
            return
        packer = self._packer.copy()
        packed = packer.compress(b"".join(self._lines)) + packer.flush(zlib.Z_SYNC_FLUSH)
        self._lines.clear()
        self._waiting = 0
        if self.written + len(packed) + _RESERVE_BYTES > self._max_bytes:
            self.close(FULL)
            return
        self._packer = packer
        self._write(packed)

    def close(self, end: str) -> None:
        """Write what waits and the line that says why nothing follows, and close the file."""
        self.flush()
        if self.closed:
            return
        self._write(self._packer.compress(line({"end": end})) + self._packer.flush())
        self.abandon()

    def abandon(self) -> None:
        """Close the file as it is."""
        if not self.closed:
            self.closed = True
            self._lines.clear()
            os.close(self._file)

    def _write(self, packed: bytes) -> None:
        rest = memoryview(packed)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self.written += len(packed)
