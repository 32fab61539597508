"""The walk of a program over a history: ids, new decisions, and when an instance is finished."""

from __future__ import annotations

import json

import pytest

from emulators.functions_host.durable.history import (
    Event,
    EventType,
    as_played,
    event,
    kind,
    moment,
    timestamp,
)
from emulators.functions_host.durable.program import ProtocolError, parse_answer
from emulators.functions_host.durable.replay import ProgramWalk, ReplayError, Walk

NOW = 1_800_000_000.0


class Known:
    """An app in which everything but `nope` exists."""

    def explain_missing(self, name: str, trigger: str) -> str | None:
        return f"{name} is missing as {trigger}" if name == "nope" else None


def activity(name: str = "a") -> dict[str, object]:
    return {"actionType": 0, "functionName": name, "input": "1"}


def retry(name: str = "r", attempts: int = 3) -> dict[str, object]:
    options = {"firstRetryIntervalInMilliseconds": 5000, "maxNumberOfAttempts": attempts}
    call = {"actionType": 1, "functionName": name, "input": "1", "retryOptions": options}
    return {"actionType": 12, "compoundActions": [call]}


def timer(*, cancelled: bool = False) -> dict[str, object]:
    return {"actionType": 5, "fireAt": "2027-01-15T08:00:10.000000Z", "isCanceled": cancelled}


def wait(name: str = "E") -> dict[str, object]:
    return {"actionType": 6, "externalEventName": name, "reason": "ExternalEvent"}


def entity(*, signal: bool = False) -> dict[str, object]:
    return {"actionType": 9 if signal else 7, "instanceId": "@c@k", "operation": "add", "input": "1"}


def every(*actions: dict[str, object]) -> dict[str, object]:
    return {"actionType": 12, "compoundActions": list(actions)}


def first_of(*actions: dict[str, object]) -> dict[str, object]:
    return {"actionType": 11, "compoundActions": list(actions)}


def child(instance_id: str | None = None) -> dict[str, object]:
    return {"actionType": 2, "functionName": "o", "input": "{}", "instanceId": instance_id, "version": None}


class History:
    """Builds a history and walks programs over it."""

    def __init__(self) -> None:
        self.events: list[Event] = [
            event(EventType.ORCHESTRATOR_STARTED, NOW),
            event(EventType.EXECUTION_STARTED, NOW, Name="o", ParentInstance=None, Input=None),
        ]

    def walk(self, *actions: dict[str, object], done: bool = False) -> Walk:
        state = {"isDone": done, "schemaVersion": 2, "actions": [list(actions)]}
        answer = parse_answer(json.dumps(state))
        walker = ProgramWalk(instance_id="I", execution_id="X", answer=answer, known=Known(), now=NOW)
        return walker.walk(self.events)

    def then(self, walk: Walk, *completions: Event) -> History:
        """Store what a walk decided and let an episode with completions follow."""
        self.events += [*walk.decisions, event(EventType.ORCHESTRATOR_COMPLETED, NOW)]
        self.events += [event(EventType.ORCHESTRATOR_STARTED, NOW + 1), *completions]
        return self


def completed(task_id: int) -> Event:
    return event(EventType.TASK_COMPLETED, NOW, TaskScheduledId=task_id, Result="1")


def failed(task_id: int) -> Event:
    return event(EventType.TASK_FAILED, NOW, TaskScheduledId=task_id, Reason="r", Details="d")


def fired(task_id: int) -> Event:
    return event(EventType.TIMER_FIRED, NOW, TimerId=task_id)


def raised(name: str = "E") -> Event:
    return event(EventType.EVENT_RAISED, NOW, Name=name, Input="1")


def decided(walk: Walk) -> list[tuple[str, object, object]]:
    return [(kind(d).name, d["EventId"], d.get("Name")) for d in walk.decisions]


def test_a_chain_takes_ids_in_turn() -> None:
    history = History()
    walk = history.walk(activity("a"))
    assert decided(walk) == [("TASK_SCHEDULED", 0, "a")]
    walk = history.then(walk, completed(0)).walk(activity("a"), activity("b"))
    assert (decided(walk), walk.finished) == ([("TASK_SCHEDULED", 1, "b")], False)
    walk = history.then(walk, completed(1)).walk(activity("a"), activity("b"), done=True)
    assert (decided(walk), walk.finished) == ([], True)


def test_a_failure_lets_the_program_go_on() -> None:
    history = History()
    walk = history.walk(activity())
    walk = history.then(walk, failed(0)).walk(activity(), activity("handler"))
    assert decided(walk) == [("TASK_SCHEDULED", 1, "handler")]


def test_interleaved_retries_take_ids_in_the_order_of_their_failures() -> None:
    history = History()
    program = every(retry("p"), activity("q"), retry("r"))
    walk = history.walk(program)
    assert decided(walk) == [
        ("TASK_SCHEDULED", 0, "p"),
        ("TASK_SCHEDULED", 1, "q"),
        ("TASK_SCHEDULED", 2, "r"),
    ]
    walk = history.then(walk, failed(2), failed(0)).walk(program)
    assert decided(walk) == [("TIMER_CREATED", 3, None), ("TIMER_CREATED", 4, None)]
    walk = history.then(walk, fired(4), fired(3)).walk(program)
    assert decided(walk) == [("TASK_SCHEDULED", 5, "p"), ("TASK_SCHEDULED", 6, "r")]
    walk = history.then(walk, completed(5), completed(1), completed(6)).walk(program, done=True)
    assert (decided(walk), walk.finished) == ([], True)


