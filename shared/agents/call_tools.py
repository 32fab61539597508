"""The telephone tools that an agent may be given: named like other tools, under a module of their own.

A tool here only turns the model's arguments into what is wanted of the call. The control plane asks the
call's carrier for that, and the conversation itself does what ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from shared.agents.phone import Destination
from shared.agents.problems import did_you_mean
from shared.session.log import ToolExecution
from shared.tools.definition import Tool, ToolFunction, tool

# No module of an agents directory may be called like this.
CALL_MODULE = "call"
END_CALL = "end_call"
RECORD_CONSENT = "record_consent"
TRANSFER_CALL = "transfer_call"
LONGEST_DIGITS = 64


@dataclass(frozen=True, kw_only=True)
class EndCall:
    """End the call once the caller has heard what is being said."""


@dataclass(frozen=True, kw_only=True)
class TransferCall:
    """Hand the caller over. to: a name of the agent's `transfer_to`."""

    to: str


@dataclass(frozen=True, kw_only=True)
class AddParticipant:
    """Take somebody into the call. who: a name of the agent's `participants`."""

    who: str


@dataclass(frozen=True, kw_only=True)
class SendDigits:
    """Press keys for whoever is at the other end."""

    digits: str


@dataclass(frozen=True, kw_only=True)
class HoldCall:
    """Let the caller hear and say nothing."""


@dataclass(frozen=True, kw_only=True)
class ResumeCall:
    """End the wait."""


@dataclass(frozen=True, kw_only=True)
class RecordConsent:
    """Note whether the caller agrees to what they were told and asked first."""

    given: bool


CallRequest: TypeAlias = (
    EndCall | TransferCall | AddParticipant | SendDigits | HoldCall | ResumeCall | RecordConsent
)


@dataclass(frozen=True, kw_only=True, eq=False)
class CallTool(Tool):
    """A tool whose function returns the CallRequest that the model's arguments mean.

    CONVERSATION ones are done by the conversation itself, DURABLE ones by the control plane.
    """

    wants: type[CallRequest]

    def request(self, arguments_json: str) -> CallRequest:
        """Return what the model wants. Raises InvalidArgumentsError."""
        arguments: dict[str, Any] = self.reader.read(arguments_json)
        return self.wants(**arguments)


def record_consent_tool() -> CallTool:
    """Return the tool by which the model tells whether the caller has agreed."""
    return _call_tool(_record_consent, RECORD_CONSENT, RecordConsent, ToolExecution.CONVERSATION)


def find_call_tool(
    name: str, transfer_to: Mapping[str, Destination], participants: Mapping[str, Destination]
) -> CallTool:
    """Return the tool `call.<name>` of an agent with these destinations. Raises KeyError with what to do."""
    match name:
        case "end":
            return _call_tool(_end_call, END_CALL, EndCall, ToolExecution.CONVERSATION)
        case "transfer":
            transfer = _transfer_call(transfer_to)
            return _call_tool(transfer, TRANSFER_CALL, TransferCall, ToolExecution.DURABLE)
        case "add_participant":
            invite = _add_participant(participants)
            return _call_tool(invite, "add_participant", AddParticipant, ToolExecution.DURABLE)
        case "send_digits":
            return _call_tool(_send_digits, "send_digits", SendDigits, ToolExecution.DURABLE)
        case "hold":
            return _call_tool(_hold_call, "hold_call", HoldCall, ToolExecution.DURABLE)
        case "resume":
            return _call_tool(_resume_call, "resume_call", ResumeCall, ToolExecution.DURABLE)
        case _:
            known = ("add_participant", "end", "hold", "resume", "send_digits", "transfer")
            raise KeyError(did_you_mean(f"{CALL_MODULE}.{name}", [f"{CALL_MODULE}.{one}" for one in known]))


def _end_call() -> None:
    """End the call. Say goodbye in the same reply, before you call this: the caller hears it to its end.
    Use it when the caller wants nothing more, or must not be served."""


def _send_digits(
    digits: Annotated[
        str,
        Field(description="0 to 9, *, #, A to D.", pattern=rf"^[0-9*#A-Da-d]{{1,{LONGEST_DIGITS}}}$"),
    ],
) -> None:
    """Press keys of the telephone, as for a menu at the other end of the call."""


def _hold_call() -> None:
    """Put the caller on hold: they hear and say nothing until you resume the call. Tell them before, and
    resume it as soon as you can."""


def _resume_call() -> None:
    """Take the caller off hold."""


def _record_consent(
    given: Annotated[bool, Field(description="Only true for a clear yes.")],
) -> None:
    """Note the caller's answer to what they were told and asked before all else. Call it as soon as they
    have answered: false if they object, or do not agree after you have asked again. Until then talk
    about nothing else; no other tool works."""


def _transfer_call(destinations: Mapping[str, Destination]) -> ToolFunction:
    def transfer_call(to: object) -> None: ...

    announced = all(destination.announcement for destination in destinations.values())
    told = "say nothing more: they are told" if announced else "tell them whom you put them through to"
    transfer_call.__doc__ = (
        f"Hand the caller over to somebody else. Ask before whether they want that; with this call {told}. "
        "If it fails you are told why, and the caller is still with you."
    )
    transfer_call.__annotations__["to"] = _choice(destinations)
    return transfer_call


def _add_participant(people: Mapping[str, Destination]) -> ToolFunction:
    def add_participant(who: object) -> None:
        """Call somebody and take them into this call, beside the caller. You are told whether they come."""

    add_participant.__annotations__["who"] = _choice(people)
    return add_participant


def _choice(named: Mapping[str, Destination]) -> object:
    """Return the type of a parameter that is one of the names, each with what it is for."""
    if not named:  # a mistake that is told elsewhere
        return str
    told = "; ".join(f"{name}: {one.description}" for name, one in named.items() if one.description)
    return Annotated[Literal[tuple(named)], Field(description=told or "Who it is.")]


def _call_tool(
    function: Callable[..., object], name: str, wants: type[CallRequest], execution: ToolExecution
) -> CallTool:
    # Repeatable: carriers know a request that comes again by its id, and the rest changes nothing.
    plain = tool(idempotent=True, name=name)(function)
    given: dict[str, Any] = {field.name: getattr(plain, field.name) for field in fields(plain)}
    given["execution"] = execution
    return CallTool(**given, wants=wants)
