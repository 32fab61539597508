"""Every Durable feature, driven through the public management API."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import cast

import pytest

from tests.support.eventually import eventually
from tests.support.functions_host import HostClient


def key() -> str:
    return uuid.uuid4().hex[:8]


async def test_one_activity(client: HostClient) -> None:
    assert await client.run("say_hello", {"name": "Ada"}) == "Hello Ada!"


async def test_a_chain_and_an_activity_without_result(client: HostClient) -> None:
    assert await client.run("chain", {"value": 3, "steps": 5}) == [96, None]


async def test_fan_out_over_a_hundred(client: HostClient) -> None:
    assert await client.run("fan_out", {"count": 100}) == 9900


async def test_an_event_wins_over_a_timer_which_is_cancelled(client: HostClient) -> None:
    instance = await client.start("event_or_timer", {"seconds": 3600})
    await client.until(instance, "Running")
    assert await client.raise_event(instance, "Approval", {"by": "Eve"}) == 202
    done = await client.until(instance)
    assert (done["runtimeStatus"], done["output"]) == ("Completed", ["approved", {"by": "Eve"}])


async def test_a_timer_wins_over_an_event(client: HostClient) -> None:
    assert await client.run("event_or_timer", {"seconds": 0.05}) == "timed out"


async def test_events_that_come_early_are_kept_by_name(client: HostClient) -> None:
    instance = await client.start("collect_events", {"pause": 0.3, "names": ["a", "b"]})
    await client.raise_event(instance, "b", 2)
    await client.raise_event(instance, "a", [1, None])
    assert (await client.until(instance))["output"] == [[1, None], 2]


async def test_retries_until_success(client: HostClient) -> None:
    mine = key()
    output = await client.run("retried", {"key": mine, "succeeds_at": 3, "attempts": 5})
    assert output == f"{mine} succeeded"


async def test_retries_used_up_fail_the_instance(client: HostClient) -> None:
    done = await client.until(await client.start("retried", {"key": key(), "succeeds_at": 9, "attempts": 2}))
    assert done["runtimeStatus"] == "Failed"
    assert str(done["output"]).startswith(
        "Orchestrator function 'retried' failed: "
        "Activity function 'fails_until' failed:  ValueError: CODE-17 attempt 2 \n "
    )


async def test_two_retries_interleave_with_a_plain_call(client: HostClient) -> None:
    mine = key()
    output = await client.run("two_retries_and_a_call", {"key": mine})
    assert output == [f"{mine}-a succeeded", f"Hello {mine}!", f"{mine}-b succeeded", 42]


async def test_a_failure_reaches_the_orchestrator_as_text(client: HostClient) -> None:
    output = await client.run("handles_failure", {"key": key()})
    assert output == "Activity function 'fails_until' failed:  ValueError: CODE-17 attempt 1"


async def test_sub_orchestrations(client: HostClient) -> None:
    instance = await client.start("parent", {"given": True})
    done = await client.until(instance)
    assert done["output"] == [
        "Hello child!",
        "Hello named!",
        "Orchestrator function 'raises_at_once' failed: from the child",
        {"given": True},
    ]
    assert (await client.status(f"{instance}-named"))["runtimeStatus"] == "Completed"


async def test_a_retried_sub_orchestration(client: HostClient) -> None:
    mine = key()
    output = await client.run("parent_with_retried_child", {"key": mine, "succeeds_at": 3})
    assert output == f"{mine} succeeded"


async def test_continue_as_new_begins_a_new_history(client: HostClient) -> None:
    instance = await client.start("counts_down", {"left": 4})
    done = await client.until(instance)
    assert done["output"] == "lift-off"
    shown = await client.status(instance, showHistory="true")
    events = [e["EventType"] for e in cast("list[dict[str, str]]", shown["historyEvents"])]
    assert events == ["ExecutionStarted", "ExecutionCompleted"]


async def test_custom_status(client: HostClient) -> None:
    instance = await client.start("reports_progress")
    for step, event in ((1, "Go"), (2, "Finish")):

        async def shown(step: int = step) -> bool:
            return (await client.status(instance))["customStatus"] == {"step": step}

        await eventually(shown)
        await client.raise_event(instance, event)
    done = await client.until(instance)
    assert (done["output"], done["customStatus"]) == ("reported", {"step": 2})


async def test_suspend_holds_events_back_and_resume_lets_them_in(client: HostClient) -> None:
    instance = await client.start("reports_progress")
    await client.until(instance, "Running")
    assert await client.steer(instance, "suspend", reason="lunch") == 202
    await client.until(instance, "Suspended")
    await client.raise_event(instance, "Go")
    await client.raise_event(instance, "Finish")
    assert (await client.status(instance))["runtimeStatus"] == "Suspended"
    assert await client.steer(instance, "resume", reason="back") == 202
    done = await client.until(instance)
    assert done["output"] == "reported"
    history = (await client.status(instance, showHistory="true"))["historyEvents"]
    reasons = [e["Reason"] for e in cast("list[dict[str, str]]", history) if "Reason" in e]
    assert reasons == ["lunch", "back"]


async def test_terminate(client: HostClient) -> None:
    instance = await client.start("reports_progress")
    await client.until(instance, "Running")
    assert await client.steer(instance, "terminate", reason="no longer wanted") == 202
    done = await client.until(instance)
    assert (done["runtimeStatus"], done["output"]) == ("Terminated", "no longer wanted")
    assert await client.steer(instance, "terminate") == 410
    assert await client.raise_event(instance, "Go") == 410


async def test_a_terminated_child_fails_its_parent_s_call(client: HostClient) -> None:
    gate = client.host.state_dir / f"gate-{key()}"
    gate.touch()
    instance = await client.start("parent_of_slow_child", {"key": key(), "until_gone": str(gate)})

    async def child_runs() -> bool:
        answer = await client.ask("GET", client.durable(f"instances/{instance}-child"))
        return answer.status == 202 and answer.json()["runtimeStatus"] == "Running"

    await eventually(child_runs)
    assert await client.steer(f"{instance}-child", "terminate", reason="stop it") == 202
    done = await client.until(instance)
    gate.unlink()
    assert done["runtimeStatus"] == "Failed"
    assert "failed: stop it" in str(done["output"])


async def test_entities(client: HostClient) -> None:
    mine = key()
    assert await client.run("uses_counter", {"key": mine}) == [5, "no operation explode"]
    path = client.durable(f"entities/Counter/{mine}")
    answer = await client.ask("GET", path)
    assert (answer.status, answer.json()) == (200, 5)
    signal = await client.ask("POST", path, params={"op": "add"}, json=json.dumps(7))
    assert signal.status == 202

    async def state() -> object:
        return (await client.ask("GET", path)).json() == 12

    await eventually(state)
    await client.ask("POST", path, params={"op": "reset"})

    async def gone() -> bool:
        return (await client.ask("GET", path)).status == 404

    await eventually(gone)


async def test_operations_of_one_entity_do_not_overlap(client: HostClient) -> None:
    mine = key()
    path = client.durable(f"entities/counter/{mine}")
    await asyncio.gather(
        *(client.ask("POST", path, params={"op": "add"}, json=json.dumps(1)) for _ in range(30))
    )

    async def all_in() -> bool:
        answer = await client.ask("GET", path)
        return answer.status == 200 and answer.json() == 30

    await eventually(all_in)


async def test_call_http(client: HostClient) -> None:
    assert await client.run("calls_http", {"uri": f"{client.host.origin}/api/ping"}) == [200, "pong"]


async def test_call_http_to_nobody_fails(client: HostClient) -> None:
    done = await client.until(await client.start("calls_http", {"uri": "http://127.0.0.1:9/"}))
    assert done["runtimeStatus"] == "Failed"
    assert "ClientConnectorError" in str(done["output"])


async def test_activities_see_the_trace_of_the_starter(client: HostClient) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = await client.ask(
        "POST", client.durable("orchestrators/sees_trace"), headers={"traceparent": traceparent}
    )
    done = await client.until(answer.json()["id"])
    assert done["output"] == traceparent


async def test_orchestrator_time_and_uuids(client: HostClient) -> None:
    assert await client.run("tells_time") == [True, True]


async def test_a_missing_activity_fails_the_instance_and_is_named(client: HostClient) -> None:
    done = await client.until(await client.start("calls_missing_activity"))
    assert done["runtimeStatus"] == "Failed"
    assert "The function 'nope' doesn't exist, is disabled, or is not an activity function" in str(
        done["output"]
    )


async def test_an_orchestrator_that_raises_fails_with_its_text(client: HostClient) -> None:
    done = await client.until(await client.start("raises_at_once", {"text": "broken"}))
    assert (done["runtimeStatus"], done["output"]) == (
        "Failed",
        "Orchestrator function 'raises_at_once' failed: broken",
    )


async def test_rewind_runs_only_what_failed_again(client: HostClient) -> None:
    mine = key()
    instance = await client.start("retried", {"key": mine, "succeeds_at": 3, "attempts": 2})
    assert (await client.until(instance))["runtimeStatus"] == "Failed"
    assert await client.steer(instance, "rewind", reason="fixed") == 202
    done = await client.until(instance, "Completed")
    assert done["output"] == f"{mine} succeeded"


async def test_rewind_goes_down_into_a_failed_child(client: HostClient) -> None:
    mine = key()
    instance = await client.start("parent_of_failing_child", {"key": mine, "succeeds_at": 2})
    assert (await client.until(instance))["runtimeStatus"] == "Failed"
    assert await client.steer(instance, "rewind", reason="fixed") == 202
    done = await client.until(instance, "Completed")
    assert done["output"] == ["Hello first!", f"{mine} succeeded"]


@pytest.mark.parametrize("as_new", ["true", "false"])
async def test_restart(client: HostClient, as_new: str) -> None:
    instance = await client.start("say_hello", {"name": "again"})
    await client.until(instance)
    path = client.durable(f"instances/{instance}/restart")
    answer = await client.ask("POST", path, params={"restartWithNewInstanceId": as_new})
    restarted = answer.json()["id"]
    assert answer.status == 202
    assert (restarted != instance) == (as_new == "true")
    assert (await client.until(restarted))["output"] == "Hello again!"


async def test_many_orchestrations_at_once(client: HostClient) -> None:
    outputs = await asyncio.gather(*(client.run("say_hello", {"name": str(i)}) for i in range(40)))
    assert outputs == [f"Hello {i}!" for i in range(40)]
