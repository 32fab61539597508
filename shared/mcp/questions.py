"""What an MCP server asks in the middle of a call (elicitation), answered with a person's approval.

A question that an approval answers, where the call has none yet, ends the attempt: somebody is asked, and
the call is made again with the approval, under the same idempotency key. Every other question is declined.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

import mcp_types as types
from mcp.client.session import ClientRequestContext

from shared.mcp.client import Answer
from shared.mcp.failures import McpError
from shared.mcp.plain_text import plain
from shared.telemetry.logs import get_logger
from shared.tools.approval import MAX_QUESTION_CHARS, Approval

# How often a server may ask in one call.
MAX_ROUNDS = 5
# Fields of a question that an approval fills in, by what servers call them.
_BY = frozenset({"approved_by", "approver", "by"})
_COMMENT = frozenset({"comment", "note", "reason"})

Call: TypeAlias = Callable[[types.InputResponses | None, str | None], Awaitable[Answer]]
"""Makes the call, with the answers to what the server asked and the state that it gave with its questions."""

_log = get_logger(__name__)


class Questions:
    """What a server asks in one call.

    approval: what the call has been given. can_wait: whether a person can be asked, and the call wait for it.
    """

    def __init__(self, approval: Approval | None, *, can_wait: bool = True) -> None:
        self._approval = approval
        self._can_wait = can_wait
        self.unanswered = ""
        """The question that a person has to be asked first."""

    async def answered(self, call: Call) -> types.CallToolResult | None:
        """Call, and answer what is asked, until there is a result; None where a person has to be asked first.

        Raises McpError: `mcp_asks_too_much`, and what `call` raises.
        """
        inputs: types.InputResponses | None = None
        state: str | None = None
        for _ in range(MAX_ROUNDS):
            try:
                answer = await call(inputs, state)
            except Exception:
                if not self.unanswered:
                    raise
                return None  # what became of this attempt does not matter any more
            if not self.unanswered and isinstance(answer, types.InputRequiredResult):
                inputs, state = self._answers(answer.input_requests or {}), answer.request_state
            if self.unanswered:
                return None
            if isinstance(answer, types.CallToolResult):
                return answer
        raise McpError("mcp_asks_too_much", "The service asks too much.", counts=False)

    async def asked(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        """Answer a server of before 2026-07-28, over a connection that has this one call."""
        return self.answer(params)

    def answer(self, params: types.ElicitRequestParams) -> types.ElicitResult:
        """Return the answer to one question: cancelled where a person has to be asked first."""
        if not isinstance(params, types.ElicitRequestFormParams):
            _log.info("an MCP server asked for what nobody can answer here, and was declined")
            return types.ElicitResult(action="decline")
        content = _filled(dict(params.requested_schema), self._approval)
        if content is None or not self._can_wait:
            _log.info("an MCP server asked for more than an approval, and was declined")
            return types.ElicitResult(action="decline")
        if self._approval is None:
            question, _ = plain(params.message)
            self.unanswered = question[:MAX_QUESTION_CHARS] or "May the tool go on?"
            return types.ElicitResult(action="cancel")
        return types.ElicitResult(action="accept", content=content)

    def _answers(self, requests: types.InputRequests) -> types.InputResponses:
        answers: types.InputResponses = {}
        for name, request in requests.items():
            if not isinstance(request, types.ElicitRequest):
                raise McpError("mcp_asks_too_much", "The service asks for what we don't do.", counts=False)
            answers[name] = self.answer(request.params)
        return answers

    @contextmanager
    def heard(self) -> Generator[None]:
        """Have `answer_in_call` answer what the server asks in calls that are made within."""
        token = _asked_in.set(self)
        try:
            yield
        finally:
            _asked_in.reset(token)


_asked_in: ContextVar[Questions | None] = ContextVar("asked_in", default=None)


async def answer_in_call(
    context: ClientRequestContext, params: types.ElicitRequestParams
) -> types.ElicitResult | types.ErrorData:
    """Answer a server of before 2026-07-28 that asks in the middle of one of several calls.

    It does not say of which. But it asks in the answer to that call, and the SDK handles what comes there in
    the context in which the call was made. What comes elsewhere belongs to no call, and is declined.
    """
    questions = _asked_in.get()
    if questions is None:
        _log.info("an MCP server asked outside of a call, and was declined")
        return types.ElicitResult(action="decline")
    return questions.answer(params)


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
