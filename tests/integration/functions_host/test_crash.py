"""kill -9 in the middle of everything: the next process finishes with the right output."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.functions_host.conftest import EXECUTORS
from tests.support.eventually import eventually
from tests.support.functions_host import FunctionsHost, HostClient


@pytest.fixture(params=EXECUTORS)
def host(request: pytest.FixtureRequest, new_host: Callable[..., FunctionsHost]) -> Iterator[FunctionsHost]:
    """A host of the test's own, with each executor."""
    running = new_host(executor=request.param)
    running.start()
    yield running
    assert running.stop() == 0


def gate(host: FunctionsHost) -> Path:
    """A file that slow activities wait for to disappear."""
    path = host.state_dir / f"gate-{uuid.uuid4().hex}"
    path.touch()
    return path


def crash(host: FunctionsHost) -> None:
    host.kill()
    host.start()


async def test_in_the_middle_of_an_activity(host: FunctionsHost, client: HostClient) -> None:
    closed = gate(host)
    instance = await client.start("slow_orchestration", {"key": "k", "until_gone": str(closed)})
    await eventually(lambda: host.journal_lines().count("slow k") == 1)
    crash(host)
    await eventually(lambda: host.journal_lines().count("slow k") == 2)
    closed.unlink()
    assert (await client.until(instance))["output"] == ["done k", "Hello k!"]
    assert host.journal_lines().count("slow k") == 2, "what had completed does not run again"


async def test_in_the_middle_of_a_timer(host: FunctionsHost, client: HostClient) -> None:
    instance = await client.start("event_or_timer", {"seconds": 1.0})
    await client.until(instance, "Running")
    crash(host)
    assert (await client.until(instance))["output"] == "timed out"


async def test_with_events_buffered_while_a_timer_runs(host: FunctionsHost, client: HostClient) -> None:
    names = ["a", "b", "c"]
    instance = await client.start("collect_events", {"pause": 1.0, "names": names})
    for number, name in enumerate(names):
        assert await client.raise_event(instance, name, {"n": number}) == 202
    crash(host)
    assert (await client.until(instance))["output"] == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_with_events_held_back_by_a_suspension(host: FunctionsHost, client: HostClient) -> None:
    instance = await client.start("reports_progress")
    await client.until(instance, "Running")
    await client.steer(instance, "suspend")
    await client.until(instance, "Suspended")
    await client.raise_event(instance, "Go")
    crash(host)
    await client.raise_event(instance, "Finish")
    assert (await client.status(instance))["runtimeStatus"] == "Suspended"
    await client.steer(instance, "resume")
    assert (await client.until(instance))["output"] == "reported"


async def test_in_the_middle_of_a_sub_orchestration(host: FunctionsHost, client: HostClient) -> None:
    closed = gate(host)
    instance = await client.start("parent_of_slow_child", {"key": "s", "until_gone": str(closed)})
    await eventually(lambda: "slow s" in host.journal_lines())
    crash(host)
    closed.unlink()
    assert (await client.until(instance))["output"] == ["parent", ["done s", "Hello s!"]]


async def test_while_waiting_for_a_retry(host: FunctionsHost, client: HostClient) -> None:
    given = {"key": "r", "succeeds_at": 2, "attempts": 3, "delay_ms": 1000}
    instance = await client.start("retried", given)

    def attempts() -> int:
        marks = Path(f"{host.journal}.r")
        return marks.stat().st_size if marks.exists() else 0

    await eventually(lambda: attempts() == 1)
    await eventually(lambda: any("function failed function=fails_until" in o for o in host.output))
    crash(host)
    assert (await client.until(instance))["output"] == "r succeeded"
    assert attempts() in (2, 3), "at least once: the killed process may not have stored its failure"


async def test_in_the_middle_of_a_fan_out_again_and_again(host: FunctionsHost, client: HostClient) -> None:
    instances = [await client.start("fan_out", {"count": 60}) for _ in range(4)]
    for _ in range(3):
        crash(host)
    for instance in instances:
        assert (await client.until(instance, within=20))["output"] == 3540


async def test_during_continue_as_new(host: FunctionsHost, client: HostClient) -> None:
    instance = await client.start("counts_down", {"left": 30})
    await client.until(instance, "Running", "Completed")
    crash(host)
    assert (await client.until(instance))["output"] == "lift-off"


async def test_entities_keep_what_was_signalled(host: FunctionsHost, client: HostClient) -> None:
    path = client.durable("entities/Counter/crash")
    for _ in range(10):
        assert (await client.ask("POST", path, params={"op": "add"}, json="1")).status == 202
    crash(host)

    async def ten() -> bool:
        answer = await client.ask("GET", path)
        return answer.status == 200 and answer.json() == 10

    await eventually(ten)
