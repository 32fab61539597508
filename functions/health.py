"""Health: whether the app runs. Ready: whether it can take calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from http import HTTPStatus
from typing import TYPE_CHECKING

import azure.durable_functions as df
import azure.functions as func

from functions.endpoint import open_endpoint
from functions.responses import json_answer
from functions.routes import health as routes
from shared.errors import SidetoneError

if TYPE_CHECKING:
    from functions.bodies import Check, Readiness

blueprint = df.Blueprint()

_CHECK_TIMEOUT_S = 10.0
# Anybody may ask, and a check costs the provider a request: answers are kept this long.
_KEEP_S = 5.0
_kept: list[tuple[float, Readiness]] = []


@open_endpoint(blueprint, routes.HEALTH)
async def health(request: func.HttpRequest) -> func.HttpResponse:
    """Answer that the app runs; needs no settings and no other service."""
    _ = request
    return func.HttpResponse(
        '{"status":"ok"}', headers={"Cache-Control": "no-store"}, mimetype="application/json"
    )


@open_endpoint(blueprint, routes.READY)
async def ready(request: func.HttpRequest) -> func.HttpResponse:
    """Answer 200 when Redis and the realtime service answer, else 503 with the codes of what fails."""
    _ = request
    now = time.monotonic()
    if not _kept or now - _kept[0][0] > _KEEP_S:
        _kept[:] = [(now, await _readiness())]
    readiness = _kept[0][1]
    status = HTTPStatus.OK if readiness.status == "ready" else HTTPStatus.SERVICE_UNAVAILABLE
    return json_answer(readiness, status=status)


async def _readiness() -> Readiness:
    from functions.bodies import Check, Readiness
    from functions.dependencies import dependencies

    try:
        needs = await dependencies()
    except SidetoneError as error:
        _log_failure("settings", error)
        return Readiness(
            status="not_ready", checks={"settings": Check(status="failed", took_ms=0, code=error.code)}
        )
    attempts: dict[str, Awaitable[object]] = {
        "redis": _ping(needs.redis.ping()),
        "provider": needs.provider.check(),
        "agents": needs.agents(),
    }
    if needs.webhooks is not None or needs.acs is not None:  # phone calls are meant to come in
        attempts["telephony"] = needs.inbound_policy()
    answers = await asyncio.gather(*(_check(name, attempt) for name, attempt in attempts.items()))
    checks = dict(zip(attempts, answers, strict=True))
    good = all(check.status == "ok" for check in checks.values())
    return Readiness(status="ready" if good else "not_ready", checks=checks)


async def _check(name: str, attempt: Awaitable[object]) -> Check:
    from functions.bodies import Check

    started = time.perf_counter()
    code: str | None = None
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            await attempt
    except TimeoutError:
        code = f"{name}_timeout"
    except SidetoneError as error:
        code = error.code
        _log_failure(name, error)
    except Exception as error:
        code = f"{name}_failed"
        _log_failure(name, error)
    took_ms = round((time.perf_counter() - started) * 1000, 1)
    return Check(status="failed" if code else "ok", took_ms=took_ms, code=code)


async def _ping(pong: Awaitable[object]) -> None:
    from redis.exceptions import RedisError

    from shared.errors import UnavailableError

    try:
        await pong
    except (RedisError, OSError) as error:
        raise UnavailableError("redis_unavailable", "Redis does not answer.") from error


def _log_failure(name: str, error: Exception) -> None:
    from shared.telemetry.logs import get_logger

    get_logger("functions.health").error("readiness_check_failed", exc_info=error, extra={"check": name})
