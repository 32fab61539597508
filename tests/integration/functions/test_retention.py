"""Histories of orchestrations do not outlive the sessions they belong to."""

from __future__ import annotations

import json
import sqlite3
import time

import aiohttp

from tests.integration.functions.api_client import Api
from tests.integration.functions.test_sessions import in_state, started
from tests.support.eventually import eventually
from tests.support.stack import RunningFunctions


async def test_the_timer_purges_what_finished_long_ago_and_nothing_else(
    functions: RunningFunctions, api: Api
) -> None:
    old, recent = [await started(api, functions) for _ in range(2)]
    for session_id in (old, recent):
        assert (await api.post(f"/sessions/{session_id}/end", {})).status == 202
        await eventually(lambda session_id=session_id: in_state(api, session_id, "archived"))
    directory = functions.log.parent / functions.name
    with sqlite3.connect(directory / "durable.db") as database:
        long_ago = time.time() - 30 * 86_400
        database.execute("UPDATE instances SET created = ? WHERE instance_id = ?", (long_ago, old))

    master = json.loads((directory / "keys.json").read_text())["master"]
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{functions.url}/admin/functions/purge_histories",
            json={"input": ""},
            headers={"x-functions-key": master},
        ) as response,
    ):
        assert response.status == 202, await response.text()

    def kept() -> set[str]:
        with sqlite3.connect(directory / "durable.db") as database:
            rows = database.execute("SELECT instance_id FROM instances").fetchall()
        return {row[0] for row in rows} & {old, recent}

    await eventually(lambda: kept() == {recent}, what="only the old history is purged")
