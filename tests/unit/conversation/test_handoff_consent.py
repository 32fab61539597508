"""An agent that a handoff leads to has its own consent and recording, as one with which a call begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

import pytest

from realtime_worker.conversation.consent import ConsentTerms
from realtime_worker.conversation.core import Conversation
from realtime_worker.conversation.effects import AskRecording, Finish, RunInline
from realtime_worker.conversation.role import Accepted, Role
from realtime_worker.conversation.setup import ConversationSetup
from shared.session.commands import EndCall, InboxEntry
from shared.session.log import (
    AgentTurn,
    CallEvent,
    CallEventKind,
    ConsentNoted,
    ConsentStep,
    HandedOver,
    LogEntry,
    ToolCalled,
    ToolExecution,
    ToolFinished,
    TurnStatus,
    UserTurn,
)
from shared.session.model import Standing
from tests.unit.conversation.scene import Scene, call_item, message_item
from tests.unit.conversation.team_scene import (
    BILLING,
    RECEPTION,
    TO_BILLING,
    TO_RECEPTION,
    VERIFIED,
    team_setup,
)

WORDS = "This call is recorded from here on."
TOLD = ConsentTerms(name="rec", announcement=WORDS)
ASKED = ConsentTerms(name="rec", announcement=WORDS, ask=True, goodbye="Then goodbye.")
OTHER = ConsentTerms(name="ai", announcement="You talk to an assistant.")
OVER, BOTH = "Over to billing.", f"Over to billing. {WORDS}"
AT_BILLING = Standing(
    agent="billing", agent_version="v1", facts=VERIFIED.facts, previous_agent="reception", handoffs=1
)
HANDED = HandedOver(
    tool_call_id="c1",
    from_agent="reception",
    to_agent="billing",
    to_version="v1",
    announce=OVER,
    at_ms=5,
)
Kind = CallEventKind


def roles(
    *,
    reception: ConsentTerms | None = None,
    billing: ConsentTerms | None = None,
    recorded: tuple[str, ...] = (),
) -> dict[str, Role]:
    """Return the team, with what its members have to say first, and who of them is recorded."""
    team = {"reception": replace(RECEPTION, consent=reception), "billing": replace(BILLING, consent=billing)}
    asking = {"record_consent": ToolExecution.CONVERSATION}
    return {
        name: replace(role, executions={**role.executions, **asking}, records=name in recorded)
        for name, role in team.items()
    }


def setup_of(
    team: Mapping[str, Role], *, standing: Standing = VERIFIED, **given: object
) -> ConversationSetup:
    return team_setup(standing=standing, roles=team, **given)  # type: ignore[arg-type]  # what team_setup takes


def called(scene: Scene, team: Mapping[str, Role]) -> Scene:
    """Begin the call with its first agent, who has said all that comes first."""
    scene.take(scene.subject.opened(scene.now))
    scene.say("session.updated", session=scene.sent("session.update")[-1]["session"])
    if team["reception"].consent is not None:
        speak(scene, "r0", said_last(scene))
    return scene


def begun(team: Mapping[str, Role]) -> Scene:
    return called(Scene(Conversation(setup_of(team)), talking=False), team)


def hand_over(
    scene: Scene, team: Mapping[str, Role], to: str = "billing", *, call_id: str = "c1", response: str = "r1"
) -> None:
    tool = TO_BILLING if to == "billing" else TO_RECEPTION
    scene.respond(response, call_item(call_id, tool, '{"reason":"a bill"}'))
    answer = Accepted(role=team[to], context={"reason": "a bill"})
    scene.take(scene.subject.handoff_answered(call_id, answer, scene.now))
    scene.say("session.updated", session=scene.sent("session.update")[-1]["session"])
    item = {"id": f"out_{call_id}", "type": "function_call_output", "call_id": call_id}
    scene.say("conversation.item.added", item=item)


def taken_over(team: Mapping[str, Role], history: Iterable[LogEntry], *, own_session: bool = True) -> Scene:
    """The next owner, after billing has taken over."""
    subject = Conversation(
        setup_of(
            team,
            standing=AT_BILLING,
            answered={"c1": '{"handed_over_to":"billing"}'},
            history=tuple(history),
            resumed=True,
            own_session=own_session,
            epoch=2,
            greeting="Hello.",
        )
    )
    scene = Scene(subject, talking=False)
    scene.take(scene.subject.opened(scene.now))
    if own_session:
        scene.say("session.created", session={"id": "sess_2"})
    scene.say("session.updated", session=scene.sent("session.update")[-1]["session"])
    return scene


def requests(scene: Scene) -> list[str]:
    """What we asked the service to say, oldest first; "" for a reply of the model's own."""
    responses = [cast("Mapping[str, str]", event["response"]) for event in scene.sent("response.create")]
    return [response.get("instructions", "").removeprefix("Say exactly: ") for response in responses]


