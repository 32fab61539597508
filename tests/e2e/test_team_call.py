"""A spoken call through the whole example team; what served it is killed while a person is asked.

The caller is verified and handed to billing, pays an invoice over MCP, is handed to benefits, asks what the
plan covers, is handed back for a refund that a person has to approve, asks something else meanwhile, and
hears that the refund was approved. Between request and decision the worker and the Functions host are killed.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from redis.asyncio import Redis

from emulators.caller.peer import WebRtcCaller
from emulators.caller.session_client import SessionClient, StartedCall
from emulators.speech import hearing, speaking
from emulators.speech.transcripts import word_error_rate
from emulators.webrtc_audio import SPEECH_RATE
from shared.security.tokens import TokenRing
from shared.session.log import (
    AgentTurn,
    ApprovalDecided,
    ApprovalRequested,
    ApprovalState,
    Archived,
    Attached,
    ErrorRecorded,
    HandedOver,
    LogEntry,
    LoggedEntry,
    ToolCalled,
    ToolFinished,
    ToolStatus,
    UserTurn,
)
from shared.store.event_log import EventLog
from shared.store.sessions import SessionStore
from tests.integration.chaos.story import check_conversation, check_log
from tests.support.billing_stack import BillingStack
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.stack import REPOSITORY, Running, RunningFunctions

# Numbers in pairs: said one by one, the offline ear loses some of them ("two zero" becomes "to 0").
WHO = (
    "I would like to pay a bill. My member number is four eight two nine one seven three four, "
    "and I was born in nineteen eighty four."
)
PAY = "Please pay invoice twenty forty one."
COVERED = "Is physical therapy covered by my plan?"
REFUND = "I need a refund of two hundred dollars for invoice nineteen eighty eight."
MEANWHILE = "What invoices do I have?"
LINES = (WHO, PAY, COVERED, REFUND, MEANWHILE)

MEMBER = "48291734"
APPROVER = "Ruth Approver"
# A Functions host that has just been started imports what it needs first: many seconds on a busy machine.
ANSWERED_WITHIN_S = 40.0
REPEATS_AFTER_S = 20.0
LEASES = {"LEASE_TTL_S": "3", "LEASE_RENEW_S": "1"}
EntryT = TypeVar("EntryT", bound=LogEntry)

pytestmark = pytest.mark.timeout(240)


class Team:
    """The line with its two workers, and a control plane that comes back at the same address."""

    def __init__(self, stack: BillingStack) -> None:
        self.stack = stack
        self._port = free_port()
        self.functions: RunningFunctions
        self.workers: dict[str, Running] = {}

    async def start(self) -> None:
        """Start everything."""
        await asyncio.gather(
            asyncio.to_thread(self.stack.start_redis),
            asyncio.to_thread(self.stack.start_billing),
            asyncio.to_thread(self.stack.start_realtime, "--mind-dir", str(REPOSITORY / "agents")),
        )
        await self.start_functions()
        for worker in await asyncio.gather(*map(self._start_worker, ("worker-1", "worker-2"))):
            self.workers[worker.name] = worker

    async def start_functions(self) -> None:
        """Start the Functions host, with what an earlier one has left."""
        options = ("--port", str(self._port))
        url, token = self.stack.mcp["BILLING_MCP_URL"], self.stack.mcp["BILLING_MCP_TOKEN"]
        self.functions = await asyncio.to_thread(
            lambda: self.stack.start_functions(options=options, BILLING_MCP_URL=url, BILLING_MCP_TOKEN=token)
        )

    async def _start_worker(self, name: str) -> Running:
        settings = {**self.stack.mcp, **LEASES}
        return await asyncio.to_thread(lambda: self.stack.start_worker(self.functions, name=name, **settings))

    @property
    def names(self) -> tuple[str, ...]:
        """Whose logs are the product's own."""
        return ("functions", "billing", *self.workers)

    def errors(self) -> list[str]:
        """Return what was logged as an error."""
        lines = [line for name in self.names for line in self.log(name).splitlines()]
        return [line for line in lines if re.search(r'"level":"(ERROR|CRITICAL)"| ERROR |^Traceback', line)]

    def log(self, name: str) -> str:
        return (self.stack.books.parent / f"{name}.log").read_text(errors="replace")


