"""An MCP server's tools as tools of an agent: offered, checked and called as they are now.

A session keeps the tools that it began with. A call is held to what the server lists at that moment, so a
tool that has changed since, or that was not known yet, tells the model what it takes instead of failing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property

import mcp_types as types
from pydantic_core import to_json

from shared.mcp.arguments import SchemaReader
from shared.mcp.client import Answer
from shared.mcp.connection import McpConnection
from shared.mcp.failures import McpError, unavailable
from shared.mcp.offers import NotOffered, Offer, offered_name, offers_of
from shared.mcp.questions import Questions
from shared.mcp.results import error_text, read_result
from shared.mcp.server import HttpEndpoint, McpServer
from shared.session.log import ToolExecution
from shared.session.model import FactValue
from shared.telemetry.logs import get_logger
from shared.tools.approval import ApprovalNeededError
from shared.tools.context import ToolContext
from shared.tools.definition import Tool
from shared.tools.injection import Injection
from shared.tools.options import filler
from shared.tools.parameters import ArgumentProblem, InvalidArgumentsError
from shared.tools.refusal import ToolRefusedError

# What the run of a tool gets on top of the server's own time, so that ours is the limit that is met.
GRACE_S = 1.0
_LONGEST_SCHEMA = 2_000

_NOT_KNOWN = "A tool of {server}, which can't be reached just now. Call it only if the caller asks for it."
_OPEN_SCHEMA: Mapping[str, object] = {"type": "object", "properties": {}}

_log = get_logger(__name__)


class ServerTools:
    """What one server offers to the agents that describe it in the same words."""

    def __init__(self, server: McpServer, connection: McpConnection) -> None:
        self._server = server
        self._connection = connection
        self._read_at = -1
        self._offers: dict[str, Offer] = {}
        self._readers: dict[str, SchemaReader] = {}

    @property
    def server(self) -> McpServer:
        return self._server

    @property
    def connection(self) -> McpConnection:
        return self._connection

    def offers(self) -> Mapping[str, Offer]:
        """Return the offers by name, as the server has its tools now."""
        listed = self._connection.tools
        if listed is not None and self._read_at != self._connection.changes:
            self._read_at = self._connection.changes
            offers, refused = offers_of(self._server, listed)
            self._offers = {offer.name: offer for offer in offers}
            self._readers = {}
            _report(self._server, listed_names=[tool.name for tool in listed], refused=refused)
        return self._offers

    def reader(self, offer: Offer) -> SchemaReader:
        """Return the reader of an offer's arguments."""
        if offer.name not in self._readers:
            self._readers[offer.name] = SchemaReader(offer.parameters)
        return self._readers[offer.name]

    def tools(self) -> dict[str, Tool]:
        """Return the tools for a session that begins now; where none is known yet, those named for sure."""
        offers = self.offers()
        if self._connection.tools is not None:
            return {offer.name: _tool(self, offer.name, offer) for offer in offers.values()}
        names = (offered_name(self._server, tool) for tool in self._server.certain_tools)
        return {name: _tool(self, name, None) for name in names}


def _report(server: McpServer, *, listed_names: list[str], refused: list[NotOffered]) -> None:
    for one in refused:
        _log.error(
            "a tool of an MCP server can't be offered",
            extra={"server": server.name, "tool": one.tool, "reason": one.reason},
        )
    missing = [tool for tool in server.certain_tools if tool not in listed_names]
    if missing:
        _log.warning(
            "an MCP server lacks tools that an agent wants", extra={"server": server.name, "tools": missing}
        )


def _tool(source: ServerTools, name: str, offer: Offer | None) -> Tool:
    server = source.server
    call = _Call(source, name, offer)
    return Tool(
        name=name,
        description=offer.description if offer else _NOT_KNOWN.format(server=server.name),
        execution=ToolExecution.DURABLE if _is_durable(server, name) else ToolExecution.INLINE,
        idempotent=offer.repeatable if offer else False,
        timeout_s=server.connection.timeout_s + GRACE_S,
        max_result_bytes=server.max_result_bytes,
        parameters=offer.parameters if offer else _OPEN_SCHEMA,
        function=call.function,
        reader=call,
        injection=Injection(types={"context": ToolContext}),
        requires=server.requires,
        redact=server.redact,
        speak_while_running=filler(server.speak_while_running),
        becomes_durable=can_wait(server),
    )


def _is_durable(server: McpServer, name: str) -> bool:
    return any(offered_name(server, tool) == name for tool in server.durable)


def can_wait(server: McpServer) -> bool:
    """Return whether a call can go on as an orchestration: the Functions app starts no servers."""
    return isinstance(server.connection.transport, HttpEndpoint)


