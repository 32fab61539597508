"""The agent ends the call by its tool: after its sentence, unless the caller speaks."""

from __future__ import annotations

import pytest

from realtime_worker.conversation.effects import Finish, HangUp, Record, RunInline, SetState
from realtime_worker.conversation.setup import Phase
from shared.session.commands import InboxEntry, Say
from shared.session.log import (
    AgentTurn,
    HeardOut,
    ToolCalled,
    ToolExecution,
    ToolFinished,
    ToolStatus,
    TurnStatus,
)
from tests.unit.conversation.scene import Scene, call_item, conversation, message_item

GOODBYE = message_item("a1", "Goodbye then.")
END = call_item("c1", "end_call")


def reasons(scene: Scene) -> list[str]:
    return [effect.reason for effect in scene.wanted(Finish)]


def results(scene: Scene) -> list[ToolStatus]:
    return [entry.status for entry in scene.logged(ToolFinished)]


def test_the_caller_hears_its_sentence_to_the_end() -> None:
    scene = Scene(conversation(farewell="Farewell."))
    scene.respond("r1", GOODBYE, END)
    assert reasons(scene) == []
    assert results(scene) == []
    assert not scene.subject.quiet, "another owner would cut it off"
    scene.say("output_audio_buffer.stopped", response_id="r0")
    assert reasons(scene) == []
    scene.say("output_audio_buffer.stopped", response_id="r1")
    assert reasons(scene) == ["agent_ended"]
    assert results(scene) == [ToolStatus.OK]
    assert len(scene.wanted(HangUp)) == 1
    assert scene.wanted(RunInline) == []
    assert scene.sent("response.create") == []
    kinds = [type(effect) for effect in scene.effects if isinstance(effect, Record | SetState | HangUp)]
    assert kinds[-3:] == [Record, SetState, HangUp]


def test_its_end_may_be_told_before_the_response_is_complete() -> None:
    scene = Scene(conversation())
    scene.say("response.created", response={"id": "r1"})
    scene.say("response.output_item.done", response_id="r1", item=END)
    scene.say("output_audio_buffer.stopped", response_id="r1")
    assert reasons(scene) == []
    scene.say("response.done", response={"id": "r1", "status": "completed", "output": [GOODBYE, END]})
    assert reasons(scene) == ["agent_ended"]


@pytest.mark.parametrize("farewell", ["Farewell.", ""])
def test_without_a_sentence_the_farewell_is_said(farewell: str) -> None:
    scene = Scene(conversation(farewell=farewell))
    scene.respond("r1", END)
    assert results(scene) == [ToolStatus.OK]
    if farewell:
        assert reasons(scene) == []
        scene.accept_request("r2")
        said = [message_item("a2", farewell)]
        scene.say("response.done", response={"id": "r2", "status": "completed", "output": said})
        scene.say("output_audio_buffer.stopped", response_id="r2")
    assert reasons(scene) == ["agent_ended"]


def test_a_caller_who_speaks_over_it_keeps_the_call() -> None:
    scene = Scene(conversation())
    scene.respond("r1", GOODBYE, END)
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.say("output_audio_buffer.cleared", response_id="r1")
    assert results(scene) == [ToolStatus.ERROR]
    assert '"caller_spoke"' in scene.logged(ToolFinished)[0].output
    assert scene.outputs() == ["c1"]
    scene.wait(120_000)
    assert reasons(scene) == []
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    scene.respond("r2", message_item("a2", "Goodbye."), call_item("c2", "end_call"))
    scene.say("output_audio_buffer.stopped", response_id="r2")
    assert reasons(scene) == ["agent_ended"]
    assert results(scene) == [ToolStatus.ERROR, ToolStatus.OK]


def test_a_response_that_the_caller_cut_off_ends_nothing() -> None:
    scene = Scene(conversation(farewell="Farewell."))
    scene.respond("r1", GOODBYE, END, status="cancelled")
    assert results(scene) == [ToolStatus.ERROR]
    assert scene.subject.phase is Phase.TALKING


def test_where_nothing_tells_that_it_was_heard_time_does() -> None:
    scene = Scene(conversation())
    scene.respond("r1", GOODBYE, END)
    deadline = scene.subject.next_deadline_ms()
    assert deadline is not None
    scene.wait(deadline - scene.now)
    assert reasons(scene) == ["agent_ended"]


def test_calling_it_twice_ends_the_call_once() -> None:
    scene = Scene(conversation())
    scene.respond("r1", GOODBYE, END, call_item("c2", "end_call"))
    scene.say("output_audio_buffer.stopped", response_id="r1")
    assert reasons(scene) == ["agent_ended"]
    assert results(scene) == [ToolStatus.OK, ToolStatus.OK]


def ending(response_id: str = "r1") -> ToolCalled:
    return ToolCalled(
        tool_call_id="c1",
        name="end_call",
        arguments="{}",
        execution=ToolExecution.CONVERSATION,
        response_id=response_id,
        at_ms=1,
    )


@pytest.mark.parametrize("said", [True, False])
def test_the_next_owner_ends_it(said: bool) -> None:
    turn = AgentTurn(
        item_id="a1",
        response_id="r1",
        agent="desk",
        text="Goodbye then.",
        status=TurnStatus.COMPLETED,
        first_audio_ms=-1,
        spoken_at_ms=1,
        at_ms=2,
    )
    scene = Scene(
        conversation(
            farewell="Farewell.", resumed=True, history=[turn] if said else [], unanswered=[ending()]
        )
    )
    scene.found_last()
    assert results(scene) == [ToolStatus.OK]
    assert reasons(scene) == (["agent_ended"] if said else [])
    assert len(scene.sent("response.create")) == (0 if said else 1), "the farewell"


def test_a_call_for_it_that_was_missed_is_found() -> None:
    scene = Scene(conversation(resumed=True))
    scene.found_last(END)
    assert reasons(scene) == ["agent_ended"]


def test_a_lost_connection_does_not_keep_the_call_for_ever() -> None:
    scene = Scene(conversation())
    scene.respond("r1", GOODBYE, END)
    scene.subject.lost()
    scene.take(scene.subject.opened(scene.now))
    scene.say("session.updated")
    scene.found_last()
    scene.wait(60_000)
    assert reasons(scene) == ["agent_ended"]


# --- words of a command -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stopped", "cleared"])
def test_the_log_tells_when_the_words_of_a_command_were_heard(how: str) -> None:
    scene = Scene(conversation())
    scene.take(scene.subject.command(InboxEntry(entry_id="1-0", command=Say(text="One moment.")), scene.now))
    scene.accept_request("r1")
    said = [message_item("a1", "One moment.")]
    scene.say("response.done", response={"id": "r1", "status": "completed", "output": said})
    assert scene.logged(HeardOut) == []
    scene.say(f"output_audio_buffer.{how}", response_id="r1")
    scene.say(f"output_audio_buffer.{how}", response_id="r1")
    assert scene.logged(HeardOut) == [HeardOut(entry_id="1-0", interrupted=how == "cleared", at_ms=scene.now)]


def test_other_words_are_not_told() -> None:
    scene = Scene(conversation(greeting="Hello."))
    scene.accept_request("r1")
    scene.say("output_audio_buffer.stopped", response_id="r1")
    assert scene.logged(HeardOut) == []
