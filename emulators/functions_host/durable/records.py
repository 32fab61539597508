"""What the durable store keeps: plain records, JSON as text, times in seconds since the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from emulators.functions_host.durable.history import Event


class Status(StrEnum):
    """`runtimeStatus` of an orchestration."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    COMPLETED = "Completed"
    FAILED = "Failed"
    TERMINATED = "Terminated"

    @property
    def is_final(self) -> bool:
        return self in (Status.COMPLETED, Status.FAILED, Status.TERMINATED)


@dataclass(frozen=True, kw_only=True)
class Instance:
    """An orchestration instance; `input`, `output` and `custom_status` are JSON texts."""

    instance_id: str
    execution_id: str
    name: str
    version: str | None
    status: Status
    input: str | None
    output: str | None
    custom_status: str | None
    created: float
    updated: float
    generation: int
    parent: str | None
    """JSON of the ParentInstance object of ExecutionStarted, null for a top-level instance."""
    traceparent: str
    tracestate: str


@dataclass(frozen=True, kw_only=True)
class Message:
    """An event to an instance or entity; `id` 0 until stored. `execution_id` None: whichever runs."""

    target: str
    event: Event
    deliver_at: float
    execution_id: str | None = None
    id: int = 0


@dataclass(frozen=True, kw_only=True)
class Work:
    """An activity to run; `id` 0 until stored. `input` is the list of arguments as JSON text."""

    instance_id: str
    execution_id: str
    task_id: int
    name: str
    input: str
    traceparent: str
    tracestate: str
    id: int = 0


@dataclass(frozen=True, kw_only=True)
class Entity:
    entity_id: str
    state: str | None
    updated: float


@dataclass(frozen=True, kw_only=True)
class ChildStart:
    """A sub-orchestration to be started, and what the parent is told if its id already runs."""

    instance: Instance
    started: Message
    refused: Message


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """All that an episode needs; `history` as JSON texts, `messages` that are due, oldest first."""

    instance: Instance
    history: Sequence[str]
    messages: Sequence[Message]


@dataclass(frozen=True, kw_only=True)
class Episode:
    """All that one episode changes, written at once."""

    instance: Instance
    consumed: Sequence[int]
    history: Sequence[Event]
    replace_history: bool = False
    messages: Sequence[Message] = ()
    work: Sequence[Work] = ()
    children: Sequence[ChildStart] = ()


@dataclass(frozen=True, kw_only=True)
class Query:
    """Which instances; `after` is the (created, instance_id) of the last one already seen."""

    created_from: float | None = None
    created_to: float | None = None
    statuses: Sequence[str] = ()
    prefix: str | None = None
    limit: int | None = None
    after: tuple[float, str] | None = None
