"""A realtime provider whose connections do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TypeAlias

from shared.providers.protocol import (
    AudioSink,
    AudioSource,
    ClientSecret,
    CreatedCall,
    EventListener,
    EventTaker,
)


class ScriptedSocket:
    """A connection: the test puts server events in and sees what was sent. `confirms`: as the service does,
    it answers `session.update`."""

    def __init__(self, *, confirms: bool = True) -> None:
        self.sent: list[Mapping[str, object]] = []
        self._confirms = confirms
        self._events: asyncio.Queue[dict[str, object] | None] = asyncio.Queue()
        self._closed = False
        self._sink: AudioSink | None = None
        self._listener: EventListener | None = None
        self.free = True

    @property
    def close_code(self) -> int | None:
        return 1000 if self._closed else None

    def say(self, **event: object) -> None:
        """Let the service say this."""
        self._events.put_nowait(event)

    def hang_up(self) -> None:
        """Let the service close the connection."""
        self._events.put_nowait(None)

    def sent_types(self) -> list[object]:
        return [event["type"] for event in self.sent]

    async def send(self, event: Mapping[str, object]) -> None:
        self.sent.append(event)
        if self._confirms and event["type"] == "session.update":
            self.say(type="session.updated")

    def send_audio(self, audio: bytes) -> None:
        self.sent.append({"type": "input_audio_buffer.append", "audio": audio.decode()})

    def play_to(self, sink: AudioSink, listener: EventListener) -> None:
        self._sink, self._listener = sink, listener

    def give_to(self, taker: EventTaker | None) -> None:
        """All is yielded."""

    def tell_words(self, wanted: bool) -> None:
        """All events are told anyway."""

    async def events(self) -> AsyncIterator[dict[str, object]]:
        while (event := await self._events.get()) is not None:
            if self._sink is not None and event["type"] == "response.output_audio.delta":
                source = AudioSource(
                    response_id=str(event["response_id"]), item_id=str(event["item_id"]), content_index=0
                )
                self._sink(source, str(event["delta"]).encode())
                continue
            if self._listener is not None:
                self._listener(event)
            yield event

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.hang_up()


Connect: TypeAlias = Callable[[], ScriptedSocket]


class ScriptedProvider:
    """Calls `connect` for every attempt to attach; it returns a socket or raises."""

    name = "scripted"
    calls_url = "https://provider.example/calls"

    def __init__(self, connect: Connect = ScriptedSocket) -> None:
        self.connect = connect
        self.attempts_at: list[float] = []
        self.sockets: list[ScriptedSocket] = []
        self.hung_up: list[str] = []

    async def connect_sideband(self, call_id: str) -> ScriptedSocket:
        self.attempts_at.append(asyncio.get_running_loop().time())
        socket = self.connect()
        self.sockets.append(socket)
        return socket

    async def connect_session(self, model: str = "") -> ScriptedSocket:
        socket = await self.connect_sideband("")
        socket.say(type="session.created", session={"id": f"sess_{len(self.sockets)}"})
        return socket

    async def hang_up(self, call_id: str) -> bool:
        self.hung_up.append(call_id)
        return True

    async def create_client_secret(self, session: Mapping[str, object], ttl_s: int) -> ClientSecret:
        return ClientSecret(value="ek_scripted", expires_at=ttl_s)

    async def create_call(self, sdp_offer: str, session: Mapping[str, object]) -> CreatedCall:
        return CreatedCall(call_id="rtc_scripted", sdp_answer="v=0")

    async def warm_up(self) -> None:
        """Nothing is slow here."""

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass
