"""Every HTTP operation of the control plane, in one table.

The blueprints register their handlers from these rows and the OpenAPI document is built
from the same rows, so the document cannot say something that the app does not do. Body
types are given by name: their module is only imported when a request needs it.
"""

from __future__ import annotations

from functions.routes import approvals, browser_calls, health, internal, mcp, phone_calls, sessions, webhooks
from functions.routes.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    browser_calls.CREATE_TOKEN,
    browser_calls.CREATE_SESSION,
    browser_calls.REPORT_CALL,
    browser_calls.HANG_UP,
    sessions.LIST_SESSIONS,
    sessions.READ_SESSION,
    sessions.READ_EVENTS,
    sessions.READ_TRANSCRIPT,
    sessions.END_SESSION,
    sessions.ERASE_SESSION,
    phone_calls.PLACE_CALL,
    phone_calls.READ_CALL,
    phone_calls.HANG_UP_CALL,
    phone_calls.TRANSFER,
    phone_calls.ADD_PARTICIPANT,
    phone_calls.HOLD,
    phone_calls.RESUME,
    phone_calls.SEND_DIGITS,
    approvals.LIST_APPROVALS,
    approvals.READ_APPROVAL,
    approvals.DECIDE_APPROVAL,
    internal.START_TOOL_CALL,
    internal.ADJUST_RECORDING,
    internal.REPORT_LIFECYCLE,
    webhooks.REALTIME_WEBHOOK,
    webhooks.ACS_WEBHOOK,
    mcp.MCP,
    mcp.MCP_STREAM,
    health.HEALTH,
    health.READY,
    health.OPENAPI,
)
