"""The caller's audio passes through the worker, from one provider session to the next."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator

import redis.asyncio

from realtime_worker.roster import Roster
from shared.ids import new_session_id
from shared.providers.credentials import ApiKey
from shared.providers.realtime_api import RealtimeApi
from shared.session.log import Attached
from shared.session.model import Session, SessionState, Transport
from tests.integration.worker.in_process import DESK, InProcess
from tests.support.eventually import eventually
from tests.support.realtime_emulator import API_KEY, RunningEmulator, running_emulator

# 20 ms of 16-bit PCM at 24 kHz.
FRAME = base64.b64encode(bytes(960)).decode()


class Telephone:
    """A media leg whose caller is silent until the test puts audio in."""

    def __init__(self) -> None:
        self.played: list[tuple[str, str]] = []
        self.line: asyncio.Queue[str | None] = asyncio.Queue()

    def play(self, response_id: str, audio: str) -> None:
        self.played.append((response_id, audio))

    async def heard(self) -> AsyncIterator[str]:
        while (audio := await self.line.get()) is not None:
            yield audio


async def begin(parts: InProcess) -> str:
    session = Session(
        session_id=new_session_id(),
        state=SessionState.CREATED,
        transport=Transport.ACS,
        agent="desk",
        agent_version="1",
        principal="test",
        created_at_ms=int(time.time() * 1000),
    )
    await parts.services.sessions.create(session)
    await parts.services.sessions.begin(session.session_id, "azure_openai")
    return session.session_id


async def provider_session(parts: InProcess, session_id: str, number: int) -> str:
    async def attached() -> str | None:
        found = [entry.call_id for entry in await parts.entries(session_id) if isinstance(entry, Attached)]
        return found[number - 1] if len(found) >= number else None

    return await eventually(attached, within=10, what=f"provider session {number}")


async def appended(emulator: RunningEmulator, provider_session_id: str) -> int:
    events = (await emulator.emu("GET", f"calls/{provider_session_id}/events"))["events"]
    kinds = [entry["event"]["type"] for entry in events if entry["direction"] == "in"]  # type: ignore[union-attr]
    return kinds.count("input_audio_buffer.append")


async def test_audio_passes_both_ways_and_goes_on_in_the_next_provider_session(
    redis_client: redis.asyncio.Redis,
) -> None:
    book = (DESK / "desk.rules.yaml").read_text()
    async with running_emulator(books=[book]) as emulator:
        key = ApiKey(value=API_KEY, azure=True)
        provider = RealtimeApi(
            name="azure_openai", base_url=f"{emulator.url}/openai/v1", credential=key, model="voice"
        )
        parts = InProcess(redis_client, provider)  # type: ignore[arg-type]  # a real provider for once
        roster = Roster(parts.services)
        session_id = await begin(parts)
        roster.take(await parts.job(session_id))
        phone = Telephone()
        await eventually(lambda: roster.runners, what="the worker runs the session")
        carrying = asyncio.create_task(roster.runners[0].carry(phone))
        try:
            first = await provider_session(parts, session_id, 1)
            await emulator.say(first, "my name is Ann")
            await eventually(lambda: phone.played, what="the agent is heard")
            assert all(len(base64.b64decode(audio)) for _, audio in phone.played)
            for _ in range(5):
                phone.line.put_nowait(FRAME)

            async def all_arrived() -> bool:
                return await appended(emulator, first) == 5

            await eventually(all_arrived, what="the caller's audio arrived")
            await emulator.fault(target=first, kind="close", event="input_audio_buffer.*", code="1006")
            await emulator.say(first, "anybody there?", wait=False)
            second = await provider_session(parts, session_id, 2)
            phone.line.put_nowait(FRAME)

            async def arrived_there() -> bool:
                return await appended(emulator, second) == 1

            await eventually(arrived_there, what="the caller's audio reaches the next session")
            before = len(phone.played)
            await emulator.say(second, "look up 7")
            await eventually(lambda: len(phone.played) > before, what="the agent is heard again")
            phone.line.put_nowait(None)
            await carrying
        finally:
            carrying.cancel()
            await asyncio.wait([carrying])
            await roster.hand_back()
            await provider.close()