class _Call:
    """Reads arguments for one tool and calls it."""

    def __init__(self, source: ServerTools, name: str, offered: Offer | None) -> None:
        self._source = source
        self._name = name
        self._offered = offered

    def read(self, arguments_json: str) -> dict[str, object]:
        """Return {"arguments": …} as the server wants them now; raise InvalidArgumentsError."""
        offer = self._source.offers().get(self._name)
        if offer is None:
            return {"arguments": None}  # there is nothing to hold them to: `function` says why
        try:
            return self._source.reader(offer).read(arguments_json)
        except InvalidArgumentsError as error:
            if self._offered is not None and self._offered.parameters == offer.parameters:
                raise
            now = to_json(offer.parameters).decode()[:_LONGEST_SCHEMA]
            changed = ArgumentProblem(field="", problem=f"this tool takes other arguments now: {now}")
            raise InvalidArgumentsError([*error.problems, changed]) from error

    @cached_property
    def function(self) -> Callable[..., object]:
        async def call(arguments: Mapping[str, object] | None, context: ToolContext) -> Mapping[str, object]:
            return await self._call(arguments, context)

        return call

    async def _call(
        self, arguments: Mapping[str, object] | None, context: ToolContext
    ) -> Mapping[str, object]:
        server, connection = self._source.server, self._source.connection
        offer = self._source.offers().get(self._name)
        if offer is None or arguments is None:
            if connection.tools is None or offer is not None:  # not known, or not when this began
                raise refusal(unavailable(server.name))
            raise ToolRefusedError(f"The service {server.name} has no such tool any more.", code="tool_gone")
        filled = {**arguments, **filled_in(server, context, offer.schema)}
        questions = Questions(None, can_wait=can_wait(server))
        started = time.perf_counter()

        async def call(inputs: types.InputResponses | None, state: str | None) -> Answer:
            return await connection.call(
                offer.tool,
                filled,
                idempotency_key=context.idempotency_key,
                questions=questions,
                inputs=inputs,
                state=state,
            )

        async def call_again_if_lost(inputs: types.InputResponses | None, state: str | None) -> Answer:
            """Call, and once more where that is harmless and the first was lost on the way."""
            try:
                return await call(inputs, state)
            except McpError as error:
                if error.code != "mcp_lost" or not offer.repeatable or questions.unanswered:
                    raise
                return await call(inputs, state)

        try:
            answer = await questions.answered(call_again_if_lost)
        except McpError as error:
            _log.warning(
                "a call of an MCP tool failed",
                extra={
                    "server": server.name,
                    "tool": offer.tool,
                    "code": error.code,
                    "took_ms": round((time.perf_counter() - started) * 1000),
                },
            )
            raise refusal(error, repeatable=offer.repeatable) from error
        if answer is None:
            _log.info(
                "an MCP server asks for a person's approval",
                extra={"server": server.name, "tool": offer.tool},
            )
            raise ApprovalNeededError(questions.unanswered)
        return told(server, offer.tool, answer)


def filled_in(server: McpServer, context: ToolContext, schema: Mapping[str, object]) -> dict[str, FactValue]:
    """Return the arguments that come from the session, of those that `schema` knows.

    Raises ToolRefusedError where a fact is not known.
    """
    properties = schema.get("properties")
    filled: dict[str, FactValue] = {}
    for argument, fact in server.arguments.items():
        if not isinstance(properties, Mapping) or argument not in properties:
            continue
        value = context.facts.get(fact)
        if value is None:
            raise ToolRefusedError(
                f"This needs {fact}, which is not known yet: find it out with the tool for that.",
                code="requirements_not_met",
            )
        filled[argument] = value
    return filled


def told(server: McpServer, tool: str, result: types.CallToolResult) -> Mapping[str, object]:
    """Return what the model reads of a result. Raises ToolRefusedError for one that is an error."""
    if result.is_error:
        words = error_text(result) or f"The service {server.name} could not do it."
        raise ToolRefusedError(words, code="mcp_tool_error")
    reading = read_result(result, server.max_result_bytes)
    if reading.cut or reading.removed:
        _log.warning(
            "a result of an MCP tool was changed",
            extra={
                "server": server.name,
                "tool": tool,
                "cut": reading.cut,
                "invisible_characters": reading.removed,
                "result_bytes": reading.bytes_received,
                "max_result_bytes": server.max_result_bytes,
            },
        )
    return reading.value


def refusal(error: McpError, *, repeatable: bool = False) -> ToolRefusedError:
    """Return what the model is told of a call that failed, with what is known of its effect."""
    if not error.maybe_ran or error.code == "result_too_large":
        return ToolRefusedError(error.detail, code=error.code)
    after = (
        "It may be tried again."
        if repeatable
        else "Whether it took effect is not known: say so, and check before you try again."
    )
    return ToolRefusedError(f"{error.detail} {after}", code=error.code)
