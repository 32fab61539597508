"""Tell a new provider session what was said and done before it began.

Where the worker's own socket carries the audio, the provider's session ends with its connection, and the
next one knows nothing. It is given the newest part of the conversation as items, in the order in which
things were spoken and done; bounded, since a context is, and each response bills it again. Audio can't be
given back, so turns become text.

Source: `conversation.item.create` of the GA Realtime API.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from realtime_worker.conversation.history import History, Step
from realtime_worker.conversation.notices import TELL
from realtime_worker.conversation.wire import function_call_output
from shared.session.log import AgentTurn, CommandReceived, ToolCalled, ToolFinished, TurnStatus, UserTurn

# All items together, as JSON: some six thousand tokens. What is still open comes on top of it.
MAX_BYTES = 24_000
MAX_ITEMS = 120
# One turn, or one output that the agent has spoken about already.
MAX_CHARS = 2_000
# How fast agents speak: what an interrupted turn says beyond this was not heard. Voices differ; rather too
# much is kept than too little.
CHARS_PER_S = 16

INAUDIBLE = "(The caller said something that could not be transcribed.)"

_PREFIX = "seed_"


@dataclass(frozen=True, kw_only=True)
class Seed:
    """What a new session is given.

    events: client events, in order. Every function call among them has one output or is still running.
    outputs: the tool calls whose output is among them.
    left_out: how many turns of the conversation are not.
    owes_reply: the last word is the caller's, or something that nobody has spoken about: an output, or what
        the model was told and shall speak about.
    """

    events: tuple[dict[str, object], ...]
    outputs: tuple[str, ...]
    left_out: int
    owes_reply: bool


def is_seed(item_id: str) -> bool:
    """Return whether an item is one that a session was seeded with. Outputs keep the ids they always have."""
    return item_id.startswith(_PREFIX)


def seed(history: History) -> Seed:
    """Return what a new session is given of `history`."""
    steps = [step for step in history.steps() if _says_something(step)]
    asked, unspoken = _unanswered(steps)
    chosen = _choose(steps, history, asked=asked, unspoken=unspoken)
    told = [steps[place] for place in sorted(chosen)]
    turns = sum(isinstance(step, UserTurn | AgentTurn) for step in steps)
    left_out = history.left_out + turns - sum(isinstance(step, UserTurn | AgentTurn) for step in told)
    events = [_event(number, step, whole=unspoken) for number, step in enumerate(told, start=1)]
    if left_out:
        told_ids = {step.item_id for step in told if isinstance(step, UserTurn)}
        openings = [turn.text for turn in history.openings if turn.item_id not in told_ids]
        events.insert(0, _message(f"{_PREFIX}0", "system", _note(left_out, openings)))
    return Seed(
        events=tuple(events),
        outputs=tuple(step.tool_call_id for step in told if isinstance(step, ToolFinished)),
        left_out=left_out,
        owes_reply=asked or _outputs_complete(steps, history.open_calls, unspoken),
    )


def _unanswered(steps: Iterable[Step]) -> tuple[bool, frozenset[str]]:
    """Return whether what was said or told last got no reaction, and the outputs nobody has spoken about."""
    asked = False
    made_by: dict[str, str] = {}  # tool call id -> response
    unspoken: set[str] = set()
    for step in steps:
        match step:
            case UserTurn():
                asked = True
            case CommandReceived():
                asked = asked or step.command == TELL
            case ToolCalled():
                asked = False  # the reply comes with the output
                made_by[step.tool_call_id] = step.response_id
            case ToolFinished():
                unspoken.add(step.tool_call_id)
            case AgentTurn():
                if step.status is not TurnStatus.FAILED:
                    asked = False
                    # What a response says beside its own call ("One moment") is no answer to the output.
                    unspoken = {call for call in unspoken if made_by[call] == step.response_id}
    return asked, frozenset(unspoken)


def _outputs_complete(steps: Iterable[Step], open_calls: frozenset[str], unspoken: frozenset[str]) -> bool:
    """Return whether there is an output to speak about and no other call of its response is still running."""
    calls = [step for step in steps if isinstance(step, ToolCalled)]
    running = {call.response_id for call in calls if call.tool_call_id in open_calls and call.response_id}
    return any(call.tool_call_id in unspoken and call.response_id not in running for call in calls)


def _choose(steps: Sequence[Step], history: History, *, asked: bool, unspoken: frozenset[str]) -> set[int]:
    """Return the places of the steps to tell: what is open, and the newest of the rest that fit."""
    call_at = {step.tool_call_id: place for place, step in enumerate(steps) if isinstance(step, ToolCalled)}
    last_asked = max((p for p, step in enumerate(steps) if _asks(step)), default=-1)
    chosen = {place for call, place in call_at.items() if call in history.open_calls | unspoken}
    chosen |= {
        place
        for place, step in enumerate(steps)
        if (isinstance(step, ToolFinished) and step.tool_call_id in unspoken)
        or (asked and place == last_asked)
    }
    room = MAX_BYTES - sum(_size(steps[place], unspoken) for place in chosen)
    for place in range(len(steps) - 1, -1, -1):
        step = steps[place]
        wanted = {place} | ({call_at[step.tool_call_id]} if isinstance(step, ToolFinished) else set())
        more = wanted - chosen
        room -= sum(_size(steps[one], unspoken) for one in more)
        if room < 0 or len(chosen) + len(more) > MAX_ITEMS:
            break
        chosen |= more
    return chosen


def _size(step: Step, whole: frozenset[str]) -> int:
    return len(msgspec.json.encode(_event(MAX_ITEMS, step, whole=whole)))


def _asks(step: Step) -> bool:
    return isinstance(step, UserTurn) or (isinstance(step, CommandReceived) and step.command == TELL)


def _says_something(step: Step) -> bool:
    return not isinstance(step, AgentTurn) or bool(_heard(step))


def _heard(turn: AgentTurn) -> str:
    """Return what the caller can have heard of a turn, by the time it had."""
    if turn.status is not TurnStatus.INTERRUPTED:
        return turn.text
    chars = max(turn.at_ms - turn.spoken_at_ms, 0) * CHARS_PER_S // 1000
    if chars >= len(turn.text):
        return turn.text
    said = turn.text[:chars].rpartition(" ")[0]
    return f"{said} …" if said else ""


def _event(number: int, step: Step, *, whole: frozenset[str]) -> dict[str, object]:
    item_id = f"{_PREFIX}{number}"
    match step:
        case UserTurn():
            return _message(item_id, "user", _short(step.text or INAUDIBLE))
        case AgentTurn():
            return _message(item_id, "assistant", _short(_heard(step)))
        case CommandReceived():
            return _message(item_id, "system", _short(step.detail))
        case ToolCalled():
            return _create(
                {
                    "id": item_id,
                    "type": "function_call",
                    "call_id": step.tool_call_id,
                    "name": step.name,
                    "arguments": step.arguments,
                }
            )
        case ToolFinished():
            output = step.output if step.tool_call_id in whole else _short(step.output)
            return function_call_output(step.tool_call_id, output)


def _message(item_id: str, role: str, text: str) -> dict[str, object]:
    kind = "output_text" if role == "assistant" else "input_text"
    return _create(
        {"id": item_id, "type": "message", "role": role, "content": [{"type": kind, "text": text}]}
    )


def _create(item: dict[str, object]) -> dict[str, object]:
    return {"type": "conversation.item.create", "event_id": item["id"], "item": item}


def _short(text: str) -> str:
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]} …"


def _note(left_out: int, openings: Sequence[str]) -> str:
    note = f"{left_out} earlier turns of this call are left out here."
    if openings:
        quoted = " / ".join(f'"{text}"' for text in openings)
        note += f" Early in it the caller said: {quoted}"
    return note
