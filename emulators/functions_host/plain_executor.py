"""Run a function app with the SDK's own converters, in this process, on any supported Python."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Protocol, cast

from emulators.functions_host.app_model import (
    BytesData,
    Failure,
    Function,
    HttpRequestData,
    HttpResponseData,
    InputData,
    Invocation,
    NumberData,
    Outcome,
    OutputData,
    Success,
    TextData,
    TraceContext,
)
from emulators.functions_host.indexing import (
    GENERIC,
    IndexedFunction,
    load_app,
    put_on_path,
    registered_converter,
    user_frames,
)
from emulators.functions_host.user_loop import UserLoop


class PlainExecutor:
    """Executor over `azure.functions` alone (see `app_model.Executor`)."""

    def __init__(self, app_dir: Path) -> None:
        self._app_dir = app_dir
        self._loop = UserLoop()
        self._indexed: dict[str, IndexedFunction] = {}
        count = os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT", "")
        self._pool = ThreadPoolExecutor(int(count) if count.isdigit() else None, "sync-function")

    async def load(self) -> Sequence[Function]:
        self._loop.start()
        put_on_path(self._app_dir)
        indexed = await self._loop.run(self._load())
        self._indexed = {f.function.name: f for f in indexed}
        return [f.function for f in indexed]

    async def _load(self) -> Sequence[IndexedFunction]:
        return load_app(self._app_dir)

    async def invoke(self, invocation: Invocation) -> Outcome:
        return await self._loop.run(self._invoke(invocation, self._indexed[invocation.function.name]))

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        await self._loop.close()

    async def _invoke(self, invocation: Invocation, indexed: IndexedFunction) -> Outcome:
        try:
            arguments: dict[str, object] = {
                name: _decode(indexed.inputs[name], data) for name, data in invocation.inputs.items()
            }
            out_parameters = {name: OutParameter() for name in indexed.outputs}
            arguments |= out_parameters
            context = FunctionContext(invocation, str(self._app_dir))
            if indexed.wants_context:
                arguments["context"] = context
            returned = await self._call(indexed, arguments, context)
            if returned is not None and indexed.return_converter is None:
                raise RuntimeError(
                    f"function {indexed.function.name!r} without a $return binding returned a non-None value"
                )
            value = _encode(indexed.return_converter, returned) if indexed.return_converter else None
            outputs = {
                name: _encode(indexed.outputs[name], parameter.get())
                for name, parameter in out_parameters.items()
                if parameter.get() is not None
            }
        except Exception as error:  # whatever user code raises is its result
            return Failure(
                message=f"{type(error).__name__}: {error}",
                stack=user_frames(error, self._app_dir) or "".join(traceback.format_exception(error)),
            )
        return Success(value=value, outputs=outputs)

    async def _call(
        self, indexed: IndexedFunction, arguments: dict[str, object], context: FunctionContext
    ) -> object:
        if indexed.is_async:
            context.thread_local_storage.invocation_id = context.invocation_id
            return await cast("Callable[..., asyncio.Future[object]]", indexed.call)(**arguments)

        def run() -> object:
            context.thread_local_storage.invocation_id = context.invocation_id
            try:
                return indexed.call(**arguments)
            finally:
                context.thread_local_storage.invocation_id = None

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)


class OutParameter:
    """What a `func.Out` parameter receives."""

    def __init__(self) -> None:
        self._value: object = None

    def set(self, val: object) -> None:
        self._value = val

    def get(self) -> object:
        return self._value


_thread_local = threading.local()


class FunctionTraceContext:
    """`func.TraceContext`: both spellings that the worker offers."""

    def __init__(self, trace: TraceContext) -> None:
        self.trace_parent = self.Traceparent = trace.traceparent
        self.trace_state = self.Tracestate = trace.tracestate
        self.attributes: dict[str, str] = {}
        self.Attributes = self.attributes


class FunctionRetryContext:
    """`func.RetryContext`: this host does not retry, so always the first try."""

    retry_count = 0
    max_retry_count = 0
    exception = None


class FunctionContext:
    """`func.Context`, the value of a `context` parameter."""

    def __init__(self, invocation: Invocation, directory: str) -> None:
        self.invocation_id = invocation.invocation_id
        self.function_name = invocation.function.name
        self.function_directory = directory
        self.thread_local_storage = _thread_local
        self.trace_context = FunctionTraceContext(invocation.trace)
        self.retry_context = FunctionRetryContext()


class _Datum(Protocol):
    value: object
    type: str | None


def _datum(value: object, kind: str | None) -> _Datum:
    from azure.functions.meta import Datum

    return cast("_Datum", Datum(value, kind))


def _decode(converter_name: str, data: InputData) -> object:
    if isinstance(data, HttpRequestData):
        datum = _datum(
            {
                "method": _datum(data.method, "string"),
                "url": _datum(data.url, "string"),
                "headers": {k: _datum(v, "string") for k, v in data.headers.items()},
                "query": {k: _datum(v, "string") for k, v in data.query.items()},
                "params": {k: _datum(v, "string") for k, v in data.route_params.items()},
                "body": _datum(data.body, "bytes"),
            },
            "http",
        )
    else:
        datum = _datum(data.text, data.kind)
    converter = None if converter_name == GENERIC else registered_converter(converter_name)
    if converter is None:
        if isinstance(data, TextData):
            return data.text
        raise TypeError(f"unable to decode incoming TypedData http for binding {converter_name!r}")
    decode = cast("Callable[..., object]", converter.decode)  # type: ignore[attr-defined]  # SDK class, untyped
    return decode(datum, trigger_metadata={})


def _encode(converter_name: str, value: object) -> OutputData:
    converter = None if converter_name == GENERIC else registered_converter(converter_name)
    if converter is None:
        return _encode_generic(value)
    encode = cast("Callable[..., _Datum | None]", converter.encode)  # type: ignore[attr-defined]  # SDK class, untyped
    try:
        datum = encode(value, expected_type=None)
    except NotImplementedError:
        raise TypeError(
            f'unable to encode outgoing TypedData: unsupported type "{converter_name}" for '
            f'Python type "{type(value).__name__}"'
        ) from None
    return None if datum is None else _from_datum(datum)


def _encode_generic(value: object) -> OutputData:
    match value:
        case None:
            return None
        case str():
            return TextData(kind="string", text=value)
        case bytes() | bytearray():
            return BytesData(content=bytes(value))
        case bool() | int() | float():
            return NumberData(number=value)
        case dict() | list():
            return TextData(kind="json", text=json.dumps(value))
        case _:
            raise TypeError(f'unable to encode outgoing TypedData for Python type "{type(value).__name__}"')


def _from_datum(datum: _Datum) -> OutputData:
    match datum.type:
        case None:
            return None
        case "string" | "json":
            return TextData(kind="json" if datum.type == "json" else "string", text=str(datum.value))
        case "bytes":
            return BytesData(content=cast("bytes", datum.value))
        case "http":
            return _http_response(cast("dict[str, object]", datum.value))
        case "int" | "double":
            return NumberData(number=cast("float", datum.value))
        case other:
            raise TypeError(f"unexpected Datum type: {other}")


def _http_response(value: dict[str, object]) -> HttpResponseData:
    headers = cast("dict[str, _Datum]", value["headers"])
    cookies = cast("Sequence[SimpleCookie] | None", value.get("cookies")) or ()
    return HttpResponseData(
        status=int(str(cast("_Datum", value["status_code"]).value)),
        headers={name: str(header.value) for name, header in headers.items()},
        cookies=[morsel.OutputString() for cookie in cookies for morsel in cookie.values()],
        body=cast("bytes", cast("_Datum", value["body"]).value),
    )
