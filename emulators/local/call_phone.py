"""Place phone calls on the running local stack and show them: `make call-phone`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emulators.local.addresses import Addresses, run_directory
from emulators.local.carrier import CLAIMS_LINE
from emulators.local.console import ConversationConsole
from emulators.local.errors import LocalStackError
from emulators.local.phone_call import PhoneCall, PlacedCall, place_phone_call
from emulators.local.signals import run_until_signalled
from shared.session.log import (
    AgentTurn,
    CallEvent,
    CallEventKind,
    Interrupted,
    LogEntry,
    ToolFinished,
    ToolStatus,
    TurnStatus,
    UserTurn,
)

if TYPE_CHECKING:
    from emulators.caller.phone_script import Step

# As agents/claims_line.yaml has it.
BILLING = "+15550160"

# How long the agent must have been silent until the caller takes it for the end.
_SETTLE_S = 0.7
# Speech-to-text is not perfect on a telephone line; what was lost or cut off is worse.
LEAST_MATCH = 0.75


async def place_demonstration_calls(
    stack: Addresses, recordings: Path, words: Sequence[str] = (), *, trace: bool = False
) -> list[str]:
    """Place a call through the carrier, and one by SIP; return what they should have shown and did not.

    `words`: what the caller says instead, in one call through the carrier. A service that is not emulated
    gets no call.

    Raises LocalStackError when a call cannot be placed, or does not go as its script wants.
    """
    from emulators.caller.telephone import communication_services, sip

    problems: list[str] = []
    if stack.communication_url:
        call = carrier_call(words)
        _say_title("A phone call through Communication Services")
        carrier = communication_services(stack.communication_url)
        placed = await place_phone_call(stack, carrier, call, ConversationConsole(), recordings, trace=trace)
        problems += [] if words else problems_of_carrier_call(placed)
    else:
        _say_title("No phone call through Communication Services: it is not emulated here.")
    if stack.sip_url and not words:
        _say_title("A phone call by SIP into the model")
        placed = await place_phone_call(
            stack, sip(stack.sip_url), sip_call(), ConversationConsole(), recordings, trace=trace
        )
        problems += problems_of_sip_call(placed)
    return problems


def carrier_call(words: Sequence[str] = ()) -> PhoneCall:
    """Return the call through the carrier: interruption, keys and transfer; or one that says `words`."""
    from emulators.caller.phone_script import Keys
    from emulators.caller.script import Turn

    if words:
        return PhoneCall(number=CLAIMS_LINE, steps=[Turn(text=text) for text in words])
    steps: list[Step] = [
        Turn(text="What can you do for me?"),
        Turn(text="Sorry, I want to check a claim.", barge_in_after_s=2.0, settle_s=_SETTLE_S),
        Keys(keys="1042#", settle_s=_SETTLE_S),
        Turn(text="Please transfer me to billing.", settle_s=_SETTLE_S),
    ]
    return PhoneCall(
        number=CLAIMS_LINE,
        steps=steps,
        transferred_to=BILLING,
        greeted_with="Billing department, good morning. How can I help you?",
    )


def sip_call() -> PhoneCall:
    """Return the call by SIP: a question, an answer, and a goodbye."""
    from emulators.caller.script import Turn

    lines = ("What is the status of claim one zero four two?", "Thank you, goodbye.")
    return PhoneCall(number=CLAIMS_LINE, steps=[Turn(text=line, settle_s=_SETTLE_S) for line in lines])


def problems_of_carrier_call(placed: PlacedCall) -> list[str]:
    """Return what the call through the carrier must show and this one does not; nothing when all is well."""
    entries = placed.entries
    problems = _problems(placed)
    if not placed.stops or not any(map(interrupted, entries)):
        problems.append("the agent was not interrupted")
    if not any(isinstance(entry, UserTurn) and entry.text == "Keys pressed: 1042#" for entry in entries):
        problems.append("the keys did not reach the agent")
    if not any(
        isinstance(entry, CallEvent) and entry.event is CallEventKind.TRANSFER_ACCEPTED for entry in entries
    ):
        problems.append("the caller was not transferred")
    return problems


def problems_of_sip_call(placed: PlacedCall) -> list[str]:
    """Return what the call by SIP must show and this one does not."""
    turns = sum(isinstance(entry, UserTurn) for entry in placed.entries)
    heard = [] if turns >= 2 else [f"{turns} of 2 caller turns were understood"]
    return [*_problems(placed), *heard]


def interrupted(entry: LogEntry) -> bool:
    """Whether an entry tells that the caller spoke over the agent: over a turn that was recorded, or not."""
    cut_short = isinstance(entry, AgentTurn) and entry.status is TurnStatus.INTERRUPTED
    return cut_short or isinstance(entry, Interrupted)


def _problems(placed: PlacedCall) -> list[str]:
    problems: list[str] = []
    looked_up = any(
        isinstance(entry, ToolFinished) and entry.name == "claim_status" and entry.status is ToolStatus.OK
        for entry in placed.entries
    )
    if not looked_up:
        problems.append("the claim was not looked up")
    if placed.match < LEAST_MATCH:
        problems.append(f"the caller heard {placed.match:.0%} of what was said")
    return problems


def main(argv: list[str]) -> int:
    """Run `python -m emulators call-phone`; returns its exit code."""
    options = _options(argv, os.environ)
    return run_until_signalled(lambda: _main(options))


async def _main(options: argparse.Namespace) -> int:
    try:
        stack = Addresses.read(run_directory())
        problems = await place_demonstration_calls(
            stack, run_directory() / "calls", options.say, trace=options.trace
        )
    except LocalStackError as error:
        print(f"call-phone: {error}", file=sys.stderr)
        return 1
    for problem in problems:
        print(f"call-phone: The call fell short: {problem}.", file=sys.stderr)
    return int(bool(problems))


def _say_title(text: str) -> None:
    ConversationConsole().say(f"\n{text}\n", "bold")


def _options(argv: list[str], environment: Mapping[str, str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m emulators call-phone",
        description="Call the running local stack by phone, through Communication Services and by SIP.",
    )
    parser.add_argument(
        "--say",
        action="append",
        default=[],
        metavar="TEXT",
        help="say this in one call instead (repeatable; or SAY=)",
    )
    parser.add_argument(
        "--trace", action="store_true", default=bool(environment.get("TRACE")), help="show the trace too"
    )
    options = parser.parse_args(argv)
    if not options.say and environment.get("SAY"):
        options.say = [environment["SAY"]]
    return options
