"""A new owner logs what was said last while nobody listened, and greets whom nobody has greeted."""

from __future__ import annotations

from shared.session.log import AgentTurn, TurnStatus, UserTurn
from tests.unit.conversation.scene import Scene, conversation, message_item

GREETING = "Hello there."
GREETED = AgentTurn(
    item_id="a1",
    response_id="r1",
    agent="desk",
    text=GREETING,
    status=TurnStatus.COMPLETED,
    first_audio_ms=-1,
    spoken_at_ms=1,
    at_ms=1,
)


def found_last(scene: Scene, last: dict[str, object] | None) -> None:
    """The service answers the new owner's question: `last` is the newest item, None if there is none."""
    note = scene.sent("conversation.item.create")[-1]["item"]
    previous = last["id"] if last else None
    scene.say("conversation.item.added", item=note, previous_item_id=previous)
    if last:
        scene.say("conversation.item.retrieved", item=last)


def test_words_of_the_agent_that_no_owner_heard_are_logged() -> None:
    scene = Scene(conversation(resumed=True, history=[GREETED]))
    found_last(scene, message_item("a2", "Your claim is paid."))
    (turn,) = scene.logged(AgentTurn)
    assert (turn.item_id, turn.text, turn.status) == ("a2", "Your claim is paid.", TurnStatus.COMPLETED)


def test_words_of_the_caller_that_no_owner_heard_are_logged_when_they_are_known() -> None:
    heard = {"type": "input_audio", "transcript": "Is my claim paid?"}
    item = {"id": "u1", "type": "message", "role": "user", "status": "completed", "content": [heard]}
    scene = Scene(conversation(resumed=True, history=[GREETED]))
    found_last(scene, item)
    assert [turn.text for turn in scene.logged(UserTurn)] == ["Is my claim paid?"]
    unknown = Scene(conversation(resumed=True, history=[GREETED]))
    found_last(unknown, {**item, "content": [{"type": "input_audio", "transcript": None}]})
    assert unknown.logged(UserTurn) == []
    unknown.say(
        "conversation.item.input_audio_transcription.completed", item_id="u1", transcript="Is my claim paid?"
    )
    assert [turn.text for turn in unknown.logged(UserTurn)] == ["Is my claim paid?"]


def test_what_the_log_has_is_not_logged_twice() -> None:
    scene = Scene(conversation(resumed=True, history=[GREETED]))
    found_last(scene, message_item("a1", GREETING))
    assert scene.logged(AgentTurn) == []


def test_a_response_that_is_still_spoken_is_logged_when_it_is_done() -> None:
    scene = Scene(conversation(resumed=True, history=[GREETED]))
    speaking = {**message_item("a2", "Your claim"), "status": "in_progress"}
    found_last(scene, speaking)
    assert scene.logged(AgentTurn) == []
    whole = message_item("a2", "Your claim is paid.")
    scene.say("response.done", response={"id": "r2", "status": "completed", "output": [whole]})
    assert [turn.text for turn in scene.logged(AgentTurn)] == ["Your claim is paid."]


def test_a_caller_whom_the_dead_owner_did_not_greet_is_greeted_by_the_next() -> None:
    scene = Scene(conversation(greeting=GREETING, resumed=True))
    assert scene.sent("response.create") == []
    found_last(scene, None)
    (request,) = scene.sent("response.create")
    assert request["response"]["instructions"] == f"Say exactly: {GREETING}"  # type: ignore[index]


def test_a_greeting_that_nobody_logged_is_not_repeated() -> None:
    scene = Scene(conversation(greeting=GREETING, resumed=True))
    found_last(scene, message_item("a1", GREETING))
    scene.wait(10_000)
    assert scene.sent("response.create") == []
    assert [turn.text for turn in scene.logged(AgentTurn)] == [GREETING]