def said_last(scene: Scene) -> str:
    return requests(scene)[-1]


def speak(scene: Scene, response_id: str, words: str) -> None:
    """The service says what was asked for last, and it is heard out."""
    scene.accept_request(response_id)
    output = [message_item(f"a_{response_id}", words)]
    scene.say("response.done", response={"id": response_id, "status": "completed", "output": output})
    scene.say("output_audio_buffer.stopped", response_id=response_id)


def answer(scene: Scene, given: str, call_id: str = "yes") -> None:
    scene.respond(f"r_{call_id}", call_item(call_id, "record_consent", f'{{"given": {given}}}'))


def listens(scene: Scene) -> list[bool]:
    """Whether the service was to answer by itself, as each of our configurations says."""
    sessions = [cast("Mapping[str, object]", event["session"]) for event in scene.sent("session.update")]
    inputs = [cast("Mapping[str, Mapping[str, object]]", session["audio"])["input"] for session in sessions]
    found = [cast("Mapping[str, object]", given["turn_detection"]) for given in inputs]
    return [one["create_response"] is True for one in found]


def steps(scene: Scene) -> list[ConsentStep]:
    return [entry.step for entry in scene.logged(ConsentNoted)]


def wishes(scene: Scene) -> list[CallEventKind]:
    return [entry.event for entry in scene.logged(CallEvent)]


def turn(agent: str = "billing", response_id: str = "r2", text: str = OVER) -> AgentTurn:
    return AgentTurn(
        item_id=f"a_{response_id}",
        response_id=response_id,
        agent=agent,
        text=text,
        status=TurnStatus.COMPLETED,
        first_audio_ms=-1,
        spoken_at_ms=6,
        at_ms=6,
    )


# --- consent -------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_session", [False, True])
def test_it_is_said_with_the_handoffs_words_before_anything_else(own_session: bool) -> None:
    team = roles(billing=TOLD)
    scene = Scene(Conversation(setup_of(team, own_session=own_session)), talking=False)
    scene.take(scene.subject.opened(scene.now))
    if own_session:
        scene.say("session.created", session={"id": "sess_1"})
    scene.say("session.updated", session=RECEPTION.configuration["session"])
    hand_over(scene, team)
    assert requests(scene) == [BOTH]
    assert listens(scene) == [True, False]
    assert not scene.subject.interruptible
    assert not scene.subject.quiet
    speak(scene, "r2", BOTH)
    assert steps(scene) == [ConsentStep.ANNOUNCED]
    assert requests(scene) == [BOTH, ""], "then the new agent speaks"
    assert listens(scene) == [True, False, True]
    assert scene.subject.interruptible


def test_the_configuration_goes_out_before_the_words_and_after_the_record() -> None:
    team = roles(billing=TOLD)
    scene = begun(team)
    scene.respond("r1", call_item("c1", TO_BILLING, '{"reason":"a bill"}'))
    before = len(scene.effects)
    answered = Accepted(role=team["billing"], context={"reason": "a bill"})
    scene.take(scene.subject.handoff_answered("c1", answered, scene.now))
    sends = [effect for effect in scene.effects[before:] if hasattr(effect, "after_commit")]
    kinds = [send.event["type"] for send in sends]  # type: ignore[union-attr]  # they have it
    assert kinds == ["session.update", "conversation.item.create", "response.create"]
    assert all(send.after_commit for send in sends)  # type: ignore[union-attr]


def test_one_that_asks_waits_for_the_answer() -> None:
    team = roles(billing=ASKED)
    scene = begun(team)
    hand_over(scene, team)
    speak(scene, "r2", BOTH)
    scene.wait(5_000)
    assert requests(scene) == [BOTH], "it is the caller's turn"
    scene.respond("r3", call_item("c2", "pay"), call_item("c3", TO_RECEPTION))
    held = [entry.output for entry in scene.logged(ToolFinished) if "consent_missing" in entry.output]
    assert len(held) == 2
    assert not scene.wanted(RunInline)
    answer(scene, "true")
    assert steps(scene) == [ConsentStep.ANNOUNCED, ConsentStep.GIVEN]
    item = {"id": "out_yes", "type": "function_call_output", "call_id": "yes"}
    scene.say("conversation.item.added", item=item)
    assert said_last(scene) == ""
    scene.respond("r4", call_item("c4", "pay"))
    assert [run.tool_call_id for run in scene.wanted(RunInline)] == ["c4"]


