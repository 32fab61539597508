"""Signed deliveries of callback events: in order within a call, until they are taken, or as faults say."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field

import aiohttp
import orjson

from emulators.communication.event_log import EventLog
from emulators.communication.faults import Fault, FaultPlan
from emulators.communication.outbound_http import OutboundHttp
from emulators.communication.tokens import TokenSigner
from emulators.communication.wire import Json

logger = logging.getLogger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=10)
_HELD_AT_MOST_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Callback:
    """One event on its way; `name` is its type without the prefix."""

    name: str
    uri: str
    event: Json


@dataclass(kw_only=True, slots=True)
class Lane:
    """The callbacks of one call: whatever is in `waiting` goes out one after the other."""

    log: EventLog
    faults: FaultPlan
    waiting: deque[Callback] = field(default_factory=deque[Callback])
    held: Callback | None = None
    batched: list[Callback] = field(default_factory=list[Callback])
    task: asyncio.Task[None] | None = None
    complained: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class CallbackSender:
    """Delivers the callbacks of all calls. Own its `close`."""

    def __init__(self, http: OutboundHttp, signer: TokenSigner, *, attempts: int, first_delay: float) -> None:
        self._http = http
        self._signer = signer
        self._attempts = attempts
        self._first_delay = first_delay
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, lane: Lane, callback: Callback) -> None:
        """Deliver `callback` after those of the same call that were sent before."""
        lane.waiting.append(callback)
        lane.arrived.set()
        if lane.task is None or lane.task.done():
            lane.task = asyncio.create_task(self._work(lane))
            self._tasks.add(lane.task)
            lane.task.add_done_callback(self._tasks.discard)

    async def flush(self, within_s: float) -> None:
        """Wait for what is under way, at most so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self, lane: Lane) -> None:
        while lane.waiting or lane.held or lane.batched:
            if not lane.waiting and not await _another(lane):
                await self._release(lane)
                continue
            callback = lane.waiting.popleft()
            struck = lane.faults.on_callback(callback.name)
            kinds = {fault.kind for fault in struck}
            for fault in struck:
                if fault.kind == "callback_delay":
                    await asyncio.sleep(fault.ms / 1000)
            if "callback_drop" in kinds:
                lane.log.record("callback_dropped", event=callback.name)
            elif "callback_batch" in kinds:
                lane.batched.append(callback)
            elif "callback_reorder" in kinds and lane.held is None:
                lane.held = callback
            else:
                await self._deliver(lane, callback, struck)
                await self._release(lane)

    async def _release(self, lane: Lane) -> None:
        """Send what a fault held back: nothing overtakes it any more."""
        held, lane.held = lane.held, None
        if held is not None:
            await self._post(lane, [held], None)
        if lane.batched:
            batched, lane.batched = lane.batched, []
            await self._post(lane, batched, None)

    async def _deliver(self, lane: Lane, callback: Callback, struck: list[Fault]) -> None:
        forged = next((fault for fault in struck if fault.kind == "callback_forged"), None)
        batch = [callback]
        if lane.batched and lane.batched[0].uri == callback.uri:
            batch, lane.batched = [*lane.batched, callback], []
        if forged is not None:
            # A stranger's copy, under the id of the genuine event that follows.
            await self._post(lane, batch, forged)
        await self._post(lane, batch, None)
        for fault in struck:
            if fault.kind == "callback_duplicate":
                await self._post(lane, batch, None)

    async def _post(self, lane: Lane, batch: list[Callback], forged: Fault | None) -> None:
        names = [callback.name for callback in batch]
        uri = batch[0].uri
        body = orjson.dumps([callback.event for callback in batch])
        statuses: list[int | str] = []
        for attempt in range(self._attempts):
            if attempt:
                await asyncio.sleep(self._first_delay * 2 ** (attempt - 1))
            headers = {"Content-Type": "application/json; charset=utf-8"}
            authorization = self._signer.authorization(forged.token if forged else None)
            if authorization is not None:
                headers["Authorization"] = authorization
            try:
                async with self._http.client.post(
                    uri, data=body, headers=headers, allow_redirects=False, timeout=_TIMEOUT
                ) as reply:
                    statuses.append(reply.status)
                    # What a forged token earns is an answer, not a reason to try again.
                    if 200 <= reply.status < 300 or forged is not None:
                        break
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                statuses.append(type(error).__name__)
        ids = [callback.event["id"] for callback in batch]
        what = "callback" if forged is None else "forged_callback"
        lane.log.record(what, events=names, ids=ids, answers=statuses)
        taken = isinstance(statuses[-1], int) and 200 <= statuses[-1] < 300
        if forged is None and not taken and not lane.complained:
            lane.complained = True  # once a call: its events tell of each
            logger.warning("A call's callback was not taken", extra={"events": names, "answers": statuses})


async def _another(lane: Lane) -> bool:
    """Wait for a callback that may overtake the one held back; False when none comes in time."""
    lane.arrived.clear()
    try:
        await asyncio.wait_for(lane.arrived.wait(), _HELD_AT_MOST_S)
    except TimeoutError:
        return False
    return True
