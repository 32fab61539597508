"""What the host and an executor of user code tell each other.

An executor loads a function app and runs its functions; everything else (routing, keys,
orchestration state) is the host's. Values cross as `TypedData`, the shape that the Functions
host and its language workers exchange (`TypedData` in azure-functions-language-worker-protobuf).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

DURABLE_TRIGGERS = ("orchestrationTrigger", "activityTrigger", "entityTrigger")
SERVED_TRIGGERS = ("httpTrigger", "eventGridTrigger", "timerTrigger", *DURABLE_TRIGGERS)


class AppLoadError(Exception):
    """The app cannot be loaded or indexed; the text says why, `user_trace` shows the app's own frames."""

    def __init__(self, message: str, *, user_trace: str = "") -> None:
        super().__init__(message)
        self.user_trace = user_trace


@dataclass(frozen=True, kw_only=True)
class Function:
    """An indexed function: its name and its bindings as in function.json (camelCase keys)."""

    name: str
    bindings: Sequence[Mapping[str, object]]

    @property
    def trigger(self) -> Mapping[str, object]:
        """The one binding whose type ends in `Trigger`."""
        return next(b for b in self.bindings if str(b.get("type", "")).lower().endswith("trigger"))

    @property
    def trigger_type(self) -> str:
        return str(self.trigger["type"])

    @property
    def trigger_name(self) -> str:
        """The parameter that receives the trigger's value."""
        return str(self.trigger["name"])


@dataclass(frozen=True, kw_only=True)
class TextData:
    """A string or a JSON text."""

    kind: Literal["string", "json"]
    text: str


@dataclass(frozen=True, kw_only=True)
class BytesData:
    content: bytes


@dataclass(frozen=True, kw_only=True)
class NumberData:
    number: int | float


@dataclass(frozen=True, kw_only=True)
class HttpRequestData:
    """An HTTP request as the host hands it over: header names in lower case, one value a name."""

    method: str
    url: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    route_params: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class HttpResponseData:
    """An HTTP response from a function; `cookies` are complete Set-Cookie values."""

    status: int
    headers: Mapping[str, str]
    cookies: Sequence[str]
    body: bytes


InputData: TypeAlias = TextData | HttpRequestData
OutputData: TypeAlias = TextData | BytesData | NumberData | HttpResponseData | None


@dataclass(frozen=True, kw_only=True)
class TraceContext:
    """W3C trace context of an invocation."""

    traceparent: str
    tracestate: str = ""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One run of one function."""

    invocation_id: str
    function: Function
    inputs: Mapping[str, InputData]
    trace: TraceContext


@dataclass(frozen=True, kw_only=True)
class Success:
    value: OutputData
    outputs: Mapping[str, OutputData] = field(default_factory=dict[str, OutputData])
    """Values of output bindings (`func.Out` parameters)."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The function raised; `message` is `<ExceptionType>: <text>`, as workers report it."""

    message: str
    stack: str


Outcome: TypeAlias = Success | Failure


class Executor(Protocol):
    """Loads one function app and runs its functions in a thread and loop of its own."""

    async def load(self) -> Sequence[Function]:
        """Import and index the app. Call once. Raises AppLoadError."""
        ...

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Run one function to its end; cancelling stops waiting (and an async function)."""
        ...

    async def close(self) -> None:
        """Stop, without waiting for functions that block a thread; idempotent."""
        ...
