"""A call with an announcement, an answer and a recording replays, and its recording quotes none of it."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

from realtime_worker.conversation.consent import ConsentTerms
from realtime_worker.conversation.core import Conversation
from realtime_worker.conversation.role import Accepted, Role
from realtime_worker.recording.file_format import read_recording
from realtime_worker.recording.recorder import Recorder
from realtime_worker.recording.replay import first_difference, play
from shared.session.log import CallEvent, CallEventKind, ConsentNoted, ConsentStep, LogEntry, ToolExecution
from tests.unit.conversation.scene import CONFIGURATION, Scene, call_item, message_item
from tests.unit.conversation.team_scene import BILLING, TO_BILLING, VERIFIED, team_setup
from tests.unit.recording.calls import BOUNDS, SETUP

TERMS = ConsentTerms(
    name="0f1e2d3c", announcement="This call is recorded, Ann.", ask=True, goodbye="Then goodbye, Ann."
)
HISTORY: tuple[LogEntry, ...] = (
    ConsentNoted(step=ConsentStep.ANNOUNCED, terms="0f1e2d3c", ask=True, at_ms=1),
    CallEvent(event=CallEventKind.CONNECTED, at_ms=1),
)
ROLE = Role(
    agent="desk",
    configuration=CONFIGURATION,
    executions={"record_consent": ToolExecution.CONVERSATION, "end_call": ToolExecution.CONVERSATION},
    consent=TERMS,
    records=True,
)


def hold(conversation: Conversation, *, announced: bool) -> None:
    """A call from its announcement, or the answer to it, to the agent's end."""
    scene = Scene(conversation)
    if announced:
        scene.found_last()
    else:
        scene.accept_request("r1")
        said = [message_item("a1", TERMS.announcement)]
        scene.say("response.done", response={"id": "r1", "status": "completed", "output": said})
        scene.say("output_audio_buffer.stopped", response_id="r1")
    scene.respond("r2", call_item("c1", "record_consent", '{"given": true}'))
    scene.respond("r3", message_item("a3", "Goodbye then."), call_item("c2", "end_call"))
    scene.say("output_audio_buffer.stopped", response_id="r3")


def test_it_replays_from_the_start_and_from_the_middle(tmp_path: Path) -> None:
    whole = replace(SETUP, role=ROLE)
    taken_over = replace(whole, resumed=True, epoch=2, history=HISTORY)
    recorder = Recorder(tmp_path, BOUNDS)
    try:
        hold(recorder.conversation(whole, "acs"), announced=False)
        hold(recorder.conversation(taken_over, "acs"), announced=True)
    finally:
        recorder.close()
    paths = sorted(tmp_path.rglob("*.gz"))
    assert len(paths) == 2
    for path in paths:
        recording = read_recording(path)
        assert first_difference(play(recording)) is None
        effects = [effect for step in recording.steps for effect in step.effects]
        assert any(effect.get("type") == "ask_recording" for effect in effects)
        assert any(effect.get("reason") == "agent_ended" for effect in effects)
        assert "Ann" not in str(recording.stored_setup)


def test_so_does_the_consent_of_an_agent_that_takes_over(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, BOUNDS)
    billing = replace(BILLING, consent=TERMS, records=True)
    try:
        scene = Scene(recorder.conversation(team_setup(standing=VERIFIED), "acs"))
        scene.respond("r1", call_item("c1", TO_BILLING, '{"reason":"Ann"}'))
        accepted = Accepted(role=billing, context={"reason": "Ann"})
        scene.take(scene.subject.handoff_answered("c1", accepted, scene.now))
        scene.say("session.updated", session=billing.configuration["session"])
        scene.accept_request("r2")
        said = [message_item("a2", f"Over to billing. {TERMS.announcement}")]
        scene.say("response.done", response={"id": "r2", "status": "completed", "output": said})
        scene.say("output_audio_buffer.stopped", response_id="r2")
        scene.take(scene.subject.gone(scene.now))
    finally:
        recorder.close()
    (path,) = tmp_path.rglob("*.gz")
    recording = read_recording(path)
    assert first_difference(play(recording)) is None
    steps = [effect["entry"] for step in recording.steps for effect in step.effects if "entry" in effect]
    announced = [entry for entry in steps if isinstance(entry, dict) and entry.get("step") == "announced"]
    assert [entry["terms"] for entry in announced] == [TERMS.name]
    assert "Ann" not in gzip.decompress(path.read_bytes()).decode()
