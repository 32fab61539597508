"""A realtime service that plays the same turns to every client and takes the times itself.

It accepts any call id, confirms `session.update`, and then speaks: a turn with a function call, waits for
its output and for `response.create`, speaks the answer. In bursts it writes as much of a turn as it
can at once and begins the next one as soon as the last is over; paced, it writes event by event as a
service does, and every call has one turn in `TURN_EVERY_S`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import cast

import orjson
from aiohttp import web

from benchmarks.worker_load.turn import Turn, turn
from benchmarks.worker_load.websocket_server import ServerSocket

TURN_EVERY_S = 4.0
ATTACH_WITHIN_S = 60.0

# How the events of a paced turn are spread, in seconds: the caller talks, the service thinks, the model
# speaks faster than it is heard. A turn takes less than three.
_SPEECH_S = 0.8
_THINK_S = 0.25
_EVENT_S = 0.005
_DELTA_S = 0.02
_PLAYBACK_S = 0.3

_DELTA = b"_transcript.delta"


class Call(ServerSocket):
    """One call, seen from the service."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self._service = service
        self._call_id = ""
        self._number = 0
        self._turn: Turn | None = None  # under way
        self._spoken = False  # its second response has begun
        self._called_at = 0.0
        self._paced = False
        self._due: float | None = None  # when the next turn begins; None: not at all
        self._outputs = 0
        self.turns = 0  # finished ones

    # --- the connection -----------------------------------------------------------------------

    def opened(self, query: dict[str, str]) -> None:
        self._call_id = query.get("call_id", "")

    def closed(self) -> None:
        self._due = None
        if self._call_id:
            self._service.detached(self._call_id, self)

    def text(self, payload: bytes) -> None:
        now = time.perf_counter()
        event = cast("dict[str, object]", orjson.loads(payload))
        match event["type"]:
            case "session.update":
                self._configure(cast("dict[str, object]", event["session"]))
            case "conversation.item.create":
                self._take(cast("dict[str, object]", event["item"]), now)
            case "response.create":
                asked = cast("dict[str, object]", event.get("response") or {})
                self._speak(asked.get("metadata"))
            case _:
                pass

    def _configure(self, session: dict[str, object]) -> None:
        told = {"id": "sess_1", "object": "realtime.session", "model": "gpt-realtime", **session}
        event = {"type": "session.updated", "event_id": "event_configured", "session": told}
        self.send(orjson.dumps(event))
        self._service.attached(self._call_id, self)

    # --- turns ----------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether no turn is under way and none is due."""
        return self._turn is None and self._due is None

    def begin(self, *, paced: bool, after_s: float = 0.0) -> None:
        """Have turns from now on, the first in `after_s` seconds, until `end`."""
        self._paced = paced
        self._due = asyncio.get_running_loop().time() + after_s
        self._next()

    def end(self) -> None:
        """Begin no more turns."""
        self._due = None

    def _next(self) -> None:
        if self._due is None:
            return
        loop = asyncio.get_running_loop()
        if self._paced:
            loop.call_at(self._due, self._start)
            self._due += TURN_EVERY_S
        else:
            loop.call_soon(self._start)

    def _start(self) -> None:
        if self._due is None or self._turn is not None:
            return
        self._number += 1
        now = self._turn = turn(self._number)
        self._spoken = False
        if self._paced:
            self._play(_paced_call(now))
        else:
            frames = b"".join((*now.heard, *now.calling, now.called))
            self._called_at = time.perf_counter()
            self.write(frames)

    def _play(self, steps: Iterator[tuple[float, bytes]]) -> None:
        step = next(steps, None)
        if step is not None:
            asyncio.get_running_loop().call_later(step[0], self._write_and_go_on, step[1], steps)
        elif self._spoken:
            self._over()

    def _write_and_go_on(self, frames: bytes, steps: Iterator[tuple[float, bytes]]) -> None:
        now = self._turn
        if now is not None and frames is now.called:
            self._called_at = time.perf_counter()
        self.write(frames)
        self._play(steps)

    def _take(self, item: dict[str, object], now: float) -> None:
        """The client put something into the conversation. The tool's output ends the round trip."""
        if self._turn is not None and item.get("call_id") == self._turn.tool_call_id:
            if self._outputs == self._number:
                self._service.doubled += 1
            self._outputs = self._number
            self._service.round_trips.append((now - self._called_at) * 1000)
        stored = {"id": f"item_{self._number}o", **item, "object": "realtime.item", "status": "completed"}
        for kind in ("conversation.item.added", "conversation.item.done"):
            self.send(orjson.dumps({"type": kind, "event_id": f"{kind}.{self._number}", "item": stored}))

    def _speak(self, metadata: object) -> None:
        now = self._turn
        if now is None or self._spoken:
            return
        self._spoken = True
        created, done = now.created(metadata), now.done(metadata)
        if self._paced:
            self._play(_paced_answer(now, created, done))
        else:
            self.write(b"".join((created, *now.speaking, done, *now.spoken)))
            self._over()

    def _over(self) -> None:
        self._turn = None
        self.turns += 1
        self._service.turns += 1
        if self._paced and self._due is not None and self._due < asyncio.get_running_loop().time():
            self._service.late += 1  # it took longer than it had
            self._due = asyncio.get_running_loop().time()
        self._next()


