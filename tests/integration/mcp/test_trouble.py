"""Whatever an MCP server does, a tool call has one clear outcome, and the next call is none the worse."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from aiohttp import web

from shared.mcp.breaker import FAILURES
from shared.session.log import ToolStatus
from tests.integration.mcp.conftest import MakeDesk
from tests.support.eventually import eventually
from tests.support.mcp_server import ScriptedMcpServer, text_result, tool

AMOUNT = {"amount": {"type": "integer"}}


def code_of(output: str) -> str:
    return orjson.loads(output)["error"]["code"]


async def hang(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
    await asyncio.sleep(60)
    return text_result("too late")


async def die(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
    """Begin an answer, and drop the connection in the middle of it."""
    response = web.StreamResponse(headers={"content-type": "application/json", "content-length": "500"})
    await response.prepare(request)
    await response.write(b'{"jsonrpc": "2.0", ')
    assert request.transport is not None
    request.transport.close()
    return response


@pytest.mark.parametrize("legacy", [False, True])
async def test_a_call_reaches_the_server_with_its_key_and_comes_back(desk: MakeDesk, legacy: bool) -> None:
    async with ScriptedMcpServer(tool("pay", AMOUNT), legacy=legacy) as server:
        line = desk(billing={"url": server.url})

        outcome = await line.run("billing__pay", {"amount": 5})

        assert outcome.status is ToolStatus.OK, outcome.output
        assert orjson.loads(outcome.output) == {"tool": "pay", "arguments": {"amount": 5}}
        assert server.calls[0]["_meta"]["sidetone/idempotency-key"] == "ses_test.call_1"


async def test_what_the_agents_file_says_of_its_tools_is_on_them(desk: MakeDesk) -> None:
    async with ScriptedMcpServer(tool("pay")) as server:
        said = {"requires": ["verified"], "redact": ["iban"], "speak_while_running": "One moment."}
        pay = (await desk(billing={"url": server.url, **said}).agent()).tools["billing__pay"]
        assert pay.speak_while_running is not None
        assert (pay.requires, pay.redact, pay.speak_while_running.text) == (
            ("verified",),
            ("iban",),
            "One moment.",
        )


async def test_a_hanging_server_costs_its_own_call_and_no_other(desk: MakeDesk) -> None:
    async with ScriptedMcpServer(tool("pay"), tool("ask")) as server:
        line = desk(billing={"url": server.url, "timeout_s": 0.3})
        await line.agent()

        async def some_hang(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
            return await (
                hang(name, arguments, request) if name == "pay" else server._echo(name, {}, request)
            )

        server.on_call = some_hang
        hanging, quick = await asyncio.gather(line.run("billing__pay"), line.run("billing__ask"))

        assert quick.status is ToolStatus.OK
        assert code_of(hanging.output) == "mcp_timeout"
        assert "not known" in hanging.output, "it may have taken effect, and the model is to say so"


async def test_a_server_that_dies_in_mid_call_is_found_again(desk: MakeDesk) -> None:
    async with ScriptedMcpServer(tool("pay")) as server:
        line = desk(billing={"url": server.url})
        await line.agent()
        server.on_call = die
        assert code_of((await line.run("billing__pay")).output) == "mcp_lost"
        assert len(server.calls) == 1, "it is not repeated: it may have taken effect"

        await server.stop()
        assert code_of((await line.run("billing__pay")).output) == "mcp_unavailable"

        server.on_call = server._echo
        await server.start()
        await eventually(lambda: _succeeds(line.run("billing__pay")), what="a call after the restart")


async def test_a_call_that_may_be_repeated_is_when_its_answer_was_lost(desk: MakeDesk) -> None:
    async with ScriptedMcpServer(tool("look", annotations={"readOnlyHint": True})) as server:
        trusting = desk(billing={"url": server.url, "trust_annotations": True})
        wary = desk(billing={"url": server.url})
        await trusting.agent()

        async def die_once(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
            server.on_call = server._echo
            return await die(name, arguments, request)

        server.on_call = die_once
        assert (await trusting.run("billing__look")).status is ToolStatus.OK
        assert [call["_meta"]["sidetone/idempotency-key"] for call in server.calls] == ["ses_test.call_1"] * 2
        assert (await trusting.agent()).tools["billing__look"].idempotent
        assert not (await wary.agent()).tools["billing__look"].idempotent, "hints count if the YAML says so"


async def test_a_server_that_is_not_there_costs_the_set_time_and_its_tools_say_so(desk: MakeDesk) -> None:
    server = ScriptedMcpServer(tool("pay", AMOUNT))
    line = desk(wait_s=0.2, billing={"url": server.url, "tools": ["pay"]})

    began = await line.agent()
    outcome = await line.run("billing__pay", agent=began)

    assert code_of(outcome.output) == "mcp_unavailable"
    assert "can't be reached" in began.tools["billing__pay"].description
    async with server:
        await eventually(lambda: server.listings > 0, what="the server to be found")
        # The session began before anything was known of the tool: now it is told what the tool takes.
        refused = await eventually(lambda: _not("mcp_unavailable", line.run("billing__pay", agent=began)))
        assert code_of(refused) == "invalid_arguments"
        assert '\\"amount\\"' in refused
        outcome = await line.run("billing__pay", {"amount": 3}, agent=began)
        assert outcome.status is ToolStatus.OK, outcome.output


async def test_tools_that_change_are_listed_again_and_old_calls_told_so(desk: MakeDesk) -> None:
    async with ScriptedMcpServer(tool("pay"), tool("gone")) as server:
        line = desk(billing={"url": server.url})
        began = await line.agent()
        await eventually(lambda: server.listeners, what="the client to listen")

        server.tools = [tool("pay", AMOUNT), tool("new")]
        await server.changed()
        await eventually(lambda: _has(line.agent(), "billing__new"), what="the new tool")

        assert set(began.tools) == {"billing__pay", "billing__gone"}, "a session keeps what it began with"
        changed = await line.run("billing__pay", agent=began)
        assert "takes other arguments now" in changed.output
        assert (await line.run("billing__pay", {"amount": 1}, agent=began)).status is ToolStatus.OK
        assert code_of((await line.run("billing__gone", agent=began)).output) == "tool_gone"


async def test_an_older_server_tells_changes_too(desk: MakeDesk) -> None:
    async with ScriptedMcpServer(tool("pay"), legacy=True) as server:
        line = desk(billing={"url": server.url})
        await line.agent()
        await eventually(lambda: server.listeners, what="the client's stream")
        server.tools.append(tool("new"))
        await server.changed()
        await eventually(lambda: _has(line.agent(), "billing__new"), what="the new tool")


async def test_a_result_of_five_megabytes_neither_reaches_the_model_nor_holds_up_others(
    desk: MakeDesk,
) -> None:
    big = orjson.dumps(
        {"jsonrpc": "2.0", "id": 0, "result": {"resultType": "complete", **text_result("x" * 5_000_000)}}
    )

    async def answer(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
        return web.Response(body=big, content_type="application/json")

    async with ScriptedMcpServer(tool("dump")) as server:
        line = desk(billing={"url": server.url})
        await line.agent()
        server.on_call = answer
        outcome = await line.run("billing__dump")

        assert code_of(outcome.output) == "result_too_large"
        server.on_call = server._echo
        assert (await line.run("billing__dump")).status is ToolStatus.OK


async def test_a_long_result_is_cut_and_says_so(desk: MakeDesk) -> None:
    async def answer(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
        return text_result("long " * 50_000)

    async with ScriptedMcpServer(tool("dump")) as server:
        server.on_call = answer
        outcome = await desk(billing={"url": server.url, "max_result_bytes": 2_000}).run("billing__dump")

        assert outcome.status is ToolStatus.OK
        assert len(outcome.output) <= 2_000
        assert "250000 bytes" in orjson.loads(outcome.output)["_cut"]


@pytest.mark.parametrize(
    "response",
    [
        web.Response(text="<html>maintenance</html>", content_type="text/html"),
        web.Response(text="not json at all", content_type="application/json"),
        web.Response(text='{"jsonrpc": "2.0", "id": 9, "result": 5}', content_type="application/json"),
    ],
    ids=["html", "no json", "no result"],
)
async def test_an_answer_that_is_no_answer_is_told_as_a_failure(
    desk: MakeDesk, response: web.Response
) -> None:
    async def answer(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
        return response

    async with ScriptedMcpServer(tool("pay")) as server:
        line = desk(billing={"url": server.url, "timeout_s": 2})
        await line.agent()
        server.on_call = answer
        outcome = await line.run("billing__pay")
        assert code_of(outcome.output) == "mcp_bad_answer", outcome.output
        server.on_call = server._echo
        assert (await line.run("billing__pay")).status is ToolStatus.OK


async def test_a_wrong_token_is_refused_and_the_right_one_let_in(desk: MakeDesk) -> None:
    auth = {"type": "bearer", "secret": "billing-mcp-token"}
    async with ScriptedMcpServer(tool("pay"), token="another") as server:
        line = desk(billing={"url": server.url, "tools": ["pay"], "auth": auth})
        assert code_of((await line.run("billing__pay")).output) == "mcp_unavailable"
        assert server.listings == 0
        server.token = "the-right-token"
        await eventually(lambda: _succeeds(line.run("billing__pay")), what="a call with the right token")


async def test_a_server_that_keeps_failing_is_left_alone(desk: MakeDesk) -> None:
    async with ScriptedMcpServer(tool("pay")) as server:
        line = desk(billing={"url": server.url, "timeout_s": 0.05})
        await line.agent()
        server.on_call = hang
        for _ in range(FAILURES):
            assert code_of((await line.run("billing__pay")).output) == "mcp_timeout"
        assert code_of((await line.run("billing__pay")).output) == "mcp_unavailable"
        assert len(server.calls) <= FAILURES


async def test_no_more_calls_at_a_time_than_allowed(desk: MakeDesk) -> None:
    running, most = 0, 0

    async def count(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return text_result("done")

    async with ScriptedMcpServer(tool("pay")) as server:
        server.on_call = count
        line = desk(billing={"url": server.url, "max_concurrency": 2})
        outcomes = await asyncio.gather(*(line.run("billing__pay") for _ in range(6)))
        assert {outcome.status for outcome in outcomes} == {ToolStatus.OK}
        assert most == 2


async def _succeeds(run: Any) -> bool:
    return (await run).status is ToolStatus.OK


async def _not(code: str, run: Any) -> str:
    output = (await run).output
    return "" if code_of(output) == code else output


async def _has(agent: Any, name: str) -> bool:
    return name in (await agent).tools
