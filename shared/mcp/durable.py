"""An MCP tool as a durable one: called from an orchestration, over a connection of its own.

Every tool of a server with a URL can be called so: those that the agent lists under `durable`, and the others
once their server has asked, in the middle of an inline call, what a person has to answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

import mcp_types as types
import orjson
from mcp import Client

from shared.agents.agent import Agent
from shared.mcp.addresses import address_of
from shared.mcp.client import Answer, call_tool, list_tools, open_client
from shared.mcp.credentials import SecretStore
from shared.mcp.failures import McpError, failure_of, timed_out
from shared.mcp.offers import offered_name
from shared.mcp.questions import Questions
from shared.mcp.server import HttpEndpoint, McpServer
from shared.mcp.tools import GRACE_S, can_wait, refusal, told
from shared.session.log import ToolExecution
from shared.telemetry.logs import get_logger
from shared.tools.approval import ApprovalNeededError
from shared.tools.context import ToolContext
from shared.tools.definition import Tool
from shared.tools.injection import Injection
from shared.tools.options import DurableOptions
from shared.tools.parameters import ArgumentProblem, InvalidArgumentsError

_log = get_logger(__name__)


def durable_tool(
    agent: Agent, name: str, secrets: SecretStore, environment: Mapping[str, str]
) -> Tool | None:
    """Return the MCP tool that `agent` has under `name`, as a durable one, or None."""
    server = agent.mcp_servers.get(name.partition("__")[0])
    if server is None or not can_wait(server):
        return None
    tool = _name_at(server, name)
    if not tool:
        return None
    call = _DurableCall(server, name, tool, secrets, environment)
    return Tool(
        name=name,
        description=tool,
        execution=ToolExecution.DURABLE,
        idempotent=call.repeatable,
        timeout_s=(server.connection.timeout_s + GRACE_S) * 2,
        max_result_bytes=server.max_result_bytes,
        parameters={"type": "object", "properties": {}},
        function=call.function,
        reader=call,
        injection=Injection(types={"context": ToolContext}),
        requires=server.requires,
        redact=server.redact,
        durable=DurableOptions(approval=server.approvals.get(tool)),
    )


def _name_at(server: McpServer, name: str) -> str:
    """Return the server's own name of the tool, "" where the agent gets no such tool.

    What only a pattern allows is taken by its word: the server is asked when it is called.
    """
    for tool in (*server.durable, *server.certain_tools):
        if server.allows(tool) and offered_name(server, tool) == name:
            return tool
    return name.partition("__")[2] if len(server.certain_tools) < len(server.tools) else ""


class _DurableCall:
    """Calls one tool of one server. The server holds the arguments to its schema."""

    def __init__(
        self, server: McpServer, name: str, tool: str, secrets: SecretStore, environment: Mapping[str, str]
    ) -> None:
        self._server = server
        self._name = name
        self._tool = tool
        self._secrets = secrets
        self._environment = environment
        self.repeatable = server.may_repeat(tool, idempotent=False, reads_only=False)

    def read(self, arguments_json: str) -> dict[str, object]:
        """Return {"arguments": …}; raise InvalidArgumentsError for what is no JSON object."""
        try:
            arguments: object = orjson.loads(arguments_json.strip() or "{}")
        except orjson.JSONDecodeError as error:
            problem = ArgumentProblem(field="", problem=f"the arguments are not valid JSON: {error.msg}")
            raise InvalidArgumentsError([problem]) from error
        if not isinstance(arguments, dict):
            problem = ArgumentProblem(field="", problem="the arguments must be one JSON object")
            raise InvalidArgumentsError([problem])
        return {"arguments": arguments}

    async def function(self, arguments: Mapping[str, object], context: ToolContext) -> Mapping[str, object]:
        """Call the tool. Raises ApprovalNeededError, ToolRefusedError; McpError where a retry may help."""
        server = self._server
        questions = Questions(context.approval)
        try:
            result = await self._call(arguments, context, questions)
        except McpError as error:
            _log.warning(
                "a durable call of an MCP tool failed",
                extra={"server": server.name, "tool": self._tool, "code": error.code},
            )
            if self.repeatable and error.counts:
                raise
            raise refusal(error, repeatable=self.repeatable) from error
        if result is None:  # raised here, because the connection would wrap what is raised within it
            raise ApprovalNeededError(questions.unanswered)
        return told(server, self._tool, result)

    async def _call(
        self, arguments: Mapping[str, object], context: ToolContext, questions: Questions
    ) -> types.CallToolResult | None:
        server, spec = self._server, self._server.connection
        written = spec.transport.url if isinstance(spec.transport, HttpEndpoint) else ""
        url = address_of(written, self._environment, where=f"mcp_servers.{server.name}.url")
        try:
            async with asyncio.timeout(spec.timeout_s * 2), AsyncExitStack() as stack:
                client = await open_client(stack, spec, url, self._secrets, asked=questions.asked)
                tool = await self._listed(client)
                filled = _filled(server, arguments, context, tool.input_schema)

                async def call(inputs: types.InputResponses | None, state: str | None) -> Answer:
                    return await call_tool(
                        client,
                        tool.name,
                        filled,
                        idempotency_key=context.idempotency_key,
                        inputs=inputs,
                        state=state,
                    )

                return await questions.answered(call)
        except TimeoutError as error:
            raise timed_out(server.name, spec.timeout_s * 2) from error
        except McpError:
            raise
        except Exception as error:  # whatever the SDK makes of what a server does
            raise failure_of(error, server.name) from error

    async def _listed(self, client: Client) -> types.Tool:
        """Return the tool as its server lists it; raise McpError `tool_gone`."""
        server = self._server
        listed, _ = await list_tools(client)
        for tool in listed:
            if server.allows(tool.name) and offered_name(server, tool.name) == self._name:
                return tool
        raise McpError("tool_gone", f"The service {server.name} has no such tool any more.", counts=False)


def _filled(
    server: McpServer, arguments: Mapping[str, object], context: ToolContext, schema: Mapping[str, object]
) -> dict[str, object]:
    """Return the arguments with what the session fills in.

    The tool began with its facts known. One that was forgotten since is left out, whatever the model says:
    the server misses it.
    """
    properties = schema.get("properties")
    known = {argument: context.facts.get(fact) for argument, fact in server.arguments.items()}
    return {
        **{argument: value for argument, value in arguments.items() if argument not in known},
        **{
            argument: value
            for argument, value in known.items()
            if value is not None and isinstance(properties, Mapping) and argument in properties
        },
    }
