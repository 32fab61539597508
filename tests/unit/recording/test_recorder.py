"""A recorded conversation behaves as any, and what is written is bounded, private and whole."""

from __future__ import annotations

import gzip
import inspect
import json
import logging
import zlib
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from realtime_worker.conversation.core import Conversation
from realtime_worker.conversation.setup import ConversationSetup
from realtime_worker.recording import inputs, tape
from realtime_worker.recording.file_format import CUT, FULL, LEFT, LONG, OVER, RAISED, read_recording
from realtime_worker.recording.recorder import RecordedConversation, Recorder, in_share
from realtime_worker.recording.replay import describe, first_difference, play
from realtime_worker.recording.tape import Tape
from shared.session.log import AgentTurn, LogEntry, ToolFinished, ToolStatus, TurnStatus, UserTurn
from tests.support.eventually import eventually
from tests.unit.conversation.scene import Scene
from tests.unit.recording.calls import BOUNDS, SETUP, WORDS, record, talk

# What tells of a conversation and changes nothing in it.
READS = {"phase", "quiet", "interruptible", "next_deadline_ms"}


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_a_recorded_conversation_has_the_effects_of_any(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, BOUNDS)
    try:
        recorded = talk(recorder.conversation(SETUP, "webrtc"))
        assert recorded.effects == talk(Conversation(SETUP)).effects
    finally:
        recorder.close()


def test_every_input_of_a_conversation_is_recorded() -> None:
    public = {name for name, _ in inspect.getmembers(Conversation) if not name.startswith("_")}
    overridden = {name for name in vars(RecordedConversation) if not name.startswith("_")}
    assert public - READS == overridden, (
        "a method that changes a conversation needs a class in recording/inputs.py and an override in "
        "RecordedConversation; one that only reads belongs to READS"
    )
    assert len(overridden) == len(inputs.Input.__args__)


def test_a_recording_replays_and_says_nothing(tmp_path: Path) -> None:
    path = record(tmp_path)
    recording = read_recording(path)
    assert recording.end == OVER
    assert first_difference(play(recording)) is None
    assert sum(len(step.effects) for step in recording.steps) > 20
    text = gzip.decompress(path.read_bytes()).decode()
    assert [word for word in WORDS if word in text] == []
    header = lines_of(path)[0]
    assert (header["session_id"], header["epoch"], header["agent"], header["transport"]) == (
        "ses_recorded", 3, "desk", "webrtc",
    )  # fmt: skip


def test_pieces_that_a_conversation_passes_over_are_left_out(tmp_path: Path) -> None:
    kinds = [line["event"]["type"] for line in lines_of(record(tmp_path)) if "event" in line]  # type: ignore[index]
    assert "response.created" in kinds
    assert [kind for kind in kinds if kind.endswith(".delta")] == []
    # If conversations came to heed them, leaving them out would spoil recordings.
    one, other = (talk(Conversation(SETUP)) for _ in range(2))
    delta = {"type": "response.output_text.delta", "event_id": "event_x", "response_id": "r", "delta": "Yes"}
    assert one.subject.provider_event(delta, one.now) == []
    later = {"type": "error", "event_id": "event_x", "error": {"code": "odd"}}
    assert one.subject.provider_event(later, one.now) == other.subject.provider_event(later, other.now)


def told(number: int, text: str) -> LogEntry:
    return UserTurn(
        item_id=f"item_{number}", text=text, status=TurnStatus.COMPLETED, spoken_at_ms=number, at_ms=number
    )


