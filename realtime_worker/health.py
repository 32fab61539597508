"""The worker's own HTTP face: is it alive, may it be given work."""

from __future__ import annotations

import hmac
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from shared.errors import SidetoneError

# Kubernetes leaves a fleet as it is while what is wanted differs by up to a tenth from what there is.
RESERVE = 0.2


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """What the probes report."""

    worker: str
    sessions: int
    capacity: int
    accepting: bool


@dataclass(frozen=True, kw_only=True)
class Demand:
    """How many sessions there are anywhere: held by a worker or between two, and waiting for one."""

    held: int
    waiting: int


def health_app(
    status: Callable[[], WorkerStatus], check_redis: Callable[[], Awaitable[None]], *, figures: bool
) -> web.Application:
    """Return the app: `/health` says the process runs, `/ready` that it takes sessions and reaches Redis.

    figures: whether `/ready` tells how many sessions there are; anybody may ask.
    """

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_: web.Request) -> web.Response:
        now = status()
        problem = "" if now.accepting else "stopping"
        try:
            await check_redis()
        except SidetoneError as error:
            problem = error.code
        body: dict[str, str | int] = {"status": problem or "ready"}
        if figures:
            body |= {"worker": now.worker, "sessions": now.sessions, "capacity": now.capacity}
        return web.json_response(body, status=503 if problem else 200)

    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/ready", ready)])
    return app


def load_route(key: str, spare: int, demand: Callable[[], Awaitable[Demand]]) -> web.RouteDef:
    """Return `GET /load`: for how many sessions there should be room. It takes `key` in `x-scale-key`.

    The answer counts what there is anywhere, not here: every worker gives the same, and a scaler divides it
    by what one can hold. A reserve is added because a full fleet admits nothing, so that what there is would
    never ask for more than what there is room for: `spare`, and no less than RESERVE of what there is. Where
    the store does not answer, neither is a number given: 503 leaves the fleet as it is, a small number would
    make it smaller.
    """

    async def load(request: web.Request) -> web.Response:
        shown = request.headers.get("x-scale-key", "")
        if not hmac.compare_digest(shown.encode(), key.encode()):
            return web.json_response({"status": "unauthorized"}, status=401)
        try:
            now = await demand()
        except SidetoneError as error:
            return web.json_response({"status": error.code}, status=503)
        there = now.held + now.waiting
        reserve = max(spare, math.ceil(there * RESERVE))
        return web.json_response(
            {"wanted": there + reserve, "held": now.held, "waiting": now.waiting, "spare": reserve}
        )

    return web.get("/load", load)
