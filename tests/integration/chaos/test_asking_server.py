"""An inline tool's MCP server asks in mid-call: a person decides, and the effect happens once."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.ids import tool_instance_id
from shared.security.tokens import TokenRing
from shared.session.log import (
    AgentTurn,
    ApprovalRequested,
    Attached,
    ToolCalled,
    ToolExecution,
    ToolFinished,
    ToolMadeDurable,
    ToolStatus,
)
from tests.integration.chaos.fleet import Call, Fleet
from tests.integration.chaos.story import check_conversation, check_log
from tests.support.asking_mcp_server import AskingMcpServer
from tests.support.mcp_server import tool

pytestmark = pytest.mark.timeout(120)

AGENT = """
name: clerk
description: Takes care of orders.
prompt: prompt.md.j2
greeting: Hello, this is the order desk.
mcp_servers:
  billing: {url: "URL", tools: ["*"], speak_while_running: "One moment, please."}
"""
RULES = r"""
name: clerk
rules:
  - name: pay
    when: {user: 'pay (?P<order>\d+)'}
    call: {name: billing__pay, arguments: {order: "{order}"}}
  - name: waits for a person
    when: {note: 'billing__pay needs the approval of a person'}
    say: A person is looking at that.
  - name: time
    when: {user: 'what time'}
    say: It is noon.
  - name: done
    when: {tool_result: {name: "*", where: {done: "*"}}}
    say: Order {call.order} is {result.done}.
  - name: refused
    when: {tool_result: {name: "*", where: {error.code: approval_rejected}}}
    say: Order {call.order} was refused.
"""


class Desk:
    """One call to the clerk, and the approvers' side of it."""

    def __init__(self, fleet: Fleet, call: Call) -> None:
        self.fleet = fleet
        self.call = call
        self.entries = fleet.logs.entries[call.session_id]
        token = TokenRing(fleet.settings.signing_keys.get_secret_value()).issue_approver_token("Dana", 60)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._url = f"http://127.0.0.1:{fleet.control_plane_port}/api/v1/approvals"

    def logged(self, kind: type[Any]) -> list[Any]:
        return [one.entry for one in self.entries if isinstance(one.entry, kind)]

    async def hears(self, words: str, *, times: int = 1) -> None:
        def said() -> bool:
            return sum(words in turn.text for turn in self.logged(AgentTurn)) >= times

        await self.fleet.logs.wait(said, within=30, what=f"the agent said {words!r}")

    async def waiting(self) -> dict[str, Any]:
        """Return the one approval that waits."""
        async with self.fleet.http.get(self._url, headers=self._headers) as response:
            assert response.status == 200, await response.text()
            (waiting,) = (await response.json())["approvals"]
            return waiting

    async def decide(self, decision: str, comment: str) -> None:
        url, answer = f"{self._url}/{(await self.waiting())['approval_id']}", {"decision": decision}
        said = {**answer, "comment": comment}
        async with self.fleet.http.post(url, json=said, headers=self._headers) as response:
            assert response.status == 200, await response.text()


async def test_what_the_server_of_an_inline_tool_asks_is_decided_by_a_person(tmp_path: Path) -> None:
    agents = tmp_path / "agents"
    agents.mkdir()
    async with AskingMcpServer(tool("pay", {"order": {"type": "string"}})) as server:
        (agents / "clerk.yaml").write_text(AGENT.replace("URL", server.url))
        (agents / "clerk.rules.yaml").write_text(RULES)
        (agents / "prompt.md.j2").write_text("You take care of orders.")
        async with Fleet(tmp_path, agents=agents, lease_ttl_s=1.5) as fleet:
            _, worker = await asyncio.gather(fleet.start_functions(), fleet.start_worker())
            call = await fleet.place_call()
            desk = Desk(fleet, call)

            await fleet.say(call, "pay 471100")
            await desk.hears("A person is looking at that.")
            asked = await desk.waiting()
            assert (asked["tool"], asked["question"]) == ("billing__pay", "Pay 250 dollars?")
            assert orjson.loads(asked["arguments"]) == {"order": "471100"}
            assert server.runs == []
            worker.signal(signal.SIGKILL)  # the next one has to know that the call is durable by now
            await asyncio.gather(worker.ended(), fleet.start_worker())
            await fleet.logs.wait(
                lambda: any(attached.epoch > 1 for attached in desk.logged(Attached)),
                within=30,
                what="the next worker attached",
            )
            await fleet.say(call, "what time is it")
            await desk.hears("It is noon.")
            await desk.decide("approve", "")
            await desk.hears("Order 471100 is paid.")

            await fleet.say(call, "pay 471101")
            await desk.hears("A person is looking at that.", times=2)
            await desk.decide("reject", "Not this one.")
            await desk.hears("Order 471101 was refused.")

            called = desk.logged(ToolCalled)
            assert {entry.execution for entry in called} == {ToolExecution.INLINE}
            first, second = (entry.tool_call_id for entry in called)
            keys = [tool_instance_id(call.session_id, one) for one in (first, second)]
            assert server.runs == keys[:1], "one effect, under the call's own key"
            assert server.effects == {keys[0]: "Dana"}
            assert server.keys == set(keys)
            assert [entry.tool_call_id for entry in desk.logged(ToolMadeDurable)] == [first, second]
            assert len(desk.logged(ApprovalRequested)) == 2
            paid, refused = desk.logged(ToolFinished)
            assert (paid.tool_call_id, paid.status) == (first, ToolStatus.OK)
            assert (refused.tool_call_id, refused.status) == (second, ToolStatus.ERROR)
            assert "Not this one." in refused.output
            check_log(call.session_id, desk.entries)
            check_conversation(call.session_id, await fleet.items(call), desk.entries)
