"""The server ends calls by itself: silence, time, cost, and the provider's own limit."""

from __future__ import annotations

import pytest

from realtime_worker.conversation.effects import CountUsage, Finish
from realtime_worker.conversation.limits import PROVIDER_MARGIN_MS, Limits
from shared.session.log import ResponseUsage
from shared.session.model import EndReason
from shared.session.prices import TokenPrices
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


def test_the_turns_are_counted_and_end_the_call() -> None:
    scene = limited("Goodbye.", max_responses=2)
    for number in (1, 2):
        assert ends(scene) == []
        usage = {"input_tokens": 1, "output_tokens": 1}
        scene.say("response.created", response={"id": f"r{number}"})
        scene.say(
            "response.done",
            response={"id": f"r{number}", "status": "completed", "output": [], "usage": usage},
        )
    scene.accept_request("r3")
    scene.say("response.done", response={"id": "r3", "status": "completed", "output": []})
    assert ends(scene) == [EndReason.MAX_TURNS]


def test_a_cost_limit_counts_text_audio_and_what_was_cached_by_their_prices() -> None:
    prices = TokenPrices(
        text_input=4, text_cached=0.5, text_output=16, audio_input=32, audio_cached=0.25, audio_output=64
    )
    scene = Scene(conversation(limits=Limits(max_cost_micros=10_000), prices=prices))
    usage = {
        "input_tokens": 300,
        "output_tokens": 60,
        "input_token_details": {
            "text_tokens": 200,
            "audio_tokens": 100,
            "cached_tokens": 168,
            "cached_tokens_details": {"text_tokens": 128, "audio_tokens": 40},
        },
        "output_token_details": {"text_tokens": 10, "audio_tokens": 50},
    }
    cost = 72 * 4 + 128 * 0.5 + 10 * 16 + 60 * 32 + 40 * 0.25 + 50 * 64
    assert 5_000 < cost < 10_000, "the second response reaches the limit"
    for number in range(2):
        assert ends(scene) == []
        scene.say("response.created", response={"id": f"r{number}"})
        done = {"id": f"r{number}", "status": "completed", "output": [], "usage": usage}
        scene.say("response.done", response=done)
    assert [entry.cost_micros for entry in scene.logged(ResponseUsage)] == [round(cost)] * 2
    assert scene.wanted(CountUsage)[-1].usage.cost_micros == round(cost) * 2
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
