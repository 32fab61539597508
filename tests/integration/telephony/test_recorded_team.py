"""A recorded call is handed to an agent that asks first and is not recorded; its worker is killed meanwhile.

Everything is real here but the services: the carrier and the model are the emulators.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from emulators.communication.options import RESOURCE_ID
from shared.security.tokens import TokenRing
from shared.session.log import AgentTurn, Attached, CallEventKind, ConsentNoted, ConsentStep, HandedOver
from shared.session.model import SessionState
from tests.integration.telephony.conftest import CARRIER_OPTIONS, start_app
from tests.integration.telephony.media_endpoint import MediaEndpoint
from tests.integration.telephony.stage import Stage
from tests.support.carrier_line import CarrierLine
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.stack import Running, Stack

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("telephony")]
AGENTS = Path(__file__).parent / "recorded_agents"
ANNOUNCEMENT = "Not recorded here. All right?"
Kind = CallEventKind


class Hall:
    """The stage with a real worker, always on the same port, where the carrier finds it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._port = free_port()
        self._workers = 0
        self._worker: Running | None = None

    async def open(self, http: aiohttp.ClientSession, redis: Redis) -> Stage:
        self.stack.start_redis()
        # A new worker needs seconds on a busy machine; the carrier dials until it is there.
        self.stack.start_communication(
            *CARRIER_OPTIONS, "--media-reconnects", "200", "--media-reconnect-delay", "0.1"
        )
        options = ("--no-speech", "--no-media", "--speech-rate-factor", "3", "--mind-dir", str(AGENTS))
        self.stack.start_realtime(*options)
        media_url = f"ws://127.0.0.1:{self._port}"
        functions = start_app(self.stack, media_url, AGENTS_DIR=str(AGENTS))
        self._functions = functions
        self.start_worker()
        line = CarrierLine(self.stack.acs_url, http)
        await line.subscribe(functions.event_grid_url("incoming_call"), "incoming-calls")
        ring = TokenRing(self.stack.signing_keys)
        return Stage(
            stack=self.stack,
            functions=functions,
            line=line,
            media=MediaEndpoint(ring),
            redis=redis,
            ring=ring,
        )

    def start_worker(self) -> None:
        self._workers += 1
        self._worker = self.stack.start_worker(
            self._functions,
            name=f"worker-{self._workers}",
            WORKER_PORT=str(self._port),
            AGENTS_DIR=str(AGENTS),
            ACS_RESOURCE_ID=RESOURCE_ID,
            ACS_KEYS_URL=f"{self.stack.acs_url}/calling/keys",
            LEASE_TTL_S="1.0",
            LEASE_RENEW_S="0.3",
        )

    def replace_worker(self) -> None:
        """Kill the worker, and start another in its place."""
        assert self._worker is not None
        self._worker.stop(kill=True)
        self.start_worker()


@pytest_asyncio.fixture(loop_scope="session")
async def hall(tmp_path: Path) -> AsyncIterator[tuple[Hall, Stage, aiohttp.ClientSession]]:
    with Stack(tmp_path) as stack:
        hall = Hall(stack)
        async with (
            aiohttp.ClientSession() as http,
            Redis.from_url(stack.redis_url, decode_responses=True) as redis,
        ):
            yield hall, await hall.open(http, redis), http


async def test_a_handoff_asks_first_pauses_the_recording_and_survives_its_worker(
    hall: tuple[Hall, Stage, aiohttp.ClientSession],
) -> None:
    theatre, stage, http = hall
    call = await stage.line.ring()
    session = await stage.session_of(call["id"])
    session_id = session.session_id

    async def said(words: str, times: int = 1) -> None:
        async def turns() -> bool:
            log = await stage.log(session_id)
            return sum(isinstance(one, AgentTurn) and words in one.text for one in log) >= times

        await eventually(turns, within=20, what=f"{words!r} is said")

    async def say(words: str) -> None:
        """The caller speaks, in the provider session of now."""
        attached = [one for one in await stage.log(session_id) if isinstance(one, Attached)]
        url = f"{stage.stack.provider_url}/_emu/calls/{attached[-1].call_id}/say"
        async with http.post(url, json={"text": words}) as answer:
            assert answer.status < 300, await answer.text()

    async def steps() -> list[ConsentStep]:
        return [one.step for one in await stage.log(session_id) if isinstance(one, ConsentNoted)]

    async def recording_states(*expected: Kind) -> None:
        async def reached() -> bool:
            done = (Kind.RECORDING_STARTED, Kind.RECORDING_PAUSED, Kind.RECORDING_RESUMED)
            return [kind for kind in await stage.kinds(session_id) if kind in done] == list(expected)

        await eventually(reached, within=15, what=f"the recording's states are {expected}")

    await said("Lobby, hello.")
    assert await steps() == [ConsentStep.ANNOUNCED]
    await recording_states(Kind.RECORDING_STARTED)
    await say("I want to pay by card")

    async def handed_over() -> bool:
        return any(isinstance(one, HandedOver) for one in await stage.log(session_id))

    await eventually(handed_over, what="the call is handed over")
    theatre.replace_worker()
    await said(f"Over to cards. {ANNOUNCEMENT}")
    await recording_states(Kind.RECORDING_STARTED, Kind.RECORDING_PAUSED)

    async def asked() -> bool:
        return await steps() == [ConsentStep.ANNOUNCED] * 2

    await eventually(asked, within=15, what="the caller has heard the question")
    await say("yes I agree")
    await said("Thank you.")
    assert await steps() == [ConsentStep.ANNOUNCED, ConsentStep.ANNOUNCED, ConsentStep.GIVEN]
    await say("take me back")
    await said("The lobby again.")
    await recording_states(Kind.RECORDING_STARTED, Kind.RECORDING_PAUSED, Kind.RECORDING_RESUMED)
    assert await steps() == [ConsentStep.ANNOUNCED, ConsentStep.ANNOUNCED, ConsentStep.GIVEN]
    turns = [one.text for one in await stage.log(session_id) if isinstance(one, AgentTurn)]
    assert turns.count("Recorded.") == 1
    await stage.line.on(call["id"], "hang-up")
    await stage.event(session_id, Kind.RECORDING_STOPPED)
    await stage.becomes(session_id, SessionState.ARCHIVED)
