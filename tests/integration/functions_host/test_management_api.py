"""The Durable HTTP API as an outside caller sees it, and as the SDK's client uses it."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from tests.support.eventually import eventually
from tests.support.functions_host import Answer, HostClient


def key() -> str:
    return uuid.uuid4().hex[:8]


async def post(
    client: HostClient, path: str, body: str | None, content_type: str = "application/json"
) -> Answer:
    headers = {"Content-Type": content_type}
    return await client.ask("POST", client.durable(path), data=body, headers=headers)


async def test_starting_answers_with_links_that_work(client: HostClient) -> None:
    answer = await post(client, f"orchestrators/say_hello/my-{key()}", '{"name": "L"}')
    links = cast("dict[str, str]", answer.json())
    assert (answer.status, answer.headers["Retry-After"]) == (202, "10")
    assert answer.headers["Location"] == links["statusQueryGetUri"]
    assert sorted(links) == [
        "id",
        "purgeHistoryDeleteUri",
        "restartPostUri",
        "resumePostUri",
        "sendEventPostUri",
        "statusQueryGetUri",
        "suspendPostUri",
        "terminatePostUri",
    ]
    await client.until(links["id"])
    async with client.session.get(links["statusQueryGetUri"]) as response:
        shown = await response.json()
    assert (response.status, shown["output"]) == (200, "Hello L!")
    async with client.session.delete(links["purgeHistoryDeleteUri"]) as response:
        assert await response.json() == {"instancesDeleted": 1}
    async with client.session.get(links["statusQueryGetUri"]) as response:
        assert response.status == 404


async def test_the_status_of_a_running_instance_is_202_with_a_location(client: HostClient) -> None:
    instance = await client.start("reports_progress")
    await client.until(instance, "Running")
    answer = await client.ask("GET", client.durable(f"instances/{instance}"))
    assert (answer.status, answer.headers["Retry-After"]) == (202, "5")
    assert instance in answer.headers["Location"]
    shown = cast("dict[str, object]", answer.json())
    assert set(shown) == {
        "name",
        "instanceId",
        "runtimeStatus",
        "input",
        "customStatus",
        "output",
        "createdTime",
        "lastUpdatedTime",
    }
    datetime.strptime(str(shown["createdTime"]), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    await client.steer(instance, "terminate")


async def test_an_outside_caller_s_object_is_the_input_and_may_be_hidden(client: HostClient) -> None:
    instance = await client.start("say_hello", {"name": "I"})
    done = await client.until(instance)
    assert done["input"] == {"name": "I"}
    assert (await client.status(instance, showInput="false"))["input"] is None


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("orchestrators/nope", "{}", 400, "The function 'nope' doesn't exist"),
        ("orchestrators/hello", "{}", 400, "is not an orchestrator function"),
        ("orchestrators/say_hello", "{", 400, "Invalid JSON content"),
        ("orchestrators/say_hello/@id", "{}", 400, "Instance IDs must not start with '@'"),
        ("orchestrators/say_hello/" + "x" * 257, "{}", 400, "longer than 256"),
        ("instances/missing/raiseEvent/E", "{}", 404, ""),
        ("instances/missing/terminate", None, 404, ""),
        ("instances/missing/suspend", None, 404, ""),
        ("instances/missing/rewind", None, 404, ""),
        ("instances/missing/restart", None, 404, ""),
        ("instances/missing/dance", None, 404, ""),
        ("entities/nope/k", None, 400, "is not an entity function"),
        ("nothing", None, 404, ""),
    ],
)
async def test_refusals(client: HostClient, path: str, body: str | None, status: int, text: str) -> None:
    answer = await post(client, path, body)
    assert answer.status == status
    assert text in answer.text
    if status == 400:
        assert text in cast("dict[str, str]", answer.json())["ExceptionMessage"]


async def test_events_must_be_json(client: HostClient) -> None:
    instance = await client.start("reports_progress")
    wrong_type = await post(client, f"instances/{instance}/raiseEvent/Go", "x", "text/plain")
    assert (wrong_type.status, "application/json" in wrong_type.text) == (400, True)
    broken = await post(client, f"instances/{instance}/raiseEvent/Go", "{")
    assert (broken.status, "Invalid JSON" in broken.text) == (400, True)
    await client.steer(instance, "terminate")


async def test_an_id_that_runs_is_refused_and_one_that_ended_is_replaced(client: HostClient) -> None:
    mine = f"once-{key()}"
    await client.start("reports_progress", instance_id=mine)
    again = await post(client, f"orchestrators/say_hello/{mine}", '{"name": "x"}')
    assert again.status == 500
    assert "An Orchestration instance with the status" in again.text
    assert "already exists" in again.text
    await client.until(mine, "Running")
    await client.steer(mine, "terminate")
    await client.until(mine)
    await client.start("say_hello", {"name": "second"}, instance_id=mine)
    assert (await client.until(mine))["output"] == "Hello second!"


async def test_start_may_wait_for_the_output(client: HostClient) -> None:
    path = "orchestrators/{}?timeout=10&pollingInterval=0.05"
    done = await post(client, path.format("say_hello"), '{"name": "W"}')
    assert (done.status, done.json()) == (200, "Hello W!")
    failed = await post(client, path.format("raises_at_once"), '{"text": "T"}')
    assert (failed.status, cast("dict[str, str]", failed.json())["runtimeStatus"]) == (500, "Failed")
    late = await post(client, "orchestrators/reports_progress?timeout=0.1&pollingInterval=0.05", "{}")
    assert late.status == 202


async def test_failed_is_500_only_on_request(client: HostClient) -> None:
    instance = await client.start("raises_at_once", {"text": "T"})
    await client.until(instance)
    path = client.durable(f"instances/{instance}")
    assert (await client.ask("GET", path)).status == 200
    asked = await client.ask("GET", path, params={"returnInternalServerErrorOnFailure": "true"})
    assert asked.status == 500


async def test_history_names_functions_and_shows_results_on_request(client: HostClient) -> None:
    instance = await client.start("say_hello", {"name": "H"})
    await client.until(instance)
    shown = await client.status(instance, showHistory="true", showHistoryOutput="true")
    events = cast("list[dict[str, object]]", shown["historyEvents"])
    assert [e["EventType"] for e in events] == ["ExecutionStarted", "TaskCompleted", "ExecutionCompleted"]
    assert (events[1]["FunctionName"], events[1]["Result"]) == ("hello", "Hello H!")
    assert str(events[1]["ScheduledTime"]) <= str(events[1]["Timestamp"])
    without = await client.status(instance, showHistory="true")
    assert "Result" not in cast("list[dict[str, object]]", without["historyEvents"])[1]


async def test_queries_filter_and_page(client: HostClient) -> None:
    prefix = f"q{key()}-"
    for number in range(3):
        await client.start("say_hello", {"name": "Q"}, instance_id=f"{prefix}{number}")
        await client.until(f"{prefix}{number}")
    await client.start("raises_at_once", {"text": "T"}, instance_id=f"{prefix}failed")
    await client.until(f"{prefix}failed")

    async def ids(headers: dict[str, str] | None = None, **query: str) -> tuple[list[str], str]:
        query = {"instanceIdPrefix": prefix, **query}
        answer = await client.ask("GET", client.durable("instances"), params=query, headers=headers or {})
        found = [i["instanceId"].removeprefix(prefix) for i in cast("list[dict[str, str]]", answer.json())]
        return found, answer.headers.get("x-ms-continuation-token", "")

    assert (await ids())[0] == ["0", "1", "2", "failed"]
    assert (await ids(runtimeStatus="Failed,Terminated"))[0] == ["failed"]
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert (await ids(createdTimeFrom=later))[0] == []
    assert len((await ids(createdTimeTo=later))[0]) == 4
    first, token = await ids(top="3")
    rest, end = await ids({"x-ms-continuation-token": token}, top="3")
    assert (first, rest, end) == (["0", "1", "2"], ["failed"], "")


async def test_purging(client: HostClient) -> None:
    running = await client.start("reports_progress")
    await client.until(running, "Running")
    refused = await client.ask("DELETE", client.durable(f"instances/{running}"))
    assert (refused.status, "terminal state" in refused.text) == (412, True)
    await client.steer(running, "terminate")
    await client.until(running)
    assert (await client.ask("DELETE", client.durable("instances/missing"))).status == 404
    assert (await client.ask("DELETE", client.durable("instances"))).status == 400
    since = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    query = {"createdTimeFrom": since, "runtimeStatus": "Terminated"}
    purged = await client.ask("DELETE", client.durable("instances"), params=query)
    assert cast("dict[str, int]", purged.json())["instancesDeleted"] >= 1
    assert (await client.ask("GET", client.durable(f"instances/{running}"))).status == 404


async def test_rewind_is_for_failed_instances(client: HostClient) -> None:
    instance = await client.start("say_hello", {"name": "R"})
    await client.until(instance)
    assert await client.steer(instance, "rewind") == 410


# The SDK's client, called inside the app


async def test_the_sdk_starts_and_reads_status(client: HostClient) -> None:
    started = await client.call(
        "start_new", orchestration_function_name="say_hello", client_input={"name": "S"}
    )
    instance = str(started["result"])
    await client.until(instance)
    status = cast(
        "dict[str, object]",
        (await client.call("get_status", instance_id=instance, show_history=True))["result"],
    )
    assert (status["runtimeStatus"], status["output"]) == ("Completed", "Hello S!")
    assert status["input"] == '{"name": "S"}', "the SDK encodes twice: an input of its own is a string"
    events = cast("list[dict[str, str]]", status["historyEvents"])
    assert events[0]["EventType"] == "ExecutionStarted"


async def test_the_sdk_s_check_status_response_points_at_the_caller_s_origin(client: HostClient) -> None:
    answer = await client.ask("POST", "/api/start/say_hello", json={"name": "O"})
    links = cast("dict[str, str]", answer.json())
    assert (answer.status, answer.headers["Retry-After"]) == (202, "10")
    assert all(v.startswith(client.host.origin) for k, v in links.items() if k != "id")
    assert "rewindPostUri" in links
    async with client.session.get(links["statusQueryGetUri"]) as response:
        assert response.status in (200, 202)


async def test_the_sdk_s_events_arrive_as_json_text(client: HostClient) -> None:
    instance = await client.start("collect_events", {"pause": 0, "names": ["A", "B"]})
    await client.until(instance, "Running")
    await client.call("raise_event", instance_id=instance, event_name="A", event_data={"n": 1})
    await client.raise_event(instance, "B", {"n": 1})
    output = cast("list[object]", (await client.until(instance))["output"])
    assert output == ['{"n": 1}', {"n": 1}]


async def test_the_sdk_s_errors(client: HostClient) -> None:
    unknown = await client.call("start_new", orchestration_function_name="nope")
    assert "The function 'nope' doesn't exist" in str(unknown["raised"])
    mine = f"sdk-{key()}"
    await client.start("reports_progress", instance_id=mine)
    arguments = {"orchestration_function_name": "say_hello", "instance_id": mine}
    again = await client.call("start_new", **arguments)
    assert "already exists" in str(again["raised"])
    missing = await client.call("raise_event", instance_id="missing", event_name="E")
    assert missing == {"raised": "No instance with ID missing found."}
    assert await client.call("terminate", instance_id=mine, reason="a & b") == {"result": None}
    done = await client.until(mine)
    assert done["output"] == "a & b"
    gone = await client.call("raise_event", instance_id=mine, event_name="E")
    assert "is gone" in str(gone["raised"])
    assert (await client.call("rewind", instance_id=mine, reason="r"))["raised"]
    assert await client.call("get_status", instance_id="missing") == {"result": None}


async def test_the_sdk_steers_restarts_and_purges(client: HostClient) -> None:
    instance = await client.start("reports_progress")
    await client.until(instance, "Running")
    assert await client.call("suspend", instance_id=instance, reason="s") == {"result": None}
    await client.until(instance, "Suspended")
    assert await client.call("resume", instance_id=instance, reason="r") == {"result": None}
    await client.until(instance, "Running")
    await client.steer(instance, "terminate")
    await client.until(instance)
    restarted = cast("dict[str, str]", (await client.call("restart", instance_id=instance))["result"])
    assert restarted["id"] != instance
    await client.until(restarted["id"], "Running")
    await client.steer(restarted["id"], "terminate")
    purged = await client.call("purge_instance_history", instance_id=instance)
    assert purged == {"result": {"instances_deleted": 1}}
    again = await client.call("purge_instance_history", instance_id=instance)
    assert again == {"result": {"instances_deleted": 0}}


async def test_the_sdk_s_entities(client: HostClient) -> None:
    mine = ["Counter", key()]
    before = await client.call("read_entity_state", entity=mine)
    assert before == {"result": {"entity_exists": False, "entity_state": None}}
    await client.call("signal_entity", entity=mine, operation_name="add", operation_input=4)

    async def four() -> bool:
        read = await client.call("read_entity_state", entity=mine)
        return read == {"result": {"entity_exists": True, "entity_state": 4}}

    await eventually(four)


async def test_the_sdk_lists_instances(client: HostClient) -> None:
    prefix = f"l{key()}-"
    await asyncio.gather(*(client.start("say_hello", {"name": "L"}, f"{prefix}{n}") for n in range(3)))
    found = await client.call("get_status_by", instance_id_prefix=prefix)
    names = {s["instanceId"] for s in cast("list[dict[str, str]]", found["result"])}
    assert names == {f"{prefix}{n}" for n in range(3)}
    everything = await client.call("get_status_all")
    assert len(cast("list[object]", everything["result"])) >= 3
    assert json.dumps(everything).count(prefix) >= 3
