"""The SDK's client as we use it: guarded HTTP or a child process, nothing logged of what servers send."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TypeAlias

import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.session import ElicitationFnT, MessageHandlerFnT
from mcp.client.streamable_http import streamable_http_client
from pydantic import TypeAdapter

from shared.mcp import quiet_sdk as quiet_sdk
from shared.mcp.credentials import SecretStore, authentication
from shared.mcp.guarded_http import GuardedClient, trusted_roots
from shared.mcp.server import HttpEndpoint, McpConnectionSpec, StdioCommand

# The longest answer that is read: many times what a model gets to see of it. The SDK takes some 0.1 ms a KiB
# to make sense of a structured one, on the thread that carries the calls.
MAX_ANSWER_BYTES = 1 << 18
# The longest list of tools that is read.
MAX_TOOLS = 500
MAX_PAGES = 20
# One step of connecting or listing.
STEP_S = 10.0
# Where servers find the key under which an effect shall happen once.
IDEMPOTENCY_KEY = "sidetone/idempotency-key"

Answer: TypeAlias = types.CallToolResult | types.InputRequiredResult

_ANSWER: TypeAdapter[Answer] = TypeAdapter(types.CallToolResult | types.InputRequiredResult)


async def open_client(
    stack: AsyncExitStack,
    spec: McpConnectionSpec,
    url: str,
    secrets: SecretStore,
    *,
    asked: ElicitationFnT,
    told: MessageHandlerFnT | None = None,
) -> Client:
    """Connect, and leave it to `stack` to disconnect; whoever enters that must leave it, in the same task.

    url: of the endpoint, where the server is one. asked: answers a server of before 2026-07-28 that asks in
    the middle of a call. Raises what the SDK raises, groups of exceptions included.
    """
    match spec.transport:
        case HttpEndpoint():
            http = await stack.enter_async_context(
                GuardedClient(
                    await trusted_roots(),
                    auth=authentication(spec.credential, url, secrets),
                    max_bytes=MAX_ANSWER_BYTES,
                    max_connections=spec.max_concurrency + 2,
                )
            )
            server = streamable_http_client(url, http_client=http, max_sse_event_size=MAX_ANSWER_BYTES)
        case StdioCommand(command=command):
            server = StdioServerParameters(command=command[0], args=list(command[1:]))
    client = Client(
        server,
        read_timeout_seconds=STEP_S,
        client_info=types.Implementation(name="sidetone", version="1.0"),
        message_handler=told,
        elicitation_callback=asked,
        cache=None,
    )
    return await stack.enter_async_context(client)


async def list_tools(client: Client) -> tuple[list[types.Tool], bool]:
    """Return the server's tools, MAX_TOOLS of them at most, and whether that is all."""
    found: list[types.Tool] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if cursor is None or len(found) > MAX_TOOLS:
            break
    return found[:MAX_TOOLS], cursor is None and len(found) <= MAX_TOOLS


async def call_tool(
    client: Client,
    tool: str,
    arguments: Mapping[str, object],
    *,
    idempotency_key: str,
    inputs: types.InputResponses | None = None,
    state: str | None = None,
    timeout_s: float | None = None,
) -> Answer:
    """Send one tools/call and return the answer.

    Not by the client's own method: it holds results against their schema on this thread, however long they
    are. inputs, state: the answers to what the server asked, and what it gave with its questions.
    """
    request = types.CallToolRequest(
        params=types.CallToolRequestParams(
            name=tool,
            arguments=dict(arguments),
            input_responses=inputs,
            request_state=state,
            _meta={IDEMPOTENCY_KEY: idempotency_key},  # pyright: ignore[reportArgumentType]  others' keys are allowed
        )
    )
    return await client.session.send_request(request, _ANSWER, request_read_timeout_seconds=timeout_s)
