"""What the caller is told while a tool runs, and what their interruption does to it."""

from __future__ import annotations

import json

from realtime_worker.conversation.effects import CancelTool, Record
from realtime_worker.conversation.role import ToolManners
from shared.session.commands import InboxEntry, ReportProgress
from shared.session.log import ToolCalled, ToolExecution, ToolFinished, ToolProgressed, ToolStatus
from tests.unit.conversation.scene import Scene, call_item, conversation

PATIENT = ToolManners(filler="One moment, please.", filler_after_ms=1_500)
CANCELLABLE = ToolManners(cancellable=True)


def talking(**manners: ToolManners) -> Scene:
    return Scene(conversation(manners=manners))


def said(scene: Scene) -> list[str]:
    """Return what was asked to be said word for word."""
    requests = [event["response"] for event in scene.sent("response.create")]
    return [r["instructions"].removeprefix("Say exactly: ") for r in requests if r.get("instructions")]  # type: ignore[union-attr, index, attr-defined]


def finish(scene: Scene, call_id: str) -> None:
    scene.take(scene.subject.tool_finished(call_id, ToolStatus.OK, '{"ok":true}', 12.5, scene.now))


def speak(scene: Scene, response_id: str) -> None:
    """The service says what was asked for last."""
    scene.accept_request(response_id)
    scene.say("response.done", response={"id": response_id, "status": "completed", "output": []})


def test_a_filler_is_said_after_its_silence_and_once() -> None:
    scene = talking(look_up=PATIENT)
    scene.respond("r1", call_item("c1"))
    scene.wait(1_499)
    assert said(scene) == []
    assert scene.subject.next_deadline_ms() == scene.now + 1
    scene.wait(1)
    assert said(scene) == ["One moment, please."]
    speak(scene, "r2")
    scene.wait(9_000)
    assert said(scene) == ["One moment, please."]


def test_a_tool_that_is_fast_says_nothing() -> None:
    scene = talking(look_up=PATIENT)
    scene.respond("r1", call_item("c1"))
    scene.wait(1_000)
    finish(scene, "c1")
    scene.wait(9_000)
    assert said(scene) == []
    assert len(scene.sent("response.create")) == 1


def test_silence_is_counted_from_when_the_agent_is_heard_out() -> None:
    scene = talking(look_up=PATIENT)
    scene.say("response.created", response={"id": "r1"})
    scene.say("output_audio_buffer.started", response_id="r1")
    scene.say("response.output_item.done", response_id="r1", item=call_item("c1"))
    scene.say("response.done", response={"id": "r1", "status": "completed", "output": [call_item("c1")]})
    scene.wait(4_000)
    assert said(scene) == []
    scene.say("output_audio_buffer.stopped", response_id="r1")
    scene.wait(1_500)
    assert said(scene) == ["One moment, please."]


def test_two_tools_at_once_ask_for_patience_once() -> None:
    scene = talking(look_up=PATIENT, pay=PATIENT)
    scene.respond("r1", call_item("c1"), call_item("c2", "pay"))
    scene.wait(1_500)
    speak(scene, "r2")
    scene.wait(9_000)
    assert said(scene) == ["One moment, please."]


def test_a_filler_that_was_not_asked_for_yet_is_dropped_with_its_tool() -> None:
    scene = talking(look_up=PATIENT)
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    scene.say("response.output_item.done", response_id="r1", item=call_item("c1"))
    scene.wait(1_700)  # due, but the service may still begin to answer
    assert said(scene) == []
    finish(scene, "c1")
    scene.wait(9_000)
    assert said(scene) == []


def test_progress_is_recorded_and_the_newest_is_said_when_nobody_speaks() -> None:
    scene = talking()
    scene.respond("r1", call_item("c1"))
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    for words in ("One page read.", "Two pages read."):
        scene.take(scene.subject.tool_progressed("c1", words, scene.now))
    assert [entry.text for entry in scene.logged(ToolProgressed)] == ["One page read.", "Two pages read."]
    assert said(scene) == []
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    scene.respond("r2")
    assert said(scene) == ["Two pages read."]


def test_progress_takes_the_fillers_place() -> None:
    scene = talking(look_up=PATIENT)
    scene.respond("r1", call_item("c1"))
    scene.wait(1_000)
    scene.take(scene.subject.tool_progressed("c1", "Nearly there.", scene.now))
    assert said(scene) == ["Nearly there."]


def test_progress_of_a_durable_tool_comes_through_the_inbox_once() -> None:
    scene = talking()
    scene.respond("r1", call_item("c1", "book"))
    entry = InboxEntry(entry_id="5-0", command=ReportProgress(tool_call_id="c1", text="Asking the doctor."))
    scene.take(scene.subject.command(entry, scene.now))
    assert said(scene) == ["Asking the doctor."]
    late = InboxEntry(entry_id="6-0", command=ReportProgress(tool_call_id="c9", text="Whose?"))
    scene.take(scene.subject.command(late, scene.now))
    assert len(scene.logged(ToolProgressed)) == 1


def test_the_caller_cancels_what_may_be_cancelled_recorded_first() -> None:
    scene = talking(look_up=CANCELLABLE)
    scene.respond("r1", call_item("c1"), call_item("c2", "pay"))
    scene.now += 700
    effects = scene.say("input_audio_buffer.speech_started", item_id="u1")
    kinds = [type(effect) for effect in effects]
    assert kinds.index(Record) < kinds.index(CancelTool)
    (finished,) = scene.logged(ToolFinished)
    assert (finished.tool_call_id, finished.status, finished.duration_ms) == (
        "c1",
        ToolStatus.CANCELLED,
        700.0,
    )
    assert json.loads(finished.output)["error"]["code"] == "cancelled_by_caller"
    assert scene.outputs() == ["c1"], "the model is told"
    finish(scene, "c1")  # it was faster than its cancellation
    assert len(scene.logged(ToolFinished)) == 1
    finish(scene, "c2")
    assert scene.outputs() == ["c1", "c2"]


def test_who_may_not_interrupt_the_agent_cancels_nothing() -> None:
    scene = talking(pay=PATIENT)
    scene.respond("r1", call_item("c1", "pay"))
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    assert scene.wanted(CancelTool) == []


def test_parallel_calls_are_answered_once_also_when_one_of_them_is_cancelled() -> None:
    scene = talking(look_up=CANCELLABLE)
    scene.respond("r1", call_item("c1"), call_item("c2", "pay"))
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    finish(scene, "c2")
    for call in ("c1", "c2"):
        scene.say("conversation.item.added", item={"type": "function_call_output", "call_id": call})
    scene.respond("r2")  # the service's own answer to the caller has all outputs
    scene.wait(9_000)
    assert scene.sent("response.create") == []


def test_what_is_redacted_is_said_in_the_records() -> None:
    scene = talking(look_up=ToolManners(redact=("card",)))
    scene.respond("r1", call_item("c1"))
    finish(scene, "c1")
    assert scene.logged(ToolCalled)[0].redact == ("card",)
    assert scene.logged(ToolFinished)[0].redact == ("card",)


def test_the_next_owner_knows_what_is_redacted_by_the_record() -> None:
    call = ToolCalled(
        tool_call_id="c1",
        name="look_up",
        arguments="{}",
        execution=ToolExecution.INLINE,
        response_id="r1",
        redact=("card",),
        at_ms=1,
    )
    scene = Scene(conversation(unanswered=[call], resumed=True))
    scene.found_last()
    finish(scene, "c1")
    assert scene.logged(ToolFinished)[0].redact == ("card",)
