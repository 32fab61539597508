"""The billing tools over MCP: streamable HTTP, for whoever has the token.

The caller of these tools is trusted to say for which member it acts; the agents' worker takes that from the
session's facts and never from the model. Effects are booked once for the key in `_meta` of the call. A
refund above the limit asks for an approval (elicitation), with protocols of before and after 2026-07-28.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, cast

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import AcceptedElicitation, Elicit, ElicitationResult, Resolve
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import TypedDict

from agents.servers.billing.ledger import BillingError, Invoice, Ledger, check_refundable, dollars

# Refunds above this are for a person to approve.
REFUND_LIMIT_CENTS = 10_000
# Where the caller puts the key under which an effect happens once.
IDEMPOTENCY_KEY = "sidetone/idempotency-key"

MemberId = Annotated[str, Field(description="The member's number, eight digits.", pattern=r"^\d{8}$")]
InvoiceNumber = Annotated[str, Field(description="The invoice's number, such as INV-2041.", max_length=32)]


class InvoiceView(TypedDict):
    """An invoice; amounts in dollars."""

    number: str
    purpose: str
    amount: str
    due: str
    open: str
    refundable: str


class Invoices(TypedDict):
    """A member's invoices."""

    invoices: list[InvoiceView]


class Receipt(TypedDict):
    """What was booked; the amount in dollars."""

    receipt: str
    invoice: str
    amount: str


class RefundReceipt(Receipt):
    """What was given back, and who approved it, if somebody had to."""

    approved_by: str


class ApprovalAnswer(BaseModel):
    """What is asked of a person who may approve refunds."""

    approved: bool = Field(description="Whether the refund is approved.")
    approved_by: str = Field(default="", description="Who approved it.")


def list_invoices(member_id: MemberId, context: Context, open_only: bool = False) -> Invoices:
    """List the member's invoices with what is open on each. Do this before paying or refunding."""
    found = _ledger(context).invoices(member_id)
    return Invoices(invoices=[_view(one) for one in found if one.open_cents or not open_only])


def pay_invoice(member_id: MemberId, invoice: InvoiceNumber, context: Context) -> Receipt:
    """Pay what is open of an invoice with the payment method on file. Confirm number and amount first."""
    try:
        booked = _ledger(context).pay(member_id, invoice.strip().upper(), key=_key(context))
    except BillingError as error:
        raise ToolError(str(error)) from error
    return Receipt(receipt=booked.receipt, invoice=booked.invoice, amount=dollars(booked.cents))


def approval(
    member_id: MemberId, invoice: InvoiceNumber, amount_dollars: float, reason: str, context: Context
) -> ApprovalAnswer | Elicit[ApprovalAnswer]:
    """Ask for a person's approval of a refund above the limit, once it is known to be possible."""
    cents = round(amount_dollars * 100)
    if _ledger(context).has_booked(_key(context)):  # the same call again: its receipt is all that is left
        return ApprovalAnswer(approved=True)
    try:
        check_refundable(_ledger(context).invoice(member_id, invoice), cents)
    except BillingError as error:
        raise ToolError(str(error)) from error
    if cents <= REFUND_LIMIT_CENTS:
        return ApprovalAnswer(approved=True)
    asked = f"Refund {dollars(cents)} dollars of invoice {invoice.strip().upper()}? Reason: {reason[:200]}"
    return Elicit(asked, ApprovalAnswer)


def refund_payment(
    member_id: MemberId,
    invoice: InvoiceNumber,
    amount_dollars: Annotated[float, Field(description="How much to give back, in dollars.", gt=0)],
    reason: Annotated[str, Field(description="Why, in the member's words.", max_length=300)],
    answer: Annotated[ElicitationResult[ApprovalAnswer], Resolve(approval)],
    context: Context,
) -> RefundReceipt:
    """Give back what was paid for an invoice, or a part of it. More than 100 dollars need an approval."""
    if not isinstance(answer, AcceptedElicitation) or not answer.data.approved:
        raise ToolError("The refund was not approved.")
    try:
        booked = _ledger(context).refund(
            member_id,
            invoice.strip().upper(),
            round(amount_dollars * 100),
            reason=reason,
            approved_by=answer.data.approved_by,
            key=_key(context),
        )
    except BillingError as error:
        raise ToolError(str(error)) from error
    return RefundReceipt(
        receipt=booked.receipt,
        invoice=booked.invoice,
        amount=dollars(booked.cents),
        approved_by=booked.approved_by,
    )


def billing_server(ledger: Ledger) -> MCPServer[Ledger]:
    """Return the MCP server on top of `ledger`."""

    @asynccontextmanager
    async def books(server: MCPServer[Ledger]) -> AsyncGenerator[Ledger]:
        yield ledger

    server = MCPServer(
        "billing", version="1.0", instructions="Invoices of members of Maple Harbor Health.", lifespan=books
    )
    reads = ToolAnnotations(read_only_hint=True, idempotent_hint=True)
    server.add_tool(list_invoices, annotations=reads)
    server.add_tool(pay_invoice, annotations=ToolAnnotations(destructive_hint=False))
    server.add_tool(refund_payment, annotations=ToolAnnotations(destructive_hint=True))
    return server


def billing_app(ledger: Ledger, token: str, *, host: str) -> ASGIApp:
    """Return the ASGI app; POST /mcp with `Authorization: Bearer <token>`. It needs its lifespan run."""
    app = billing_server(ledger).streamable_http_app(stateless_http=True, json_response=True, host=host)
    return _Bearer(app, token)


class _Bearer:
    """Lets in who has the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = Headers(scope=scope).get("authorization", "").encode()
            if not hmac.compare_digest(given, self._expected):
                refusal = JSONResponse(
                    {"error": "invalid_token"}, 401, headers={"WWW-Authenticate": 'Bearer realm="billing"'}
                )
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _ledger(context: Context) -> Ledger:
    return cast("Ledger", context.request_context.lifespan_context)


def _key(context: Context) -> str:
    """Return the key of this call; without one, the same call sent again would take effect again."""
    meta: dict[str, object] = dict(context.request_context.meta or {})
    key = meta.get(IDEMPOTENCY_KEY)
    if not isinstance(key, str) or not 0 < len(key) <= 200:
        raise ToolError(f"The call needs a key: put it into _meta as {IDEMPOTENCY_KEY}.")
    return key


def _view(invoice: Invoice) -> InvoiceView:
    return InvoiceView(
        number=invoice.number,
        purpose=invoice.purpose,
        amount=dollars(invoice.cents),
        due=invoice.due,
        open=dollars(invoice.open_cents),
        refundable=dollars(invoice.refundable_cents),
    )
