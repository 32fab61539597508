"""Every function call gets exactly one output, recorded before it is sent."""

from __future__ import annotations

import pytest

from realtime_worker.conversation.effects import ConsumeInbox, Record, RunInline, Send, StartDurable
from realtime_worker.conversation.role import ToolManners
from shared.session.commands import InboxEntry, ToolResult
from shared.session.log import (
    ErrorRecorded,
    ToolCalled,
    ToolExecution,
    ToolFinished,
    ToolMadeDurable,
    ToolStatus,
)
from tests.unit.conversation.scene import Scene, call_item, conversation


def finish(scene: Scene, call_id: str, output: str = '{"ok":true}') -> None:
    scene.take(scene.subject.tool_finished(call_id, ToolStatus.OK, output, 12.5, scene.now))


def test_a_call_is_recorded_before_it_runs() -> None:
    scene = Scene(conversation())
    effects = scene.say("response.output_item.done", response_id="r1", item=call_item("c1"))
    kinds = [type(effect) for effect in effects]
    assert kinds == [Record, RunInline]
    assert scene.logged(ToolCalled)[0].tool_call_id == "c1"


def test_an_output_is_recorded_and_waits_for_the_commit() -> None:
    scene = Scene(conversation())
    scene.say("response.output_item.done", response_id="r1", item=call_item("c1"))
    finish(scene, "c1")
    output = next(
        e for e in scene.effects if isinstance(e, Send) and e.event["type"] == "conversation.item.create"
    )
    assert output.after_commit
    assert scene.logged(ToolFinished)[0].status is ToolStatus.OK


def test_the_reply_waits_until_the_response_is_done() -> None:
    scene = Scene(conversation())
    scene.say("response.created", response={"id": "r1"})
    scene.say("response.output_item.done", response_id="r1", item=call_item("c1"))
    finish(scene, "c1")
    assert scene.outputs() == ["c1"]
    assert scene.sent("response.create") == []
    scene.say("response.done", response={"id": "r1", "status": "completed", "output": [call_item("c1")]})
    assert len(scene.sent("response.create")) == 1


def test_parallel_calls_of_one_response_answer_once() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1"), call_item("c2", "pay"))
    finish(scene, "c1")
    assert scene.sent("response.create") == []
    finish(scene, "c2")
    assert scene.outputs() == ["c1", "c2"]
    assert len(scene.sent("response.create")) == 1


def test_a_call_that_has_its_output_before_its_sibling_is_known_waits_for_that_one() -> None:
    scene = Scene(conversation())
    scene.say("response.created", response={"id": "r1"})
    scene.say("response.output_item.done", response_id="r1", item=call_item("c1"))
    finish(scene, "c1")
    scene.say("response.output_item.done", response_id="r1", item=call_item("c2", "pay"))
    items = [call_item("c1"), call_item("c2", "pay")]
    scene.say("response.done", response={"id": "r1", "status": "completed", "output": items})
    assert scene.sent("response.create") == []
    finish(scene, "c2")
    assert scene.outputs() == ["c1", "c2"]
    assert len(scene.sent("response.create")) == 1


def test_a_second_result_for_a_call_changes_nothing() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1"))
    finish(scene, "c1")
    finish(scene, "c1", '{"ok":false}')
    assert scene.outputs() == ["c1"]
    assert len(scene.logged(ToolFinished)) == 1


def test_a_call_announced_twice_runs_once_and_an_incomplete_one_never() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1"), call_item("c2", status="incomplete"))
    assert [e.tool_call_id for e in scene.wanted(RunInline)] == ["c1"]


def test_an_unknown_tool_is_answered_with_the_names_of_the_known_ones() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1", "fly"))
    (finished,) = scene.logged(ToolFinished)
    assert finished.status is ToolStatus.INVALID
    assert "look_up" in finished.output
    assert scene.outputs() == ["c1"]
    assert not scene.wanted(RunInline)


def test_a_durable_result_comes_through_the_inbox_and_is_consumed_with_its_record() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1", "book"))
    assert [e.tool_call_id for e in scene.wanted(StartDurable)] == ["c1"]
    result = ToolResult(tool_call_id="c1", status=ToolStatus.OK, output='{"n":1}', duration_ms=900)
    effects = scene.take(scene.subject.command(InboxEntry(entry_id="5-0", command=result), scene.now))
    assert any(isinstance(e, ConsumeInbox) and e.entry_id == "5-0" for e in effects)
    assert scene.outputs() == ["c1"]


def test_a_durable_call_does_not_hold_up_the_inline_ones_beside_it() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1"), call_item("c2", "book"))
    finish(scene, "c1")
    assert len(scene.sent("response.create")) == 1


