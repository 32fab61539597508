"""A stopping worker moves its sessions to other workers, and waits until they have them.

A sideband session moves as soon as nothing would be cut off and another worker has room: its caller
hears nothing of it. One whose audio passes through this process may end here by itself, until the limit.
At the limit whatever is left is released, taken by whoever comes next.
"""

from __future__ import annotations

import asyncio

from realtime_worker.roster import Roster
from realtime_worker.services import Services
from shared.errors import UnavailableError
from shared.store.workers import WorkerRegistry
from shared.telemetry.logs import get_logger

LOOK_EVERY_S = 0.02
# How many sessions may be without a worker at once: where hundreds move, each still waits for few others.
MOVING_AT_ONCE = 16
# How long a session waits for a moment in which nobody speaks: what is said while it moves, no log has.
QUIET_WITHIN_S = 3.0
# How long the next owners have, after the limit, to say that they hold what was released last.
CONFIRM_S = 3.0

_log = get_logger(__name__)


class HandOver:
    """Moves every session of one worker away; used once."""

    def __init__(self, roster: Roster, services: Services, registry: WorkerRegistry) -> None:
        self._roster = roster
        self._ownership = services.ownership
        self._attach_queue = services.attach_queue
        self._registry = registry
        self._worker = services.settings.worker_id
        self._unconfirmed: dict[str, int] = {}

    async def run(self, limit_s: float) -> None:
        """Return when every session is over or has a new owner, or soon after `limit_s`."""
        self._roster.close()
        sessions = len(self._roster)
        clock = asyncio.get_running_loop().time
        began = clock()
        while (len(self._roster) or self._unconfirmed) and clock() < began + limit_s:
            try:
                await self._move_some(anyway=clock() >= began + QUIET_WITHIN_S)
                await self._confirm()
            except UnavailableError as error:
                _log.warning("hand-over waits for the store", extra={"code": error.code})
            await asyncio.sleep(LOOK_EVERY_S)
        self._unconfirmed.update(self._roster.held)
        await self._roster.hand_back()
        await self._wait_confirmed(clock() + CONFIRM_S)
        _log.info(
            "sessions handed over",
            extra={
                "sessions": sessions,
                "unconfirmed": len(self._unconfirmed),
                "took_s": round(clock() - began, 3),
            },
        )

    async def _move_some(self, *, anyway: bool) -> None:
        ready = [
            runner
            for runner in self._roster.runners
            if runner.settled and (runner.quiet or anyway) and not runner.carries_media
        ]
        at_once = MOVING_AT_ONCE - len(self._unconfirmed)
        if not ready or at_once <= 0:
            return
        room = await self._room_elsewhere() - len(self._unconfirmed)
        for runner in ready[: max(min(at_once, room), 0)]:
            self._unconfirmed[runner.session_id] = runner.epoch
            self._roster.move(runner.session_id)

    async def _room_elsewhere(self) -> int:
        others = [one for one in await self._registry.snapshot() if one.worker != self._worker]
        return sum(max(one.capacity - one.live, 0) for one in others)

    async def _wait_confirmed(self, until: float) -> None:
        clock = asyncio.get_running_loop().time
        try:
            while self._unconfirmed and clock() < until and await self._room_elsewhere():
                await self._confirm()
                await asyncio.sleep(LOOK_EVERY_S)
        except UnavailableError as error:
            # Leases lapse, and are found by the sweep of whoever reaches the store first.
            _log.warning("hand-over is not confirmed", extra={"code": error.code})

    async def _confirm(self) -> None:
        """Strike off the sessions that are over, or to which their new owner has attached."""
        taken = await self._ownership.taken_over(self._unconfirmed)
        for session_id in taken - await self._attach_queue.waiting(sorted(taken)):
            del self._unconfirmed[session_id]
