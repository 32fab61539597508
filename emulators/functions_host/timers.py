"""Timer triggers: run functions on their schedules, remember runs, notice a missed one.

Source: `TimerListener.cs` of the WebJobs SDK extensions. Where the schedule is monitored
(`useMonitor`, and at least a minute between runs) the last and next run are kept in the
durable store; a run that came due while no host ran happens at start, with IsPastDue true.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from emulators.functions_host import trace_context
from emulators.functions_host.app_model import AppLoadError, Function, TextData
from emulators.functions_host.durable.store import Store
from emulators.functions_host.invoker import Invoker
from emulators.functions_host.ncrontab import Schedule, ScheduleError, parse_schedule

logger = logging.getLogger("functions_host.timers")

_MONITORED_FROM = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class TimerFunction:
    """A timer-triggered function and its schedule."""

    function: Function
    schedule: Schedule
    run_on_startup: bool
    monitored: bool


def timer_functions(functions: Sequence[Function]) -> Sequence[TimerFunction]:
    """Parse the schedules. Raises AppLoadError."""
    return [_timer_function(f) for f in functions]


def _timer_function(function: Function) -> TimerFunction:
    trigger = function.trigger
    text = _resolve_settings(str(trigger.get("schedule", "")), function.name)
    try:
        schedule = parse_schedule(text)
        now = datetime.now(UTC)
        first = schedule.next_after(now)
        apart = schedule.next_after(first) - first
    except ScheduleError as error:
        raise AppLoadError(f"The schedule of timer function {function.name} is wrong: {error}") from error
    return TimerFunction(
        function=function,
        schedule=schedule,
        run_on_startup=trigger.get("runOnStartup") is True,
        monitored=trigger.get("useMonitor", True) is not False and apart >= _MONITORED_FROM,
    )


def _resolve_settings(text: str, function_name: str) -> str:
    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in os.environ:
            raise AppLoadError(
                f"The schedule of timer function {function_name} is the setting {name}, which is not set."
            )
        return os.environ[name]

    return re.sub(r"%([^%]+)%", value, text)


class TimerService:
    """Runs all timer functions of an app, each in a task of its own; a run never overlaps itself."""

    def __init__(self, timers: Sequence[TimerFunction], invoker: Invoker, store: Store) -> None:
        self._timers = timers
        self._invoker = invoker
        self._store = store
        self._tasks: list[asyncio.Task[None]] = []
        self._zone = _time_zone()

    def start(self) -> None:
        self._tasks = [asyncio.get_running_loop().create_task(self._serve(t)) for t in self._timers]

    async def close(self) -> None:
        """Stop all timers; idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def run_once(self, function: Function) -> None:
        """Run a timer function now, out of turn (admin API)."""
        timer = next(t for t in self._timers if t.function is function)
        await self._run(timer, None, past_due=False)

    async def _serve(self, timer: TimerFunction) -> None:
        name = timer.function.name
        status = await self._store.run(lambda: self._store.do_timer_status(name)) if timer.monitored else None
        now = self._now()
        past_due = status is not None and datetime.fromisoformat(status["Next"]) <= now
        if timer.run_on_startup or past_due:
            await self._run(timer, status, past_due=past_due)
        due = timer.schedule.next_after(self._now())
        while True:
            status = await self._remember(timer, due)
            await _sleep_until(due)
            await self._run(timer, status, past_due=False)
            due = max(
                timer.schedule.next_after(due), timer.schedule.next_after(self._now() - timedelta(seconds=1))
            )

    async def _remember(self, timer: TimerFunction, due: datetime) -> Mapping[str, str] | None:
        if not timer.monitored:
            return None
        now = self._now().isoformat()
        name = timer.function.name
        previous = await self._store.run(lambda: self._store.do_timer_status(name))
        status = {"Last": previous["Next"] if previous else now, "Next": due.isoformat(), "LastUpdated": now}
        await self._store.run(lambda: self._store.do_set_timer_status(name, status))
        return status

    async def _run(self, timer: TimerFunction, status: Mapping[str, str] | None, *, past_due: bool) -> None:
        info = {
            "Schedule": {"AdjustForDST": timer.schedule.adjusts_for_dst},
            "ScheduleStatus": status,
            "IsPastDue": past_due,
        }
        if past_due:
            logger.warning("timer is past due", extra={"function": timer.function.name})
        argument = TextData(kind="json", text=json.dumps(info))
        await self._invoker.run(
            timer.function, {timer.function.trigger_name: argument}, trace_context.begin()
        )

    def _now(self) -> datetime:
        return datetime.now(self._zone)


async def _sleep_until(due: datetime) -> None:
    """Sleep in pieces: the wall clock may be set meanwhile."""
    while (left := (due - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110  # time is what is awaited
        await asyncio.sleep(min(left, 3600))


def _time_zone() -> ZoneInfo:
    name = os.environ.get("WEBSITE_TIME_ZONE", "UTC")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise AppLoadError(f"WEBSITE_TIME_ZONE={name!r} is not a time zone such as Europe/Berlin.") from error
