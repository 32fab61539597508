"""Run a recording through the conversation again, and compare what comes out."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from realtime_worker.conversation.core import Conversation
from realtime_worker.recording.effects import masked_effects
from realtime_worker.recording.file_format import Recording, Step
from realtime_worker.recording.inputs import apply
from realtime_worker.recording.masking import EventMask, Json
from shared import __version__


@dataclass(frozen=True, kw_only=True)
class Played:
    """A step of a recording, and what it had for effects now. `raised`: an exception's type, where it had
    none."""

    step: Step
    effects: list[Json]
    raised: str = ""

    @property
    def same(self) -> bool:
        return (self.effects, self.raised) == (self.step.effects, self.step.raised)


def play(recording: Recording) -> list[Played]:
    """Return the recording's steps as they come out of this product's conversation.

    It stops at the first exception: what a conversation does after one says nothing.
    """
    conversation = Conversation(recording.setup)
    mask = EventMask()
    played: list[Played] = []
    for step in recording.steps:
        try:
            effects = masked_effects(apply(conversation, step.given), mask)
        except Exception as error:  # also the conversation's faults can be what a recording is about
            played.append(Played(step=step, effects=[], raised=type(error).__name__))
            break
        played.append(Played(step=step, effects=_stored(effects)))
    return played


def first_difference(played: Iterable[Played]) -> tuple[int, Played] | None:
    """Return the first step (from 1) that came out otherwise than recorded, or None."""
    return next(((number, one) for number, one in enumerate(played, start=1) if not one.same), None)


def describe(number: int, played: Played, began_at_ms: int) -> str:
    """Return a difference for a person: which input, when, what was to come out of it and what did."""
    stored = dict(played.step.stored)
    kind = stored.pop("in")
    at = stored.pop("at_ms", None)
    when = f", {(at - began_at_ms) / 1000:.3f} s into the recording" if isinstance(at, int) else ""
    before = _shown(played.step.effects, played.step.raised)
    after = _shown(played.effects, played.raised)
    diff = list(difflib.unified_diff(before, after, n=20, lineterm=""))[3:]
    return "\n".join(
        [
            f"Input {number}, {kind}{when}. Effects, recorded (-) and now (+):",
            *_indented(diff),
            "The input:",
            *_indented(_pretty(stored)),
        ]
    )


def updated(recording: Recording, played: Iterable[Played]) -> list[Json]:
    """Return the lines of the recording with the effects of now."""
    lines: list[Json] = [{**recording.header, "product": __version__}, {"setup": recording.stored_setup}]
    for one in played:
        line = dict(one.step.stored)
        if one.raised:
            line["raised"] = one.raised
        elif one.effects:
            line["out"] = one.effects
        lines.append(line)
    return [*lines, {"end": recording.end}]


def began_at_ms(recording: Recording) -> int:
    """Return the time of the first input that has one, Unix milliseconds; else 0."""
    times = (step.stored.get("at_ms") for step in recording.steps)
    return next((at for at in times if isinstance(at, int)), 0)


def _stored(effects: list[Json]) -> list[Json]:
    """Return effects as they would be read from a file."""
    return json.loads(json.dumps(effects))


def _shown(effects: Iterable[Mapping[str, object]], raised: str) -> list[str]:
    if raised:
        return [f"raised {raised}"]
    return [line for effect in effects for line in _pretty(effect)]


def _pretty(value: Mapping[str, object]) -> list[str]:
    return json.dumps(value, indent=2).split("\n")


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