@given(
    words=st.lists(st.text('abc Hü€𝗯日"\\\n0-9', min_size=1, max_size=900), min_size=1, max_size=60),
    found=st.dictionaries(
        st.text("abü ", max_size=5), st.text('xyzÄ7"') | st.integers() | st.floats(), max_size=9
    ),
    times=st.integers(1, 300),
)
@example(words=['ü€ "word" 7 ' * 70] * 60, found={"ä": "Zürich", "b": 12.5}, times=300)
@settings(max_examples=25, deadline=None)
def test_a_session_that_is_seeded_from_the_log_replays(
    words: list[str], found: dict[str, object], times: int
) -> None:
    """What is told of the log is chosen and cut by sizes: masked text must have those of the original."""
    output = msgspec.json.encode([found] * times).decode()
    history = (
        *(told(number, text) for number, text in enumerate(words)),
        replace(SETUP.unanswered[0], tool_call_id="call_9", at_ms=400),
        ToolFinished(
            tool_call_id="call_9", name="look_up", output=output, status=ToolStatus.OK, duration_ms=1, at_ms=5
        ),
        AgentTurn(
            item_id="item_a", response_id="resp_a", agent="desk", text=" ".join(words), at_ms=2000,
            status=TurnStatus.INTERRUPTED, first_audio_ms=-1, spoken_at_ms=600,
        ),
    )  # fmt: skip
    setup = replace(SETUP, own_session=True, resumed=True, history=history, call_id="")
    with TemporaryDirectory() as directory:
        recorder = Recorder(Path(directory), BOUNDS)
        scene = Scene(recorder.conversation(setup, "acs"), talking=False)
        scene.take(scene.subject.opened(scene.now))
        scene.say("session.created", session={"id": "sess_1", "expires_at": 2_000})
        scene.say("session.updated", session={"id": "sess_1"})
        scene.wait(500_000)
        scene.take(scene.subject.prepared(scene.now, succeeded=True))
        recorder.close()
        recording = read_recording(Path(directory) / "ses_recorded-3.jsonl.gz")
    assert any(send["item"]["id"].startswith("seed_") for send in scene.sent("conversation.item.create"))  # type: ignore[index]
    difference = first_difference(play(recording))
    assert difference is None, describe(*difference, 0)


def test_only_the_owner_of_the_process_can_read_it(tmp_path: Path) -> None:
    path = record(tmp_path / "new" / "directory")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_session_that_goes_to_another_worker_ends_the_recording(tmp_path: Path) -> None:
    recording = read_recording(record(tmp_path, ending=False))
    assert recording.end == LEFT
    assert first_difference(play(recording)) is None


def test_a_recording_never_exceeds_its_bytes_and_says_that_it_was_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tape, "CHUNK_BYTES", 1024)
    whole = read_recording(record(tmp_path, epoch=1))
    path = record(tmp_path, bounds=replace(BOUNDS, max_bytes=1700), epoch=2)
    recording = read_recording(path)
    assert path.stat().st_size <= 1700
    assert recording.end == FULL
    assert 0 < len(recording.steps) < len(whole.steps)
    assert first_difference(play(recording)) is None


def test_a_recording_ends_with_its_seconds(tmp_path: Path) -> None:
    recording = read_recording(record(tmp_path, bounds=replace(BOUNDS, max_s=0)))
    assert recording.end == LONG


def test_no_recording_is_begun_in_a_full_directory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "old.jsonl.gz").write_bytes(b"x" * 5000)
    with caplog.at_level(logging.WARNING, "sidetone"):
        path = record(tmp_path, bounds=replace(BOUNDS, max_bytes=4096, total_bytes=9000))
    assert not path.exists()
    assert [record.message for record in caplog.records] == ["recording stopped"]


def test_trouble_with_the_disk_is_told_once_and_costs_no_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a directory")
    recorder = Recorder(tmp_path / "file", BOUNDS)
    with caplog.at_level(logging.WARNING, "sidetone"):
        for epoch in (1, 2, 3):
            recorded = talk(recorder.conversation(replace(SETUP, epoch=epoch), "webrtc"))
            assert recorded.effects == talk(Conversation(replace(SETUP, epoch=epoch))).effects
        recorder.close()
    assert [record.reason for record in caplog.records] == ["EEXIST"]  # type: ignore[attr-defined]


