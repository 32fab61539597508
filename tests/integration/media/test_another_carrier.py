"""A carrier with another format and other messages needs an adapter, and nothing else."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
import orjson
import redis.asyncio

from shared.security.tokens import TokenRing
from shared.session.log import UserTurn
from shared.session.model import Transport
from tests.integration.media.in_process import Worker, working
from tests.integration.media.mulaw_carrier import PATH, SIGNATURE, mulaw_carrier
from tests.support.acs_signer import AcsSigner
from tests.support.echo_service import EchoService
from tests.support.eventually import eventually


class Stream:
    """The carrier's end: 20 ms are 160 bytes of µ-law."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.messages: list[dict[str, object]] = []

    async def send(self, event: str, **fields: object) -> None:
        await self.socket.send_str(orjson.dumps({"event": event, "streamSid": "MZ1", **fields}).decode())

    async def speak(self, mulaw: bytes) -> None:
        await self.send("media", media={"track": "inbound", "payload": base64.b64encode(mulaw).decode()})

    def of(self, event: str) -> list[dict[str, object]]:
        return [message for message in self.messages if message["event"] == event]

    def heard(self) -> bytes:
        return b"".join(base64.b64decode(message["media"]["payload"]) for message in self.of("media"))  # type: ignore[index]

    async def read(self) -> None:
        async for message in self.socket:
            self.messages.append(orjson.loads(message.data))


@asynccontextmanager
async def stream(worker: Worker, session_id: str) -> AsyncIterator[Stream]:
    token = TokenRing(worker.keys).issue_media_token(session_id, 60)
    url = worker.base + PATH.format(session=session_id, token=token)
    async with aiohttp.ClientSession() as http:
        one = Stream(await http.ws_connect(url, headers={"X-Signature": SIGNATURE}))
        reading = asyncio.create_task(one.read())
        try:
            await one.send("connected", protocol="Call", version="1.0.0")
            await one.send("start", start={"mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000}})
            yield one
        finally:
            await one.socket.close()
            await asyncio.wait([reading])


def tone(milliseconds: int) -> np.ndarray:
    """Return a loud tone of 400 Hz at 8 kHz, as µ-law bytes by a table of their samples."""
    from tests.integration.media.mulaw_carrier import _SAMPLES

    wanted = (8_000 * np.sin(2 * np.pi * 400 * np.arange(8 * milliseconds) / 8_000)).astype(int)
    return np.abs(_SAMPLES.astype(int)[None, :] - wanted[:, None]).argmin(axis=1).astype(np.uint8)


async def test_a_carrier_of_another_kind_is_talked_to(
    redis_client: redis.asyncio.Redis, service: EchoService, signer: AcsSigner
) -> None:
    async with working(redis_client, service, signer, own_carriers=[mulaw_carrier()]) as worker:
        session_id = await worker.session(transport=Transport.WEBSOCKET)
        async with stream(worker, session_id) as phone:
            sound = tone(2_000).tobytes()
            for at in range(0, len(sound), 160):
                await phone.speak(sound[at : at + 160])
            await worker.talking(session_id)

            def samples() -> np.ndarray:
                heard = b"".join(base64.b64decode(piece) for piece in service.heard[0])
                return np.frombuffer(heard, dtype="<i2")

            await eventually(lambda: len(samples()) > 24_000 * 1.95, what="the service hears 24 kHz")
            spectrum = np.abs(np.fft.rfft(samples()[:24_000].astype(float)))
            assert int(spectrum.argmax()) == 400, "it is the same tone, in hertz"
            await eventually(lambda: len(phone.heard()) > 8_000 * 1.9, what="the caller hears 8 kHz")
            assert phone.of("mark"), "it is asked how far it has played"

            await phone.send("mark", mark=phone.of("mark")[0]["mark"])
            await service.say({"type": "input_audio_buffer.speech_started", "item_id": "u1"})
            await eventually(lambda: phone.of("clear"), what="it is told to stop")
            assert {message["streamSid"] for message in phone.messages} == {"MZ1"}
            (cut,) = [e for e in service.events if e["type"] == "conversation.item.truncate"]
            assert cut["item_id"] == "item_echo"

            await phone.send("dtmf", dtmf={"track": "inbound_track", "digit": "5"})
            await phone.send("dtmf", dtmf={"track": "inbound_track", "digit": "#"})

            async def typed() -> bool:
                entries = await worker.parts.entries(session_id)
                return any(isinstance(e, UserTurn) and e.text == "Keys pressed: 5#" for e in entries)

            await eventually(typed, what="the keys are in the log")


async def test_it_has_its_own_way_of_saying_who_it_is(
    redis_client: redis.asyncio.Redis, service: EchoService, signer: AcsSigner
) -> None:
    async with working(redis_client, service, signer, own_carriers=[mulaw_carrier()]) as worker:
        session_id = await worker.session(transport=Transport.WEBSOCKET)
        token = TokenRing(worker.keys).issue_media_token(session_id, 60)
        url = worker.base.replace("ws", "http", 1) + PATH.format(session=session_id, token=token)
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        async with aiohttp.ClientSession() as http, http.get(url, headers=upgrade) as answer:
            assert (answer.status, (await answer.json())["code"]) == (401, "carrier_signature_invalid")
