"""What must hold of a session's log, of the provider's conversation, and of the tools' ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from shared.session.log import (
    AgentTurn,
    Attached,
    LoggedEntry,
    StateChanged,
    ToolCalled,
    ToolFinished,
    ToolStatus,
    UserTurn,
)
from shared.session.model import SessionState

_ORDER = [state.value for state in SessionState]


def check_log(session_id: str, logged: Sequence[LoggedEntry]) -> None:
    """Assert that the log tells one story: owners follow each other, every call has its one outcome."""
    owners = [one for one in logged if one.epoch]
    epochs = [one.epoch for one in owners]
    assert epochs == sorted(epochs), f"{session_id}: an old owner wrote after a new one: {epochs}"
    attached_by: dict[int, str] = {}
    for one in owners:
        if isinstance(one.entry, Attached):
            first = attached_by.setdefault(one.epoch, one.entry.worker)
            assert one.entry.epoch == one.epoch, f"{session_id}: {one}"
            assert first == one.entry.worker, f"{session_id}: two workers under epoch {one.epoch}"
    items = Counter(one.entry.item_id for one in logged if isinstance(one.entry, UserTurn | AgentTurn))
    twice = [item for item, times in items.items() if times > 1]
    assert not twice, f"{session_id}: turns recorded twice: {twice}"
    states = [one.entry.state for one in logged if isinstance(one.entry, StateChanged)]
    assert states == sorted(states, key=_ORDER.index), f"{session_id}: {states}"
    _check_tools(session_id, logged)


def _check_tools(session_id: str, logged: Sequence[LoggedEntry]) -> None:
    called: dict[str, LoggedEntry] = {}
    finished: dict[str, ToolFinished] = {}
    for one in logged:
        match one.entry:
            case ToolCalled(tool_call_id=call):
                assert call not in called, f"{session_id}: {call} was recorded twice"
                called[call] = one
            case ToolFinished(tool_call_id=call) as entry:
                assert call in called, f"{session_id}: {call} has an outcome and was never called"
                assert call not in finished, f"{session_id}: {call} has two outcomes"
                finished[call] = entry
                if entry.status is ToolStatus.UNKNOWN and entry.name == "charge":
                    began = called[call].epoch
                    assert began < one.epoch, f"{session_id}: {call} is unknown to the owner that ran it"
            case _:
                pass
    without = set(called) - set(finished)
    assert not without, f"{session_id}: no outcome of {[called[call].entry for call in without]}"


def check_conversation(
    session_id: str,
    items: Sequence[Mapping[str, Any]],
    logged: Sequence[LoggedEntry],
    *,
    missed: Collection[str] = (),
) -> None:
    """Assert that each function call has exactly one output at the provider, the one that is recorded.

    missed: calls that no worker heard of, and therefore none ran.
    """
    calls = {item["call_id"] for item in items if item["type"] == "function_call"} - set(missed)
    outputs = [(item["call_id"], item["output"]) for item in items if item["type"] == "function_call_output"]
    answers = Counter(call for call, _ in outputs)
    wrong = {call: answers[call] for call in calls if answers[call] != 1}
    assert not wrong, f"{session_id}: outputs of function calls: {wrong}"
    recorded = {
        one.entry.tool_call_id: one.entry.output for one in logged if isinstance(one.entry, ToolFinished)
    }
    assert dict(outputs) == recorded, f"{session_id}: the provider has {outputs}, the log {recorded}"


@dataclass(kw_only=True)
class Ledger:
    """What the tools did: runs and effects, by tool and order, each with the idempotency keys that it had."""

    runs: dict[tuple[str, str], list[str]] = field(default_factory=dict[tuple[str, str], list[str]])
    effects: dict[tuple[str, str], list[str]] = field(default_factory=dict[tuple[str, str], list[str]])

    @classmethod
    def read(cls, directory: Path) -> Self:
        ledger = cls()
        book = directory / "book"
        for line in book.read_text().splitlines() if book.exists() else []:
            kind, tool, key, order = line.split(" ")
            kept = ledger.runs if kind == "run" else ledger.effects
            kept.setdefault((tool, order), []).append(key)
        return ledger

    def check(self, tool: str, order: str, outcome: ToolFinished | None) -> None:
        """Assert that an order had its one effect, or, where its outcome is unknown, at most one."""
        told = f"{tool} {order}: outcome {outcome}, runs {self.runs.get((tool, order))}"
        effects = self.effects.get((tool, order), [])
        runs = self.runs.get((tool, order), [])
        assert outcome is not None, f"no outcome of {told}"
        assert len(set(runs)) <= 1, f"called twice: {told}"
        match outcome.status:
            case ToolStatus.OK:
                assert len(effects) == 1, f"{len(effects)} effects of {told}"
            case ToolStatus.UNKNOWN:
                assert tool in ("charge", "refund"), f"an idempotent tool was given up: {told}"
                assert len(effects) <= 1, f"{len(effects)} effects of {told}"
            case _:
                raise AssertionError(told)
        if tool in ("charge", "refund"):
            assert len(runs) <= 1, f"a tool that must not be repeated was: {told}"


def called(logged: Iterable[LoggedEntry]) -> set[tuple[str, str]]:
    """Return what was asked of the tools: tool and order. The orders are in the calls' arguments."""
    return {_asked(one.entry) for one in logged if isinstance(one.entry, ToolCalled)}


def _asked(call: ToolCalled) -> tuple[str, str]:
    return call.name, "".join(filter(str.isdigit, call.arguments))


def outcomes(logged: Iterable[LoggedEntry]) -> dict[tuple[str, str], ToolFinished]:
    """Return the outcome of each order, by tool and order."""
    asked: dict[str, tuple[str, str]] = {}
    found: dict[tuple[str, str], ToolFinished] = {}
    for one in logged:
        match one.entry:
            case ToolCalled() as call:
                asked[call.tool_call_id] = _asked(call)
            case ToolFinished() as entry:
                found[asked[entry.tool_call_id]] = entry
            case _:
                pass
    return found


def attached_after(logged: Iterable[LoggedEntry], epoch: int) -> Attached | None:
    """Return the first Attached of a later epoch."""
    return next((one.entry for one in logged if isinstance(one.entry, Attached) and one.epoch > epoch), None)
