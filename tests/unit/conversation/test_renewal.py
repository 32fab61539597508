"""When a conversation changes to another provider session."""

from __future__ import annotations

import pytest

from realtime_worker.conversation.renewal import (
    AGAIN_MS,
    LATEST_MS,
    LOOK_EVERY_MS,
    PREPARE_MS,
    Change,
    Renewal,
)

HOUR_MS = 3_600_000


@pytest.fixture
def renewal() -> Renewal:
    """Of a session that began at 0 and lasts an hour."""
    subject = Renewal()
    subject.began(0, HOUR_MS)
    return subject


def prepare(subject: Renewal, at_ms: int) -> None:
    assert subject.due(at_ms, quiet=True) is Change.PREPARE
    subject.prepared(at_ms)


def test_it_prepares_once_and_in_time(renewal: Renewal) -> None:
    at = renewal.next_deadline_ms()
    assert at == HOUR_MS - PREPARE_MS
    assert renewal.due(at - 1, quiet=True) is None
    assert renewal.due(at, quiet=True) is Change.PREPARE
    assert renewal.due(at, quiet=True) is None
    assert renewal.next_deadline_ms() is None


def test_it_waits_for_a_quiet_moment(renewal: Renewal) -> None:
    at = HOUR_MS - PREPARE_MS
    prepare(renewal, at)
    assert renewal.due(at, quiet=False) is None
    assert renewal.next_deadline_ms() == at + LOOK_EVERY_MS
    assert renewal.due(at + LOOK_EVERY_MS, quiet=True) is Change.TAKE
    assert renewal.next_deadline_ms() is None
    assert renewal.due(HOUR_MS, quiet=True) is None


def test_shortly_before_the_end_it_waits_no_longer(renewal: Renewal) -> None:
    prepare(renewal, HOUR_MS - PREPARE_MS)
    latest = HOUR_MS - LATEST_MS
    assert renewal.due(latest - 1, quiet=False) is None
    assert renewal.next_deadline_ms() == latest
    assert renewal.due(latest, quiet=False) is Change.TAKE


def test_a_session_that_could_not_be_opened_or_was_lost_is_opened_again(renewal: Renewal) -> None:
    at = HOUR_MS - PREPARE_MS
    assert renewal.due(at, quiet=True) is Change.PREPARE
    renewal.unprepared(at)
    assert renewal.due(at, quiet=True) is None
    assert renewal.next_deadline_ms() == at + AGAIN_MS
    prepare(renewal, at + AGAIN_MS)
    renewal.unprepared(at + AGAIN_MS)
    assert renewal.due(at + 2 * AGAIN_MS, quiet=True) is Change.PREPARE


def test_the_next_session_has_its_own_time(renewal: Renewal) -> None:
    prepare(renewal, HOUR_MS - PREPARE_MS)
    assert renewal.due(HOUR_MS - PREPARE_MS, quiet=True) is Change.TAKE
    renewal.began(HOUR_MS, 2 * HOUR_MS)
    assert renewal.next_deadline_ms() == 2 * HOUR_MS - PREPARE_MS
    renewal.prepared(HOUR_MS)  # a late word of the one before
    assert renewal.due(HOUR_MS, quiet=True) is None


def test_of_a_short_session_a_part_is_kept_for_the_change() -> None:
    subject = Renewal()
    subject.began(0, 8_000)
    assert subject.next_deadline_ms() == 6_000
    prepare(subject, 6_000)
    assert subject.due(7_599, quiet=False) is None
    assert subject.due(7_600, quiet=False) is Change.TAKE


def test_a_session_that_does_not_tell_its_end_is_not_renewed() -> None:
    subject = Renewal()
    subject.began(0, 0)
    assert subject.next_deadline_ms() is None
    assert subject.due(10 * HOUR_MS, quiet=True) is None
