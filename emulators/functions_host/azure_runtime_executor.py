"""Run a function app with Microsoft's own worker library (`azure-functions-runtime`, Python 3.13).

Indexing, conversion and calling are then the code that runs in Azure; only the host around it is
ours. The library keeps its state in modules: one app a process.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from types import ModuleType
from typing import cast

from emulators.functions_host.app_model import (
    AppLoadError,
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
)
from emulators.functions_host.indexing import put_on_path, script_path
from emulators.functions_host.user_loop import UserLoop
from emulators.functions_host.worker_protos import PROTOS, Message, ParameterBinding, StatusResult, TypedData


class AzureRuntimeExecutor:
    """Executor over `azure_functions_runtime` (see `app_model.Executor`)."""

    def __init__(self, app_dir: Path) -> None:
        self._app_dir = app_dir
        self._loop = UserLoop()
        self._ids: dict[str, str] = {}
        self._library: ModuleType | None = None

    async def load(self) -> Sequence[Function]:
        script_path(self._app_dir)
        try:
            self._library = importlib.import_module("azure_functions_runtime")
        except ImportError as error:
            raise AppLoadError(
                "--executor azure-runtime needs the package azure-functions-runtime (Python 3.13 or later), "
                f"which this Python {sys.version_info.major}.{sys.version_info.minor} cannot import: {error}."
            ) from error
        self._loop.start()
        put_on_path(self._app_dir)
        self._library.start_threadpool_executor()
        started = await self._ask(
            "worker_init_request",
            worker_init_request=Message(capabilities={}, function_app_directory=str(self._app_dir)),
        )
        if started.result.status != StatusResult.Success:
            error = started.result.exception
            trace = own_frames(str(error.stack_trace), self._app_dir)
            raise AppLoadError(f"The function app does not load: {error.message}", user_trace=trace)
        answer = await self._ask("functions_metadata_request")
        indexed = cast("Sequence[Message]", answer.function_metadata_results or ())
        self._ids = {str(f.name): str(f.function_id) for f in indexed}
        return [Function(name=str(f.name), bindings=[json.loads(b) for b in f.raw_bindings]) for f in indexed]

    async def invoke(self, invocation: Invocation) -> Outcome:
        answer = await self._ask("invocation_request", invocation_request=self._request(invocation))
        if answer.result.status != StatusResult.Success:
            error = answer.result.exception
            return Failure(
                message=str(error.message),
                stack=own_frames(str(error.stack_trace), self._app_dir) or str(error.stack_trace),
            )
        outputs = {
            str(o.name): _from_typed_data(o.data) for o in cast("Sequence[Message]", answer.output_data)
        }
        return Success(value=_from_typed_data(cast("Message | None", answer.return_value)), outputs=outputs)

    async def close(self) -> None:
        if self._library is not None:
            pool = self._library.get_threadpool_executor()
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)
        await self._loop.close()

    async def _ask(self, name: str, **request: Message) -> Message:
        handler = cast("Callable[[Message], Awaitable[Message]]", getattr(self._library, name))
        message = Message(request=Message(**request), properties={"host": "127.0.0.1", "protos": PROTOS})

        async def ask() -> Message:
            return await handler(message)

        return await self._loop.run(ask())

    def _request(self, invocation: Invocation) -> Message:
        return Message(
            invocation_id=invocation.invocation_id,
            function_id=self._ids[invocation.function.name],
            input_data=[
                ParameterBinding(name=name, data=_to_typed_data(data))
                for name, data in invocation.inputs.items()
            ],
            trigger_metadata={},
            trace_context=Message(
                trace_parent=invocation.trace.traceparent,
                trace_state=invocation.trace.tracestate,
                attributes=dict[str, str](),
            ),
            retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
        )


def own_frames(stack: str, app_dir: Path) -> str:
    """Keep the app's own frames of a formatted traceback, and the exception at its end."""
    kept: list[str] = []
    keeping = False
    for line in stack.splitlines():
        if line.startswith('  File "'):
            file = line.split('"')[1]
            keeping = Path(file).is_relative_to(app_dir) and "site-packages" not in file
        elif not line.startswith(" "):
            keeping = bool(kept) and bool(line) and not line.startswith(("Traceback", "During", "The above"))
        if keeping:
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def _to_typed_data(data: InputData) -> TypedData:
    if isinstance(data, HttpRequestData):
        return TypedData(
            http=Message(
                method=data.method,
                url=data.url,
                headers=data.headers,
                query=data.query,
                params=data.route_params,
                body=TypedData(bytes=data.body),
            )
        )
    return TypedData(json=data.text) if data.kind == "json" else TypedData(string=data.text)


def _from_typed_data(data: Message | None) -> OutputData:
    if data is None:
        return None
    [(kind, value)] = vars(data).items()
    match kind:
        case "string" | "json":
            return TextData(kind=kind, text=str(value))
        case "bytes":
            return BytesData(content=cast("bytes", value))
        case "int" | "double":
            return NumberData(number=cast("float", value))
        case "http":
            return _http_response(cast("Message", value))
        case other:
            raise TypeError(f"unexpected TypedData kind: {other}")


def _http_response(http: Message) -> HttpResponseData:
    body = _from_typed_data(cast("Message | None", http.body))
    return HttpResponseData(
        status=int(http.status_code),
        headers=cast("Mapping[str, str]", http.headers),
        cookies=[_set_cookie(c) for c in cast("Sequence[Message] | None", http.cookies) or ()],
        body=body.content if isinstance(body, BytesData) else b"",
    )


def _set_cookie(cookie: Message) -> str:
    """Write a Set-Cookie value from the worker's cookie message."""

    def value(name: str) -> object:
        field = getattr(cookie, name)
        return None if field is None else field.value

    parts = [f"{cookie.name}={cookie.value}"]
    parts += [
        f"{title}={value(name)}" for title, name in (("Domain", "domain"), ("Path", "path")) if value(name)
    ]
    if (expires := value("expires")) is not None:
        moment = datetime.fromtimestamp(cast("Message", expires).seconds, UTC)
        parts.append(f"Expires={format_datetime(moment, usegmt=True)}")
    if (max_age := value("max_age")) is not None:
        parts.append(f"Max-Age={int(cast('float', max_age))}")
    parts += [title for title, name in (("Secure", "secure"), ("HttpOnly", "http_only")) if value(name)]
    if cookie.same_site:
        parts.append(f"SameSite={cookie.same_site}")
    return "; ".join(parts)
