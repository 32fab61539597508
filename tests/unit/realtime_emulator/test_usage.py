"""Usage adds up, whatever happens in a conversation."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.realtime.session.usage import CACHE_STEP, Segment, response_usage
from tests.unit.realtime_emulator.session_driver import answer, events, new_core, send, thinking, user_says

segments = st.lists(
    st.builds(
        Segment,
        key=st.sampled_from("abcdef"),
        text=st.integers(0, 300),
        audio=st.integers(0, 300),
        image=st.integers(0, 200),
    ),
    max_size=8,
)


@given(shared=segments, now=segments, before=segments, text=st.integers(0, 99), audio=st.integers(0, 99))
def test_totals_and_cached_tokens_add_up(
    shared: list[Segment], now: list[Segment], before: list[Segment], text: int, audio: int
) -> None:
    usage = response_usage(shared + now, shared + before, output_text=text, output_audio=audio)
    details = usage["input_token_details"]
    output = usage["output_token_details"]
    assert isinstance(details, dict)
    assert isinstance(output, dict)
    cached = details["cached_tokens_details"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]  # type: ignore[operator]
    assert usage["input_tokens"] == sum(details[f"{kind}_tokens"] for kind in ("text", "audio", "image"))
    assert usage["output_tokens"] == output["text_tokens"] + output["audio_tokens"]
    assert details["cached_tokens"] == sum(cached.values())
    assert details["cached_tokens"] % CACHE_STEP == 0
    for kind in ("text", "audio", "image"):
        assert 0 <= cached[f"{kind}_tokens"] <= details[f"{kind}_tokens"]
    assert details["cached_tokens"] >= sum(s.total for s in shared) // CACHE_STEP * CACHE_STEP


@settings(max_examples=40)
@given(
    turns=st.lists(st.tuples(st.text(max_size=60), st.text(min_size=1, max_size=200)), min_size=2, max_size=6)
)
def test_a_conversation_pays_for_its_whole_context_each_turn(turns: list[tuple[str, str]]) -> None:
    core = new_core(session={"type": "realtime", "instructions": "You are brief. " * 40})
    previous = 0
    for number, (said, answered) in enumerate(turns):
        response_id = thinking(user_says(core, said, at_ms=number * 10_000, length_ms=1500))
        core.said(response_id, answered)
        core.spoke(response_id, 900, None)
        done = next(e for e in events(core.finished(response_id)) if e["type"] == "response.done")
        usage = done["response"]["usage"]  # type: ignore[index]
        assert usage["input_tokens"] > previous
        assert usage["output_token_details"]["audio_tokens"] == 18
        if number:
            assert usage["input_token_details"]["cached_tokens"] >= 128
        else:
            assert usage["input_token_details"]["cached_tokens"] == 0
        previous = usage["input_tokens"]


def test_changing_the_past_spoils_the_cache() -> None:
    core = new_core(session={"type": "realtime", "instructions": "x" * 400})

    def cached() -> int:
        told = events(answer(core, thinking(send(core, "response.create")), "One two three. " * 30 + "."))
        usage = next(e for e in told if e["type"] == "response.done")["response"]["usage"]  # type: ignore[index]
        return usage["input_token_details"]["cached_tokens"]

    assert [cached(), cached()] == [0, 64]
    assert cached() > 64
    send(core, "session.update", session={"type": "realtime", "instructions": "y" * 400})
    assert cached() == 0
