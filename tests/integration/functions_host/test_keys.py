"""Keys are checked with --auth, and only then."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from tests.support.functions_host import FunctionsHost, HostClient

KEYS = {
    "master": "the-master",
    "host": {"default": "the-host"},
    "functions": {"with_function_key": {"default": "the-function", "second": "another"}},
    "system": {"durabletask_extension": "the-durable", "eventgrid_extension": "the-eventgrid"},
}
EVENTS = "/runtime/webhooks/eventgrid?functionName=on_event"
DURABLE = "/runtime/webhooks/durabletask/instances"


@pytest.fixture
def keys_file(tmp_path: Path) -> str:
    """A file with keys of known values."""
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(KEYS), encoding="utf-8")
    return str(file)


async def status(client: HostClient, path: str, header: str | None = None, query: str | None = None) -> int:
    headers = {"aeg-event-type": "Unsubscribe"} | ({"x-functions-key": header} if header is not None else {})
    if query is not None:
        path += ("&" if "?" in path else "?") + f"code={query}"
    method = "POST" if path.startswith(EVENTS) else "GET"
    return (await client.ask(method, path, headers=headers)).status


async def test_who_may_call_what(new_host: Callable[..., FunctionsHost], keys_file: str) -> None:
    host = new_host("--auth", "--keys", keys_file)
    host.start()
    async with host.client() as client:
        assert await status(client, "/api/ping") == 200
        for path, opened_by in {
            "/api/with-function-key": {"the-function", "another", "the-host", "the-master"},
            "/api/with-admin-key": {"the-master"},
            "/admin/host/status": {"the-master"},
            DURABLE: {"the-durable", "the-master"},
            EVENTS: {"the-eventgrid", "the-master"},
        }.items():
            opened = 202 if path == EVENTS else 200
            assert await status(client, path) == 401, path
            for given in (
                "the-function",
                "another",
                "the-host",
                "the-master",
                "the-durable",
                "the-eventgrid",
                "",
            ):
                expected = opened if given in opened_by else 401
                assert await status(client, path, header=given) == expected, (path, given)
                assert await status(client, path, query=given) == expected, (path, given)
        assert await status(client, "/api/with-function-key", header="wrong", query="the-function") == 401
        assert await status(client, "/api/with-function-key", header="the-function", query="wrong") == 200
        refused = await client.ask("GET", "/api/with-function-key")
        assert (refused.status, refused.text) == (401, "")
        started = await client.ask("POST", "/api/start/say_hello", json={"name": "K"})
        link = cast("dict[str, str]", started.json())["statusQueryGetUri"]
        assert "code=the-durable" in link
        async with client.session.get(link) as response:
            assert response.status in (200, 202), "links carry the key"


async def test_missing_keys_are_made_once_and_only_the_owner_reads_them(
    new_host: Callable[..., FunctionsHost],
) -> None:
    host = new_host("--auth")
    host.start()
    keys_file = host.app_dir / ".functions_host" / "keys.json"
    made = json.loads(keys_file.read_text(encoding="utf-8"))
    assert stat.S_IMODE(keys_file.stat().st_mode) == 0o600
    assert set(made) == {"master", "host", "functions", "system"}
    assert len({made["master"], made["host"]["default"], *made["system"].values()}) == 4
    async with host.client() as client:
        assert await status(client, "/admin/host/status", header=made["master"]) == 200
    host.stop()
    host.start()
    assert json.loads(keys_file.read_text(encoding="utf-8")) == made


async def test_without_auth_no_key_is_needed(client: HostClient) -> None:
    for path in ("/api/with-function-key", "/api/with-admin-key", DURABLE, "/admin/host/status"):
        assert await status(client, path) == 200
