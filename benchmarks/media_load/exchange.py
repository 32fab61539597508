"""Both ends of a bridge in one process, so that one clock takes all times: callers, and a service.

A caller sends a frame every 20 ms; the service says every frame that it hears; the caller takes the time
until its own frame has come back, through the bridge twice.

While callers speak, the process never sleeps. In a call both ends are a network away, and a bridge hands its
frames to a network card; here it would have to wake this process for most of them, which on a virtual machine
can cost as much as to carry a frame, and is needed the more often the slower the bridge is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from benchmarks.media_load import frames

EVERY_S = 0.02
# An echo that comes after the next frame was due is late.
LATE_MS = 20.0
_SLOTS = 20
_KEPT = 1 << 12
_ECHO = b'"Data":"'
_HEARD = b'"audio":"'
_APPEND = b'{"type":"input_audio_buffer.append"'
_UPDATE = b'{"type":"session.update"'
_STOP = b'{"Kind":"StopAudio"'


class Caller(frames.Socket):
    """The carrier's end of one call."""

    client = True

    def __init__(self, path: str, headers: Mapping[str, str], figures: Figures) -> None:
        super().__init__()
        self._request = frames.handshake(path, dict(headers))
        self._figures = figures
        self._sent_at = [0.0] * _KEPT
        self._number = 0
        self.echoed = 0
        self.interrupted_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self._transport is not None
        self._transport.write(self._request)

    def opened(self) -> None:
        self.send(frames.METADATA)

    def once(self) -> None:
        """Send one frame."""
        self._number += 1
        self._sent_at[self._number % _KEPT] = time.perf_counter()
        self.send_frame(frames.heard(self._number))

    def text(self, payload: bytes) -> None:
        at = payload.find(_ECHO) + len(_ECHO)
        if at >= len(_ECHO):
            number = int(payload[at : at + frames.NUMBER_CHARS])
            self.echoed += 1
            self._figures.took((time.perf_counter() - self._sent_at[number % _KEPT]) * 1000)
        elif payload.startswith(_STOP) and self.interrupted_at:
            self._figures.stops_ms.append((time.perf_counter() - self.interrupted_at) * 1000)
            self.interrupted_at = 0.0


class Session(frames.Socket):
    """The service's end of one call."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange
        self._response = 1
        self.caller = ""

    def opened(self) -> None:
        self._exchange.sessions.append(self)
        self.send(b'{"type":"session.created","session":{"id":"sess_%d"}}' % len(self._exchange.sessions))

    def text(self, payload: bytes) -> None:
        if payload.startswith(_APPEND):
            self.send(frames.delta(self._response, frames.audio_in(payload, _HEARD)))
        elif payload.startswith(_UPDATE):
            self.send(b'{"type":"session.updated","session":{}}')

    def interrupt(self) -> None:
        """The caller speaks over the agent; then the agent says something else."""
        self._response += 1
        self.send(b'{"type":"input_audio_buffer.speech_started","item_id":"u%d"}' % self._response)

    def let_speak(self) -> None:
        """The caller has said it."""
        self.send(b'{"type":"input_audio_buffer.speech_stopped","item_id":"u%d"}' % self._response)


class Figures:
    """What was seen since `reset`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.latencies_ms: list[float] = []
        self.late = 0
        self.stops_ms: list[float] = []

    def took(self, milliseconds: float) -> None:
        self.latencies_ms.append(milliseconds)
        if milliseconds > LATE_MS:
            self.late += 1


class Exchange:
    """The service, and the callers of one bridge. An async context manager."""

    def __init__(self) -> None:
        self.figures = Figures()
        self.sessions: list[Session] = []
        self.callers: list[Caller] = []
        self.url = ""
        self._server: asyncio.Server | None = None
        # Callers by the millisecond of the 20 in which they send: one timer is enough for all.
        self._slots: list[list[Caller]] = []
        self._slot = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._awake: asyncio.Handle | None = None

    async def __aenter__(self) -> Exchange:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Session(self), "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.be_silent()
        for caller in self.callers:
            caller.close()
        for session in self.sessions:
            session.close()
        if self._server is not None:
            self._server.close()

    async def call(self, url: str, headers: Mapping[str, str]) -> None:
        """Place one call through the bridge at `url`, and wait until its audio comes back."""
        parts = urlsplit(url)
        path = f"{parts.path}?{parts.query}"
        caller = Caller(path, headers, self.figures)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: caller, parts.hostname or "", parts.port or 0)
        self.callers.append(caller)
        deadline = time.monotonic() + 10.0
        while not caller.echoed:
            if time.monotonic() > deadline:
                raise TimeoutError("a call's audio did not come back within 10 s")
            if caller.alive:
                caller.once()
            await asyncio.sleep(EVERY_S)

    def speak(self) -> None:
        """Let all callers send, evenly spread over the 20 ms."""
        self._slots = [self.callers[first::_SLOTS] for first in range(_SLOTS)]
        loop = asyncio.get_running_loop()
        self._due = loop.time()
        self._timer = loop.call_at(self._due, self._send)
        self._stay_awake()

    def _stay_awake(self) -> None:
        """Have the loop ask for events without waiting for them."""
        self._awake = asyncio.get_running_loop().call_soon(self._stay_awake)

    def _send(self) -> None:
        for caller in self._slots[self._slot]:
            caller.once()
        self._slot = (self._slot + 1) % _SLOTS
        self._due += EVERY_S / _SLOTS
        self._timer = asyncio.get_running_loop().call_at(self._due, self._send)

    def be_silent(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._awake is not None:
            self._awake.cancel()
            self._awake = None

    async def interrupt_all(self) -> None:
        """Interrupt each call once, evenly spread over a second."""
        pause = 1.0 / len(self.callers)
        # Calls were placed one after another, so both ends are in the same order.
        for caller, session in zip(self.callers, self.sessions, strict=True):
            caller.interrupted_at = time.perf_counter()
            session.interrupt()
            await asyncio.sleep(pause)
            session.let_speak()
