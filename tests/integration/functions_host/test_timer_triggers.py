"""Timer triggers: on schedule, at start, by hand, and after a missed run."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable

from tests.support.eventually import eventually
from tests.support.functions_host import FunctionsHost, HostClient


async def ran_at_start(client: HostClient) -> None:
    """Wait for the run that `runOnStartup` asks for; the host is ready before it is over."""
    await eventually(
        lambda: "hourly past_due=False status=False" in client.host.journal_lines(), what="runOnStartup"
    )


async def test_a_timer_runs_on_its_schedule_and_one_at_start(client: HostClient) -> None:
    lines = client.host.journal_lines
    await ran_at_start(client)
    seen = lines().count("tick past_due=False")
    await eventually(lambda: lines().count("tick past_due=False") >= seen + 1)


async def test_a_timer_runs_by_hand(client: HostClient) -> None:
    await ran_at_start(client)
    before = sum("hourly" in line for line in client.host.journal_lines())
    assert (await client.ask("POST", "/admin/functions/hourly", json={})).status == 202
    await eventually(lambda: sum("hourly" in line for line in client.host.journal_lines()) == before + 1)
    assert (await client.ask("POST", "/admin/functions/ping", json={})).status == 400
    assert (await client.ask("POST", "/admin/functions/nope", json={})).status == 404


async def test_an_activity_runs_by_hand(client: HostClient) -> None:
    before = client.host.journal_lines().count("returned nothing")
    assert (await client.ask("POST", "/admin/functions/returns_nothing", json={"input": 1})).status == 202
    await eventually(lambda: client.host.journal_lines().count("returned nothing") == before + 1)


async def test_a_run_missed_while_no_host_ran_is_past_due(new_host: Callable[..., FunctionsHost]) -> None:
    host = new_host()
    host.start()
    await eventually(
        lambda: _next_run(host) is not None, what="the next run, which the host notes after the first"
    )
    assert "hourly past_due=False status=False" in host.journal_lines()
    host.stop()
    with contextlib.closing(sqlite3.connect(host.state_dir / "durable.db")) as db, db:
        db.execute("UPDATE timer_triggers SET next = '2020-01-01T00:00:00+00:00' WHERE function = 'hourly'")
    host.start()
    await eventually(lambda: "hourly past_due=True status=True" in host.journal_lines())


def _next_run(host: FunctionsHost) -> str | None:
    """When the store says that `hourly` is due, None while nothing is noted."""
    with contextlib.closing(sqlite3.connect(host.state_dir / "durable.db")) as db:
        try:
            row = db.execute("SELECT next FROM timer_triggers WHERE function = 'hourly'").fetchone()
        except sqlite3.OperationalError:  # the host has not made its tables yet
            return None
        return str(row[0]) if row else None
