from __future__ import annotations

import json

import pytest

from benchmarks.machine import this_machine
from benchmarks.measures import Report, percentile, row
from benchmarks.rendering import as_json, as_markdown, as_text, number


def report() -> Report:
    return Report(
        name="tools",
        title="a tool call",
        rows=(
            row("inline tool", "ms", [3.0, 1.0, 2.0], against="bare | client"),
            row("bare | client", "ms", [0.5]),
        ),
        notes=("The tools do nothing.",),
    )


@pytest.mark.parametrize(("percent", "value"), [(0, 1.0), (50, 2.5), (95, 3.85), (100, 4.0)])
def test_percentiles_are_interpolated_whatever_the_order(percent: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == pytest.approx(value)


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)


def test_a_row_is_compared_with_the_floor_that_it_names() -> None:
    ours, floor = report().rows
    assert report().ratio(ours) == 4.0
    assert report().ratio(floor) is None


def test_a_floor_that_is_not_there_is_a_mistake_and_one_of_zero_gives_no_ratio() -> None:
    lone = row("lone", "ms", [1.0], against="absent")
    with pytest.raises(KeyError, match="absent"):
        Report(name="x", title="", rows=(lone,)).ratio(lone)
    free = Report(name="x", title="", rows=(lone, row("absent", "ms", [0.0])))
    assert free.ratio(lone) is None


def test_the_text_shows_every_row_and_note() -> None:
    assert as_text(report()).splitlines() == [
        "tools: a tool call",
        "                 n   p50   p95   p99  unit  against its floor",
        "  inline tool    3  2.00  2.90  2.98  ms    4.00x bare | client",
        "  bare | client  1  0.50  0.50  0.50  ms",
        "  The tools do nothing.",
    ]


def test_the_markdown_shows_what_has_a_floor() -> None:
    assert as_markdown([report()]).splitlines()[2:] == [
        "| inline tool | 2.00 ms | 2.90 ms | bare \\| client: 0.50 ms | 4.00x |"
    ]


def test_the_json_says_on_what_machine_and_keeps_all_values() -> None:
    content = json.loads(json.dumps(as_json(report(), this_machine(), command="bench", quick=True)))
    assert content["machine"]["cores"] >= 1
    assert content["rows"][0]["values"] == [3.0, 1.0, 2.0]
    assert content["rows"][0]["ratio"] == 4.0
    assert (content["command"], content["quick"]) == ("bench", True)


@pytest.mark.parametrize(
    ("value", "text"), [(0.123, "0.12"), (9.994, "9.99"), (9.996, "10.0"), (123.4, "123"), (-45.67, "-45.7")]
)
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text
