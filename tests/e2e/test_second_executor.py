"""A spoken call through the SDP relay, with the Functions app run by Microsoft's own worker library."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from emulators.caller.peer import WebRtcCaller
from emulators.caller.script import Turn, prepared, run_script
from emulators.caller.session_client import SessionClient
from tests.support.second_executor import host_python_313
from tests.support.stack import REPOSITORY, RunningFunctions, Stack

TURNS = [
    Turn(text="Please book an appointment with doctor Rivera on Tuesday at ten.", answers=2),
    Turn(text="Thank you, goodbye."),
]


async def read_until_archived(functions: RunningFunctions, session_id: str) -> list[dict[str, object]]:
    """Follow the session's log to its end."""
    events: list[dict[str, object]] = []
    after: str | None = "0-0"
    headers = {"x-functions-key": functions.key}
    async with asyncio.timeout(40), aiohttp.ClientSession(raise_for_status=True, headers=headers) as http:
        while after is not None:
            query = {"after": after, "wait_s": "5"}
            async with http.get(f"{functions.api}/sessions/{session_id}/events", params=query) as answer:
                page = await answer.json()
            events += page["events"]
            after = page["next"]
    return events


async def test_a_call_with_a_durable_tool(tmp_path: Path) -> None:
    python, why_not = host_python_313()
    if python is None:
        pytest.skip(why_not)
    with Stack(tmp_path) as stack:
        stack.start_redis()
        stack.start_realtime("--mind", str(REPOSITORY / "agents" / "member_services.rules.yaml"))
        functions = stack.start_functions(
            executor="azure-runtime", python=python, MEMBER_SERVICES_DB=str(tmp_path / "bookings.db")
        )
        stack.start_worker(functions)
        turns = await prepared(TURNS)
        caller = WebRtcCaller()
        try:
            async with SessionClient(functions.url, functions.key) as client:
                started = await client.start(caller, "member_services", mode="relay")
            report = await run_script(caller, turns, greeting_timeout_s=30)
        finally:
            await caller.hang_up()
        events = await read_until_archived(functions, started.session_id)
        told = f"\n{report}\n{stack.logs()}"

    (finished,) = [event for event in events if event["type"] == "tool_finished"]
    assert (finished["name"], finished["status"]) == ("book_appointment", "ok"), told
    assert "B4001" in str(finished["output"]), told
    said = [str(event["text"]) for event in events if event["type"] == "agent_turn"]
    assert any("confirmation number" in words for words in said), told
    assert events[-1]["type"] == "archived", told
    assert [turn.finished for turn in report.turns] == [True, True], told