class Caller:
    """Says lines and waits until the agent has said what was hoped for.

    repeated: how many had to be said twice, as people do who were not understood.
    """

    def __init__(self, peer: WebRtcCaller, started: StartedCall, log: EventLog, team: Team) -> None:
        self.session_id = started.session_id
        self.call_id = started.call_id
        self.peer = peer
        self.repeated = 0
        self._log = log
        self._team = team
        self._entries: list[LoggedEntry] = []

    async def says(self, pcm16: bytes, *, hears: str) -> AgentTurn:
        """Speak; return the agent's turn that has the words of `hears`."""
        self.peer.say(pcm16)
        await self.peer.said_all()
        try:
            return await self.hears(hears, within=REPEATS_AFTER_S)
        except AssertionError:
            self.repeated += 1
        self.peer.say(pcm16)
        await self.peer.said_all()
        return await self.hears(hears)

    async def hears(self, words: str, *, within: float = ANSWERED_WITHIN_S) -> AgentTurn:
        """Wait for a turn of the agent with these words."""
        what = f"the agent says {words!r}"
        return await self.until(AgentTurn, lambda turn: words in turn.text, what=what, within=within)

    async def hears_out(self, turn: AgentTurn) -> None:
        """Wait until the caller has heard all of it."""

        def stopped() -> bool:
            return any(
                event.type == "output_audio_buffer.stopped"
                and event.event.get("response_id") == turn.response_id
                for event in self.peer.events_since(0)
            )

        await self._eventually(stopped, f"{turn.text!r} was heard", ANSWERED_WITHIN_S)

    async def until(
        self,
        kind: type[EntryT],
        fits: Callable[[EntryT], bool] = lambda _: True,
        *,
        what: str = "",
        within: float = ANSWERED_WITHIN_S,
    ) -> EntryT:
        """Wait for an entry of the session's log."""

        async def there() -> EntryT | None:
            await self._read()
            found = (one.entry for one in self._entries)
            return next((entry for entry in found if isinstance(entry, kind) and fits(entry)), None)

        return await self._eventually(there, what or kind.__name__, within)

    async def story(self) -> list[LoggedEntry]:
        await self._read()
        return self._entries

    async def _read(self) -> None:
        after = self._entries[-1].entry_id if self._entries else "0-0"
        self._entries += await self._log.read(self.session_id, after)

    async def _eventually(self, probe: Callable[[], Any], what: str, within: float) -> Any:
        try:
            return await eventually(probe, within=within, what=what)
        except AssertionError as error:
            error.add_note("\n".join(str(one.entry) for one in self._entries))
            error.add_note(self._team.stack.logs())
            raise


@pytest.fixture
async def team(tmp_path: Path) -> AsyncIterator[Team]:
    with BillingStack(tmp_path) as stack:
        yield Team(stack)


