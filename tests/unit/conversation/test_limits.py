"""The server ends calls by itself: silence, time, cost, and the provider's own limit."""

from __future__ import annotations

import pytest

from realtime_worker.conversation.effects import Finish
from realtime_worker.conversation.limits import PROVIDER_MARGIN_MS, Limits
from shared.session.model import EndReason
from tests.unit.conversation.scene import Scene, call_item, conversation, message_item

START = 1_000_000


def limited(farewell: str = "", **limits: int) -> Scene:
    return Scene(conversation(limits=Limits(**limits), farewell=farewell))


def ends(scene: Scene) -> list[str]:
    return [effect.reason for effect in scene.wanted(Finish)]


def pass_time_to_deadline(scene: Scene) -> None:
    deadline = scene.subject.next_deadline_ms()
    assert deadline is not None
    scene.wait(deadline - scene.now)


def test_silence_on_both_sides_ends_the_call() -> None:
    scene = limited(idle_ms=20_000)
    scene.wait(19_999)
    assert ends(scene) == []
    scene.wait(1)
    assert ends(scene) == [EndReason.IDLE]


@pytest.mark.parametrize("kind", ["input_audio_buffer.speech_stopped", "output_audio_buffer.stopped"])
def test_a_sign_of_life_begins_the_silence_anew(kind: str) -> None:
    scene = limited(idle_ms=20_000)
    scene.wait(15_000)
    scene.say(kind)
    scene.wait(15_000)
    assert ends(scene) == []
    pass_time_to_deadline(scene)
    assert ends(scene) == [EndReason.IDLE]


def test_a_running_tool_or_playing_audio_is_no_silence() -> None:
    scene = limited(idle_ms=20_000)
    scene.respond("r1", call_item("c1", "book"))
    scene.wait(60_000)
    assert ends(scene) == []
    scene = limited(idle_ms=20_000)
    scene.say("output_audio_buffer.started", response_id="r1")
    scene.wait(60_000)
    assert ends(scene) == []


def test_the_latest_end_of_a_call_comes_with_a_farewell() -> None:
    scene = limited(farewell="Time is up.", ends_at_ms=START + 50_000)
    pass_time_to_deadline(scene)
    assert scene.now == START + 50_000
    assert scene.sent("response.create")[-1]["response"]["instructions"] == "Say exactly: Time is up."  # type: ignore[index]
    scene.accept_request("r9")
    done = {"id": "r9", "status": "completed", "output": [message_item("a", "Time is up.")]}
    scene.say("response.done", response=done)
    scene.say("output_audio_buffer.stopped", response_id="r9")
    assert ends(scene) == [EndReason.MAX_DURATION]


def test_the_budget_counts_what_is_billed_and_ends_the_call_when_it_is_spent() -> None:
    scene = limited(max_tokens=1_000)
    for number, tokens in enumerate((600, 500)):
        assert ends(scene) == []
        usage = {"input_tokens": tokens - 100, "output_tokens": 100}
        response = {"id": f"r{number}", "status": "completed", "output": [], "usage": usage}
        scene.say("response.created", response={"id": f"r{number}"})
        scene.say("response.done", response=response)
    assert ends(scene) == [EndReason.BUDGET]


def test_the_providers_own_limit_leaves_time_for_a_farewell() -> None:
    scene = Scene(conversation(farewell="Until next time."), talking=False)
    scene.take(scene.subject.opened(scene.now))
    expires_at_s = scene.now // 1000 + 120
    scene.say("session.updated", session={"expires_at": expires_at_s})
    assert scene.subject.next_deadline_ms() == expires_at_s * 1000 - PROVIDER_MARGIN_MS
    pass_time_to_deadline(scene)
    assert len(scene.sent("response.create")) == 1
    scene.wait(60_000)
    assert ends(scene) == [EndReason.PROVIDER_LIMIT]


def test_a_call_without_limits_waits_for_nothing() -> None:
    scene = limited()
    assert scene.subject.next_deadline_ms() is None
