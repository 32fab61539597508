"""Phone calls by SIP, whole: the realtime service rings the app, a worker talks, the books are closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from shared.session.log import AgentTurn, Attached, LogEntry, ToolFinished, ToolStatus, UserTurn
from shared.session.model import Session, SessionState
from shared.store.event_log import EventLog
from shared.store.sessions import SessionStore
from tests.support.eventually import eventually
from tests.support.phone_line import PhoneLine
from tests.support.stack import RunningFunctions, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPOSITORY = Path(__file__).resolve().parents[2]
GREETING = "Thank you for calling Maple Harbor Health member services. How can I help?"
EntryT = TypeVar("EntryT", bound=LogEntry)


class Exchange:
    """The product with its own agents and policy, and the phone line that leads to it."""

    def __init__(self, stack: Stack, functions: RunningFunctions, line: PhoneLine, redis_db: Redis) -> None:
        self.stack = stack
        self.functions = functions
        self.line = line
        self.store = SessionStore(redis_db, retention_s=3600)
        self._log = EventLog(redis_db)

    async def ring(self, **options: object) -> tuple[str, str]:
        """A call comes in; return its id and its session's, once a worker holds it."""
        call_id = await self.line.ring(**options)  # type: ignore[arg-type]  # as the emulator takes them

        async def known() -> str | None:
            return await self.store.session_of_call(call_id)

        session_id = await self._eventually(known, f"a session of {call_id}")
        await self.entry(session_id, Attached)
        return call_id, session_id

    async def say(self, call_id: str, text: str) -> None:
        await self.line.emulate("POST", f"/_emu/calls/{call_id}/say", {"text": text})

    async def entries(self, session_id: str) -> list[LogEntry]:
        return [logged.entry for logged in await self._log.read_all(session_id)]

    async def entry(
        self, session_id: str, kind: type[EntryT], fits: Callable[[EntryT], bool] = lambda _: True
    ) -> EntryT:
        """Wait for an entry of the session's log."""

        async def there() -> EntryT | None:
            found = await self.entries(session_id)
            return next((entry for entry in found if isinstance(entry, kind) and fits(entry)), None)

        return await self._eventually(there, f"{kind.__name__} in {session_id}")

    async def archived(self, session_id: str) -> Session:
        async def there() -> Session | None:
            session = await self.store.get(session_id)
            return session if session.state is SessionState.ARCHIVED else None

        return await self._eventually(there, f"{session_id} is archived")

    async def _eventually(self, probe: Callable[[], Any], what: str) -> Any:
        try:
            return await eventually(probe, within=30, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.stack.logs()}") from None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exchange(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Exchange]:
    directory = tmp_path_factory.mktemp("sip")
    with Stack(directory) as stack:
        stack.start_redis()
        stack.start_realtime(
            *("--no-speech", "--no-media", "--speech-rate-factor", "20"),
            *("--mind-dir", str(REPOSITORY / "agents"), "--webhook-retry-delay", "0.2"),
        )
        async with (
            aiohttp.ClientSession() as http,
            Redis.from_url(stack.redis_url, decode_responses=True) as redis_db,
        ):
            line = PhoneLine(stack, http)
            database = str(directory / "member_services.sqlite")
            functions = stack.start_functions(
                REALTIME_WEBHOOK_SECRETS=await line.register(), MEMBER_SERVICES_DB=database
            )
            await line.connect(functions)
            stack.start_worker(functions, MEMBER_SERVICES_DB=database)
            yield Exchange(stack, functions, line, redis_db)


async def test_a_caller_is_greeted_helped_and_remembered(exchange: Exchange) -> None:
    call_id, session_id = await exchange.ring(duplicates=2)
    greeting = await exchange.entry(session_id, AgentTurn)
    assert greeting.text == GREETING
    await exchange.say(call_id, "What is the status of claim one zero four two?")
    looked_up = await exchange.entry(session_id, ToolFinished)
    assert (looked_up.name, looked_up.status) == ("claim_status", ToolStatus.OK)
    await exchange.entry(session_id, AgentTurn, lambda turn: "192 dollars" in turn.text)
    await exchange.say(call_id, "Please book an appointment with doctor Rivera on Tuesday at ten.")
    booked = await exchange.entry(session_id, ToolFinished, lambda tool: tool.name == "book_appointment")
    assert booked.status is ToolStatus.OK
    await exchange.entry(session_id, AgentTurn, lambda turn: "confirmation number" in turn.text)

    call = await exchange.line.call(call_id)
    assert call["session"]["audio"]["input"]["format"]["type"] == "audio/pcmu", "as the worker left it"
    assert len(call["listeners"]) == 1

    await exchange.line.emulate("POST", f"/_emu/calls/{call_id}/hang-up")
    session = await exchange.archived(session_id)
    assert (session.transport, session.end_reason) == ("sip", "caller_hung_up")
    assert session.summary
    said = [entry.text for entry in await exchange.entries(session_id) if isinstance(entry, UserTurn)]
    assert len(said) == 2
    assert [entry.epoch for entry in await exchange.entries(session_id) if isinstance(entry, Attached)] == [1]


async def test_the_application_ends_a_call_with_a_goodbye(exchange: Exchange) -> None:
    call_id, session_id = await exchange.ring()
    await exchange.entry(session_id, AgentTurn)
    headers = {"x-functions-key": exchange.functions.key}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(
            f"{exchange.functions.api}/sessions/{session_id}/end", json={"goodbye": "We close now. Goodbye."}
        ) as answer,
    ):
        assert answer.status == 202, await answer.text()
    await exchange.entry(session_id, AgentTurn, lambda turn: turn.text == "We close now. Goodbye.")
    assert (await exchange.archived(session_id)).end_reason == "operator_ended"
    assert (await exchange.line.call(call_id))["end_reason"] == "hung_up"


async def test_a_call_that_is_accepted_and_is_gone_at_once_is_given_up(exchange: Exchange) -> None:
    """Its caller hung up while it rang, as far as anybody can tell: the worker waits some seconds first."""
    await exchange.line.emulate("POST", "/_emu/faults", {"kind": "accept_dies"})
    call_id = await exchange.line.ring()

    async def known() -> str | None:
        return await exchange.store.session_of_call(call_id)

    session_id = await eventually(known)
    assert session_id is not None
    assert (await exchange.archived(session_id)).end_reason == "caller_hung_up"
    assert await exchange.line.delivered(call_id) == [200]