def _paced_call(turn_: Turn) -> Iterator[tuple[float, bytes]]:
    started, *rest = turn_.heard
    yield 0.0, started
    yield _SPEECH_S, rest[0]
    for frame in rest[1:]:
        yield _EVENT_S, frame
    created, *calling = turn_.calling
    yield _THINK_S, created
    for frame in calling:
        yield _DELTA_S, frame
    yield _DELTA_S, turn_.called


def _paced_answer(turn_: Turn, created: bytes, done: bytes) -> Iterator[tuple[float, bytes]]:
    yield _THINK_S, created
    for frame in (*turn_.speaking, done):
        yield (_DELTA_S if _DELTA in frame else _EVENT_S), frame
    limits, stopped = turn_.spoken
    yield _EVENT_S, limits
    yield _PLAYBACK_S, stopped


class Service:
    """The service, listening on 127.0.0.1 once started. Its counters are those since `reset`.

    round_trips: milliseconds from the function call's last event to its output, of each call.
    turns: finished turns. late: paced turns that took longer than `TURN_EVERY_S`.
    doubled: outputs that came twice.
    """

    def __init__(self) -> None:
        self.url = ""
        self.control_plane_url = ""
        self.round_trips: list[float] = []
        self.turns = self.late = self.doubled = 0
        self._calls: dict[str, Call] = {}
        self._waiting: dict[str, asyncio.Future[Call]] = {}
        self._server: asyncio.Server | None = None
        self._control_plane: web.AppRunner | None = None

    async def __aenter__(self) -> Service:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Call(self), "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        await self._start_control_plane()
        return self

    async def __aexit__(self, *_: object) -> None:
        for call in list(self._calls.values()):
            call.close()
        if self._server is not None:
            self._server.close()
        if self._control_plane is not None:
            await self._control_plane.cleanup()

    def reset(self) -> None:
        """Forget what was measured."""
        self.round_trips = []
        self.turns = self.late = self.doubled = 0

    async def wait_attached(self, call_ids: Sequence[str]) -> list[Call]:
        """Return the calls once each has been configured; raise TimeoutError after a minute."""
        try:
            async with asyncio.timeout(ATTACH_WITHIN_S):
                return [self._calls.get(call_id) or await self._arrival(call_id) for call_id in call_ids]
        except TimeoutError:
            missing = sum(call_id not in self._calls for call_id in call_ids)
            raise TimeoutError(f"{missing} calls were not attached within {ATTACH_WITHIN_S:g} s") from None

    def attached(self, call_id: str, call: Call) -> None:
        """A client has configured this call."""
        self._calls[call_id] = call
        waiting = self._waiting.pop(call_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(call)

    def detached(self, call_id: str, call: Call) -> None:
        """The client has gone."""
        if self._calls.get(call_id) is call:
            del self._calls[call_id]

    @property
    def held(self) -> int:
        """How many calls have a client now."""
        return len(self._calls)

    async def _arrival(self, call_id: str) -> Call:
        future = self._waiting[call_id] = asyncio.get_running_loop().create_future()
        return await future

    async def _start_control_plane(self) -> None:
        """Take what a worker tells the control plane, and do nothing with it."""
        app = web.Application()
        app.router.add_post("/{path:.*}", _accepted)
        self._control_plane = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._control_plane.setup()
        await web.TCPSite(self._control_plane, "127.0.0.1", 0).start()
        self.control_plane_url = f"http://127.0.0.1:{self._control_plane.addresses[0][1]}"


async def _accepted(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=202)
