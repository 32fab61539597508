"""What the log tells of a call's recording, in whatever order wishes and answers reach it."""

from __future__ import annotations

import pytest

from shared.session.call_recording import CallRecording, call_recording
from shared.session.log import CallEvent, CallEventKind, ErrorRecorded

KINDS = {
    "on": CallEventKind.RECORDING_ASKED,
    "off": CallEventKind.RECORDING_PAUSE_ASKED,
    "started": CallEventKind.RECORDING_STARTED,
    "paused": CallEventKind.RECORDING_PAUSED,
    "resumed": CallEventKind.RECORDING_RESUMED,
    "stopped": CallEventKind.RECORDING_STOPPED,
    "failed": CallEventKind.RECORDING_FAILED,
    "changed": CallEventKind.RECORDING_CHANGED,
    "connected": CallEventKind.CONNECTED,
}


def state(*told: str) -> CallRecording:
    """Return what is known after these: a kind each, "started:r1" with the recording's id."""
    entries: list[CallEvent] = []
    for one in told:
        name, _, recording = one.partition(":")
        detail = "desk" if name == "on" else ""
        entries.append(CallEvent(event=KINDS[name], operation_id=recording, detail=detail, at_ms=1))
    return call_recording([ErrorRecorded(source="tool", code="x", detail="", at_ms=1), *entries])


def test_of_a_call_that_nobody_wants_recorded_nothing_is_left_to_do() -> None:
    assert state() == state("connected") == CallRecording()
    assert state().as_wanted


def test_who_wants_it_and_how_often_that_changed() -> None:
    assert (state("on").wanted_by, state("on").wishes) == ("desk", 1)
    assert (state("on", "off").wanted_by, state("on", "off").wishes) == ("", 2)


@pytest.mark.parametrize(
    ("told", "as_wanted"),
    [
        ("on", False),
        ("on started:r1", True),
        ("on failed", True),
        ("on failed off on", False),
        ("on started:r1 off", False),
        ("on off started:r1", False),
        ("on started:r1 off paused:r1", True),
        ("on started:r1 off paused:r1 on", False),
        ("on started:r1 off on paused:r1", False),
        ("on started:r1 off paused:r1 on resumed:r1", True),
        ("on started:r1 off failed stopped:r1", True),
        ("on started:r1 changed:r1 stopped:r1", False),
        ("on off", True),  # whoever is about to start it looks here first, and again when it runs
    ],
)
def test_whether_it_is_as_wanted(told: str, as_wanted: bool) -> None:
    assert state(*told.split()).as_wanted is as_wanted


def test_one_that_the_carrier_gives_up_is_over_and_a_request_that_fails_is_not() -> None:
    assert state("on", "started:r1", "failed:r1").recording_id == ""
    assert state("on", "started:r1", "off", "failed").recording_id == "r1"
    assert state("on", "started:r1", "stopped:r1", "off", "on", "started:r2").starts == 2