async def test_a_member_is_helped_by_the_team_whatever_is_killed(team: Team) -> None:
    async def spoken() -> list[bytes]:
        await hearing.warm_up()
        return [
            await speaking.synthesise_all(line, SPEECH_RATE, voice=speaking.CALLER_VOICE) for line in LINES
        ]

    _, (who, pay, covered, refund, meanwhile) = await asyncio.gather(team.start(), spoken())
    peer = WebRtcCaller()
    async with (
        Redis.from_url(team.stack.redis_url, decode_responses=True) as redis_db,
        SessionClient(team.functions.url, team.functions.key) as client,
    ):
        try:
            started = await client.start(peer, "member_services")
            await peer.wait_connected()
            caller = Caller(peer, started, EventLog(redis_db), team)

            await caller.hears("How can I help?")  # and needs not be heard out: people know that sentence
            await caller.hears_out(await caller.says(who, hears="This is billing."))
            await caller.hears_out(await caller.says(pay, hears="Paid. That was 186.50 dollars"))
            await caller.hears_out(await caller.says(covered, hears="Your plan pays 80 percent"))

            waits = await caller.says(refund, hears="A colleague has to agree to that.")
            asked = await caller.until(ApprovalRequested)
            owner = of(Attached, await caller.story())[-1].worker
            team.workers[owner].stop(kill=True)
            team.functions.stop(kill=True)
            restarting = asyncio.create_task(team.start_functions())
            await caller.until(Attached, lambda entry: entry.worker != owner, what="another worker")
            await caller.hears_out(waits)
            answer = await caller.says(meanwhile, hears="Your newest invoice is")
            assert not [one for one in await caller.story() if isinstance(one.entry, ApprovalDecided)]
            await restarting
            await approve(team, asked)
            await caller.hears_out(answer)
            position = peer.heard_position
            result = await caller.hears("You get 200.00 dollars back")
            await caller.hears_out(result)

            heard = peer.heard_since(position)
            standing = (await SessionStore(redis_db, retention_s=3600).get(caller.session_id)).standing
        finally:
            await peer.hang_up()
        archived = await caller.until(Archived)
        session = await SessionStore(redis_db, retention_s=3600).get(caller.session_id)
        story = await caller.story()
        items = await provider_items(team, caller.call_id or "")

    told = "\n".join(str(one.entry) for one in story) + f"\n{team.stack.logs()}"
    check_log(caller.session_id, story)
    check_conversation(caller.session_id, items, story)

    handed = [(entry.from_agent, entry.to_agent) for entry in of(HandedOver, story)]
    assert handed == [
        ("member_services", "billing"),
        ("billing", "benefits"),
        ("benefits", "billing"),
    ], told
    assert standing is not None
    assert standing.agent == "billing", told
    known = {"member_verified": True, "member_id": MEMBER, "member_name": "Ann Lee", "plan": "Harbor Gold"}
    assert known.items() <= standing.facts.items(), told

    outcomes = {entry.tool_call_id: entry.status for entry in of(ToolFinished, story)}
    done = [call for call in of(ToolCalled, story) if outcomes[call.tool_call_id] is ToolStatus.OK]
    assert [(call.name, call.agent, call.execution.value) for call in done] == [
        ("verify_member", "member_services", "inline"),
        ("handoff_to_billing", "member_services", "inline"),
        ("billing__pay_invoice", "billing", "inline"),
        ("handoff_to_benefits", "billing", "inline"),
        ("coverage", "benefits", "inline"),
        ("handoff_to_billing", "benefits", "inline"),
        ("billing__refund_payment", "billing", "durable"),
        ("billing__list_invoices", "billing", "inline"),
    ], told
    assert caller.repeated or len(done) == len(outcomes), told
    assert MEMBER not in str([call.arguments for call in done[1:]]), told

    (requested,), (decided,) = of(ApprovalRequested, story), of(ApprovalDecided, story)
    assert requested.question.startswith("Refund 200.00 dollars of invoice INV-1988?"), told
    assert (decided.approval_id, decided.state, decided.by) == (
        requested.approval_id,
        ApprovalState.APPROVED,
        APPROVER,
    ), told
    attached = of(Attached, story)
    assert [entry.epoch for entry in attached] == list(range(1, len(attached) + 1)), told
    assert attached[-1].worker != owner, told
    assert attached[-1].agent == "billing", told
    order = [one.entry for one in story]
    assert order.index(requested) < order.index(attached[-1]) < order.index(decided), told

    assert booked(team.stack.books) == [
        ("payment", "INV-2041", 18_650, ""),
        ("refund", "INV-1988", 20_000, APPROVER),
    ], told

    said = [turn.text for turn in of(UserTurn, story)]
    assert len(said) == len(LINES) + caller.repeated, told
    for line in LINES:
        assert min(word_error_rate(line, text) for text in said) < 0.4, told
    told_by_ear = await hearing.transcribe_recording(heard, SPEECH_RATE)
    assert word_error_rate(result.text, told_by_ear) < 0.5, f"{told_by_ear!r}\n{told}"

    assert session.end_reason == "caller_hung_up", told
    assert (archived.turns, archived.tools) == (len(said) + len(of(AgentTurn, story)), len(outcomes)), told
    assert of(ErrorRecorded, story) == [], told
    assert team.errors() == [], told
    for name in team.names:
        assert MEMBER not in team.log(name), f"the member's number is in the log of {name}"


async def approve(team: Team, asked: ApprovalRequested) -> None:
    """Find what waits, and say yes to it."""
    token = TokenRing(team.stack.signing_keys).issue_approver_token(APPROVER, 60)
    url = f"{team.functions.api}/approvals"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        async with http.get(url) as reply:
            assert reply.status == 200, await reply.text()
            (waiting,) = (await reply.json())["approvals"]
        assert waiting["approval_id"] == asked.approval_id
        yes = {"decision": "approve", "comment": "A good customer."}
        async with http.post(f"{url}/{asked.approval_id}", json=yes) as reply:
            assert reply.status == 200, await reply.text()


async def provider_items(team: Team, call_id: str) -> Sequence[Mapping[str, Any]]:
    async with (
        aiohttp.ClientSession(raise_for_status=True) as http,
        http.get(f"{team.stack.provider_url}/_emu/calls/{call_id}/items") as reply,
    ):
        return json.loads(await reply.text())["items"]


def of(kind: type[EntryT], story: Sequence[LoggedEntry]) -> list[EntryT]:
    return [one.entry for one in story if isinstance(one.entry, kind)]


def booked(books: Path) -> list[tuple[str, str, int, str]]:
    with closing(sqlite3.connect(books)) as ledger:
        return ledger.execute("SELECT kind, invoice, cents, approved_by FROM entries ORDER BY id").fetchall()
