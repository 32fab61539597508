"""A call goes on at another worker when its media socket comes there: the first one died, or lets go.

Leases hold for a minute here: whatever waited for one to lapse would be seen.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.agents.catalog import load_agents
from shared.ids import new_session_id
from shared.session.log import AgentTurn, Attached, ErrorRecorded, Interrupted, TurnStatus, UserTurn
from shared.session.model import Session, SessionState, Transport
from tests.integration.worker.own_sessions import Talk
from tests.integration.worker.stage import DESK, Stage
from tests.support.acs_signer import RESOURCE_ID, AcsSigner
from tests.support.eventually import eventually
from tests.support.phone_caller import PhoneCaller, media_url

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAME = "A" * 1280
# From the reopened socket to a provider session that knows the conversation, on a busy machine.
A_BREATH_S = 3.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_stage(
    tmp_path_factory: pytest.TempPathFactory, keyed_signer: AcsSigner
) -> AsyncIterator[Stage]:
    async with keyed_signer.serving():
        environment = {
            "ACS_RESOURCE_ID": RESOURCE_ID,
            "ACS_KEYS_URL": keyed_signer.keys_url,
            "LEASE_TTL_S": "60",
            "LEASE_RENEW_S": "20",
            "MEDIA_WAIT_S": "10",
        }
        async with Stage(tmp_path_factory.mktemp("stage"), environment) as stage:
            yield stage


@pytest_asyncio.fixture(loop_scope="module")
async def stage(shared_stage: Stage) -> AsyncIterator[Stage]:
    yield shared_stage
    await shared_stage.tell()


class Phone:
    """A call at the stage: a session, and the carrier's socket to one worker or another."""

    def __init__(self, stage: Stage, signer: AcsSigner, session_id: str) -> None:
        self.stage = stage
        self.signer = signer
        self.talk = Talk(stage, session_id)
        keys = stage.settings.signing_keys.get_secret_value()
        self._url = media_url("ws://127.0.0.1:PORT", session_id, keys)

    async def dial(self, port: int) -> PhoneCaller:
        return await PhoneCaller.dial(self._url.replace("PORT", str(port)), self.signer)


async def ring(stage: Stage, signer: AcsSigner) -> Phone:
    agent = load_agents(DESK).get("desk")
    session = Session(
        session_id=new_session_id(),
        state=SessionState.CREATED,
        transport=Transport.ACS,
        agent=agent.name,
        agent_version=agent.version,
        principal="test",
        created_at_ms=int(time.time() * 1000),
    )
    await stage.sessions.create(session)
    stage._placed.append(session.session_id)
    return Phone(stage, signer, session.session_id)


async def events(phone: Phone, provider_session: str) -> list[dict[str, object]]:
    """What went to the service and came from it."""
    found = await phone.talk.ask(f"/_emu/calls/{provider_session}/events")
    return [entry["event"] for entry in found["events"]]  # type: ignore[union-attr]


async def test_a_killed_workers_call_goes_on_where_the_socket_comes_next(
    stage: Stage, keyed_signer: AcsSigner
) -> None:
    phone = await ring(stage, keyed_signer)
    first_port, first_worker = stage.worker_port, stage.worker
    assert first_worker is not None
    caller = await phone.dial(first_port)
    await phone.talk.attached(1)
    await caller.hears(1)
    await phone.talk.say("my name is Ann")
    await phone.talk.answered("Ann")
    await eventually(lambda: "StopAudio" in [m.kind for m in caller.messages], what="the greeting is cut off")
    await stage.start_worker()
    first_worker.process.kill()
    await first_worker.process.wait()
    await caller.closed()
    began = time.monotonic()
    async with await phone.dial(stage.worker_port) as again:
        second = await phone.talk.attached(2)
        assert time.monotonic() - began < A_BREATH_S
        await phone.talk.told(second, ("user", "my name is Ann"))
        await again.speak(FRAME)
        await phone.talk.say("look up 9")
        await phone.talk.answered("81")
        await again.hears(1)
        greetings = [t for t in await stage.entries(phone.talk.session_id, AgentTurn) if "Hello" in t.text]
        assert len(greetings) == 1
    await caller.close()


async def test_a_worker_that_lives_lets_go_when_the_socket_comes_elsewhere(
    stage: Stage, keyed_signer: AcsSigner
) -> None:
    phone = await ring(stage, keyed_signer)
    caller = await phone.dial(stage.worker_port)
    await phone.talk.attached(1)
    await caller.hears(1)
    await stage.start_worker()
    caller.drop()
    began = time.monotonic()
    async with await phone.dial(stage.worker_port) as again:
        await phone.talk.attached(2)
        assert time.monotonic() - began < A_BREATH_S
        await phone.talk.say("look up 9")
        await phone.talk.answered("81")
        await again.hears(1)
        owners = [entry.worker for entry in await stage.entries(phone.talk.session_id, Attached)]
        assert len(set(owners)) == 2
    await caller.close()


async def test_a_call_with_an_interruption_and_keys_is_in_the_log_as_it_was_heard(
    stage: Stage, keyed_signer: AcsSigner
) -> None:
    phone = await ring(stage, keyed_signer)
    async with await phone.dial(stage.worker_port) as caller:
        provider_session = await phone.talk.attached(1)
        await phone.talk.answered("Hello")
        await caller.hears(1)
        await phone.talk.say("tell me a story")
        turn = await phone.talk.answered("You said tell me a story")
        log = await stage.wait_entry(phone.talk.session_id, Interrupted)
        greeting = (await stage.entries(phone.talk.session_id, AgentTurn))[0]
        assert log.response_id == greeting.response_id != turn.response_id
        cuts = [event for event in await events(phone, provider_session) if "truncat" in str(event["type"])]
        assert [cut["type"] for cut in cuts] == ["conversation.item.truncate", "conversation.item.truncated"]
        assert cuts[1]["item_id"] == greeting.item_id
        kinds = [message.kind for message in caller.messages]
        assert kinds[kinds.index("StopAudio") - 1] == "AudioData"
        await caller.press("12#")
        keys = await stage.wait_entry(phone.talk.session_id, UserTurn, lambda one: "Keys" in one.text)
        assert (keys.text, keys.status) == ("Keys pressed: 12#", TurnStatus.COMPLETED)
        await phone.talk.answered("Keys pressed: 12#")
        assert await stage.entries(phone.talk.session_id, ErrorRecorded) == []
