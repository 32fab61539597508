"""An inline MCP tool whose server asks in mid-call: a person is asked, and its call becomes a durable one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest
from aiohttp import web

from shared.mcp.credentials import SecretStore
from shared.mcp.durable import durable_tool
from shared.session.log import ToolStatus
from shared.session.model import FactValue
from shared.tools.approval import Approval
from shared.tools.approval_gate import ApprovalAsked
from shared.tools.execution import ToolOutcome, attempt_tool
from shared.tools.facts import Facts
from tests.integration.mcp.conftest import SECRETS, Desk, MakeDesk, context
from tests.support.asking_mcp_server import AskingMcpServer
from tests.support.mcp_server import text_result, tool

IBAN = {"type": "object", "properties": {"iban": {"type": "string"}}, "required": ["iban"]}
both_protocols = pytest.mark.parametrize("legacy", [False, True])


async def inline(desk: Desk, name: str, call: str = "call_1") -> ToolOutcome | ApprovalAsked:
    """Run an inline tool as a worker does."""
    one = (await desk.agent()).tools[name]
    assert (one.execution.value, one.becomes_durable) == ("inline", True)
    return await attempt_tool(one, "{}", context(call=call))


async def durable(desk: Desk, name: str, approval: Approval | None = None) -> ToolOutcome | ApprovalAsked:
    """Run a tool as its orchestration does."""
    found = durable_tool(next(iter(desk.agents)), name, SecretStore(SECRETS, ""), SECRETS)
    assert found is not None
    return await attempt_tool(found, "{}", context(approval=approval))


@both_protocols
async def test_a_question_ends_the_attempt_and_the_call_is_made_again_with_the_approval(
    desk: MakeDesk, legacy: bool
) -> None:
    async with AskingMcpServer(tool("pay"), legacy=legacy) as server:
        line = desk(billing={"url": server.url})

        for attempt in (inline(line, "billing__pay"), durable(line, "billing__pay")):
            asked = await attempt
            assert isinstance(asked, ApprovalAsked), asked
            assert asked.question == "Pay 250 dollars?"
        assert server.answers == (["cancel", "cancel"] if legacy else [])

        done = await durable(line, "billing__pay", Approval(approval_id="apr_1", by="Ruth"))
        assert isinstance(done, ToolOutcome)
        assert done.status is ToolStatus.OK, done.output
        assert server.effects == {"ses_test.call_1": "Ruth"}
        assert server.keys == {"ses_test.call_1"}


@both_protocols
async def test_what_an_approval_does_not_answer_is_declined(desk: MakeDesk, legacy: bool) -> None:
    async with AskingMcpServer(tool("pay"), legacy=legacy, schema=IBAN) as server:
        outcome = await inline(desk(billing={"url": server.url}), "billing__pay")
        assert isinstance(outcome, ToolOutcome)
        assert orjson.loads(outcome.output)["error"]["code"] == "mcp_tool_error"
        assert server.answers == ["decline"]
        assert server.calls[-1].get("requestState") == (None if legacy else "s")


async def test_of_calls_at_the_same_time_the_one_waits_whose_server_asked(desk: MakeDesk) -> None:
    asked = asyncio.Event()

    async with AskingMcpServer(tool("pay"), tool("look"), legacy=True) as server:
        pays = server.on_call

        async def either(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
            if name == "look":
                await asked.wait()
                return text_result("there")
            answer = await pays(name, arguments, request)
            asked.set()
            return answer

        server.on_call = either
        line = desk(billing={"url": server.url})
        looked, paid = await asyncio.gather(
            inline(line, "billing__look", "call_1"), inline(line, "billing__pay", "call_2")
        )
        assert isinstance(looked, ToolOutcome)
        assert orjson.loads(looked.output) == {"text": "there"}
        assert isinstance(paid, ApprovalAsked)


async def test_whatever_a_server_answers_behind_its_question_it_has_asked(desk: MakeDesk) -> None:
    async with AskingMcpServer(tool("pay"), legacy=True) as server:

        async def no_result(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
            return await server.ask(request, server.question, lambda answer: "no result")

        server.on_call = no_result
        assert isinstance(await inline(desk(billing={"url": server.url}), "billing__pay"), ApprovalAsked)


@pytest.mark.parametrize(("facts", "sent"), [({"member_id": "4829"}, {"member_id": "4829"}), ({}, {})])
async def test_what_the_session_fills_in_is_never_the_models(
    desk: MakeDesk, facts: dict[str, FactValue], sent: object
) -> None:
    async with AskingMcpServer(tool("pay", {"member_id": {"type": "string"}})) as server:
        line = desk(billing={"url": server.url, "arguments": {"member_id": "member_id"}})
        found = durable_tool(next(iter(line.agents)), "billing__pay", SecretStore(SECRETS, ""), SECRETS)
        assert found is not None
        later = replace(context(), facts=Facts(facts))  # the caller may have been somebody else meanwhile
        assert isinstance(await attempt_tool(found, '{"member_id": "5731"}', later), ApprovalAsked)
        assert server.calls[-1]["arguments"] == sent


async def test_a_tool_that_is_gone_when_it_is_called_again_says_so(desk: MakeDesk) -> None:
    async with AskingMcpServer(tool("look")) as server:
        gone = await durable(desk(billing={"url": server.url}), "billing__pay")
        assert isinstance(gone, ToolOutcome)
        assert orjson.loads(gone.output)["error"]["code"] == "tool_gone"
