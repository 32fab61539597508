"""A phone caller who follows a script: speaks, presses keys, listens to the answers, interrupts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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


async def follow(
    telephone: Telephone, steps: Sequence[Step], *, answers: Callable[[], int] | None = None
) -> None:
    """Listen to the greeting, go through `steps` and listen to the last answer; nobody hangs up.

    The call must be answered, and the turns `prepared`. The agent may end the call with its last answer.
    `answers` tells how many times the agent has said all that it wanted: where its speech is late on a busy
    machine, an ear alone takes a pause for the end.

    Raises TelephoneError where the agent is not heard in time, or the call is over too soon.
    """
    waits: Step = Keys(keys="")  # for the greeting
    answered = 0
    for step in steps:
        if isinstance(step, Turn) and step.barge_in_after_s is not None:
            enough_ms = round(step.barge_in_after_s * 1000)
            await telephone.hears(enough_ms, timeout_s=waits.answer_timeout_s)
        else:
            await _hear_out(telephone, waits, answered, answers)
        answered = answers() if answers else 0
        match step:
            case Turn():
                await telephone.say(step.pcm16 or b"")
            case Keys():
                await telephone.press(step.keys)
            case _:
                assert_never(step)
        waits = step
    try:
        await _hear_out(telephone, waits, answered, answers)
    except TelephoneError:
        if not await telephone.over():
            raise


async def _hear_out(
    telephone: Telephone, after: Step, answered: int, answers: Callable[[], int] | None
) -> None:
    deadline = time.monotonic() + after.answer_timeout_s
    heard = 0
    while heard < after.answers:
        await telephone.hears(_BEGINNING_MS, timeout_s=after.answer_timeout_s)
        whole = False
        while not whole:  # the quiet that counts begins after the last word
            whole = answers is None or answers() > answered + heard or time.monotonic() > deadline
            await telephone.hears_nothing(round(after.settle_s * 1000))
        heard += 1
