"""The turn that every client of the benchmark gets."""

from __future__ import annotations

import json
from collections import Counter

import orjson

from benchmarks.worker_load.turn import DELTAS, EVENTS, framed, turn


def payloads(frames: bytes) -> list[bytes]:
    found: list[bytes] = []
    while frames:
        size, at = frames[1], 2
        if size == 126:
            size, at = int.from_bytes(frames[2:4], "big"), 4
        found.append(frames[at : at + size])
        frames = frames[at + size :]
    return found


def test_a_turn_has_its_events_with_ids_of_their_own_and_says_what_it_repeats() -> None:
    given = turn(7)
    metadata = {"ours": "rsp_1"}
    before = b"".join((*given.heard, *given.calling, given.called))
    after = b"".join((given.created(metadata), *given.speaking, given.done(metadata), *given.spoken))
    events = [orjson.loads(payload) for payload in payloads(before) + payloads(after)]
    # The service adds two: the tool's output as an item, added and done.
    assert len(events) == EVENTS - 2
    assert len({event["event_id"] for event in events}) == len(events)
    kinds = Counter(event["type"] for event in events)
    assert kinds["response.output_audio_transcript.delta"] == DELTAS
    assert kinds["response.function_call_arguments.done"] == 1
    assert kinds["response.done"] == 2
    last = [event["response"] for event in events if event["type"] == "response.done"][-1]
    assert last["metadata"] == metadata
    said = "".join(e["delta"] for e in events if e["type"] == "response.output_audio_transcript.delta")
    assert last["output"][0]["content"][0]["transcript"] == said
    pieces = [e["delta"] for e in events if e["type"] == "response.function_call_arguments.delta"]
    done = next(e for e in events if e["type"] == "response.function_call_arguments.done")
    assert json.loads("".join(pieces)) == json.loads(done["arguments"])


def test_frames_of_every_size_say_how_long_they_are() -> None:
    for size in (0, 125, 126, 65_535, 65_536):
        frame = framed(b"x" * size)
        head = len(frame) - size
        assert frame[0] == 0x81
        assert head == (2 if size < 126 else 4 if size < 65_536 else 10)
        if head > 2:
            assert int.from_bytes(frame[2:head], "big") == size
