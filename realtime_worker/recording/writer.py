"""The thread that writes recordings: masking, packing and the disk cost the event loop nothing."""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from realtime_worker.conversation.effects import Effect
from realtime_worker.conversation.setup import ConversationSetup
from realtime_worker.recording.effects import masked_effects, masked_setup
from realtime_worker.recording.file_format import BEHIND, FULL, LEFT, LONG, header
from realtime_worker.recording.inputs import Input, masked_input
from realtime_worker.recording.masking import EventMask
from realtime_worker.recording.tape import Tape
from shared.telemetry.logs import get_logger

# What a killed worker's recordings lack at most.
FLUSH_S = 1.0
# How long a stopping worker waits for the disk.
CLOSE_S = 5.0
# How often the size of the directory, which other workers may share, is looked up.
_SIZE_FOR_S = 30.0

_log = get_logger(__name__)


@dataclass(kw_only=True, eq=False)
class Take:
    """One session's recording. The event loop counts `queued` and may set `end`; the rest is the thread's.

    end: why nothing more is to be recorded; the thread ends the file when it has handled what is queued.
    """

    setup: ConversationSetup
    transport: str
    queued: int = 0
    end: str = ""
    handled: int = 0
    mask: EventMask = field(default_factory=EventMask)
    tape: Tape | None = None


@dataclass(frozen=True, kw_only=True)
class Moment:
    """An input with its effects, or with the type of the exception that the conversation raised."""

    given: Input
    effects: tuple[Effect, ...] = ()
    raised: str = ""


_Work: TypeAlias = tuple[Take, Moment | None]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """max_bytes, max_s: of one file. total_bytes: of all in the directory; above it none is begun.
    queue: inputs that may wait for the thread, of all sessions together."""

    max_bytes: int
    max_s: float
    total_bytes: int
    queue: int = 20_000


class Writer:
    """Writes a file for each Take into `directory`. Trouble ends recordings, is logged once, and no more."""

    def __init__(self, directory: Path, bounds: Bounds) -> None:
        self._directory = directory
        self._bounds = bounds
        self._queue: queue.Queue[_Work | None] = queue.Queue(bounds.queue)
        self._open: set[Take] = set()
        self._size = 0
        self._sized_at = float("-inf")
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def put(self, take: Take, moment: Moment | None) -> None:
        """Queue a moment, or the beginning (None). Never waits: a full queue ends the recording."""
        if take.end:
            return
        take.queued += 1
        try:
            self._queue.put_nowait((take, moment))
        except queue.Full:
            take.queued -= 1
            take.end = BEHIND
            self._tell(BEHIND)

    def close(self) -> None:
        """End all recordings, and wait for the disk, though not for long."""
        with suppress(queue.Full):
            self._queue.put(None, timeout=CLOSE_S)
        self._thread.join(CLOSE_S)

    # --- in the thread ----------------------------------------------------------------------------

    def _work(self) -> None:
        refresh_at = time.monotonic() + FLUSH_S
        while True:
            try:
                work = self._queue.get(timeout=FLUSH_S if self._open else None)
            except queue.Empty:
                pass
            else:
                if work is None:
                    break
                take, moment = work
                take.handled += 1
                self._guarded(take, lambda take=take, moment=moment: self._write(take, moment))
            if time.monotonic() >= refresh_at:
                for take in list(self._open):
                    self._guarded(take, lambda take=take: self._refresh(take))
                refresh_at = time.monotonic() + FLUSH_S
        for take in list(self._open):
            self._guarded(take, lambda take=take: self._finish(take, take.end or LEFT))

    def _write(self, take: Take, moment: Moment | None) -> None:
        if moment is None:
            self._begin(take)
        elif take.tape is not None:
            body = masked_input(moment.given, take.mask)
            if moment.raised:
                body["raised"] = moment.raised
            elif moment.effects:
                body["out"] = masked_effects(moment.effects, take.mask)
            take.tape.add(body)
        self._end_if_due(take)

    def _begin(self, take: Take) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._has_room():
            take.end = FULL
            self._tell("directory full")
            return
        setup = take.setup
        path = self._directory / f"{setup.session_id}-{setup.epoch}.jsonl.gz"
        take.tape = Tape(path, max_bytes=self._bounds.max_bytes)
        self._open.add(take)
        take.tape.add(
            header(
                session_id=setup.session_id,
                epoch=setup.epoch,
                agent=setup.role.agent,
                transport=take.transport,
            )
        )
        take.tape.add({"setup": masked_setup(setup, take.mask)})
        take.tape.flush()

    def _refresh(self, take: Take) -> None:
        if take.tape is not None:
            take.tape.flush()
        self._end_if_due(take)

    def _end_if_due(self, take: Take) -> None:
        tape = take.tape
        if tape is None:
            return
        if tape.closed:
            self._finish(take, FULL)
        elif take.end and take.handled == take.queued:
            self._finish(take, take.end)
        elif time.monotonic() - tape.began_at > self._bounds.max_s:
            self._finish(take, LONG)

    def _finish(self, take: Take, end: str) -> None:
        take.end = take.end or end
        tape, take.tape = take.tape, None
        self._open.discard(take)
        if tape is not None:
            try:
                tape.close(end)
            finally:
                tape.abandon()
                self._size += tape.written

    def _guarded(self, take: Take, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # whatever it is, it must not cost a call
            number = error.errno if isinstance(error, OSError) else None
            self._tell(errno.errorcode.get(number or 0, type(error).__name__))
            take.end = take.end or "trouble"
            self._open.discard(take)
            tape, take.tape = take.tape, None
            if tape is not None:
                with suppress(OSError):
                    tape.abandon()

    def _has_room(self) -> bool:
        now = time.monotonic()
        if now - self._sized_at > _SIZE_FOR_S:
            self._sized_at = now
            self._size = sum(path.stat().st_size for path in self._directory.glob("*.jsonl.gz"))
        return self._size + self._bounds.max_bytes <= self._bounds.total_bytes

    def _tell(self, reason: str) -> None:
        """Log a reason the first time it ends a recording."""
        if reason not in self._told:
            self._told.add(reason)
            _log.warning("recording stopped", extra={"reason": reason, "directory": str(self._directory)})