def test_a_timer_follows_the_last_failed_attempt_too() -> None:
    history = History()
    walk = history.walk(retry(attempts=1))
    walk = history.then(walk, failed(0)).walk(retry(attempts=1))
    assert decided(walk) == [("TIMER_CREATED", 1, None)]
    assert moment(str(walk.decisions[0]["FireAt"])) == NOW + 1 + 5
    walk = history.then(walk, fired(1)).walk(retry(attempts=1), done=True)
    assert walk.finished


def test_an_instance_with_an_open_timer_is_not_finished_and_a_cancelled_one_does_not_count() -> None:
    history = History()
    walk = history.walk(first_of(wait(), timer()))
    assert decided(walk) == [("TIMER_CREATED", 0, None)]
    history.then(walk, raised())
    assert not history.walk(first_of(wait(), timer()), done=True).finished
    assert history.walk(first_of(wait(), timer(cancelled=True)), done=True).finished


def test_a_slow_loser_keeps_the_instance_running() -> None:
    history = History()
    walk = history.walk(first_of(activity("fast"), activity("slow")))
    walk = history.then(walk, completed(0)).walk(first_of(activity("fast"), activity("slow")), done=True)
    assert not walk.finished
    walk = history.then(walk, completed(1)).walk(first_of(activity("fast"), activity("slow")), done=True)
    assert walk.finished


def test_all_waits_for_every_member_even_after_a_failure() -> None:
    history = History()
    program = every(activity("a"), activity("b"))
    walk = history.walk(program)
    walk = history.then(walk, failed(0)).walk(program, activity("after"))
    assert decided(walk) == []
    walk = history.then(walk, completed(1)).walk(program, activity("after"))
    assert decided(walk) == [("TASK_SCHEDULED", 2, "after")]


def test_early_events_are_buffered_by_name_without_case_and_used_once() -> None:
    history = History()
    walk = history.walk(activity())
    history.then(walk, raised("e"), completed(0))
    assert decided(history.walk(activity(), wait("E"), activity("b"))) == [("TASK_SCHEDULED", 1, "b")]
    assert decided(history.walk(activity(), wait("E"), wait("E"), activity("b"))) == []


def test_the_latest_waiter_is_served_first() -> None:
    history = History()
    program = every(first_of(wait(), activity("first")), first_of(wait(), activity("second")))
    walk = history.walk(program)
    history.then(walk, raised(), completed(0))
    assert history.walk(program, activity("after")).decisions[0]["Name"] == "after"


def test_entities_signals_take_an_id_and_calls_wait_for_their_reply() -> None:
    history = History()
    walk = history.walk(entity(signal=True), entity())
    assert decided(walk) == [("EVENT_SENT", 0, "op"), ("EVENT_SENT", 1, "op")]
    requests = [json.loads(str(d["Input"])) for d in walk.decisions]
    assert [r["signal"] for r in requests] == [True, False]
    assert requests[1]["input"] == '"1"'
    again = history.walk(entity(signal=True), entity())
    assert [d["Input"] for d in again.decisions] == [d["Input"] for d in walk.decisions], "ids repeat"
    history.then(walk, raised(requests[1]["id"]))
    assert decided(history.walk(entity(signal=True), entity(), activity())) == [("TASK_SCHEDULED", 2, "a")]


def test_children_are_named_after_the_execution_unless_given_an_id() -> None:
    walk = History().walk(every(activity(), child(), child("mine")))
    assert [d.get("InstanceId") for d in walk.decisions] == [None, "X:1", "mine"]


def test_events_after_continue_as_new_are_carried_over() -> None:
    history = History()
    program = (activity(), {"actionType": 4, "input": '{"n": 1}'})
    walk = history.walk(activity())
    late = raised("late")
    walk = history.then(walk, raised("lost"), completed(0), late).walk(*program, done=True)
    assert walk.finished
    assert walk.continue_with == json.dumps('{"n": 1}')
    assert walk.carried_events == [late]


def test_completions_nobody_waits_for_are_ignored() -> None:
    history = History()
    walk = history.walk(activity())
    walk = history.then(walk, completed(0), completed(0), fired(9)).walk(activity(), done=True)
    assert walk.finished


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (activity("nope"), "nope is missing as activityTrigger"),
        ({**child(), "functionName": "nope"}, "nope is missing as orchestrationTrigger"),
        ({**entity(), "instanceId": "@nope@k"}, "nope is missing as entityTrigger"),
        (child("I"), "must differ"),
        (child("@c@k"), "must not start with @"),
    ],
)
def test_calls_that_cannot_be_made(action: dict[str, object], says: str) -> None:
    with pytest.raises(ReplayError, match=says):
        History().walk(action)


def test_a_program_that_changed_is_told() -> None:
    history = History()
    history.then(history.walk(activity("a")), completed(0))
    with pytest.raises(
        ReplayError, match=r"Non-Deterministic workflow detected.*TASK_SCHEDULED 0 a.*TASK_SCHEDULED b"
    ):
        history.walk(activity("b"))
    with pytest.raises(ReplayError, match="did not decide it"):
        history.walk(wait())


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        '{"isDone": false, "actions": [[]]}',
        '{"schemaVersion": 2, "actions": [[], []]}',
        '{"schemaVersion": 2, "actions": [[{"actionType": 99}]]}',
    ],
)
def test_answers_that_no_host_understands(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_answer(text)


def test_timestamps_go_there_and_back() -> None:
    assert timestamp(NOW) == "2027-01-15T08:00:00.0000000Z"
    assert moment(timestamp(NOW + 0.123456)) == pytest.approx(NOW + 0.123456, abs=1e-6)
    assert moment("2027-01-15T08:00:00Z") == NOW


def test_what_was_processed_is_played_but_decisions_are_not() -> None:
    assert as_played(completed(0))["IsPlayed"] is True
    assert as_played(event(EventType.TASK_SCHEDULED, NOW, event_id=0))["IsPlayed"] is False
