"""Every recording in tests/recordings comes out as it did when it was made.

To make a test of a production call, put its recording there.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from realtime_worker.recording.file_format import Recording, read_recording
from realtime_worker.recording.replay import began_at_ms, describe, first_difference, play
from tests.recordings.calls import SPOKEN

IF_RIGHT = "If it is right as it is now: python -m realtime_worker replay --update tests/recordings/*.gz"
RECORDINGS = Path(__file__).parents[2] / "recordings"


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.jsonl*")), ids=lambda path: path.name)
def test_it_comes_out_as_recorded(path: Path) -> None:
    recording = read_recording(path)
    difference = first_difference(play(recording))
    assert difference is None, f"{describe(*difference, began_at_ms(recording))}\n{IF_RIGHT}"


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.jsonl.gz")), ids=lambda path: path.name)
def test_it_is_small_and_says_nothing(path: Path) -> None:
    assert path.stat().st_size < 60_000
    text = gzip.decompress(path.read_bytes()).decode()
    assert [word for word in SPOKEN if re.search(rf"\b{word}\b", text)] == []


def story(recording: Recording) -> list[str]:
    """Return what a recording is about: its inputs, records and sends, by type and code."""
    told: list[str] = []
    for step in recording.steps:
        told.append(str(step.stored["in"]))
        event = step.stored.get("event")
        if isinstance(event, dict) and event["type"] == "error":
            told.append(str(event["error"]["code"]))  # type: ignore[index]
        for effect in step.effects:
            entry, sent = effect.get("entry"), effect.get("event")
            if isinstance(entry, dict):
                told += [str(entry[name]) for name in ("type", "code", "status") if name in entry]
            elif isinstance(sent, dict):
                told.append(str(sent["type"]))
            else:
                told += [str(effect[name]) for name in ("type", "reason") if name in effect]
    return told


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "every_turn",
            ["attached", "agent_turn", "user_turn", "run_inline", "tool_finished", "start_durable", "command",
             "interrupted", "command_received", "operator_ended", "hang_up"],
        ),
        ("takeover", ["attached", "start_durable", "unknown", "command", "run_inline", "caller_hung_up"]),
        (
            "trouble",
            ["attached", "lost", "attached", "session_overridden", "session.update",
             "conversation_already_has_active_response", "response.create", "tick", "idle"],
        ),
    ],
)  # fmt: skip
def test_it_is_about_what_it_is_named_for(name: str, parts: list[str]) -> None:
    told = story(read_recording(RECORDINGS / f"{name}.jsonl.gz"))
    place = 0
    for part in parts:
        assert part in told[place:], f"{part} is missing from {told[place:]}"
        place = told.index(part, place) + 1


def test_the_takeover_knows_what_was_unanswered() -> None:
    setup = read_recording(RECORDINGS / "takeover.jsonl.gz").setup
    assert setup.resumed
    assert sorted(call.name for call in setup.unanswered) == ["book", "charge"]
