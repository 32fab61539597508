"""Stand-ins for the protobuf messages between the Functions host and a Python worker.

Microsoft's worker library only reads attributes and calls constructors with keywords, so plain
objects do. Source: the names used in `azure_functions_runtime`, and FunctionRpc.proto of
azure-functions-language-worker-protobuf.
"""

from __future__ import annotations

from types import SimpleNamespace


class Message(SimpleNamespace):
    """Any message: its fields are attributes; a field it was not given does not exist."""


class StatusResult(Message):
    Failure = 0
    Success = 1


class BindingInfo(Message):
    """Directions and data types by their numbers on the wire."""

    undefined = 0
    out = 1
    inout = 2


class _SameSite:
    Lax = "Lax"
    Strict = "Strict"
    ExplicitNone = "None"


setattr(_SameSite, "None", "")  # the worker asks for this name, which Python cannot spell


class RpcHttpCookie(Message):
    SameSite = _SameSite


class TypedData(Message):
    """One value; exactly one field is given."""

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802  # protobuf's name
        return next(iter(vars(self)), None)


class ParameterBinding(Message):
    """A named value: fields `name` and `data`."""

    def WhichOneof(self, _group: str) -> str:  # noqa: N802  # protobuf's name
        return "data"


PROTOS = SimpleNamespace(
    BindingInfo=BindingInfo,
    FunctionLoadResponse=Message,
    FunctionMetadataResponse=Message,
    InvocationResponse=Message,
    NullableBool=Message,
    NullableDouble=Message,
    NullableString=Message,
    NullableTimestamp=Message,
    ParameterBinding=ParameterBinding,
    RpcException=Message,
    RpcFunctionMetadata=Message,
    RpcHttp=Message,
    RpcHttpCookie=RpcHttpCookie,
    RpcRetryOptions=Message,
    StatusResult=StatusResult,
    Timestamp=Message,
    TypedData=TypedData,
    WorkerInitResponse=Message,
    WorkerMetadata=Message,
)
"""What the worker library calls `protos`."""
