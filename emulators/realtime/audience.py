"""Fans a session's events out to its listeners, with the faults that were asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

import orjson

from emulators.realtime.event_log import EventLog
from emulators.realtime.faults import FaultPlan
from emulators.realtime.listeners import Listener
from emulators.realtime.session.effects import Emit
from emulators.realtime.wire import Json, as_object


class Audience:
    """The listeners of one session, and the log of what was said to and by them."""

    def __init__(self, faults: FaultPlan, log: EventLog) -> None:
        self.listeners: list[Listener] = []
        self.log = log
        self._faults = faults
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._held: deque[tuple[Listener, bytes]] | None = None

    def emit(self, emit: Emit, sender: Listener | None) -> None:
        """Send an event to whom it concerns; `sender` is whose client event is being answered."""
        kind = str(emit.event["type"])
        targets: Iterable[Listener]
        if emit.to_sender:
            targets = (sender,) if sender is not None and sender in self.listeners else ()
        else:
            targets = [each for each in self.listeners if each.accepts(kind, audio=emit.audio)]
        peer = sender.name if emit.to_sender and sender is not None else "*"
        self._record("out", peer, _without_audio(emit.event, "delta") if emit.audio else emit.event)
        struck = self._faults.on_event(kind)
        copies = 0 if any(fault.kind == "drop" for fault in struck) else 1
        for fault in struck:
            if fault.kind == "delay":
                self._hold(fault.ms)
            elif fault.kind == "duplicate":
                copies += 1
        data = orjson.dumps(emit.event)
        for target in targets:
            for _ in range(copies):
                self._deliver(target, data)
        for fault in struck:
            if fault.kind == "unknown_event":
                self._emit_unknown(fault.type)
            elif fault.kind == "close":
                self._close_sockets(int(fault.code or 1011))

    def heard_from(self, listener: Listener, frame: str | bytes) -> None:
        """Record a client event."""
        try:
            event: object = orjson.loads(frame)
        except orjson.JSONDecodeError:
            event = {"invalid": str(frame)[:200]}
        found = as_object(event)
        if found is not None and "audio" in found:
            event = _without_audio(found, "audio")
        self._record("in", listener.name, event)

    def end(self, code: int, reason: str) -> None:
        """Send what is held back and close every connection."""
        self._release()
        for listener in list(self.listeners):
            listener.end(code, reason)

    def _record(self, direction: str, peer: str, event: object) -> None:
        at_ms = int((self._loop.time() - self._began) * 1000)
        self.log.record(at_ms=at_ms, direction=direction, peer=peer, event=event)

    def _emit_unknown(self, event_type: str) -> None:
        event: Json = {"type": event_type, "event_id": "event_unknown", "emulated": True}
        for target in self.listeners:
            self._deliver(target, orjson.dumps(event))

    def _close_sockets(self, code: int) -> None:
        for listener in list(self.listeners):
            if listener.closable:
                listener.end(code, "fault")

    def _deliver(self, target: Listener, data: bytes) -> None:
        if self._held is not None:
            self._held.append((target, data))
        else:
            target.offer(data)

    def _hold(self, milliseconds: int) -> None:
        if self._held is None:
            self._held = deque()
            self._loop.call_later(milliseconds / 1000, self._release)

    def _release(self) -> None:
        held, self._held = self._held, None
        for target, data in held or ():
            target.offer(data)


def _without_audio(event: Json, name: str) -> Json:
    return {**event, name: f"<{len(str(event.get(name)))} characters>"}
