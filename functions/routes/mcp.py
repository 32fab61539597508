"""Sidetone as an MCP server: one endpoint for operators' clients."""

from __future__ import annotations

from functions.routes.operation import Access, Answer, Operation

_OPERATOR = {403: ("operator_role_required", "origin_not_allowed")}

MCP = Operation(
    name="operators_mcp",
    method="POST",
    path="v1/mcp",
    access=Access.APPLICATION,
    tag="operation",
    summary="Speak MCP (streamable HTTP, stateless, JSON answers): sessions, transcripts, approvals as tools",
    description=(
        "For MCP clients of protocol 2025-03-26 and later. The approvals' tools need what their routes need "
        "too: an approver's token, or the app role."
    ),
    request="Document",
    answers=(
        Answer(status=200, description="A JSON-RPC response.", body="Document"),
        Answer(status=202, description="A notification, taken."),
    ),
    problems={**_OPERATOR, 429: ("rate_limited",), 503: ("mcp_too_slow",)},
)
MCP_STREAM = Operation(
    name="operators_mcp_stream",
    method="GET",
    path="v1/mcp",
    access=Access.APPLICATION,
    tag="operation",
    summary="Refuse the stream that MCP servers with state offer: this one has none",
    answers=(Answer(status=405, description="There is no stream; send requests with POST."),),
    problems=_OPERATOR,
)
