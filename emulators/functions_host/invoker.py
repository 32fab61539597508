"""Run functions: an invocation id, the inputs that bindings add, the time limit, one log line a run."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping

from emulators.functions_host.app_model import (
    Executor,
    Failure,
    Function,
    InputData,
    Invocation,
    Outcome,
    Success,
    TextData,
    TraceContext,
)

logger = logging.getLogger("functions_host.invocation")


class Invoker:
    """Runs functions in an executor."""

    def __init__(
        self, executor: Executor, *, timeout: float | None, client_payload: Callable[[], str]
    ) -> None:
        """`timeout` in seconds, None for no limit; `client_payload` is the value of durable client inputs."""
        self._executor = executor
        self._timeout = timeout
        self._client_payload = client_payload

    async def run(self, function: Function, inputs: Mapping[str, InputData], trace: TraceContext) -> Outcome:
        """Run a function to its end; what it raises, or a time-out, is a Failure."""
        invocation = Invocation(
            invocation_id=str(uuid.uuid4()),
            function=function,
            inputs={**self._added_inputs(function), **inputs},
            trace=trace,
        )
        began = time.perf_counter()
        outcome = await self._run(invocation)
        fields = {
            "function": function.name,
            "invocation_id": invocation.invocation_id,
            "status": "Succeeded" if isinstance(outcome, Success) else "Failed",
            "duration_ms": round((time.perf_counter() - began) * 1000, 1),
        }
        if isinstance(outcome, Failure) and "$OutOfProcData$" not in outcome.message:
            logger.error(
                "function failed", extra={**fields, "error": outcome.message, "stack": outcome.stack}
            )
        else:
            logger.info("function executed", extra=fields)
        if isinstance(outcome, Success):
            for name in outcome.outputs:
                logger.warning(
                    "output binding is not delivered by this host",
                    extra={"function": function.name, "binding": name},
                )
        return outcome

    async def _run(self, invocation: Invocation) -> Outcome:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._executor.invoke(invocation)
        except TimeoutError:
            return Failure(
                message=f"FunctionTimeoutException: Timeout value of {self._timeout} s was exceeded by "
                f"function: Functions.{invocation.function.name}",
                stack="",
            )

    def _added_inputs(self, function: Function) -> Mapping[str, InputData]:
        return {
            str(binding["name"]): TextData(kind="string", text=self._client_payload())
            for binding in function.bindings
            if binding.get("type") == "durableClient"
        }
