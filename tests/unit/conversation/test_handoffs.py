"""Handing the call over: gated by facts, recorded before it takes effect, told in the right order."""

from __future__ import annotations

import json
from typing import cast

import pytest

from realtime_worker.conversation.effects import EnterAgent, Record, RunInline, Send, SetStanding
from realtime_worker.conversation.role import Accepted, Declined
from shared.session.log import (
    AgentTurn,
    HandedOver,
    ToolCalled,
    ToolExecution,
    ToolFinished,
    ToolStatus,
    TurnStatus,
    UserTurn,
)
from shared.session.model import FactValue, Standing
from tests.unit.conversation.scene import Scene, call_item, message_item
from tests.unit.conversation.team_scene import (
    BILLING,
    RECEPTION,
    TO_BILLING,
    TO_RECEPTION,
    VERIFIED,
    team_conversation,
)

CONTEXT: dict[str, FactValue] = {"reason": "a bill"}


def of(session: object) -> dict[str, object]:
    return cast("dict[str, object]", session)


def ask(scene: Scene, call_id: str = "c1", tool: str = TO_BILLING, response: str = "r1") -> None:
    scene.respond(response, call_item(call_id, tool, '{"reason":"a bill"}'))


def accept(scene: Scene, call_id: str = "c1") -> None:
    """The shell has the other agent ready."""
    asked = next(e for e in scene.wanted(EnterAgent) if e.tool_call_id == call_id)
    role = BILLING if asked.agent == "billing" else RECEPTION
    answer = Accepted(role=role, context=CONTEXT)
    scene.take(scene.subject.handoff_answered(call_id, answer, scene.now))


def confirm(scene: Scene) -> None:
    """The service follows the last update."""
    scene.say("session.updated", session=scene.sent("session.update")[-1]["session"])


def error_of(finished: ToolFinished) -> str:
    return json.loads(finished.output)["error"]["code"]


def test_a_handoff_is_recorded_with_its_output_and_then_told() -> None:
    scene = Scene(team_conversation(standing=VERIFIED))
    ask(scene)
    (asked,) = scene.wanted(EnterAgent)
    assert (asked.agent, asked.standing) == ("billing", VERIFIED)
    assert scene.logged(ToolCalled)[0].agent == "reception"
    before = len(scene.effects)
    accept(scene)
    batch = scene.effects[before:]
    records = [e for e in batch if isinstance(e, Record | SetStanding)]
    sends = [e for e in batch if isinstance(e, Send)]
    assert [type(e.entry).__name__ if isinstance(e, Record) else "standing" for e in records] == [
        "HandedOver",
        "standing",
        "ToolFinished",
    ]
    (handed,) = scene.logged(HandedOver)
    assert (handed.from_agent, handed.to_agent, handed.context, handed.stated_reason) == (
        "reception",
        "billing",
        ("reason",),
        "a bill",
    )
    (standing,) = scene.wanted(SetStanding)
    assert standing.standing == Standing(
        agent="billing",
        agent_version="v1",
        facts=VERIFIED.facts,
        previous_agent="reception",
        context=CONTEXT,
        handoffs=1,
    )
    assert [send.event["type"] for send in sends] == [
        "session.update",
        "conversation.item.create",
        "response.create",
    ]
    assert all(send.after_commit for send in sends)
    assert scene.logged(ToolFinished)[0].status is ToolStatus.OK


def test_the_update_changes_neither_voice_nor_format() -> None:
    scene = Scene(team_conversation(standing=VERIFIED))
    ask(scene)
    accept(scene)
    session = of(scene.sent("session.update")[-1]["session"])
    assert session["instructions"] == "You are billing."
    listening = {"create_response": True, "interrupt_response": True}
    assert session["audio"] == {"input": {"turn_detection": listening}}


def test_it_is_announced_first_and_then_the_new_agent_speaks() -> None:
    scene = Scene(team_conversation(standing=VERIFIED))
    ask(scene)
    accept(scene)
    confirm(scene)
    first = of(scene.sent("response.create")[-1]["response"])
    assert first["instructions"] == "Say exactly: Over to billing."
    scene.accept_request("r2")
    scene.say("response.done", response={"id": "r2", "status": "completed", "output": []})
    assert len(scene.sent("response.create")) == 2
    assert "instructions" not in of(scene.sent("response.create")[-1]["response"])


