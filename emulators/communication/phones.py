"""The telephones at the other end: what happens when one of them rings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

import msgspec

from emulators.communication.identifiers import Identifier, named
from emulators.communication.wire import Json, RejectedError

Outcome = Literal["answer", "ring", "busy", "decline", "no_answer", "unreachable", "machine"]
"""answer: after `ring_ms`; ring: until told by /_emu; machine: an answering machine picks up."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class Behaviour(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a telephone does when it rings. `greeting` is what an answering machine says before its beep."""

    outcome: Outcome = "answer"
    ring_ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)] = 0
    greeting: str = "You have reached a voice mailbox. Please leave a message after the tone."

    def shown(self) -> Json:
        return {name: getattr(self, name) for name in self.__struct_fields__}


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a telephone was not reached: `code` and `sub_code` of the result, and the SIP reason."""

    code: int
    sub_code: int
    message: str
    sip_reason: str


FAILURES: dict[Outcome, Failure] = {
    "busy": Failure(code=486, sub_code=560486, message="The called number was busy.", sip_reason="Busy Here"),
    "decline": Failure(
        code=603, sub_code=560603, message="Call declined by the recipient.", sip_reason="Decline"
    ),
    "no_answer": Failure(
        code=480,
        sub_code=560480,
        message="No answer from the called user.",
        sip_reason="Temporarily Unavailable",
    ),
    "unreachable": Failure(
        code=404, sub_code=560404, message="Phone number not found.", sip_reason="Not Found"
    ),
}
"""Source: Microsoft's "PSTN call response codes"."""


@dataclass(slots=True)
class PhoneBook:
    """What each number does; `default` for all others."""

    default: Behaviour = field(default_factory=Behaviour)
    known: dict[str, Behaviour] = field(default_factory=dict[str, Behaviour])

    def behaviour(self, who: Identifier) -> Behaviour:
        return self.known.get(who.raw_id, self.default)

    def set(self, who: str, behaviour: Behaviour) -> None:
        """Set what a number (or raw id) does, `*` for the default; raises RejectedError (400)."""
        if who == "*":
            self.default = behaviour
        else:
            self.known[named(who).raw_id] = behaviour

    def shown(self) -> Json:
        known: Json = {who: behaviour.shown() for who, behaviour in self.known.items()}
        return {"default": self.default.shown(), "known": known}


def parse_phone(text: str) -> tuple[str, Behaviour]:
    """Return what `+15550100=busy` or `*=answer:300` (outcome and ring time in ms) says; ValueError."""
    who, separator, what = text.partition("=")
    outcome, _, ring = what.partition(":")
    by_name: dict[str, Outcome] = {known: known for known in OUTCOMES}
    chosen = by_name.get(outcome)
    if not separator or chosen is None or (ring and not ring.isdecimal()):
        raise ValueError(
            f"--phone must be NUMBER=OUTCOME or NUMBER=OUTCOME:MS, such as +15550100=busy or *=answer:300; "
            f"outcomes are {', '.join(OUTCOMES)}"
        )
    if who != "*":
        try:
            named(who)
        except RejectedError as error:
            raise ValueError(f"--phone {who}: {error.message}") from None
    return who, Behaviour(outcome=chosen, ring_ms=int(ring or 0))
