"""Spans and the trace that they hand on, without any exporter."""

from __future__ import annotations

import pytest

from shared.errors import NotFoundError
from shared.telemetry.trace_context import current_trace_id, current_traceparent, span, start_span

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_outside_of_a_trace_there_is_none() -> None:
    assert (current_traceparent(), current_trace_id()) == ("", "")


def test_without_an_exporter_a_callers_trace_is_still_passed_on() -> None:
    with span("token.issue", parent=PARENT) as opened:
        assert current_traceparent() == opened.traceparent == PARENT
        assert not opened.recording
        with span("call.register") as inner:
            assert inner.traceparent == PARENT
    assert current_traceparent() == ""


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "junk",
        PARENT.upper(),
        PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        PARENT.replace("00f067aa0ba902b7", "0" * 16),
        "ff" + PARENT[2:],
        PARENT + "x",
        PARENT[:-1],
    ],
)
def test_a_malformed_parent_is_no_parent(parent: str) -> None:
    with span("token.issue", parent=parent):
        assert current_traceparent() == ""


def test_a_later_version_of_the_format_is_understood() -> None:
    with span("token.issue", parent=PARENT.replace("00-", "01-", 1) + "-more"):
        assert current_traceparent() == PARENT


def test_errors_pass_through_and_the_context_is_restored() -> None:
    with pytest.raises(NotFoundError), span("call.attach", parent=PARENT):
        raise NotFoundError("call_not_found", "No such call.")
    assert current_traceparent() == ""


def test_a_span_that_ends_elsewhere_is_not_the_running_one() -> None:
    turn = start_span("conversation.turn", parent=PARENT, attributes={"sidetone.turn.status": "completed"})
    assert turn.traceparent == PARENT
    assert current_traceparent() == ""
    turn.set_attribute("sidetone.epoch", 1)
    turn.end()
    turn.end()