def test_the_services_own_response_covers_outputs_it_has_seen() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1"))
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    finish(scene, "c1")
    assert scene.sent("response.create") == []
    scene.say("conversation.item.added", item={"type": "function_call_output", "call_id": "c1"})
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    scene.respond("r2")
    scene.wait(60_000)
    assert scene.sent("response.create") == []


def test_an_output_the_service_had_not_seen_is_spoken_about_afterwards() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1"))
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    finish(scene, "c1")
    scene.respond("r2")
    assert len(scene.sent("response.create")) == 1


def test_outputs_sent_into_a_lost_connection_are_sent_again() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1"))
    finish(scene, "c1")
    scene.subject.lost()
    scene.take(scene.subject.opened(scene.now))
    scene.say("session.updated")
    assert scene.outputs() == ["c1"]
    scene.found_last()
    assert scene.outputs() == ["c1", "c1"]
    assert len(scene.sent("response.create")) == 1  # whether a reply is owed, the probe will tell


def test_a_confirmed_output_is_not_sent_again() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1"))
    finish(scene, "c1")
    scene.say("conversation.item.added", item={"type": "function_call_output", "call_id": "c1"})
    scene.subject.lost()
    scene.take(scene.subject.opened(scene.now))
    scene.say("session.updated")
    assert scene.outputs() == ["c1"]


@pytest.mark.parametrize(
    ("name", "execution", "again"),
    [("look_up", ToolExecution.INLINE, RunInline), ("book", ToolExecution.DURABLE, StartDurable)],
)
def test_a_new_owner_takes_up_calls_that_may_be_repeated(
    name: str, execution: ToolExecution, again: type
) -> None:
    called = ToolCalled(
        tool_call_id="c1", name=name, arguments="{}", execution=execution, response_id="r1", at_ms=1
    )
    scene = Scene(conversation(unanswered=[called], resumed=True))
    scene.found_last()
    assert len(scene.wanted(again)) == 1
    assert scene.logged(ToolCalled) == []


def test_a_new_owner_does_not_repeat_an_effect_whose_outcome_is_unknown() -> None:
    called = ToolCalled(
        tool_call_id="c1",
        name="pay",
        arguments="{}",
        execution=ToolExecution.INLINE,
        response_id="r1",
        at_ms=1,
    )
    scene = Scene(conversation(unanswered=[called], resumed=True))
    scene.found_last()
    assert scene.wanted(RunInline) == []
    assert scene.logged(ToolFinished)[0].status is ToolStatus.UNKNOWN
    assert "outcome_unknown" in scene.logged(ToolFinished)[0].output


@pytest.mark.parametrize("name", ["billing__pay", "pay"])
def test_a_call_that_was_cut_off_is_unknown_also_where_nobody_knows_the_tool(name: str) -> None:
    """As on a worker that has never reached the server of an MCP tool that a pattern allows."""
    called = ToolCalled(
        tool_call_id="c1",
        name=name,
        arguments="{}",
        execution=ToolExecution.INLINE,
        response_id="r1",
        at_ms=1,
    )
    scene = Scene(conversation(unanswered=[called], resumed=True))
    scene.found_last()
    assert scene.wanted(RunInline) == []
    (finished,) = scene.logged(ToolFinished)
    assert finished.status is ToolStatus.UNKNOWN
    assert "outcome_unknown" in finished.output


def test_a_new_owner_does_not_run_a_call_that_has_its_result_when_it_is_shown_again() -> None:
    scene = Scene(conversation(answered={"c1": ""}, resumed=True))
    scene.say("response.done", response={"id": "r1", "status": "completed", "output": [call_item("c1")]})
    assert scene.wanted(RunInline) == []
    assert scene.outputs() == []


def test_a_call_that_was_made_while_nobody_listened_is_found_and_run() -> None:
    scene = Scene(conversation(resumed=True))
    scene.found_last(call_item("c9"))
    assert [e.tool_call_id for e in scene.wanted(RunInline)] == ["c9"]
    assert scene.logged(ToolCalled)[0].name == "look_up"


def test_a_recorded_output_that_never_arrived_is_sent_by_the_next_owner() -> None:
    scene = Scene(conversation(answered={"c9": '{"ok":1}'}, resumed=True))
    scene.found_last(call_item("c9"))
    assert scene.outputs() == ["c9"]
    assert scene.wanted(RunInline) == []
    scene.say("conversation.item.added", item={"type": "function_call_output", "call_id": "c9"})
    assert len(scene.sent("response.create")) == 1