def test_a_refusal_ends_the_call() -> None:
    team = roles(billing=ASKED, recorded=("billing",))
    scene = begun(team)
    hand_over(scene, team)
    speak(scene, "r2", BOTH)
    answer(scene, "false")
    assert said_last(scene) == "Then goodbye."
    speak(scene, "r4", "Then goodbye.")
    assert [effect.reason for effect in scene.wanted(Finish)] == ["consent_refused"]
    assert not scene.wanted(AskRecording)


def test_where_it_can_not_be_said_the_call_ends() -> None:
    team = roles(billing=TOLD)
    scene = begun(team)
    hand_over(scene, team)
    for attempt in range(3):
        assert requests(scene) == [BOTH] * (attempt + 1)
        scene.accept_request(f"r{attempt + 2}")
        scene.say("output_audio_buffer.cleared", response_id=f"r{attempt + 2}")
        over = {"id": f"r{attempt + 2}", "status": "cancelled", "output": []}
        scene.say("response.done", response=over)
    assert [effect.reason for effect in scene.wanted(Finish)] == ["client_interfered"]


@pytest.mark.parametrize(
    ("first", "second", "again"),
    [
        (TOLD, TOLD, False),
        (ASKED, TOLD, False),
        (ASKED, ASKED, False),
        (TOLD, ASKED, True),  # to have been told is not to have agreed
        (OTHER, TOLD, True),
        (TOLD, OTHER, True),
    ],
)
def test_what_the_caller_has_heard_or_agreed_to_is_not_said_again(
    first: ConsentTerms, second: ConsentTerms, again: bool
) -> None:
    team = roles(reception=first, billing=second)
    scene = begun(team)
    if first.ask:
        answer(scene, "true")
        speak(scene, "r_well", "How can I help?")
    hand_over(scene, team)
    assert said_last(scene) == (f"{OVER} {second.announcement}" if again else OVER)
    assert scene.subject.interruptible is not again


def test_back_at_an_agent_it_is_not_said_again() -> None:
    team = roles(reception=OTHER, billing=TOLD)
    scene = begun(team)
    hand_over(scene, team)
    speak(scene, "r2", BOTH)
    speak(scene, "r3", "Billing.")
    hand_over(scene, team, "reception", call_id="c2", response="r4")
    speak(scene, "r5", "Reception.")
    hand_over(scene, team, call_id="c3", response="r6")
    assert requests(scene) == [OTHER.announcement, BOTH, "", "", OVER]
    assert steps(scene) == [ConsentStep.ANNOUNCED] * 2


def test_what_the_former_agent_was_saying_ends_first() -> None:
    team = roles(billing=TOLD)
    scene = begun(team)
    scene.say("response.created", response={"id": "r1"})
    item = call_item("c1", TO_BILLING, '{"reason":"a bill"}')
    scene.say("response.output_item.done", response_id="r1", item=item)
    answered = Accepted(role=team["billing"], context={})
    scene.take(scene.subject.handoff_answered("c1", answered, scene.now))
    assert requests(scene) == []
    assert not scene.sent("response.cancel")
    scene.say("response.done", response={"id": "r1", "status": "completed", "output": [item]})
    assert requests(scene) == [BOTH]


def test_while_the_call_is_ending_nothing_is_announced() -> None:
    team = roles(billing=TOLD)
    scene = begun(team)
    scene.respond("r1", call_item("c1", TO_BILLING, '{"reason":"a bill"}'))
    ended = EndCall(reason="operator_ended", goodbye="Goodbye.")
    scene.take(scene.subject.command(InboxEntry(entry_id="1-0", command=ended), scene.now))
    scene.take(scene.subject.handoff_answered("c1", Accepted(role=team["billing"]), scene.now))
    assert requests(scene) == ["Goodbye."]
    speak(scene, "r2", "Goodbye.")
    assert [effect.reason for effect in scene.wanted(Finish)] == ["operator_ended"]


def test_a_connection_that_is_lost_meanwhile_has_it_said_again() -> None:
    team = roles(billing=TOLD)
    scene = begun(team)
    hand_over(scene, team)
    scene.accept_request("r2")
    scene.subject.lost()
    scene.take(scene.subject.opened(scene.now))
    scene.say("session.updated", session=scene.sent("session.update")[-1]["session"])
    scene.found_last()
    assert requests(scene) == [BOTH, BOTH]
    assert listens(scene)[-1] is False


