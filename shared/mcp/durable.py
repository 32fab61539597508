"""An MCP tool as a durable one: called from an orchestration, over a connection of its own.

Where the server asks for something in the middle of the call (elicitation), a person is asked for an
approval; the call is made again when it is there, under the same idempotency key, and the server's question
is answered with it. What an approval does not answer is declined.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

import mcp_types as types
import orjson
from mcp.client.session import ClientRequestContext

from shared.agents.agent import Agent
from shared.mcp.addresses import address_of
from shared.mcp.client import Answer, call_tool, open_client
from shared.mcp.credentials import SecretStore
from shared.mcp.failures import McpError, failure_of, timed_out
from shared.mcp.offers import offered_name
from shared.mcp.plain_text import plain
from shared.mcp.server import HttpEndpoint, McpServer
from shared.mcp.tools import GRACE_S, refusal, told
from shared.session.log import ToolExecution
from shared.session.model import FactValue
from shared.telemetry.logs import get_logger
from shared.tools.approval import MAX_QUESTION_CHARS, Approval
from shared.tools.context import ToolContext
from shared.tools.definition import Tool
from shared.tools.injection import Injection
from shared.tools.options import DurableOptions
from shared.tools.parameters import ArgumentProblem, InvalidArgumentsError

# How often a server may ask in one call.
MAX_ROUNDS = 5
# Fields of a question that an approval fills in, by what servers call them.
_BY = frozenset({"approved_by", "approver", "by"})
_COMMENT = frozenset({"comment", "note", "reason"})

_log = get_logger(__name__)


def durable_tool(
    agent: Agent, name: str, secrets: SecretStore, environment: Mapping[str, str]
) -> Tool | None:
    """Return the durable MCP tool that `agent` has under `name`, or None."""
    for server in agent.mcp_servers.values():
        for tool in server.durable:
            if server.allows(tool) and offered_name(server, tool) == name:
                call = _DurableCall(server, tool, secrets, environment)
                return Tool(
                    name=name,
                    description=tool,
                    execution=ToolExecution.DURABLE,
                    idempotent=server.may_repeat(tool, idempotent=False, reads_only=False),
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
    return None


class _DurableCall:
    """Calls one tool of one server. The server holds the arguments to its schema."""

    def __init__(
        self, server: McpServer, tool: str, secrets: SecretStore, environment: Mapping[str, str]
    ) -> None:
        self._server = server
        self._tool = tool
        self._secrets = secrets
        self._environment = environment

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
        questions = _Questions(context.approval)
        try:
            result = await self._call(arguments, context, questions)
        except McpError as error:
            _log.warning(
                "a durable call of an MCP tool failed",
                extra={"server": server.name, "tool": self._tool, "code": error.code},
            )
            repeatable = server.may_repeat(self._tool, idempotent=False, reads_only=False)
            if repeatable and error.counts:
                raise
            raise refusal(error, repeatable=repeatable) from error
        if questions.unanswered:  # outside of the connection, which would wrap what is raised in it
            context.require_approval(questions.unanswered)
        return told(server, self._tool, result)

    async def _call(
        self, arguments: Mapping[str, object], context: ToolContext, questions: _Questions
    ) -> types.CallToolResult:
        server, spec = self._server, self._server.connection
        written = spec.transport.url if isinstance(spec.transport, HttpEndpoint) else ""
        url = address_of(written, self._environment, where=f"mcp_servers.{server.name}.url")
        try:
            async with asyncio.timeout(spec.timeout_s * 2), AsyncExitStack() as stack:
                client = await open_client(stack, spec, url, self._secrets, asked=questions.asked)
                listed = await client.list_tools()
                schema = next((one.input_schema for one in listed.tools if one.name == self._tool), {})
                filled = {**arguments, **_known(server, context, schema)}
                inputs: types.InputResponses | None = None
                state: str | None = None
                for _ in range(MAX_ROUNDS):
                    answer: Answer = await call_tool(
                        client,
                        self._tool,
                        filled,
                        idempotency_key=context.idempotency_key,
                        inputs=inputs,
                        state=state,
                    )
                    if isinstance(answer, types.CallToolResult):
                        return answer
                    inputs, state = questions.answers(answer.input_requests or {}), answer.request_state
                    if questions.unanswered:
                        return types.CallToolResult(content=[])
                raise McpError("mcp_asks_too_much", f"The service {server.name} asks too much.", counts=False)
        except TimeoutError as error:
            raise timed_out(server.name, spec.timeout_s * 2) from error
        except McpError:
            raise
        except Exception as error:  # whatever the SDK makes of what a server does
            raise failure_of(error, server.name) from error


def _known(server: McpServer, context: ToolContext, schema: Mapping[str, object]) -> dict[str, FactValue]:
    """Return what the session fills in; the tool does not run before its facts are known."""
    properties = schema.get("properties")
    known = {argument: context.facts.get(fact) for argument, fact in server.arguments.items()}
    return {
        argument: value
        for argument, value in known.items()
        if value is not None and isinstance(properties, Mapping) and argument in properties
    }


class _Questions:
    """What a server asks in one call, answered with the approval that the call has.

    unanswered: the question that a person has to be asked first.
    """

    def __init__(self, approval: Approval | None) -> None:
        self._approval = approval
        self.unanswered = ""

    async def asked(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        """Answer a server of before 2026-07-28; cancelled where a person has to be asked first."""
        return self._answer(params)

    def answers(self, requests: types.InputRequests) -> types.InputResponses:
        """Answer a server of 2026-07-28."""
        answers: types.InputResponses = {}
        for name, request in requests.items():
            if not isinstance(request, types.ElicitRequest):
                raise McpError("mcp_asks_too_much", "The service asks for what we don't do.", counts=False)
            answers[name] = self._answer(request.params)
        return answers

    def _answer(self, params: types.ElicitRequestParams) -> types.ElicitResult:
        if not isinstance(params, types.ElicitRequestFormParams):
            _log.info("an MCP server asked for what nobody can answer here, and was declined")
            return types.ElicitResult(action="decline")
        content = _filled(dict(params.requested_schema), self._approval)
        if content is None:
            _log.info("an MCP server asked for more than an approval, and was declined")
            return types.ElicitResult(action="decline")
        if self._approval is None:
            question, _ = plain(params.message)
            self.unanswered = question[:MAX_QUESTION_CHARS] or "May the tool go on?"
            return types.ElicitResult(action="cancel")
        return types.ElicitResult(action="accept", content=content)


def _filled(
    schema: Mapping[str, object], approval: Approval | None
) -> dict[str, str | int | float | bool | list[str] | None] | None:
    """Return the answer that an approval is to a question; None where it asks for more than one can say."""
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, Mapping):
        return None
    wanted = required if isinstance(required, list) else []
    filled: dict[str, str | int | float | bool | list[str] | None] = {}
    for name, field in properties.items():
        kind = field.get("type") if isinstance(field, Mapping) else None
        if kind == "boolean":
            filled[str(name)] = True
        elif kind == "string" and name in _BY:
            filled[str(name)] = approval.by if approval else ""
        elif kind == "string" and name in _COMMENT:
            filled[str(name)] = approval.comment if approval else ""
        elif name in wanted:
            return None
    yes_or_no = [value for value in filled.values() if value is True]
    return filled if len(yes_or_no) <= 1 else None  # of two it is not clear what yes means
