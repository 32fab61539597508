"""session_lifecycle, replayed by the real Durable SDK: every order in which events and timers can come."""

from __future__ import annotations

import pytest

from functions.lifecycle import (
    ARCHIVE,
    ASK_TO_END,
    GOODBYE_S,
    HANG_UP,
    MARK_ENDED,
    SUMMARISE,
    session_lifecycle,
)
from tests.support.orchestration import OrchestrationDriver

SESSION = "ses_00000000000000000000000000"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def start() -> OrchestrationDriver:
    return OrchestrationDriver(
        session_lifecycle,
        {"session_id": SESSION, "connect_within_s": 30, "max_duration_s": 600, "traceparent": TRACE},
    )


def close_the_books(run: OrchestrationDriver, reason: str) -> None:
    run.complete(HANG_UP, {"hung_up": True})
    run.complete(SUMMARISE, {"summary": "Short."})
    given = run.complete(ARCHIVE, {"reason": reason})
    assert given["summary"] == "Short."
    assert given["traceparent"] == TRACE
    assert run.output == {"session_id": SESSION, "reason": reason}


def test_it_waits_for_both_events_and_a_timer_from_the_first_step() -> None:
    run = start()
    assert run.waiting_for() == {"attached", "ended"}
    assert [timer.after_s for timer in run.timers()] == [30]
    assert run.custom_status == {"state": "connecting"}


def test_a_call_from_attach_to_hang_up() -> None:
    run = start()
    run.raise_event("attached", {"reason": ""})
    assert [timer.after_s for timer in run.timers()] == [600], "the connect timer must be cancelled"
    assert run.custom_status == {"state": "active"}
    run.raise_event("ended", {"reason": "caller_hung_up"})
    assert run.timers() == []
    assert run.activities()[0].payload["reason"] == "caller_hung_up"
    close_the_books(run, "caller_hung_up")


def test_a_call_that_never_connects() -> None:
    run = start()
    run.fire_timer()
    assert run.complete(MARK_ENDED, {"state": "ended"})["reason"] == "never_connected"
    close_the_books(run, "never_connected")


def test_a_session_whose_attached_event_is_late_is_not_ended_by_the_connect_timer() -> None:
    run = start()
    run.fire_timer()
    assert run.complete(MARK_ENDED, {"state": "active"})["unless_active"] is True
    assert run.custom_status == {"state": "active"}
    run.raise_event("attached", {"reason": ""})
    run.raise_event("ended", {"reason": "idle"})
    close_the_books(run, "idle")


def test_ended_before_attached() -> None:
    run = start()
    run.raise_event("ended", {"reason": "provider_failed"})
    assert run.timers() == []
    close_the_books(run, "provider_failed")


def test_attached_and_ended_in_one_episode() -> None:
    run = start()
    run.raise_together(("attached", {"reason": ""}), ("ended", {"reason": "agent_ended"}))
    assert run.timers() == []
    close_the_books(run, "agent_ended")


@pytest.mark.parametrize("repeated", ["attached", "ended"])
def test_an_event_sent_twice_changes_nothing(repeated: str) -> None:
    run = start()
    run.raise_event("attached", {"reason": ""})
    if repeated == "attached":
        run.raise_event("attached", {"reason": ""})
    run.raise_event("ended", {"reason": "idle"})
    if repeated == "ended":
        run.raise_event("ended", {"reason": "agent_ended"})
    assert run.activities()[0].payload["reason"] == "idle"
    close_the_books(run, "idle")


def test_event_data_that_arrives_as_text() -> None:
    run = start()
    run.raise_event("ended", '{"reason": "client_ended"}')
    assert run.activities()[0].payload["reason"] == "client_ended"


def test_the_maximum_duration_lets_the_agent_say_goodbye() -> None:
    run = start()
    run.raise_event("attached", {"reason": ""})
    run.fire_timer()
    run.complete(ASK_TO_END, {"asked": True})
    assert [timer.after_s for timer in run.timers()] == [GOODBYE_S]
    run.raise_event("ended", {"reason": "max_duration"})
    assert run.timers() == []
    close_the_books(run, "max_duration")


def test_the_maximum_duration_is_forced_when_nobody_ends_the_call() -> None:
    run = start()
    run.raise_event("attached", {"reason": ""})
    run.fire_timer()
    run.complete(ASK_TO_END, {"asked": True})
    run.fire_timer()
    given = run.complete(MARK_ENDED, {"state": "ended"})
    assert given["reason"] == "max_duration"
    assert given["unless_active"] is False
    close_the_books(run, "max_duration")


def test_ended_while_the_agent_is_being_asked_to_end() -> None:
    run = start()
    run.raise_event("attached", {"reason": ""})
    run.fire_timer()
    run.raise_event("ended", {"reason": "caller_hung_up"})
    run.complete(ASK_TO_END, {"asked": True})
    assert run.timers() == []
    close_the_books(run, "caller_hung_up")


def test_a_leg_that_cannot_be_hung_up_does_not_keep_the_books_open() -> None:
    run = start()
    run.raise_event("ended", {"reason": "idle"})
    run.fail(HANG_UP, times=10)
    run.complete(SUMMARISE, {"summary": ""})
    run.complete(ARCHIVE, {"reason": "idle"})
    assert run.done


def test_archiving_is_repeated_while_redis_is_away() -> None:
    run = start()
    run.raise_event("ended", {"reason": "idle"})
    run.complete(HANG_UP, {"hung_up": False})
    run.complete(SUMMARISE, {"summary": "Short."})
    run.fail(ARCHIVE, times=20)
    run.complete(ARCHIVE, {"reason": "idle"})
    assert run.done
