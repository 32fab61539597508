"""How much a caller has heard, by the time that passed."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from realtime_worker.media.playback_clock import MAX_LAG_MS, Heard, PlaybackClock
from shared.providers.protocol import AudioSource


def source(item: str, response: str = "r1") -> AudioSource:
    return AudioSource(response_id=response, item_id=item, content_index=0)


A, B = source("a"), source("b", "r2")


def test_a_burst_is_heard_in_real_time() -> None:
    clock = PlaybackClock()
    for _ in range(10):
        clock.sent(A, 100.0, 1_000.0)
    assert clock.heard(A, 1_000.0) == Heard(source=A, milliseconds=0)
    assert clock.heard(A, 1_450.5) == Heard(source=A, milliseconds=450)
    assert clock.heard(A, 9_000.0) == Heard(source=A, milliseconds=1_000)
    assert clock.unheard(1_999.0) == [A]
    assert clock.unheard(2_000.0) == []
    assert clock.over_at_ms("r1") == 2_000.0


def test_a_pause_between_pieces_is_nothing_that_was_heard() -> None:
    clock = PlaybackClock()
    clock.sent(A, 100.0, 0.0)
    clock.sent(A, 100.0, 500.0)
    assert clock.heard(A, 550.0).milliseconds == 150
    assert clock.heard(A, 700.0).milliseconds == 200


def test_one_answer_waits_for_the_other() -> None:
    clock = PlaybackClock()
    clock.sent(A, 1_000.0, 0.0)
    clock.sent(B, 1_000.0, 0.0)
    assert clock.unheard(999.0) == [A, B]
    assert clock.heard(B, 999.0).milliseconds == 0
    assert clock.unheard(1_500.0) == [B]
    assert clock.heard(A, 1_500.0).milliseconds == 1_000
    assert clock.heard(B, 1_500.0).milliseconds == 500
    assert (clock.over_at_ms("r1"), clock.over_at_ms("r2")) == (1_000.0, 2_000.0)


def test_a_stop_forgets_what_was_queued() -> None:
    clock = PlaybackClock()
    clock.sent(A, 1_000.0, 0.0)
    clock.stop()
    assert clock.unheard(1.0) == []
    clock.sent(B, 100.0, 10.0)
    assert clock.heard(B, 60.0).milliseconds == 50


def test_a_carrier_that_tells_is_believed() -> None:
    clock = PlaybackClock()
    clock.sent(A, 1_000.0, 0.0)
    clock.marked("m1")
    clock.sent(A, 1_000.0, 0.0)
    clock.marked("m2")
    clock.reached("m1", 1_400.0)
    assert clock.heard(A, 1_400.0).milliseconds == 1_000
    assert clock.over_at_ms("r1") == 2_400.0
    assert clock.unheard(2_300.0) == [A]
    clock.reached("m2", 2_000.0)
    assert clock.heard(A, 1_999.0).milliseconds == 1_999, "it has caught up"
    clock.reached("m1", 9_999.0)
    clock.reached("never asked for", 9_999.0)
    assert clock.over_at_ms("r1") == 2_000.0


def test_a_carrier_that_is_stuck_is_not_followed_for_ever() -> None:
    clock = PlaybackClock()
    clock.sent(A, 10.0, 0.0)
    clock.marked("m1")
    clock.reached("m1", 60_000.0)
    assert clock.over_at_ms("r1") == 10.0 + MAX_LAG_MS


PIECES = st.lists(
    st.tuples(st.booleans(), st.integers(1, 400), st.integers(0, 600)),  # another item?, length, pause
    min_size=1,
    max_size=40,
)  # fmt: skip


@given(PIECES, st.integers(0, 3_000))
def test_what_was_heard_is_what_a_queue_that_plays_would_have_played(
    pieces: list[tuple[bool, int, int]], later: int
) -> None:
    """Against a queue that is played millisecond by millisecond."""
    clock, queue, now, item = PlaybackClock(), list[int](), 0, 0
    played, sent, before = Counter[int](), Counter[int](), Counter[int]()

    def play(milliseconds: int) -> None:
        nonlocal now
        now += milliseconds
        played.update(queue[:milliseconds])
        del queue[:milliseconds]

    for another, length, pause in pieces:
        item += another
        clock.sent(source(str(item)), float(length), float(now))
        queue.extend([item] * length)
        sent[item] += length
        play(pause)
        current = clock.heard(source(str(item)), float(now)).milliseconds
        assert before[item] <= current <= sent[item]
        before[item] = current
    play(later)
    assert clock.heard(source(str(item)), float(now)).milliseconds == played[item]
    still = list(dict.fromkeys(queue))
    assert [int(one.item_id) for one in clock.unheard(float(now))] == still
    for one in still:
        assert clock.heard(source(str(one)), float(now)).milliseconds == played[one]
