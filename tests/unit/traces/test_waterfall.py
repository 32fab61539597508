"""The waterfall's layout."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.traces.spans import FinishedSpan
from emulators.traces.waterfall import render

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
MS = 1_000_000


def make(
    span_id: str,
    parent_id: str,
    name: str,
    start_ms: int,
    end_ms: int,
    service: str = "worker",
    **more: object,
) -> FinishedSpan:
    return FinishedSpan(
        trace_id=TRACE,
        span_id=span_id,
        parent_id=parent_id,
        name=name,
        service=service,
        start_ns=(1_700_000_000_000 + start_ms) * MS,
        end_ns=(1_700_000_000_000 + end_ms) * MS,
        **more,  # type: ignore[arg-type]
    )


def test_a_call_is_drawn_as_a_person_would_read_it() -> None:
    spans = [
        make("c", "b", "execute_tool claim_status", 500, 600, attributes={"sidetone.tool.status": "ok"}),
        make("a", "caller", "token.issue", 0, 100, service="control"),
        make("b", "a", "call.attach", 100, 1000, failed=True, attributes={"error.type": "call_not_found"}),
        make("d", "a", "lifecycle archive", 950, 1000, service="control"),
    ]
    assert render(spans, 90) == (
        "trace 4bf92f3577b34da6a3ce929d0e0e4736  1000 ms  4 spans  control, worker\n"
        "                                                    0 ms 500 ms 1000 ms\n"
        "token.issue                    control      100 ms  ██\n"
        "  call.attach !                worker       900 ms   █████████████████   error=call_not_f…\n"
        "    execute_tool claim_status  worker       100 ms           ██          status=ok\n"
        "  lifecycle archive            control     50.0 ms                    █\n"
    )


def test_no_span_is_lost_or_drawn_twice_in_a_cycle() -> None:
    spans = [make("a", "b", "one", 0, 1), make("b", "a", "two", 0, 1), make("c", "c", "self", 0, 1)]
    text = render(spans)
    assert [text.count(name) for name in ("one", "two", "self")] == [1, 1, 1]


def test_an_instant_trace_and_none_at_all() -> None:
    assert "█" in render([make("a", "", "instant", 5, 5)])
    assert render([]) == "no spans\n"


def test_names_from_outside_cannot_break_the_lines() -> None:
    text = render([make("a", "", "evil\n\x1b[2Jname", 0, 1)])
    assert len(text.splitlines()) == 3
    assert "\x1b" not in text


spans_of_a_trace = st.lists(
    st.builds(
        make,
        st.sampled_from("abcdefghij"),
        st.sampled_from([*"abcdefghij", "", "elsewhere"]),
        st.text(max_size=60),
        st.integers(0, 100_000),
        st.integers(0, 100_000),
        st.text(max_size=40),
        failed=st.booleans(),
        attributes=st.dictionaries(
            st.sampled_from(["error.type", "sidetone.worker", "other"]), st.text(max_size=50), max_size=3
        ),
    ),
    min_size=1,
    max_size=10,
    unique_by=lambda span: span.span_id,
)


@given(spans_of_a_trace, st.integers(0, 300))
def test_whatever_comes_every_span_gets_one_line_that_fits(spans: list[FinishedSpan], width: int) -> None:
    lines = render(spans, width).rstrip("\n").split("\n")
    assert len(lines) == len(spans) + 2
    assert max(map(len, lines)) <= max(width, 60)
    assert all("█" in line for line in lines[2:])


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0 ms"), (12, "12.0 ms"), (950, "950 ms"), (15_000, "15.0 s"), (200_000, "200 s")]
)
def test_durations_are_short(ms: int, text: str) -> None:
    assert f" {text} " in render([make("a", "", "x", 0, ms)])
