"""Where media sockets come in: who they are is checked, and their session is fetched to this worker.

Whoever has the caller owns the session. It may be held by another worker: by one whose socket was lost and
opened again here, or by one that has died. So this worker takes it, as follows.

1. Nobody holds it: it is acquired.
2. Another worker holds it: that one is asked to give way. It finishes what it owes, its inline tools too.
3. Nobody listens where it is held: its process is gone, and its lease lapses at once instead of by time.
4. It takes longer than CLAIM_WITHIN_S: 503, and the carrier tries again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from http import HTTPStatus

from aiohttp import web

from realtime_worker.media.caller_line import CallerLine
from realtime_worker.media.carrier_socket import CarrierSocket
from realtime_worker.media.carriers import Carrier, MediaTicket
from realtime_worker.roster import Roster
from realtime_worker.services import Services
from shared.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    SidetoneError,
    UnavailableError,
)
from shared.security.tokens import TokenRing
from shared.session.model import Session, SessionState
from shared.telemetry import metrics
from shared.telemetry.logs import bind_session, get_logger

CLAIM_WITHIN_S = 6.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.1
ASK_AGAIN_S = 0.5
RETRY_AFTER_S = 1.0

_log = get_logger(__name__)


class Reception:
    """Takes the media sockets of one worker."""

    def __init__(
        self, services: Services, roster: Roster, tokens: TokenRing, carriers: Sequence[Carrier]
    ) -> None:
        self._services = services
        self._roster = roster
        self._tokens = tokens
        self._carriers = carriers

    def routes(self) -> list[web.RouteDef]:
        """Return what to add to the worker's HTTP face."""
        return [self._route(carrier) for carrier in self._carriers]

    def _route(self, carrier: Carrier) -> web.RouteDef:
        async def take(request: web.Request) -> web.StreamResponse:
            return await self._take(carrier, request)

        return web.get(carrier.path, take)

    async def _take(self, carrier: Carrier, request: web.Request) -> web.StreamResponse:
        ticket = carrier.ticket(request)
        socket = CarrierSocket(carrier.framing())
        try:
            if not socket.can_prepare(request):
                raise InvalidRequestError("websocket_expected", "This address takes WebSockets only.")
            self._tokens.verify_media_token(ticket.token, ticket.session_id)
            await carrier.verify(request)
            with bind_session(ticket.session_id):
                line = await self._claim(carrier, ticket)
                await socket.prepare(request)
                _log.info("media socket opened")
                await socket.carry(line)
        except SidetoneError as error:
            _log.warning("media socket refused", extra={"code": error.code})
            metrics.count_refused(code=error.code)
            return _problem(error)
        return socket

    async def _claim(self, carrier: Carrier, ticket: MediaTicket) -> CallerLine:
        """Return the line of the session, which is ours from now on."""
        session_id, roster = ticket.session_id, self._roster
        clock = asyncio.get_running_loop().time
        give_up_at, ask_at, pause = clock() + CLAIM_WITHIN_S, 0.0, FIRST_PAUSE_S
        session = await self._services.sessions.get(session_id)
        _check(session, carrier, ticket)
        if session.state is SessionState.CREATED:
            # The socket can be faster than the answer to whoever had the call answered.
            await self._services.sessions.begin(session_id, self._services.provider.name)
        while True:
            runner = roster.runner(session_id)
            if runner is not None and runner.line is not None:
                return runner.line
            if clock() >= give_up_at:
                raise UnavailableError(
                    "session_held",
                    "Another worker does not let go of this session.",
                    retry_after_s=RETRY_AFTER_S,
                )
            if not roster.working_on(session_id):
                if roster.room <= 0:
                    raise UnavailableError(
                        "no_room",
                        "This worker holds as many sessions as it may.",
                        retry_after_s=RETRY_AFTER_S,
                    )
                if clock() >= ask_at and session.owner not in ("", self._services.settings.worker_id):
                    ask_at = clock() + ASK_AGAIN_S
                    await self._services.ownership.ask_for(session_id, self._services.settings.worker_id)
                roster.take_over(session_id)
            await asyncio.sleep(pause)
            if not roster.working_on(session_id):
                pause = min(pause * 1.5, LONGEST_PAUSE_S)
                session = await self._services.sessions.get(session_id)
                _check(session, carrier, ticket)


def _check(session: Session, carrier: Carrier, ticket: MediaTicket) -> None:
    """Raise SidetoneError if this socket can't be the session's."""
    if not session.live:
        raise ConflictError("session_ended", "The session of this call has ended.")
    if session.transport is not carrier.transport:
        raise ConflictError("session_of_another_kind", "The caller's audio does not come this way.")
    if ticket.call_id and session.call_id and ticket.call_id != session.call_id:
        raise ForbiddenError("media_of_another_call", "This socket belongs to another call.")


def _problem(error: SidetoneError) -> web.Response:
    """Return the problem document (RFC 9457). A fault of ours tells its code, and the log the rest."""
    hidden = error.status is HTTPStatus.INTERNAL_SERVER_ERROR
    body = {
        "type": f"urn:sidetone:problem:{error.code}",
        "title": error.status.phrase,
        "status": int(error.status),
        "detail": "The log has the details." if hidden else error.detail,
        "code": error.code,
    }
    headers = {"Cache-Control": "no-store"}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return web.json_response(
        body, status=int(error.status), headers=headers, content_type="application/problem+json"
    )
