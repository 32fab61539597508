"""A phone caller who follows a script: speaks, presses keys, listens to the answers, interrupts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from emulators.caller.script import Turn
from emulators.caller.telephone import Telephone, TelephoneError

# The beginning of an answer: more than a click, less than a word.
_BEGINNING_MS = 100


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Keys to press, such as `1042#`, once the agent has fallen silent. The fields are as a `Turn`'s."""

    keys: str
    answers: int = 1
    settle_s: float = 1.0
    answer_timeout_s: float = 20.0


Step: TypeAlias = Turn | Keys


async def follow(telephone: Telephone, steps: Sequence[Step]) -> None:
    """Listen to the greeting, go through `steps` and listen to the last answer; nobody hangs up.

    The call must be answered, and the turns `prepared`. The agent may end the call with its last answer.

    Raises TelephoneError where the agent is not heard in time, or the call is over too soon.
    """
    waits: Step = Keys(keys="")  # for the greeting
    for step in steps:
        if isinstance(step, Turn) and step.barge_in_after_s is not None:
            enough_ms = round(step.barge_in_after_s * 1000)
            await telephone.hears(enough_ms, timeout_s=waits.answer_timeout_s)
        else:
            await _hear_out(telephone, waits)
        match step:
            case Turn():
                await telephone.say(step.pcm16 or b"")
            case Keys():
                await telephone.press(step.keys)
            case _:
                assert_never(step)
        waits = step
    try:
        await _hear_out(telephone, waits)
    except TelephoneError:
        if not await telephone.over():
            raise


async def _hear_out(telephone: Telephone, after: Step) -> None:
    for _ in range(after.answers):
        await telephone.hears(_BEGINNING_MS, timeout_s=after.answer_timeout_s)
        await telephone.hears_nothing(round(after.settle_s * 1000))