def test_a_call_that_was_missed_is_found_before_outputs_are_sent_behind_it() -> None:
    book = ToolCalled(
        tool_call_id="c1",
        name="book",
        arguments="{}",
        execution=ToolExecution.DURABLE,
        response_id="r1",
        at_ms=1,
    )
    scene = Scene(conversation(unanswered=[book], resumed=True), talking=False)
    scene.take(scene.subject.opened(scene.now))
    result = ToolResult(tool_call_id="c1", status=ToolStatus.OK, output="{}", duration_ms=1)
    scene.take(scene.subject.command(InboxEntry(entry_id="1-0", command=result), scene.now))
    scene.say("session.updated")
    assert scene.outputs() == []
    scene.found_last(call_item("c9"))
    assert scene.outputs() == ["c1"]
    assert [e.tool_call_id for e in scene.wanted(RunInline)] == ["c9"]


def test_a_service_that_does_not_tell_what_was_said_last_is_not_waited_for() -> None:
    scene = Scene(conversation(answered={"c1": '{"ok":1}'}, resumed=True))
    assert scene.outputs() == []
    assert scene.subject.next_deadline_ms() == scene.now + 2_000
    scene.wait(2_000)
    assert scene.outputs() == ["c1"]


def test_an_output_that_its_owner_died_before_sending_is_sent_although_others_spoke_since() -> None:
    scene = Scene(conversation(answered={"c1": '{"ok":1}', "c0": ""}, resumed=True))
    scene.found_last({"id": "a1", "type": "message", "role": "assistant", "content": []})
    assert scene.outputs() == ["c1"]
    scene.say("conversation.item.added", item={"type": "function_call_output", "call_id": "c1"})
    scene.wait(700)
    assert len(scene.sent("response.create")) == 1


def test_an_output_that_the_service_has_causes_no_reply_when_its_copy_is_refused() -> None:
    scene = Scene(conversation(answered={"c1": '{"ok":1}'}, resumed=True))
    scene.found_last({"id": "a1", "type": "message", "role": "assistant", "content": []})
    item_id = next(e["event_id"] for e in scene.sent("conversation.item.create") if e["item"].get("call_id"))  # type: ignore[union-attr]
    scene.say("error", error={"code": "item_create_duplicate_item_id", "event_id": item_id})
    scene.wait(10_000)
    assert scene.sent("response.create") == []
    assert scene.logged(ErrorRecorded) == []


def test_an_output_that_nobody_has_spoken_about_gets_its_reply() -> None:
    scene = Scene(conversation(answered={"c9": '{"ok":1}'}, resumed=True))
    scene.found_last({"id": "out", "type": "function_call_output", "call_id": "c9"})
    assert scene.sent("response.create") == []
    scene.wait(700)
    assert len(scene.sent("response.create")) == 1


USER_TURN = {"id": "u1", "type": "message", "role": "user", "content": [{"type": "input_audio"}]}


def test_a_caller_whose_words_nobody_answered_gets_their_reply() -> None:
    scene = Scene(conversation(resumed=True))
    scene.found_last(USER_TURN)
    assert scene.sent("response.create") == []
    scene.wait(700)
    assert len(scene.sent("response.create")) == 1
    scene.accept_request("r1")
    scene.say("response.done", response={"id": "r1", "status": "completed", "output": []})
    scene.wait(10_000)
    assert len(scene.sent("response.create")) == 1


@pytest.mark.parametrize("answered", [True, False])
def test_a_reply_that_nobody_saw_begin_is_repeated_only_if_it_was_none(answered: bool) -> None:
    scene = Scene(conversation(resumed=True))
    scene.found_last(USER_TURN)
    scene.wait(700)
    (request,) = scene.sent("response.create")
    busy = {"code": "conversation_already_has_active_response", "event_id": request["event_id"]}
    scene.say("error", error=busy)
    scene.say("response.done", response={"id": "unseen", "status": "completed", "output": []})
    scene.found_last({"id": "a1", "type": "message", "role": "assistant"} if answered else USER_TURN)
    scene.wait(10_000)
    assert len(scene.sent("response.create")) == (1 if answered else 2)


def test_a_reply_that_has_begun_is_not_asked_for_again() -> None:
    scene = Scene(conversation(answered={"c9": '{"ok":1}'}, resumed=True))
    scene.found_last({"id": "out", "type": "function_call_output", "call_id": "c9"})
    scene.respond("r1")
    scene.wait(10_000)
    assert scene.sent("response.create") == []


def test_a_conversation_where_nothing_is_open_stays_as_it_is() -> None:
    scene = Scene(conversation(resumed=True))
    count = len(scene.entries())
    scene.found_last({"id": "a1", "type": "message", "role": "assistant", "content": []})
    scene.wait(10_000)
    assert (len(scene.entries()), scene.sent("response.create")) == (count, [])