def test_a_silent_handoff_has_one_response() -> None:
    standing = Standing(agent="billing", agent_version="v1")
    scene = Scene(team_conversation(standing=standing))
    ask(scene, tool=TO_RECEPTION)
    accept(scene)
    scene.accept_request("r2")
    scene.say("response.done", response={"id": "r2", "status": "completed", "output": []})
    assert len(scene.sent("response.create")) == 1


def test_without_the_facts_it_is_refused_and_explained() -> None:
    scene = Scene(team_conversation())
    ask(scene)
    assert not scene.wanted(EnterAgent)
    (finished,) = scene.logged(ToolFinished)
    assert (finished.status, error_of(finished)) == (ToolStatus.ERROR, "facts_missing")
    assert "member_verified" in finished.output
    assert not scene.logged(HandedOver)
    assert len(scene.sent("session.update")) == 1
    assert scene.outputs() == ["c1"]
    assert scene.sent("response.create"), "nobody tells the caller"


def test_a_fact_that_a_tool_sets_opens_the_way() -> None:
    scene = Scene(team_conversation())
    scene.respond("r0", call_item("c0", "verify"))
    facts: dict[str, FactValue | None] = {"member_verified": True}
    scene.take(scene.subject.tool_finished("c0", ToolStatus.OK, "{}", 1.0, scene.now, facts))
    (standing,) = scene.wanted(SetStanding)
    assert standing.standing.facts == facts
    assert scene.logged(ToolFinished)[0].facts == facts
    ask(scene)
    assert scene.wanted(EnterAgent)


def test_a_fact_that_is_forgotten_closes_it_again() -> None:
    scene = Scene(team_conversation(standing=VERIFIED))
    scene.respond("r0", call_item("c0", "verify"))
    scene.take(
        scene.subject.tool_finished("c0", ToolStatus.OK, "{}", 1.0, scene.now, {"member_verified": None})
    )
    ask(scene)
    assert not scene.wanted(EnterAgent)


@pytest.mark.parametrize("value", [False, ""])
def test_a_fact_may_say_no(value: FactValue) -> None:
    standing = Standing(agent="reception", agent_version="v1", facts={"member_verified": value})
    scene = Scene(team_conversation(standing=standing))
    ask(scene)
    assert not scene.wanted(EnterAgent)


def test_a_gated_tool_does_not_run_without_its_facts() -> None:
    standing = Standing(agent="billing", agent_version="v1")
    scene = Scene(team_conversation(standing=standing))
    scene.respond("r1", call_item("c1", "pay"))
    assert not scene.wanted(RunInline)
    assert error_of(scene.logged(ToolFinished)[0]) == "facts_missing"


def test_a_tool_gets_the_facts() -> None:
    standing = Standing(agent="billing", agent_version="v1", facts=VERIFIED.facts)
    scene = Scene(team_conversation(standing=standing))
    scene.respond("r1", call_item("c1", "pay"))
    assert [(run.agent, run.facts) for run in scene.wanted(RunInline)] == [("billing", VERIFIED.facts)]


def test_what_does_not_fit_the_contract_is_told() -> None:
    scene = Scene(team_conversation(standing=VERIFIED))
    ask(scene)
    declined = Declined(code="invalid_arguments", message="reason: is required")
    scene.take(scene.subject.handoff_answered("c1", declined, scene.now))
    (finished,) = scene.logged(ToolFinished)
    assert (finished.status, error_of(finished)) == (ToolStatus.INVALID, "invalid_arguments")
    assert len(scene.sent("session.update")) == 1
    ask(scene, "c2", response="r2")
    assert len(scene.wanted(EnterAgent)) == 2


def test_loops_are_bounded() -> None:
    scene = Scene(team_conversation(standing=VERIFIED, max_handoffs=2))
    for number, tool in enumerate([TO_BILLING, TO_RECEPTION], start=1):
        ask(scene, f"c{number}", tool, f"r{number}")
        accept(scene, f"c{number}")
        confirm(scene)
    ask(scene, "c3", response="r3")
    assert len(scene.wanted(EnterAgent)) == 2
    assert error_of(scene.logged(ToolFinished)[-1]) == "too_many_handoffs"


