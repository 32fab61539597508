"""Random orchestrators against an oracle: what they return must be what plain Python computes.

The programs keep to what is safe with the SDK: a retried task is never left unfinished. They
run several at a time, so that their episodes and completions interleave. `FUZZ_EXAMPLES` raises
the number of batches (and makes them random); by default the same few run every time.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.functions_host import FunctionsHost

Step = dict[str, object]
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "8"))

values = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=5), st.just({"a": [1, "ü"]})
)
delays = st.integers(1, 40)


def step(do: str, **fields: st.SearchStrategy[object]) -> st.SearchStrategy[Step]:
    return st.fixed_dictionaries({"do": st.just(do), **fields})


value = step("value", value=values, ms=st.integers(0, 30))
fail = step("fail", text=st.sampled_from(["E-1", "E-2"]))
timer = step("timer", ms=delays)
entity = step("entity", value=st.integers(1, 9))
shared_entity = step("entity", shared=st.integers(0, 1), value=st.integers(1, 9))
signal = step("signal", shared=st.integers(0, 1), value=st.integers(1, 9))
event = step("event", data=values)
new_start = step("continue")
retry_ok = st.sampled_from(["retry", "retried_child"]).flatmap(
    lambda do: step(do, ms=delays, attempts=st.integers(3, 4), succeeds_at=st.integers(1, 3))
)
retry_used_up = st.sampled_from(["retry", "retried_child"]).flatmap(
    lambda do: step(do, ms=delays, attempts=st.integers(1, 2), succeeds_at=st.just(9))
)


def child(depth: int) -> st.SearchStrategy[Step]:
    return step("child", program=programs(depth - 1)) if depth > 0 else value


def compounds(depth: int) -> st.SearchStrategy[Step]:
    """`all` with retries, `all` with members that fail (no retries), `any` (no retries).

    None is empty: the SDK gives None for an empty `task_all`, not a list.
    """
    plain = st.one_of(value, timer, entity, child(depth))
    return st.one_of(
        step("all", members=st.lists(st.one_of(plain, retry_ok), min_size=1, max_size=5)),
        step("all", members=st.lists(st.one_of(plain, fail), min_size=1, max_size=4)),
        step("any", members=st.lists(st.one_of(plain, fail), min_size=1, max_size=4)),
    )


def programs(depth: int) -> st.SearchStrategy[list[Step]]:
    single = st.one_of(
        value,
        fail,
        timer,
        retry_ok,
        retry_used_up,
        shared_entity,
        signal,
        event,
        new_start,
        child(depth),
        compounds(depth),
    )
    return st.lists(single, max_size=5)


@dataclass(frozen=True)
class OneOf:
    """Which of these comes depends on timing."""

    choices: Sequence[object]


def stamp(program: Sequence[Step], prefix: str) -> list[Step]:
    """Give every step keys and names that no other step in any run has; shared entities share theirs."""
    stamped: list[Step] = []
    for index, given_step in enumerate(program):
        own = f"{prefix}-{index}"
        named = {**given_step, "key": own, "name": own}
        if "shared" in given_step:
            named["key"] = f"{prefix}-shared{given_step['shared']}"
        for nested in ("program", "members"):
            if nested in given_step:
                named[nested] = stamp(cast("list[Step]", given_step[nested]), own)
        stamped.append(named)
    return stamped


def expected(program: Sequence[Step]) -> list[object]:
    """What the program returns."""
    sums: dict[object, int] = {}
    return [expected_of(s, sums) for s in program if s["do"] != "continue"]


def expected_of(s: Step, sums: dict[object, int]) -> object:
    match s["do"]:
        case "value":
            return s["value"]
        case "timer":
            return None
        case "fail":
            return f"Activity function 'fuzz_fails' failed:  ValueError: {s['text']}"
        case "retry" | "retried_child" as do:
            if cast("int", s["succeeds_at"]) <= cast("int", s["attempts"]):
                return s["key"]
            failure = f"Activity function 'fuzz_flaky' failed:  ValueError: attempt {s['attempts']}"
            in_child = "Orchestrator function 'fuzz_flaky_child' failed: "
            return in_child + failure if do == "retried_child" else failure
        case "entity" | "signal" as do:
            sums[s["key"]] = sums.get(s["key"], 0) + cast("int", s["value"])
            return "signalled" if do == "signal" else sums[s["key"]]
        case "event":
            return s["data"]
        case "child":
            return expected(cast("list[Step]", s["program"]))
        case "any":
            return OneOf([expected_of(m, {}) for m in cast("list[Step]", s["members"])])
        case "all":
            members = cast("list[Step]", s["members"])
            failures = [expected_of(m, {}) for m in members if m["do"] == "fail"]
            return OneOf(failures) if failures else [expected_of(m, {}) for m in members]
        case other:
            raise AssertionError(f"the oracle knows no {other}")


def agrees(got: object, wanted: object) -> bool:
    match wanted:
        case OneOf(choices=choices):
            return any(agrees(got, choice) for choice in choices)
        case list():
            return (
                isinstance(got, list)
                and len(got) == len(wanted)
                and all(agrees(g, w) for g, w in zip(got, wanted, strict=True))
            )
        case _:
            return type(got) is type(wanted) and got == wanted


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(batch=st.lists(programs(2), min_size=6, max_size=10))
def test_random_programs_return_what_the_oracle_says(host: FunctionsHost, batch: list[list[Step]]) -> None:
    run_id = uuid.uuid4().hex[:8]
    stamped = [stamp(program, f"{run_id}-{number}") for number, program in enumerate(batch)]

    async def run() -> list[object]:
        async with host.client() as client:
            runs = [client.run("fuzz_program", {"program": p, "results": []}, within=30) for p in stamped]
            return list(await asyncio.gather(*runs))

    for program, output in zip(stamped, asyncio.run(run()), strict=True):
        wanted = expected(program)
        assert agrees(output, wanted), f"program {program}\nreturned {output}\nwanted {wanted}"