def test_a_second_copy_of_an_output_that_the_service_refuses_is_no_error() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1"))
    finish(scene, "c1")
    item_id = scene.sent("conversation.item.create")[0]["event_id"]
    refusal = {"code": "item_create_duplicate_item_id", "message": "exists", "event_id": item_id}
    before = len(scene.entries())
    scene.say("error", error=refusal)
    assert len(scene.entries()) == before


def asks(scene: Scene, call_id: str) -> list[object]:
    return list(scene.take(scene.subject.tool_asks(call_id, scene.now)))


def test_an_inline_call_that_needs_a_person_is_recorded_as_durable_and_goes_on_as_one() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1", "pay", '{"dollars":250}'))
    assert asks(scene, "c1") == [
        Record(entry=ToolMadeDurable(tool_call_id="c1", name="pay", at_ms=scene.now)),
        StartDurable(tool_call_id="c1", name="pay", arguments='{"dollars":250}', agent="desk"),
    ]
    assert scene.sent("response.create") == [], "there is nothing to speak about yet"
    result = ToolResult(tool_call_id="c1", status=ToolStatus.OK, output='{"n":1}', duration_ms=900)
    scene.take(scene.subject.command(InboxEntry(entry_id="5-0", command=result), scene.now))
    assert scene.outputs() == ["c1"]
    assert len(scene.sent("response.create")) == 1


@pytest.mark.parametrize("call_id", ["c1", "c2", "c3", "c9"])
def test_what_is_no_open_inline_call_can_not_become_durable(call_id: str) -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1"), call_item("c2", "book"), call_item("c3", "pay"))
    finish(scene, "c1")
    asks(scene, "c3")
    assert asks(scene, call_id) == []


def test_the_caller_hears_the_waiting_words_of_a_call_that_became_durable() -> None:
    manners = {"pay": ToolManners(filler="One moment.", filler_after_ms=1_500)}
    scene = Scene(conversation(manners=manners))
    scene.respond("r1", call_item("c1", "pay"))
    asks(scene, "c1")
    scene.wait(1_500)
    assert "One moment." in str(scene.sent("response.create"))


def test_a_call_that_became_durable_is_not_cancelled_by_the_caller() -> None:
    manners = {"pay": ToolManners(cancellable=True)}
    scene = Scene(conversation(manners=manners))
    scene.respond("r1", call_item("c1", "pay"))
    asks(scene, "c1")
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    assert scene.logged(ToolFinished) == []


def test_the_reply_to_a_sibling_does_not_wait_for_a_person() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1"), call_item("c2", "pay"))
    finish(scene, "c1")
    assert scene.sent("response.create") == []
    asks(scene, "c2")
    assert len(scene.sent("response.create")) == 1


def test_a_sibling_that_still_runs_brings_the_reply() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1"), call_item("c2", "pay"))
    asks(scene, "c2")
    assert scene.sent("response.create") == []
    finish(scene, "c1")
    assert len(scene.sent("response.create")) == 1


def test_a_reply_that_was_put_off_for_a_call_is_not_lost_when_that_one_waits() -> None:
    """A durable result came during a response, whose own call was to bring the reply to both."""
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1", "book"))
    scene.say("response.created", response={"id": "r2"})
    result = ToolResult(tool_call_id="c1", status=ToolStatus.OK, output="{}", duration_ms=1)
    scene.take(scene.subject.command(InboxEntry(entry_id="5-0", command=result), scene.now))
    items = [call_item("c2", "pay")]
    scene.say("response.done", response={"id": "r2", "status": "completed", "output": items})
    assert scene.sent("response.create") == []
    asks(scene, "c2")
    assert len(scene.sent("response.create")) == 1


def test_a_reply_that_the_service_gave_by_itself_is_not_wanted_again() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1"), call_item("c2", "pay"))
    finish(scene, "c1")
    scene.say("conversation.item.added", item={"type": "function_call_output", "call_id": "c1"})
    scene.respond("r2")
    asks(scene, "c2")
    assert scene.sent("response.create") == []


def test_nothing_becomes_durable_when_the_call_is_over() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1", "pay"))
    scene.take(scene.subject.gone(scene.now))
    assert asks(scene, "c1") == []


def test_a_new_owner_goes_on_with_a_call_that_became_durable_also_where_the_tool_is_unknown() -> None:
    called = ToolCalled(
        tool_call_id="c1",
        name="billing__pay",
        arguments="{}",
        execution=ToolExecution.DURABLE,
        response_id="r1",
        at_ms=1,
    )
    scene = Scene(conversation(unanswered=[called], resumed=True))
    scene.found_last()
    assert [effect.tool_call_id for effect in scene.wanted(StartDurable)] == ["c1"]
    assert scene.logged(ToolFinished) == []