# --- recording -----------------------------------------------------------------------------------


def test_an_agent_that_is_not_recorded_has_the_recording_paused() -> None:
    team = roles(reception=TOLD, recorded=("reception",))
    scene = begun(team)
    assert wishes(scene) == [Kind.RECORDING_ASKED]
    before = len(scene.entries())
    hand_over(scene, team)
    together = [type(entry).__name__ for entry in scene.entries()[before:]]
    assert together[together.index("HandedOver") :][:3] == ["HandedOver", "CallEvent", "ToolFinished"]
    speak(scene, "r2", OVER)
    speak(scene, "r3", "Billing.")
    hand_over(scene, team, "reception", call_id="c2", response="r4")
    assert wishes(scene) == [Kind.RECORDING_ASKED, Kind.RECORDING_PAUSE_ASKED, Kind.RECORDING_ASKED]
    assert [entry.detail for entry in scene.logged(CallEvent)] == ["reception", "", "reception"]
    assert [effect.number for effect in scene.wanted(AskRecording)] == [1, 2, 3]


def test_it_begins_when_the_new_agent_has_consent() -> None:
    team = roles(billing=ASKED, recorded=("billing",))
    scene = begun(team)
    hand_over(scene, team)
    speak(scene, "r2", BOTH)
    assert wishes(scene) == []
    answer(scene, "true")
    assert wishes(scene) == [Kind.RECORDING_ASKED]
    assert [entry.detail for entry in scene.logged(CallEvent)] == ["billing"]


def test_it_waits_for_consent_that_only_the_new_agent_asks_for() -> None:
    team = roles(reception=OTHER, billing=ASKED, recorded=("reception", "billing"))
    scene = begun(team)
    hand_over(scene, team)
    assert wishes(scene) == [Kind.RECORDING_ASKED, Kind.RECORDING_PAUSE_ASKED]
    speak(scene, "r2", BOTH)
    answer(scene, "true")
    assert wishes(scene)[2:] == [Kind.RECORDING_ASKED]


def test_agents_that_are_recorded_under_the_same_words_go_on() -> None:
    team = roles(reception=TOLD, billing=TOLD, recorded=("reception", "billing"))
    scene = begun(team)
    hand_over(scene, team)
    assert wishes(scene) == [Kind.RECORDING_ASKED]
    assert len(scene.wanted(AskRecording)) == 1


@pytest.mark.parametrize(
    ("last", "asks"),
    [
        ([Kind.RECORDING_STARTED], 1),  # that answers the wish before
        ([Kind.RECORDING_STARTED, Kind.RECORDING_PAUSED], 0),
        ([Kind.RECORDING_STARTED, Kind.RECORDING_STOPPED], 0),
        ([], 0),  # whoever is about to start it reads first what is wanted by now
    ],
)
def test_the_next_owner_sees_to_a_pause_that_may_not_have_been_told(
    last: list[CallEventKind], asks: int
) -> None:
    kinds = [Kind.RECORDING_ASKED, Kind.RECORDING_PAUSE_ASKED, *last]
    events = [CallEvent(event=kind, operation_id="rec_1", at_ms=1) for kind in kinds]
    scene = taken_over(roles(recorded=("reception",)), [HANDED, *events])
    assert [effect.number for effect in scene.wanted(AskRecording)] == [2] * asks
    assert wishes(scene) == []


# --- another owner -------------------------------------------------------------------------------


@pytest.mark.parametrize("own_session", [False, True])
def test_the_next_owner_says_what_nobody_has_heard(own_session: bool) -> None:
    scene = taken_over(roles(billing=ASKED), [HANDED], own_session=own_session)
    assert listens(scene) == [False]
    if not own_session:
        assert requests(scene) == [], "before it is known what was missed"
        scene.found_last(call_item("c1", TO_BILLING))
    assert requests(scene) == [BOTH]
    speak(scene, "r2", BOTH)
    scene.wait(5_000)
    assert requests(scene) == [BOTH]


def test_the_next_owner_does_not_repeat_the_handoffs_words_with_the_announcement() -> None:
    scene = taken_over(roles(billing=TOLD), [HANDED, turn(text=BOTH)])
    assert requests(scene) == [WORDS], "which may have been cut off"
    speak(scene, "r3", WORDS)
    assert requests(scene) == [WORDS, ""]


def test_the_next_owner_knows_what_was_heard_and_answered() -> None:
    announced = ConsentNoted(step=ConsentStep.ANNOUNCED, terms="rec", ask=True, at_ms=7)
    scene = taken_over(roles(billing=ASKED), [HANDED, turn(text=BOTH), announced])
    scene.wait(5_000)
    assert requests(scene) == [], "it waits for the answer"
    answer(scene, "true")
    assert steps(scene) == [ConsentStep.GIVEN]


