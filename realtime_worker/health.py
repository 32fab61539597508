"""The worker's own HTTP face: is it alive, may it be given work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from shared.errors import SidetoneError


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """What the probes report."""

    worker: str
    sessions: int
    capacity: int
    accepting: bool


def health_app(
    status: Callable[[], WorkerStatus], check_redis: Callable[[], Awaitable[None]]
) -> web.Application:
    """Return the app: `/health` says the process runs, `/ready` that it takes sessions and reaches Redis."""

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_: web.Request) -> web.Response:
        now = status()
        problem = "" if now.accepting else "stopping"
        try:
            await check_redis()
        except SidetoneError as error:
            problem = error.code
        body = {
            "status": problem or "ready",
            "worker": now.worker,
            "sessions": now.sessions,
            "capacity": now.capacity,
        }
        return web.json_response(body, status=503 if problem else 200)

    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/ready", ready)])
    return app
