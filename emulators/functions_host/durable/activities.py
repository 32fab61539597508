"""Run activities (the app's own, and the built-in one behind `call_http`) to a completion event."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import cast

import aiohttp

from emulators.functions_host.app_functions import AppFunctions
from emulators.functions_host.app_model import Failure, OutputData, Success, TextData, TraceContext
from emulators.functions_host.durable.history import Event, EventType, event
from emulators.functions_host.durable.records import Work
from emulators.functions_host.durable.replay import HTTP_ACTIVITY
from emulators.functions_host.invoker import Invoker

HTTP_TIMEOUT = 100.0
"""Seconds: the default of .NET's HttpClient, which the extension uses."""


class ActivityRunner:
    """Runs one piece of work at a time to its TaskCompleted or TaskFailed."""

    def __init__(self, functions: AppFunctions, invoker: Invoker) -> None:
        self._functions = functions
        self._invoker = invoker
        self._http: aiohttp.ClientSession | None = None

    async def run(self, work: Work) -> Event:
        """Run `work`; a failure is an event, too."""
        if work.name == HTTP_ACTIVITY:
            return await self._call_http(work)
        function = self._functions.durable(work.name, "activityTrigger")
        if function is None:
            why = self._functions.explain_missing(work.name, "activityTrigger")
            return _failed(work, f" {why}", "")
        argument = TextData(kind="string", text=str(json.loads(work.input)[0]))
        trace = TraceContext(traceparent=work.traceparent, tracestate=work.tracestate)
        outcome = await self._invoker.run(function, {function.trigger_name: argument}, trace)
        match outcome:
            case Success(value=value):
                return _completed(work, _result_text(value))
            case Failure(message=message, stack=stack):
                return _failed(work, f" {message}", stack)

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def _call_http(self, work: Work) -> Event:
        """Send the request of `call_http`; a 202 is a result, its Location is not polled."""
        request = cast("Mapping[str, object]", json.loads(work.input)[0])
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=HTTP_TIMEOUT))
        content = request.get("content")
        try:
            async with self._http.request(
                str(request["method"]),
                str(request["uri"]),
                data=None if content is None else str(content).encode(),
                headers=cast("Mapping[str, str] | None", request.get("headers")),
            ) as response:
                answer = {
                    "statusCode": response.status,
                    "headers": {name: ",".join(response.headers.getall(name)) for name in response.headers},
                    "content": await response.text(),
                }
        except (aiohttp.ClientError, TimeoutError) as error:
            return _failed(work, f"{type(error).__name__}: {error}", "")
        return _completed(work, json.dumps(answer))


def _result_text(value: OutputData) -> str | None:
    """Compact JSON of a result; null is no result at all."""
    if not isinstance(value, TextData):
        return None
    result = json.loads(value.text)
    return None if result is None else json.dumps(result, separators=(",", ":"))


def _completed(work: Work, result: str | None) -> Event:
    return event(EventType.TASK_COMPLETED, time.time(), TaskScheduledId=work.task_id, Result=result)


def _failed(work: Work, message: str, stack: str) -> Event:
    details = {
        "$type": "System.Exception, System.Private.CoreLib",
        "ClassName": "System.Exception",
        "Message": message,
        "Data": None,
        "InnerException": None,
        "HelpURL": None,
        "StackTraceString": None,
        "RemoteStackTraceString": stack or None,
        "HResult": -2146233088,
        "Source": None,
    }
    return event(
        EventType.TASK_FAILED,
        time.time(),
        TaskScheduledId=work.task_id,
        Reason=f"Activity function '{work.name}' failed: {message}",
        Details=json.dumps(details),
        FailureDetails=None,
    )
