"""Durable tools that ask a person, on the real host: who may decide, once, in time, and after the call."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from redis.asyncio import Redis

from shared.security.tokens import TokenRing
from shared.session.commands import ReportProgress, Tell
from shared.session.log import (
    ApprovalDecided,
    ApprovalRequested,
    ApprovalState,
    LogEntry,
    ToolCalled,
    ToolExecution,
    ToolFinished,
    ToolStatus,
    ToolUndone,
)
from shared.store.event_log import EventLog
from tests.integration.functions.api_client import Api
from tests.integration.functions.playing_worker import attach, end, now_ms
from tests.integration.functions.test_orchestrations import (
    inbox,
    lifecycle_message,
    result_of,
    tool_message,
)
from tests.integration.functions.test_sessions import in_state, started
from tests.support.eventually import eventually
from tests.support.stack import RunningFunctions

ARGUMENTS = '{"amount":500,"account":"DE44 5001"}'


@pytest.fixture
def approver(functions: RunningFunctions, ring: TokenRing) -> Api:
    return Api.bearer(functions, ring.issue_approver_token("Dana", 600))


async def logged(redis: Redis, session_id: str, kind: type[LogEntry]) -> list[LogEntry]:
    entries = await EventLog(redis).read_all(session_id)
    return [line.entry for line in entries if isinstance(line.entry, kind)]


def ledger_of(ledger: Path, session_id: str) -> list[str]:
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return [line.removeprefix(f"{session_id}.call_1 ") for line in lines if line.startswith(session_id)]


async def ask(
    worker_api: Api, approver: Api, session_id: str, tool: str = "refund", arguments: str = ARGUMENTS
) -> str:
    """Start the tool, and return the id of the approval that it waits for."""
    message = tool_message(session_id, tool, arguments=arguments)
    assert (await worker_api.post(f"/sessions/{session_id}/tool-calls", message)).status == 202

    async def asked() -> list[str]:
        waiting = (await approver.get("/approvals", limit="100")).json["approvals"]
        return [one["approval_id"] for one in waiting if one["session_id"] == session_id]

    (approval_id,) = await eventually(asked, what="an approval to be asked for")
    return approval_id


async def test_an_approved_refund_is_paid_once_and_all_is_told(
    api: Api,
    functions: RunningFunctions,
    worker_api: Api,
    approver: Api,
    redis_db: Redis,
    ledger: Path,
) -> None:
    session_id = await started(api, functions)
    approval_id = await ask(worker_api, approver, session_id)
    shown = (await approver.get(f"/approvals/{approval_id}")).json
    assert (shown["state"], shown["question"]) == ("pending", "Refund 500 dollars to ***?")
    assert json.loads(shown["arguments"]) == {"amount": 500, "account": "***"}
    (waiting,) = [e.command for e in await inbox(redis_db, session_id) if isinstance(e.command, Tell)]
    assert "approval" in waiting.text
    assert waiting.respond
    assert ledger_of(ledger, session_id) == []

    yes = {"decision": "approve", "comment": "A good  customer."}
    replies = await asyncio.gather(*(approver.post(f"/approvals/{approval_id}", yes) for _ in range(3)))
    assert sorted(reply.status for reply in replies) == [200, 409, 409]
    decided = next(reply.json for reply in replies if reply.status == 200)
    assert (decided["state"], decided["decided_by"], decided["comment"]) == (
        "approved",
        "Dana",
        "A good customer.",
    )
    result = await result_of(redis_db, session_id)
    assert (result.status, json.loads(result.output)["refunded"]) == (ToolStatus.OK, 500)
    assert ledger_of(ledger, session_id) == ["refund 500 Dana"]
    told = [e.command for e in await inbox(redis_db, session_id) if isinstance(e.command, ReportProgress)]
    assert [progress.text for progress in told] == ["The refund is on its way."]
    assert len(await logged(redis_db, session_id, ApprovalRequested)) == 1
    (decision,) = await logged(redis_db, session_id, ApprovalDecided)
    assert isinstance(decision, ApprovalDecided)
    assert (decision.state, decision.by) == (ApprovalState.APPROVED, "Dana")
    again = await approver.post(f"/approvals/{approval_id}", {"decision": "reject"})
    assert again.problem() == (409, "approval_decided")


async def test_below_the_limit_nobody_is_asked(
    api: Api, functions: RunningFunctions, worker_api: Api, redis_db: Redis, ledger: Path
) -> None:
    session_id = await started(api, functions)
    message = tool_message(session_id, "refund", arguments='{"amount":100,"account":"x"}')
    assert (await worker_api.post(f"/sessions/{session_id}/tool-calls", message)).status == 202
    assert (await result_of(redis_db, session_id)).status == ToolStatus.OK
    assert ledger_of(ledger, session_id) == ["refund 100 -"]


async def test_a_refused_refund_is_told_with_the_approvers_words(
    api: Api, functions: RunningFunctions, worker_api: Api, approver: Api, redis_db: Redis, ledger: Path
) -> None:
    session_id = await started(api, functions)
    approval_id = await ask(worker_api, approver, session_id)
    no = {"decision": "reject", "comment": "Send the receipt first."}
    assert (await approver.post(f"/approvals/{approval_id}", no)).status == 200
    result = await result_of(redis_db, session_id)
    assert json.loads(result.output)["error"]["code"] == "approval_rejected"
    assert "Send the receipt first." in result.output
    assert ledger_of(ledger, session_id) == []


async def test_an_approval_expires(
    api: Api, functions: RunningFunctions, worker_api: Api, approver: Api, redis_db: Redis, ledger: Path
) -> None:
    session_id = await started(api, functions)
    approval_id = await ask(worker_api, approver, session_id, "refund_at_once", '{"amount":1}')
    result = await result_of(redis_db, session_id)
    assert json.loads(result.output)["error"]["code"] == "approval_expired"
    late = await approver.post(f"/approvals/{approval_id}", {"decision": "approve"})
    assert late.problem() == (410, "approval_expired")
    assert ledger_of(ledger, session_id) == []


async def test_who_may_decide(
    api: Api, functions: RunningFunctions, worker_api: Api, approver: Api, ring: TokenRing
) -> None:
    session_id = await started(api, functions)
    approval_id = await ask(worker_api, approver, session_id)
    path, yes = f"/approvals/{approval_id}", {"decision": "approve"}
    assert (await api.post(path, yes)).problem() == (401, "token_missing"), "a function key is no person"
    for token, code in (
        (ring.issue_client_token(session_id, 60), "approver_token_invalid"),
        (ring.issue_service_token("worker-1"), "approver_token_invalid"),
        (ring.issue_approver_token("Dana", -60), "approver_token_expired"),
    ):
        stranger = Api.bearer(functions, token)
        assert (await stranger.post(path, yes)).problem() == (401, code)
        assert (await stranger.get("/approvals")).problem() == (401, code)
    assert (await approver.post("/approvals/apr_" + "0" * 26, yes)).problem() == (404, "approval_not_found")
    assert (await approver.post("/approvals/nonsense", yes)).problem() == (400, "invalid_approval_id")
    assert (await approver.post(path, {"decision": "maybe"})).problem() == (400, "invalid_body")
    assert (await approver.get(path)).json["state"] == "pending"
    assert (await api.delete(f"/sessions/{session_id}")).status == 204
    assert (await approver.get(path)).problem() == (404, "approval_not_found"), "erased with its session"


async def over(worker_api: Api, redis: Redis, session_id: str, epoch: int) -> None:
    """The call ends, as a worker ends it."""
    await end(redis, session_id, epoch, "caller_hung_up")
    message = lifecycle_message(session_id, "ended", "caller_hung_up")
    assert (await worker_api.post(f"/sessions/{session_id}/lifecycle", message)).status == 202


def called(tool: str, arguments: str) -> ToolCalled:
    return ToolCalled(
        tool_call_id="call_1",
        name=tool,
        arguments=arguments,
        execution=ToolExecution.DURABLE,
        response_id="r1",
        at_ms=now_ms(),
    )


async def test_a_call_that_ends_first_leaves_a_record_and_a_letter(
    api: Api, functions: RunningFunctions, worker_api: Api, approver: Api, redis_db: Redis, ledger: Path
) -> None:
    session_id = await started(api, functions)
    epoch = await attach(redis_db, session_id, called("refund", ARGUMENTS))
    approval_id = await ask(worker_api, approver, session_id)
    await over(worker_api, redis_db, session_id, epoch)
    await eventually(lambda: in_state(api, session_id, "archived"))
    assert (await approver.post(f"/approvals/{approval_id}", {"decision": "approve"})).status == 200
    (finished,) = await eventually(
        lambda: logged(redis_db, session_id, ToolFinished), what="the result in the log"
    )
    assert isinstance(finished, ToolFinished)
    assert (finished.status, finished.name, finished.redact) == (ToolStatus.OK, "refund", ("account",))
    lines = await eventually(lambda: ledger_of(ledger, session_id)[1:], what="the letter")
    assert lines == ["letter 500 ok"]
    tools = (await api.get(f"/sessions/{session_id}/transcript")).json["tools"]
    assert json.loads(tools[0]["output"]) == {"refunded": 500, "account": "***"}


async def test_a_result_that_comes_while_the_call_ends_is_logged_and_told(
    api: Api, functions: RunningFunctions, worker_api: Api, redis_db: Redis, ledger: Path
) -> None:
    arguments = '{"amount":1,"account":"x"}'
    session_id = await started(api, functions)
    epoch = await attach(redis_db, session_id, called("refund", arguments))
    message = tool_message(session_id, "refund", arguments=arguments)
    assert (await worker_api.post(f"/sessions/{session_id}/tool-calls", message)).status == 202
    await result_of(redis_db, session_id)  # in the inbox, and its owner takes nothing any more
    await over(worker_api, redis_db, session_id, epoch)
    (finished,) = await eventually(
        lambda: logged(redis_db, session_id, ToolFinished), what="the result in the log"
    )
    assert isinstance(finished, ToolFinished)
    assert finished.status is ToolStatus.OK
    lines = await eventually(lambda: ledger_of(ledger, session_id)[1:], what="the letter")
    assert lines == ["letter 1 ok"]
    assert len(await logged(redis_db, session_id, ToolFinished)) == 1


async def test_a_tool_that_ends_with_its_call_is_withdrawn_and_undone(
    api: Api, functions: RunningFunctions, worker_api: Api, approver: Api, redis_db: Redis, ledger: Path
) -> None:
    session_id = await started(api, functions)
    epoch = await attach(redis_db, session_id, called("reserve", '{"amount":7}'))
    approval_id = await ask(worker_api, approver, session_id, "reserve", '{"amount":7}')
    assert ledger_of(ledger, session_id) == ["reserved 7"], "it asked in its middle"
    await over(worker_api, redis_db, session_id, epoch)
    (finished,) = await eventually(
        lambda: logged(redis_db, session_id, ToolFinished), what="the result in the log"
    )
    assert isinstance(finished, ToolFinished)
    assert (finished.status, "call_ended" in finished.output) == (ToolStatus.CANCELLED, True)
    assert ledger_of(ledger, session_id) == ["reserved 7", "taken back"]
    (undone,) = await logged(redis_db, session_id, ToolUndone)
    assert isinstance(undone, ToolUndone)
    assert undone.succeeded
    gone = await approver.post(f"/approvals/{approval_id}", {"decision": "approve"})
    assert gone.problem() == (410, "approval_withdrawn")
