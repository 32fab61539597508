"""The names that telemetry uses, against the published conventions."""

from __future__ import annotations

from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from shared.security.redaction import is_denied
from shared.telemetry import names

ALL = {name: value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}


def test_the_genai_names_are_those_of_the_conventions() -> None:
    published = {
        value
        for module in (gen_ai_attributes, gen_ai_metrics)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    ours = {value for value in ALL.values() if value.startswith("gen_ai.")}
    assert ours <= published, ours - published


def test_no_name_is_given_twice_or_would_be_dropped_as_content() -> None:
    assert len(set(ALL.values())) == len(ALL)
    assert [value for value in ALL.values() if is_denied(value)] == []
