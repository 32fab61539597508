"""Deliver messages to the control plane. They wait in Redis until it has taken them."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum, auto
from http import HTTPStatus

import aiohttp

from realtime_worker.commits import until_redis_answers
from shared.errors import NotFoundError, SidetoneError
from shared.security.tokens import TokenRing
from shared.session.codec import CONTROL
from shared.session.commands import ToolResult
from shared.session.jobs import (
    AdjustRecording,
    ControlMessage,
    LifecycleEvent,
    OutboxEntry,
    StartDurableTool,
)
from shared.session.log import ToolStatus
from shared.store.inbox import Inbox
from shared.store.outbox import Outbox
from shared.telemetry.logs import get_logger

REQUEST_TIMEOUT_S = 10.0
BLOCK_MS = 1_000
BATCH = 20
# A message claimed by a worker that died is taken over after this long.
ABANDONED_AFTER_MS = 15_000
RETRY_FIRST_S = 0.2
RETRY_LIMIT_S = 5.0
AT_ONCE = 8
# What no retry of the same message mends. A refused token is not among them: keys may be rotating.
LASTING_REFUSALS = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.GONE,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)

_log = get_logger(__name__)


class _Answer(Enum):
    """What became of a message."""

    TAKEN = auto()
    REFUSED = auto()  # in a way that no retry mends
    LATER = auto()


class ControlPlane:
    """Posts outbox messages to the Functions app with a service token. Delivered at least once; the
    receiving side starts orchestrations under fixed ids, so a repeated message changes nothing."""

    def __init__(self, outbox: Outbox, inbox: Inbox, base_url: str, tokens: TokenRing, worker: str) -> None:
        self._outbox = outbox
        self._inbox = inbox
        self._base_url = base_url.rstrip("/")
        self._tokens = tokens
        self._worker = worker
        self._room = asyncio.Semaphore(AT_ONCE)
        self._under_way: set[str] = set()

    async def deliver_forever(self) -> None:
        """Deliver until cancelled. What is under way then stays in the outbox for the next worker."""
        self._room = asyncio.Semaphore(AT_ONCE)
        self._under_way.clear()
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
            asyncio.TaskGroup() as deliveries,
        ):
            deliveries.create_task(self._take_over_abandoned(http, deliveries), name="outbox take-over")
            while True:
                claimed = await until_redis_answers(lambda: self._outbox.claim(self._worker, BATCH, BLOCK_MS))
                for entry in claimed:
                    await self._start(http, deliveries, entry)

    async def _take_over_abandoned(self, http: aiohttp.ClientSession, deliveries: asyncio.TaskGroup) -> None:
        while True:
            await asyncio.sleep(ABANDONED_AFTER_MS / 1000)
            abandoned = await until_redis_answers(
                lambda: self._outbox.reclaim(self._worker, ABANDONED_AFTER_MS, BATCH)
            )
            for entry in abandoned:
                await self._start(http, deliveries, entry)

    async def _start(
        self, http: aiohttp.ClientSession, deliveries: asyncio.TaskGroup, entry: OutboxEntry
    ) -> None:
        if entry.entry_id in self._under_way:
            return  # slow, not abandoned
        self._under_way.add(entry.entry_id)
        await self._room.acquire()
        deliveries.create_task(self._deliver(http, entry), name="outbox delivery")

    async def _deliver(self, http: aiohttp.ClientSession, entry: OutboxEntry) -> None:
        """Deliver one message; whatever goes wrong with it must not stop the others."""
        try:
            await self._try(http, entry)
        except SidetoneError as error:
            _log.error("message is left for later", extra={"code": error.code})  # expected failure
        except Exception:
            _log.exception("message could not be delivered")
        finally:
            self._under_way.discard(entry.entry_id)
            self._room.release()

    async def _try(self, http: aiohttp.ClientSession, entry: OutboxEntry) -> None:
        """Try until the control plane has taken the message or refused it for good."""
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + ABANDONED_AFTER_MS / 2 / 1000
        delay = RETRY_FIRST_S
        while (answer := await self._post(http, entry.message)) is _Answer.LATER:
            if clock() + delay > give_up_at:
                return  # left pending: whoever reclaims it tries again, so a stuck one holds no slot
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_LIMIT_S)
        if answer is _Answer.REFUSED and isinstance(entry.message, StartDurableTool):
            await self._tell_session(entry.message)
        await until_redis_answers(lambda: self._outbox.done(entry))

    async def _tell_session(self, message: StartDurableTool) -> None:
        """A tool that can never start still gets its one outcome."""
        result = ToolResult(
            tool_call_id=message.tool_call_id,
            status=ToolStatus.ERROR,
            output='{"error":{"code":"tool_not_started","message":"The tool could not be started."}}',
            duration_ms=0.0,
        )
        with contextlib.suppress(NotFoundError):  # an erased session waits for nothing
            await until_redis_answers(
                lambda: self._inbox.put(message.session_id, result, dedupe=message.tool_call_id)
            )

    async def _post(self, http: aiohttp.ClientSession, message: ControlMessage) -> _Answer:
        match message:
            case StartDurableTool(session_id=session_id):
                path = f"/api/v1/sessions/{session_id}/tool-calls"
            case AdjustRecording(session_id=session_id):
                path = f"/api/v1/sessions/{session_id}/recording"
            case LifecycleEvent(session_id=session_id):
                path = f"/api/v1/sessions/{session_id}/lifecycle"
        headers = {
            "Authorization": f"Bearer {self._tokens.issue_service_token(self._worker)}",
            "Content-Type": "application/json",
        }
        if message.traceparent:
            headers["traceparent"] = message.traceparent
        try:
            async with http.post(
                self._base_url + path, data=CONTROL.encode(message), headers=headers
            ) as response:
                if response.status < HTTPStatus.BAD_REQUEST:
                    return _Answer.TAKEN
                # Only the app's own word is final: a host that has not loaded its routes yet says 404 too.
                lasting = (
                    response.status in LASTING_REFUSALS
                    and response.content_type == "application/problem+json"
                )
                _log.warning(
                    "control plane refused a message",
                    extra={"status": response.status, "kind": CONTROL.tag(message), "lasting": lasting},
                )
                return _Answer.REFUSED if lasting else _Answer.LATER
        except (aiohttp.ClientError, TimeoutError) as error:
            _log.warning("control plane unreachable", extra={"error": type(error).__name__})
            return _Answer.LATER