def test_a_disk_that_is_too_slow_ends_the_recording_and_not_the_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(tmp_path, replace(BOUNDS, queue=4))
    with caplog.at_level(logging.WARNING, "sidetone"):
        scenes = [talk(recorder.conversation(replace(SETUP, epoch=epoch), "webrtc")) for epoch in range(40)]
        recorder.close()
    assert all(scene.effects for scene in scenes)
    assert "behind" in [record.reason for record in caplog.records]  # type: ignore[attr-defined]
    for path in tmp_path.glob("ses_*"):
        assert first_difference(play(read_recording(path))) is None


def test_what_a_killed_worker_leaves_is_a_recording(tmp_path: Path) -> None:
    path = record(tmp_path)
    whole, content = read_recording(path), path.read_bytes()
    for length in range(600, len(content), 37):
        path.write_bytes(content[:length])
        lines = zlib.decompressobj(31).decompress(content[:length]).count(b"\n")
        if lines < 2:
            continue
        cut = read_recording(path)
        assert cut.end == (CUT if lines < len(whole.steps) + 3 else OVER)
        assert [step.stored for step in cut.steps] == [step.stored for step in whole.steps][: lines - 2]
        assert first_difference(play(cut)) is None


def test_what_was_flushed_can_be_read_while_the_call_goes_on(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "a.jsonl.gz", max_bytes=10_000)
    tape.add({"in": "lost"})
    tape.flush()
    before = (tmp_path / "a.jsonl.gz").read_bytes()
    tape.abandon()
    assert zlib.decompressobj(31).decompress(before) == b'{"in":"lost"}\n'


async def test_a_live_recording_reaches_the_disk_by_itself(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, BOUNDS)
    talk(recorder.conversation(SETUP, "webrtc"), ending=False)
    path = tmp_path / "ses_recorded-3.jsonl.gz"
    try:
        await eventually(lambda: path.exists() and path.stat().st_size > 500, what="a flushed recording")
        assert read_recording(path).end == CUT
    finally:
        recorder.close()
    assert read_recording(path).end == LEFT


def test_what_broke_a_conversation_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Conversation, now_ms: int) -> list[object]:
        raise ZeroDivisionError

    monkeypatch.setattr(Conversation, "tick", broken)
    recorder = Recorder(tmp_path, BOUNDS)
    conversation = recorder.conversation(SETUP, "webrtc")
    with pytest.raises(ZeroDivisionError):
        conversation.tick(5)
    recorder.close()
    recording = read_recording(tmp_path / "ses_recorded-3.jsonl.gz")
    assert (recording.end, recording.steps[-1].raised) == (RAISED, "ZeroDivisionError")
    assert first_difference(play(recording)) is None
    monkeypatch.undo()
    assert first_difference(play(recording)) is not None  # mended


def test_a_share_of_the_sessions_is_chosen_by_their_ids() -> None:
    sessions = [f"ses_{number}" for number in range(2000)]
    chosen = {session for session in sessions if in_share(session, 0.25)}
    assert 400 < len(chosen) < 600
    assert {session for session in sessions if in_share(session, 0.1)} < chosen
    assert all(in_share(session, 1.0) for session in sessions)
    assert not any(in_share(session, 0.0) for session in sessions)


def test_a_session_outside_of_the_share_has_an_ordinary_conversation(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, BOUNDS, share=0.0)
    conversation = recorder.conversation(SETUP, "webrtc")
    recorder.release(SETUP.session_id, SETUP.epoch)
    recorder.close()
    assert type(conversation) is Conversation
    assert list(tmp_path.iterdir()) == []


def test_the_setup_survives(tmp_path: Path) -> None:
    read: ConversationSetup = read_recording(record(tmp_path)).setup
    assert read.role.executions == SETUP.role.executions
    assert read.limits == SETUP.limits
    assert read.role.repeatable == SETUP.role.repeatable
    assert read.unanswered == (replace(SETUP.unanswered[0], arguments='{"who":"xxxxxx"}'),)
    assert read.answered == {"call_00": '{"found":"xxxxxx"}'}
    assert read.greeting == "xxxxxxxxxx xxx xxxxx, xxxxx."
