"""The Azure Functions app: the control plane of Sidetone."""

from __future__ import annotations

import azure.durable_functions as df
import azure.functions as func

from functions import (
    acs_webhook,
    approval_activities,
    approvals,
    call_tools,
    calls,
    health,
    incoming_call,
    internal,
    lifecycle,
    openapi,
    operators_mcp,
    phone_calls,
    realtime_webhook,
    recordings,
    retention,
    sessions,
    tokens,
    tool_activities,
    tool_calls,
    transfers,
)

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
for part in (
    tokens,
    calls,
    sessions,
    internal,
    realtime_webhook,
    incoming_call,
    acs_webhook,
    phone_calls,
    approvals,
    operators_mcp,
    health,
    openapi,
    lifecycle,
    tool_calls,
    tool_activities,
    approval_activities,
    call_tools,
    transfers,
    recordings,
    retention,
):
    app.register_functions(part.blueprint)
