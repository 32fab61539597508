"""A durable MCP tool whose server asks in mid-call: a person is asked, and the call made again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import uvicorn

from agents.servers.billing.ledger import Ledger
from agents.servers.billing.service import billing_app
from shared.mcp.credentials import SecretStore
from shared.mcp.durable import durable_tool
from shared.session.log import ToolStatus
from shared.tools.approval import Approval
from shared.tools.approval_gate import ApprovalAsked
from shared.tools.definition import Tool
from shared.tools.execution import ToolOutcome, attempt_tool
from tests.integration.mcp.conftest import SECRETS, MakeDesk, context
from tests.support.eventually import eventually
from tests.support.mcp_server import ScriptedMcpServer, tool
from tests.support.ports import free_port

REFUND = {"invoice": "INV-1988", "amount_dollars": 250, "reason": "Billed twice."}


class Billing:
    """The example billing system on a socket."""

    def __init__(self, url: str, ledger: Ledger) -> None:
        self.url = url
        self.ledger = ledger

    def section(self, **more: object) -> dict[str, object]:
        return {
            "url": self.url,
            "tools": ["list_invoices", "pay_invoice", "refund_payment"],
            "auth": {"type": "bearer", "secret": "billing-mcp-token"},
            "arguments": {"member_id": "member_id"},
            "trust_annotations": True,
            "repeatable": ["pay_invoice", "refund_payment"],
            "durable": ["refund_payment"],
            "timeout_s": 10,
            **more,
        }


@pytest.fixture
async def billing(tmp_path: Path) -> AsyncIterator[Billing]:
    ledger = Ledger(tmp_path / "billing.sqlite")
    ledger.add_examples()
    port = free_port()
    app = billing_app(ledger, SECRETS["BILLING_MCP_TOKEN"], host="127.0.0.1")
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started, what="the billing server")
    yield Billing(f"http://127.0.0.1:{port}/mcp", ledger)
    server.should_exit = server.force_exit = True  # the other side may listen still
    await serving


async def durable(desk: MakeDesk, name: str, **section: object) -> Tool:
    agent = next(iter(desk(billing=section).agents))
    found = durable_tool(agent, name, SecretStore(SECRETS, ""), SECRETS)
    assert found is not None
    return found


async def attempt(
    one: Tool, arguments: object, approval: Approval | None = None
) -> ToolOutcome | ApprovalAsked:
    return await attempt_tool(one, orjson.dumps(arguments).decode(), context(approval=approval))


async def test_a_refund_above_the_limit_waits_for_a_person_and_is_booked_once(
    desk: MakeDesk, billing: Billing
) -> None:
    refund = await durable(desk, "billing__refund_payment", **billing.section())

    asked = await attempt(refund, REFUND)
    assert isinstance(asked, ApprovalAsked), asked
    assert asked.question.startswith("Refund 250.00 dollars of invoice INV-1988?")
    assert billing.ledger.invoice("48291734", "INV-1988").refunded_cents == 0

    approval = Approval(approval_id="apr_1", by="Ruth")
    for _ in range(2):  # the second as if the host had died behind the first
        done = await attempt(refund, REFUND, approval)
        assert isinstance(done, ToolOutcome)
        assert done.status is ToolStatus.OK, done.output
        receipt = orjson.loads(done.output)
        assert (receipt["amount"], receipt["approved_by"]) == ("250.00", "Ruth")
    assert billing.ledger.invoice("48291734", "INV-1988").refunded_cents == 25_000


async def test_a_small_refund_needs_nobody(desk: MakeDesk, billing: Billing) -> None:
    refund = await durable(desk, "billing__refund_payment", **billing.section())
    done = await attempt(refund, {**REFUND, "amount_dollars": 40})
    assert isinstance(done, ToolOutcome)
    assert orjson.loads(done.output)["amount"] == "40.00"


async def test_a_payment_is_booked_once_for_its_key_and_for_the_sessions_member(
    desk: MakeDesk, billing: Billing
) -> None:
    line = desk(billing=billing.section())
    for _ in range(2):
        paid = await line.output("billing__pay_invoice", {"invoice": "INV-2041"})
        assert paid == {"receipt": "P-00001", "invoice": "INV-2041", "amount": "186.50"}
    others = await line.run("billing__pay_invoice", {"invoice": "INV-2052"}, call="call_2")
    assert "This member has no invoice" in others.output, "that is another member's"
    told = await line.run("billing__list_invoices", {"member_id": "57310826"})
    assert "INV-2052" not in told.output, "the member is the session's, whatever the model says"
    agent = await line.agent()
    assert "member_id" not in str(agent.tools["billing__list_invoices"].parameters)
    assert agent.tools["billing__refund_payment"].execution.value == "durable"
    assert agent.tools["billing__pay_invoice"].requires == ("member_id",)


async def test_what_an_approval_can_not_answer_is_declined(desk: MakeDesk) -> None:
    schema = {"type": "object", "properties": {"iban": {"type": "string"}}, "required": ["iban"]}
    asked = {"mode": "form", "message": "Which account?", "requestedSchema": schema}

    async def ask(name: str, arguments: object, request: object) -> object:
        answers = server.calls[-1].get("inputResponses")
        if answers is None:
            question = {"method": "elicitation/create", "params": asked}
            return {"resultType": "input_required", "inputRequests": {"q": question}, "requestState": "s"}
        return {"content": [{"type": "text", "text": answers["q"]["action"]}], "isError": False}

    async with ScriptedMcpServer(tool("pay")) as server:
        server.on_call = ask  # type: ignore[assignment]  what it takes is not looked at
        pay = await durable(desk, "billing__pay", url=server.url, tools=["pay"], durable=["pay"])
        done = await attempt(pay, {})
        assert isinstance(done, ToolOutcome)
        assert orjson.loads(done.output) == {"text": "decline"}


async def test_a_durable_tool_says_when_its_server_is_not_there(desk: MakeDesk) -> None:
    url = f"http://127.0.0.1:{free_port()}/mcp"
    pay = await durable(desk, "billing__pay", url=url, tools=["pay"], durable=["pay"])
    done = await attempt(pay, {})
    assert isinstance(done, ToolOutcome)
    assert orjson.loads(done.output)["error"]["code"] == "mcp_unavailable"
