"""What a tool may know of the conversation that calls it, and what it may ask of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import NewType

import aiohttp

from shared.tools.approval import DEFAULT_EXPIRES_S, Approval, ApprovalNeededError
from shared.tools.clock import Clock
from shared.tools.facts import Facts
from shared.tools.http_client import http_client

IdempotencyKey = NewType("IdempotencyKey", str)
"""Annotates a parameter that gets the call's idempotency key."""

MAX_PROGRESS_CHARS = 300


@dataclass(frozen=True, kw_only=True)
class ToolSession:
    """The session that a tool works for.

    agent: the name of the agent that calls.
    variables: the values that the session was started with (not the agent's defaults).
    facts: what the server knows of the session; a tool can set some.
    """

    session_id: str
    agent: str
    variables: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    facts: Facts = field(default_factory=Facts, repr=False)


@dataclass(frozen=True, kw_only=True)
class ToolContext:
    """Injected into a tool's parameter that is annotated `ToolContext`; the model never sees it.

    idempotency_key: the same for every attempt at the same tool call, also after a crash. A tool with
        an effect stores it beside the effect and returns the first result when it meets it again.
    agent, variables, facts: as in ToolSession.
    approval: the approval that this call has been given, if it needed one.
    """

    session_id: str
    tool_call_id: str
    idempotency_key: str
    agent: str
    variables: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    facts: Facts = field(default_factory=Facts, repr=False)
    clock: Clock = field(default_factory=Clock, repr=False)
    approval: Approval | None = None
    tell: Callable[[str], None] = field(default=lambda text: None, repr=False)

    @property
    def session(self) -> ToolSession:
        """The session that the tool works for."""
        return ToolSession(
            session_id=self.session_id, agent=self.agent, variables=self.variables, facts=self.facts
        )

    @property
    def http(self) -> aiohttp.ClientSession:
        """The HTTP client that all tools share; only on an event loop, so not in a plain def."""
        return http_client()

    def progress(self, text: str) -> Awaitable[None]:
        """Have the caller told how far this is: one short sentence, said when nobody speaks.

        `await context.progress("…")` in an async tool; a plain def just calls it. Of several that
        nobody has heard yet, the newest is said.
        """
        told = " ".join(text.split())
        if told:
            self.tell(told[:MAX_PROGRESS_CHARS])
        return _Told()

    def require_approval(self, question: str, *, expires_s: float = DEFAULT_EXPIRES_S) -> Approval:
        """Return the approval of this call; without one, stop here until a person has decided.

        For durable tools. The tool is run again from its beginning when the approval is there, so call
        this before anything takes effect. `question` is what the approver reads; they have `expires_s`
        seconds for an answer.

        Raises ApprovalNeededError, which is not to be caught.
        """
        if self.approval is None:
            raise ApprovalNeededError(question, expires_s)
        return self.approval


class _Told:
    def __await__(self) -> Generator[None, None, None]:
        return
        yield
