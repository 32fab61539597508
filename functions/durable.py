"""Registering orchestrators and activities, and reading what they are given.

An activity takes and returns one JSON object. It can run more than once for one call, so each
is written to be repeated. A failure reaches an orchestrator as text only; that text starts with
the error's code.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, TypeAlias, cast

import azure.durable_functions as df

from functions.dependencies import Dependencies, dependencies

if TYPE_CHECKING:
    from azure.durable_functions.models.Task import TaskBase

Payload: TypeAlias = Mapping[str, object]
Activity: TypeAlias = Callable[[Payload, Dependencies], Awaitable[Payload]]
Orchestrator: TypeAlias = Callable[
    [df.DurableOrchestrationContext], "Generator[TaskBase, object, dict[str, object]]"
]


def orchestrator(blueprint: df.Blueprint, name: str) -> Callable[[Orchestrator], Orchestrator]:
    """Register the decorated generator function as the orchestrator `name`."""

    def register(program: Orchestrator) -> Orchestrator:
        trigger = blueprint.orchestration_trigger(context_name="context")
        blueprint.function_name(name=name)(trigger(program))
        return program

    return register


def activity(blueprint: df.Blueprint, name: str, *, span_name: str) -> Callable[[Activity], Activity]:
    """Register the decorated coroutine function as the activity `name`.

    Its payload must have `session_id` and may have `traceparent`, which its span continues.
    """

    def register(handler: Activity) -> Activity:
        async def invoke(payload: dict) -> dict:  # type: ignore[type-arg]  # the worker accepts bare classes only
            return dict(await _run(name, span_name, payload, handler))

        invoke.__name__ = name
        blueprint.function_name(name=name)(blueprint.activity_trigger(input_name="payload")(invoke))
        return handler

    return register


def as_object(value: object) -> Payload:
    """Return JSON data as a mapping, empty for anything else; event data can arrive as its JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return cast("Payload", value) if isinstance(value, Mapping) else {}


def text(payload: Payload, name: str) -> str:
    """Return the field `name` of an activity's payload as text, "" when it is missing."""
    value = payload.get(name, "")
    return value if isinstance(value, str) else str(value)


def number(payload: Payload, name: str) -> float:
    """Return the field `name` of an activity's payload as a number, 0 when it is missing or none."""
    value = payload.get(name, 0)
    return float(value) if isinstance(value, int | float) else 0.0


async def _run(name: str, span_name: str, payload: Payload, handler: Activity) -> Payload:
    from shared.telemetry import names
    from shared.telemetry.logs import bind_session, get_logger
    from shared.telemetry.trace_context import span

    session_id = text(payload, "session_id")
    with (
        bind_session(session_id),
        span(
            span_name,
            parent=text(payload, "traceparent"),
            attributes={names.SESSION_ID: session_id, names.STEP: name},
        ),
    ):
        try:
            return await handler(payload, await dependencies())
        except Exception as error:
            get_logger("functions.activities").warning(
                "activity_failed", extra={"activity": name, "error_type": type(error).__name__}
            )
            raise
