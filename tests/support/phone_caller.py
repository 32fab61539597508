"""The carrier's end of a media socket: Communication Services', played by a plain WebSocket client."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
import orjson

from shared.security.tokens import TokenRing
from tests.support.acs_signer import AcsSigner
from tests.support.eventually import eventually

PATH = "/api/v1/media/stream"


@dataclass(kw_only=True)
class Message:
    """A message of the worker's, and when it came."""

    kind: str
    audio: str
    at: float


def media_url(base: str, session_id: str, keys: str, *, ttl_s: float = 60) -> str:
    """Return the address that the carrier is given."""
    token = TokenRing(keys).issue_media_token(session_id, ttl_s)
    return f"{base}{PATH}?session={session_id}&token={token}"


class PhoneCaller:
    """One media socket. `messages`: what the worker sent, oldest first."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, http: aiohttp.ClientSession) -> None:
        self.socket = socket
        self.messages: list[Message] = []
        self._http = http
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def dial(
        cls, url: str, signer: AcsSigner, *, rate: int = 24_000, headers: dict[str, str] | None = None
    ) -> Self:
        """Open the socket and say how audio will come."""
        http = aiohttp.ClientSession()
        try:
            told = {"Authorization": signer.header(), "x-ms-call-connection-id": "call-1", **(headers or {})}
            caller = cls(await http.ws_connect(url, headers=told), http)
        except BaseException:
            await http.close()
            raise
        metadata = {
            "subscriptionId": "s",
            "encoding": "PCM",
            "sampleRate": rate,
            "channels": 1,
            "length": 960,
        }
        await caller.send({"kind": "AudioMetadata", "audioMetadata": metadata})
        return caller

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, message: dict[str, object]) -> None:
        await self.socket.send_str(orjson.dumps(message).decode())

    async def speak(self, audio: str) -> None:
        """Send 20 ms, as the service writes it."""
        await self.socket.send_str(
            '{"kind":"AudioData","audioData":{"timestamp":"2026-11-21T09:00:02.948Z",'
            f'"participantRawID":"4:+15550100","data":"{audio}","silent":false}}}}'
        )

    async def press(self, keys: str) -> None:
        for key in keys:
            await self.send({"kind": "DtmfData", "dtmfData": {"data": key}})

    @property
    def heard(self) -> list[str]:
        """The audio of the worker's messages."""
        return [message.audio for message in self.messages if message.kind == "AudioData"]

    async def hears(self, count: int = 1) -> list[str]:
        """Wait for so many pieces of audio."""
        await eventually(lambda: len(self.heard) >= count, what=f"{count} pieces of audio are heard")
        return self.heard

    async def closed(self) -> int:
        """Wait until the worker closes the socket; return the code."""
        async with asyncio.timeout(10):
            await asyncio.wait([self._reading])
        return self.socket.close_code or 0

    def drop(self) -> None:
        """Break the connection without a word."""
        transport = self.socket.get_extra_info("socket")
        assert transport is not None
        self._http.connector._conns.clear()  # type: ignore[union-attr]
        assert self.socket._conn is not None  # type: ignore[attr-defined]
        self.socket._conn.transport.abort()  # type: ignore[attr-defined]  # no public way to be rude

    async def close(self) -> None:
        await self.socket.close()
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await self._http.close()

    async def _read(self) -> None:
        async for message in self.socket:
            found = orjson.loads(message.data)
            audio = (found.get("AudioData") or {}).get("Data", "")
            self.messages.append(Message(kind=found["Kind"], audio=audio, at=time.monotonic()))
