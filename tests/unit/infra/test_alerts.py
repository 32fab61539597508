"""Alerts and workbook: they ask for what the product tells, and say what to do about it."""

from __future__ import annotations

import json
import re
from functools import cache

import pytest

from shared.telemetry import names
from tests.unit.infra.bicep_text import REPOSITORY, TEMPLATES

ALERTS = (TEMPLATES / "modules" / "alerts.bicep").read_text()
WORKBOOK = json.loads((TEMPLATES / "modules" / "workbook.json").read_text())
QUERIES = dict(
    re.findall(
        r"name: '([\w-]+)'\s+severity: \d\s+minutes: \d+\s+threshold: \d+\s+summary: .+\n\s+query: '(.+)'",
        ALERTS,
    )
)
METRIC_ALERTS = re.findall(r"name: '([\w-]+)'\s+severity: \d\s+summary: ", ALERTS)
METRICS = {value for name, value in vars(names).items() if name.startswith("METRIC_")}
ATTRIBUTES = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}


@cache
def sources() -> str:
    directories = ("functions", "realtime_worker", "shared")
    return "\n".join(
        path.read_text() for one in directories for path in sorted((REPOSITORY / one).rglob("*.py"))
    )


def test_the_alerts_are_found() -> None:
    assert len(QUERIES) == 10
    assert len(METRIC_ALERTS) == 5


@pytest.mark.parametrize("alert", [*QUERIES, *METRIC_ALERTS])
def test_every_alert_has_its_runbook(alert: str) -> None:
    runbooks = (REPOSITORY / "docs" / "operations.md").read_text()
    section = re.search(rf"^### {alert}$(.+?)(?=^##|\Z)", runbooks, re.MULTILINE | re.DOTALL)
    assert section, f"docs/operations.md has no heading ### {alert}, which the alert links to"
    assert len(section[1].split()) > 30, "a runbook says what it means, how to look, and what to do"


@pytest.mark.parametrize("alert", QUERIES)
def test_alerts_ask_for_what_is_told(alert: str) -> None:
    query = QUERIES[alert]
    assert set(re.findall(r'Name == "([^"]+)"', query)) <= METRICS
    for message in re.findall(r'Message == "([^"]+)"', query) + _listed(query, "Message"):
        assert f'"{message}"' in sources(), f"nobody logs {message}"
    service = {"rate_limit_exceeded"}  # codes of the realtime service itself
    for code in _listed(query, r'tostring\(Properties\["(?:error\.type|code)"\]\)'):
        assert code in service or f'"{code}"' in sources(), f"no error has the code {code}"
    assert query.rstrip().endswith(")")
    assert "summarize value = " in query


def _listed(query: str, left: str) -> list[str]:
    return [
        one
        for group in re.findall(rf"{left} in \(([^)]+)\)", query)
        for one in re.findall(r'"([^"]+)"', group)
    ]


def test_the_workbook_asks_for_what_is_told() -> None:
    queries = [item["content"]["query"] for item in WORKBOOK["items"] if "query" in item["content"]]
    asked = {name for query in queries for name in re.findall(r"name == '([^']+)'", query)}
    assert asked <= METRICS
    assert METRICS - asked <= {names.METRIC_SESSIONS_STARTED, names.METRIC_OPERATION_DURATION}
    dimensions = {name for query in queries for name in re.findall(r"customDimensions\['([^']+)'\]", query)}
    assert dimensions <= ATTRIBUTES | {"sidetone.takeover"}
