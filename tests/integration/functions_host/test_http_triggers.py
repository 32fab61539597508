"""HTTP triggers as a function and its caller see them."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.eventually import eventually
from tests.support.functions_host import FunctionsHost, HostClient

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_function_sees_the_whole_request(client: HostClient) -> None:
    answer = await client.ask(
        "POST",
        "/api/Echo/12/Bob%20B?x=1&x=2&empty=&y=%C3%A9",
        data=b'{"a": 1}',
        headers={"X-Custom": "one", "traceparent": TRACEPARENT},
    )
    seen = json.loads(answer.text)
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/json"
    assert seen["method"] == "POST"
    assert seen["route"] == {"id": "12", "name": "Bob B"}
    assert seen["params"] == {"x": "1,2", "y": "é"}
    assert seen["headers"]["x-custom"] == "one"
    assert seen["headers"]["traceparent"] == seen["traceparent"] == TRACEPARENT
    assert seen["url"].startswith(f"{client.host.origin}/api/Echo/12/Bob%20B?x=1")
    assert (seen["body"], seen["function"]) == ('{"a": 1}', "echo")


async def test_cookies_keep_apart(client: HostClient) -> None:
    async with client.session.get(f"{client.host.origin}/api/echo/1") as response:
        cookies = [c.replace(" ", "") for c in response.headers.getall("Set-Cookie")]
    assert sorted(cookies) == ["a=1;Path=/", "b=2;HttpOnly"]


async def test_a_call_without_trace_context_gets_a_new_one(client: HostClient) -> None:
    seen = json.loads((await client.ask("GET", "/api/echo/1")).text)
    assert seen["traceparent"].startswith("00-")
    assert "traceparent" not in seen["headers"]


async def test_a_chunked_body_does_not_arrive_and_the_host_says_so(client: HostClient) -> None:
    async def chunks():
        yield b"hello"

    seen = json.loads((await client.ask("POST", "/api/echo/1", data=chunks())).text)
    assert seen["body"] == ""
    warning = "chunked request reaches the function with an empty body"
    await eventually(lambda: any(warning in line for line in client.host.output))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/ping", 200),
        ("GET", "/API/PING", 200),
        ("POST", "/api/ping", 404),
        ("GET", "/ping", 404),
        ("GET", "/api/nothing", 404),
        ("GET", "/api/echo/abc", 404),
        ("GET", "/api/echo/1/a/b", 404),
        ("GET", "/", 200),
        ("GET", "/runtime/webhooks/unknown", 404),
        ("GET", "/admin/host/status", 200),
        ("GET", "/admin/nothing", 404),
    ],
)
async def test_routes(client: HostClient, method: str, path: str, status: int) -> None:
    assert (await client.ask(method, path)).status == status


async def test_the_first_function_by_name_wins(client: HostClient) -> None:
    assert (await client.ask("GET", "/api/shadow/literal")).text == "first_by_name"


async def test_a_catch_all_takes_slashes_and_nothing(client: HostClient) -> None:
    assert (await client.ask("GET", "/api/a-catch-all/x/y%2Fz")).text == "x/y%2Fz"
    assert (await client.ask("GET", "/api/a-catch-all")).text == "(none)"


@pytest.mark.parametrize("path", ["/api/raises", "/api/returns-none"])
async def test_a_function_that_fails_gives_500_without_a_body(client: HostClient, path: str) -> None:
    answer = await client.ask("GET", path)
    assert (answer.status, answer.text) == (500, "")


async def test_the_log_shows_what_the_function_raised_with_its_own_frames(client: HostClient) -> None:
    await client.ask("GET", "/api/raises")
    await eventually(lambda: "ValueError: on purpose" in client.host.output)
    log = "\n".join(client.host.output)
    assert "error=ValueError: on purpose" in log
    assert 'raise ValueError("on purpose")' in log
    assert "functions_host/plain_executor.py" not in log


async def test_user_logs_pass_through(client: HostClient) -> None:
    await client.ask("GET", "/api/echo/1")
    await eventually(lambda: any("sample: echo called" in line for line in client.host.output))


async def test_every_run_has_one_log_line(client: HostClient) -> None:
    def lines() -> list[str]:
        return [o for o in client.host.output if "function executed function=ping " in o]

    before = len(lines())
    await client.ask("GET", "/api/ping")
    await eventually(lambda: len(lines()) == before + 1)
    assert "status=Succeeded" in lines()[-1]
    assert "invocation_id=" in lines()[-1]
    assert "duration_ms=" in lines()[-1]


@pytest.mark.parametrize(
    ("returned", "status", "body", "content_type"),
    [
        ("hello", 200, "hello", "text/plain"),
        ('{"a": 1}', 200, '{"a": 1}', "application/json"),
        ("[1]", 200, "[1]", "application/json"),
        ('{"status": 418, "body": "tea"}', 418, "tea", "text/plain"),
    ],
)
async def test_a_returned_string_may_describe_a_response(
    client: HostClient, returned: str, status: int, body: str, content_type: str
) -> None:
    answer = await client.ask("GET", "/api/returns-text", params={"text": returned})
    assert (answer.status, answer.text) == (status, body)
    assert answer.headers["Content-Type"].startswith(content_type)


async def test_bytes_stay_bytes(client: HostClient) -> None:
    async with client.session.get(f"{client.host.origin}/api/bytes") as response:
        assert await response.read() == bytes(range(256))


async def test_a_blocking_function_does_not_stop_the_others(client: HostClient) -> None:
    slow = asyncio.create_task(client.ask("GET", "/api/slow", params={"seconds": "0.5"}))
    pings = [await client.ask("GET", "/api/ping") for _ in range(5)]
    assert not slow.done()
    assert [p.text for p in pings] == ["pong"] * 5
    assert (await slow).text == "slept"


async def test_cors_is_answered_for_the_origin_of_local_settings(client: HostClient) -> None:
    asks = {"Origin": "https://portal.example", "Access-Control-Request-Method": "GET"}
    preflight = await client.ask("OPTIONS", "/api/ping", headers=asks)
    assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, asks["Origin"])
    allowed = await client.ask("GET", "/api/ping", headers={"Origin": asks["Origin"]})
    assert allowed.headers["Access-Control-Allow-Origin"] == asks["Origin"]
    other = await client.ask("GET", "/api/ping", headers={"Origin": "https://elsewhere.example"})
    assert "Access-Control-Allow-Origin" not in other.headers


async def test_many_requests_at_once(client: HostClient) -> None:
    answers = await asyncio.gather(*(client.ask("GET", "/api/ping") for _ in range(200)))
    assert {a.text for a in answers} == {"pong"}


async def test_functions_are_listed_at_start(host: FunctionsHost) -> None:
    assert any(line.startswith("ping: httpTrigger [GET] http://127.0.0.1:") for line in host.output)
    assert "say_hello: orchestrationTrigger" in host.output