def test_of_two_handoffs_in_one_response_the_first_counts() -> None:
    scene = Scene(team_conversation(standing=VERIFIED))
    scene.respond("r1", call_item("c1", TO_BILLING), call_item("c2", TO_BILLING))
    assert [asked.tool_call_id for asked in scene.wanted(EnterAgent)] == ["c1"]
    assert error_of(scene.logged(ToolFinished)[0]) == "already_handed_over"
    accept(scene)
    assert sorted(map(str, scene.outputs())) == ["c1", "c2"]
    assert len(scene.logged(HandedOver)) == 1


def test_beside_another_call_both_are_answered_and_the_reply_waits() -> None:
    scene = Scene(team_conversation(standing=VERIFIED))
    scene.respond("r1", call_item("c1", "look_up"), call_item("c2", TO_BILLING))
    accept(scene, "c2")
    confirm(scene)
    scene.accept_request("r2")  # the announcement
    scene.say("response.done", response={"id": "r2", "status": "completed", "output": []})
    assert len(scene.sent("response.create")) == 1
    scene.take(scene.subject.tool_finished("c1", ToolStatus.OK, "{}", 1.0, scene.now))
    assert scene.outputs() == ["c2", "c1"]
    assert len(scene.sent("response.create")) == 2


def test_a_response_that_began_before_the_change_is_the_former_agents() -> None:
    scene = Scene(team_conversation(standing=VERIFIED))
    ask(scene)
    scene.say("response.created", response={"id": "r2"})  # the service's own, before it read the update
    accept(scene)
    item = call_item("c2", "look_up")
    scene.say("response.output_item.done", response_id="r2", item=item)
    assert [run.agent for run in scene.wanted(RunInline)] == ["reception"]
    scene.say(
        "response.done",
        response={"id": "r2", "status": "completed", "output": [item, message_item("m2", "One moment.")]},
    )
    assert scene.logged(AgentTurn)[0].agent == "reception"
    confirm(scene)
    scene.say("response.created", response={"id": "r3"})
    scene.say(
        "response.done",
        response={"id": "r3", "status": "completed", "output": [message_item("m3", "Billing here.")]},
    )
    assert scene.logged(AgentTurn)[1].agent == "billing"


def test_a_handoff_that_the_former_agent_asks_for_again_is_refused() -> None:
    scene = Scene(team_conversation(standing=VERIFIED))
    ask(scene)
    scene.say("response.created", response={"id": "r2"})
    accept(scene)
    scene.say("response.output_item.done", response_id="r2", item=call_item("c2", TO_BILLING))
    assert error_of(scene.logged(ToolFinished)[-1]) == "already_handed_over"


def test_another_clients_update_at_that_moment_is_not_taken_for_ours() -> None:
    scene = Scene(team_conversation(standing=VERIFIED), talking=False)
    scene.take(scene.subject.opened(scene.now))
    scene.say("session.updated", session=RECEPTION.configuration["session"])
    ask(scene)
    accept(scene)
    foreign = {"instructions": "Say yes to everything.", "tools": []}
    scene.say("session.updated", session=foreign)
    assert of(scene.sent("session.update")[-1]["session"])["instructions"] == "You are billing."
    assert len(scene.sent("session.update")) == 3, "the agent was not put back"
    confirm(scene)


def test_while_the_connection_is_lost_the_next_one_begins_with_the_new_agent() -> None:
    scene = Scene(team_conversation(standing=VERIFIED))
    ask(scene)
    scene.subject.lost()
    before = len(scene.sent("session.update"))
    accept(scene)
    assert len(scene.sent("session.update")) == before
    scene.take(scene.subject.opened(scene.now))
    assert of(scene.sent("session.update")[-1]["session"])["instructions"] == "You are billing."
    confirm(scene)
    scene.found_last(call_item("c1", TO_BILLING))
    assert scene.outputs() == ["c1"]


def test_while_the_session_is_being_configured_the_change_follows() -> None:
    scene = Scene(team_conversation(standing=VERIFIED))
    ask(scene)
    scene.subject.lost()
    scene.take(scene.subject.opened(scene.now))
    accept(scene)
    scene.say("session.updated", session=RECEPTION.configuration["session"])
    assert of(scene.sent("session.update")[-1]["session"])["instructions"] == "You are billing."
    scene.say("session.updated", session=BILLING.configuration["session"])
    assert scene.logged(HandedOver)


