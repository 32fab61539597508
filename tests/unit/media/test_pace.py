"""Audio that comes faster than anybody can speak."""

from __future__ import annotations

from realtime_worker.media.pace import AHEAD_MS, WRONG_LOOKS, Pace


def looks(pace: Pace, audio_ms: float, count: int, start: int = 0) -> list[bool]:
    wrong: list[bool] = []
    for second in range(start + 1, start + count + 1):
        pace.look(audio_ms, second * 1_000.0)
        wrong.append(pace.newly_wrong)
    return wrong


def test_real_time_is_never_wrong() -> None:
    pace = Pace(0.0)
    assert not any(looks(pace, 1_000.0, 3_600))
    assert not pace.too_far_ahead


def test_twice_real_time_is_told_once_and_soon_too_much() -> None:
    pace = Pace(0.0)
    assert looks(pace, 2_000.0, 10).count(True) == 1
    assert pace.too_far_ahead
    assert pace.factor == 2.0


def test_what_is_left_out_lets_time_catch_up() -> None:
    pace = Pace(0.0)
    looks(pace, 2_000.0, 4)
    assert pace.too_far_ahead
    pace.look(2_000.0, 5_000.0)
    pace.left_out(2_000.0)
    assert not pace.too_far_ahead


def test_half_real_time_is_told_once_and_allowed() -> None:
    pace = Pace(0.0)
    assert looks(pace, 500.0, WRONG_LOOKS + 5).count(True) == 1
    assert not pace.too_far_ahead


def test_what_waited_in_the_network_may_come_at_once() -> None:
    pace = Pace(0.0)
    pace.look(0.0, 2_000.0)
    pace.look(AHEAD_MS, 3_000.0)
    assert not pace.too_far_ahead
