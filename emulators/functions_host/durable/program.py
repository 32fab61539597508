"""What an orchestrator function answers: its program so far, and its state.

The SDK sends the whole list of actions at every episode. Source: the SDK's
`OrchestratorState.py` and `actions/`, the extension's `OutOfProcOrchestrationShim.cs`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from emulators.functions_host.durable.history import moment


class ProtocolError(Exception):
    """The answer is not one that the extension would understand."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Fixed delay between attempts, in seconds."""

    delay: float
    max_attempts: int


@dataclass(frozen=True, kw_only=True)
class CallActivity:
    name: str
    input_text: str
    retry: Retry | None = None


@dataclass(frozen=True, kw_only=True)
class CallSubOrchestrator:
    name: str
    raw_input: str
    instance_id: str | None
    version: str | None
    retry: Retry | None = None


@dataclass(frozen=True, kw_only=True)
class CallHttp:
    request: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class CreateTimer:
    fire_at: float
    is_canceled: bool


@dataclass(frozen=True, kw_only=True)
class WaitForEvent:
    name: str


@dataclass(frozen=True, kw_only=True)
class CallEntity:
    entity_id: str
    operation: str
    input_text: str | None
    signal: bool


@dataclass(frozen=True, kw_only=True)
class ContinueAsNew:
    raw_input: str


@dataclass(frozen=True, kw_only=True)
class Compound:
    """WhenAll or WhenAny over members that were not scheduled before."""

    members: Sequence[Action]
    wait_for_all: bool


Action: TypeAlias = (
    CallActivity
    | CallSubOrchestrator
    | CallHttp
    | CreateTimer
    | WaitForEvent
    | CallEntity
    | ContinueAsNew
    | Compound
)


@dataclass(frozen=True, kw_only=True)
class OrchestratorAnswer:
    """`output` and `custom_status` are JSON texts; None where the SDK left them out."""

    is_done: bool
    actions: Sequence[Action]
    output: str | None
    error: str | None
    custom_status: str | None


def parse_answer(text: str) -> OrchestratorAnswer:
    """Parse an orchestrator's answer. Raises ProtocolError."""
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise ProtocolError(f"Out of proc orchestrators must return a valid JSON schema: {error}") from error
    if not isinstance(answer, dict):
        raise ProtocolError(
            "The data returned by the out-of-process function execution was not a JSON object."
        )
    state = cast("dict[str, object]", answer)
    if state.get("schemaVersion", 0) not in (1, 2):
        raise ProtocolError(
            f"Replay schema {state.get('schemaVersion', 0)} is not supported, only 1 and 2 are."
        )
    groups = cast("Sequence[Sequence[Mapping[str, object]]]", state.get("actions") or [[]])
    if len(groups) != 1:
        raise ProtocolError(
            f"Expected an actions array of length 1 in its outer layer but got size: {len(groups)}"
        )
    return OrchestratorAnswer(
        is_done=bool(state.get("isDone")),
        actions=[_action(a) for a in groups[0]],
        output=json.dumps(state["output"]) if "output" in state else None,
        error=str(state["error"]) if state.get("error") else None,
        custom_status=json.dumps(state["customStatus"]) if state.get("customStatus") is not None else None,
    )


def _action(action: Mapping[str, object]) -> Action:
    match action.get("actionType"):
        case 0 | 1:
            return CallActivity(
                name=str(action["functionName"]), input_text=_text(action.get("input")), retry=_retry(action)
            )
        case 2 | 3:
            return CallSubOrchestrator(
                name=str(action["functionName"]),
                raw_input=json.dumps(action.get("input")),
                instance_id=cast("str | None", action.get("instanceId")) or None,
                version=cast("str | None", action.get("version")),
                retry=_retry(action),
            )
        case 4:
            return ContinueAsNew(raw_input=json.dumps(action.get("input")))
        case 5:
            return CreateTimer(
                fire_at=moment(str(action["fireAt"])), is_canceled=bool(action.get("isCanceled"))
            )
        case 6:
            return WaitForEvent(name=str(action["externalEventName"]))
        case 7 | 9 as call:
            given = action.get("input")
            return CallEntity(
                entity_id=str(action["instanceId"]),
                operation=str(action["operation"]),
                input_text=None if given is None else json.dumps(given),
                signal=call == 9,
            )
        case 8:
            return CallHttp(request=cast("Mapping[str, object]", action["httpRequest"]))
        case 11 | 12 as compound:
            members = cast("Sequence[Mapping[str, object]]", action.get("compoundActions") or [])
            return Compound(members=[_action(m) for m in members], wait_for_all=compound == 12)
        case other:
            raise ProtocolError(f"Unknown action type {other!r}.")


def _retry(action: Mapping[str, object]) -> Retry | None:
    options = action.get("retryOptions")
    if not isinstance(options, dict):
        return None
    given = cast("Mapping[str, object]", options)
    return Retry(
        delay=float(str(given["firstRetryIntervalInMilliseconds"])) / 1000,
        max_attempts=int(str(given["maxNumberOfAttempts"])),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