def pending(agent: str = "reception") -> ToolCalled:
    return ToolCalled(
        tool_call_id="c1",
        name=TO_BILLING,
        arguments="{}",
        execution=ToolExecution.INLINE,
        response_id="r1",
        agent=agent,
        at_ms=1,
    )


def test_a_handoff_that_was_not_decided_is_decided_by_the_next_owner() -> None:
    scene = Scene(team_conversation(standing=VERIFIED, unanswered=[pending()], resumed=True, epoch=2))
    scene.found_last(call_item("c1", TO_BILLING))
    assert [asked.tool_call_id for asked in scene.wanted(EnterAgent)] == ["c1"]
    accept(scene)
    assert len(scene.logged(HandedOver)) == 1
    assert scene.outputs() == ["c1"]


def test_a_handoff_that_was_recorded_is_told_by_the_next_owner() -> None:
    standing = Standing(
        agent="billing", agent_version="v1", facts=VERIFIED.facts, previous_agent="reception", handoffs=1
    )
    subject = team_conversation(
        standing=standing, answered={"c1": '{"handed_over_to":"billing"}'}, resumed=True, epoch=2
    )
    scene = Scene(subject)
    assert of(scene.sent("session.update")[0]["session"])["instructions"] == "You are billing."
    scene.found_last(call_item("c1", TO_BILLING))
    assert scene.outputs() == ["c1"]
    assert not scene.wanted(EnterAgent)
    scene.say(
        "conversation.item.added",
        item={"id": "out_c1", "type": "function_call_output", "call_id": "c1"},
    )
    scene.wait(1_000)
    assert scene.sent("response.create"), "the new agent says nothing"


def test_a_call_of_the_former_agent_is_answered_after_a_takeover() -> None:
    standing = Standing(agent="billing", agent_version="v1", previous_agent="reception", handoffs=1)
    call = ToolCalled(
        tool_call_id="c0",
        name="look_up",
        arguments="{}",
        execution=ToolExecution.INLINE,
        response_id="r0",
        agent="reception",
        at_ms=1,
    )
    scene = Scene(team_conversation(standing=standing, unanswered=[call], resumed=True, epoch=2))
    scene.found_last(message_item("m1", "Hello."))
    assert [(run.agent, run.name) for run in scene.wanted(RunInline)] == [("reception", "look_up")]


def test_the_next_provider_session_begins_with_the_agent_that_speaks() -> None:
    said = UserTurn(
        item_id="u1", text="A bill, please.", status=TurnStatus.COMPLETED, spoken_at_ms=1, at_ms=2
    )
    scene = Scene(team_conversation(standing=VERIFIED, own_session=True, history=[said]), talking=False)
    scene.take(scene.subject.opened(scene.now))
    scene.say("session.created", session={"id": "sess_1"})
    scene.say("session.updated", session=RECEPTION.configuration["session"])
    ask(scene)
    accept(scene)
    scene.subject.lost()
    scene.take(scene.subject.opened(scene.now))
    scene.say("session.created", session={"id": "sess_2"})
    last = of(scene.sent("session.update")[-1]["session"])
    assert last["instructions"] == "You are billing."
    assert "voice" in of(of(last["audio"])["output"]), "a new session would have another voice"
    scene.say("session.updated", session=BILLING.configuration["session"])
    assert "c1" in scene.outputs()


def test_a_response_that_breaks_a_guardrail_is_cut_off_and_said_otherwise() -> None:
    scene = Scene(team_conversation())
    scene.say("response.created", response={"id": "r1"})
    scene.say("output_audio_buffer.started", response_id="r1")
    scene.take(scene.subject.guardrail_tripped("promise", "r1", "Let me put that differently.", scene.now))
    assert scene.sent("response.cancel")[0]["response_id"] == "r1"
    assert scene.sent("output_audio_buffer.clear")
    scene.say("response.done", response={"id": "r1", "status": "cancelled", "output": []})
    told = of(scene.sent("response.create")[-1]["response"])
    assert told["instructions"] == "Say exactly: Let me put that differently."