def test_the_next_owner_says_goodbye_to_a_caller_who_refused() -> None:
    said = [
        ConsentNoted(step=step, terms="rec", ask=True, at_ms=7)
        for step in (ConsentStep.ANNOUNCED, ConsentStep.REFUSED)
    ]
    scene = taken_over(roles(billing=ASKED), [HANDED, turn(text=BOTH), *said])
    assert requests(scene) == ["Then goodbye."]


def test_having_been_told_by_the_first_agent_is_no_consent_for_the_next_owner() -> None:
    told = ConsentNoted(step=ConsentStep.ANNOUNCED, terms="rec", at_ms=3)
    scene = taken_over(roles(reception=TOLD, billing=ASKED), [told, HANDED])
    assert requests(scene) == [BOTH]


def test_a_call_of_the_former_agent_goes_on_meanwhile() -> None:
    call = ToolCalled(
        tool_call_id="c0",
        name="look_up",
        arguments="{}",
        execution=ToolExecution.INLINE,
        response_id="r0",
        agent="reception",
        at_ms=1,
    )
    team = roles(billing=ASKED)
    subject = setup_of(team, standing=AT_BILLING, unanswered=[call], history=(HANDED,), resumed=True)
    scene = Scene(Conversation(subject))
    scene.found_last(call_item("c1", TO_BILLING))
    assert [run.tool_call_id for run in scene.wanted(RunInline)] == ["c0"]
    assert requests(scene) == [BOTH]


@pytest.mark.parametrize("own_session", [False, True])
def test_an_agent_whose_announcement_was_all_that_was_heard_goes_on(own_session: bool) -> None:
    announced = ConsentNoted(step=ConsentStep.ANNOUNCED, terms="rec", at_ms=7)
    history = [replace(HANDED, announce=""), turn(text=WORDS), announced]
    scene = taken_over(roles(billing=TOLD), history, own_session=own_session)
    if not own_session:
        scene.found_last(message_item("a_r2", WORDS))
    scene.wait(1_000)
    assert requests(scene) == [""]


# --- the handoff's words alone -------------------------------------------------------------------


@pytest.mark.parametrize("own_session", [False, True])
def test_a_handoff_that_was_not_announced_is_announced_by_the_next_owner(own_session: bool) -> None:
    scene = taken_over(roles(), [HANDED], own_session=own_session)
    if not own_session:
        scene.found_last(call_item("c1", TO_BILLING))
    assert requests(scene) == [OVER]
    if own_session:  # whoever heard the words must hear the agent too
        return
    item = {"id": "out_c1", "type": "function_call_output", "call_id": "c1"}
    scene.say("conversation.item.added", item=item)
    speak(scene, "r2", OVER)
    scene.wait(1_000)
    assert requests(scene) == [OVER, ""]


@pytest.mark.parametrize("own_session", [False, True])
def test_where_only_the_announcement_was_said_the_new_agent_speaks(own_session: bool) -> None:
    scene = taken_over(roles(), [HANDED, turn()], own_session=own_session)
    if not own_session:
        scene.found_last(message_item("a_r2", OVER))
    scene.wait(1_000)
    assert requests(scene) == [""]


def test_words_that_were_said_where_nobody_listened_are_not_repeated() -> None:
    scene = taken_over(roles(), [HANDED], own_session=False)
    scene.found_last(message_item("a9", "Billing, hello."))
    scene.wait(5_000)
    assert requests(scene) == []
    assert scene.logged(AgentTurn)[0].agent == "billing"


@pytest.mark.parametrize(
    "since",
    [
        [turn(), turn(response_id="r3", text="Billing, hello.")],
        [turn(), UserTurn(item_id="u1", text="Yes?", status=TurnStatus.COMPLETED, spoken_at_ms=7, at_ms=7)],
    ],
    ids=["the agent has spoken", "the caller has"],
)
def test_a_conversation_that_has_gone_on_goes_on(since: list[LogEntry]) -> None:
    scene = taken_over(roles(), [HANDED, *since], own_session=False)
    scene.found_last(message_item("a_r3", "Billing, hello."))
    scene.wait(5_000)
    assert requests(scene) == []


def test_the_former_agents_last_words_are_not_taken_for_the_new_ones() -> None:
    scene = taken_over(roles(), [HANDED, turn("reception", "r1", "One moment.")])
    assert requests(scene) == [OVER]
