"""The carriers whose media sockets this worker takes, and how each says who it is and what it brings.

To add one: a Framing for its messages, a Carrier here, and its name in `carriers`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from realtime_worker.media.acs_framing import AcsFraming
from realtime_worker.media.framing import Framing
from shared.errors import UnavailableError
from shared.security.acs_tokens import AcsTokenVerifier
from shared.security.key_set import KeySet
from shared.session.model import Session, Transport
from shared.setting_values import parse_acs_connection_string
from shared.settings import WorkerSettings

if TYPE_CHECKING:
    from shared.telephony.acs.carrier import AcsCarrier, CallAddresses

ACS_PATH = "/api/v1/media/stream"

_CALL_CONNECTION = "x-ms-call-connection-id"


@dataclass(frozen=True, kw_only=True)
class MediaTicket:
    """What a media socket says it is for. token: one of ours, for this session's media and nothing else.

    call_id: the carrier's name for the call, "" where it does not tell.
    """

    session_id: str
    token: str = field(repr=False)
    call_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """One carrier's media sockets.

    path: where they come in, as aiohttp's router writes it.
    transport: of the sessions that have them.
    ticket: reads what a request says; nothing of it is believed yet.
    verify: whether the request comes from the carrier; raises SidetoneError when it does not.
    framing: makes the Framing of one connection.
    """

    path: str
    transport: Transport
    ticket: Callable[[web.Request], MediaTicket]
    verify: Callable[[web.Request], Awaitable[None]]
    framing: Callable[[], Framing]


def carriers(settings: WorkerSettings) -> Sequence[Carrier]:
    """Return the carriers of this worker, also those that are not set: they refuse everybody."""
    return [_acs(settings)]


def acs_calls(settings: WorkerSettings) -> AcsCarrier | None:
    """Return the way to calls at Communication Services, None where this worker is not told how it is let in.

    The control plane asks for media that were given up, when it is told; this is for when it is not.
    """
    from shared.telephony.acs.carrier import AcsAccount, AcsCarrier

    endpoint, key = settings.acs_endpoint, ""
    if settings.acs_connection_string is not None:
        endpoint, key = parse_acs_connection_string(settings.acs_connection_string.get_secret_value())
    return AcsCarrier(AcsAccount(endpoint=endpoint, key=key), _no_addresses) if endpoint else None


def _no_addresses(session: Session) -> CallAddresses:
    raise RuntimeError("workers neither answer nor place calls")


def _acs(settings: WorkerSettings) -> Carrier:
    verifier = None
    if settings.acs_resource_id:
        verifier = AcsTokenVerifier(
            issuer=settings.acs_token_issuer,
            resource_id=settings.acs_resource_id,
            keys=KeySet(settings.acs_keys_url),
        )

    async def verify(request: web.Request) -> None:
        if verifier is None:
            raise UnavailableError(
                "acs_not_configured", "Set ACS_RESOURCE_ID: without it no caller's media can be believed."
            )
        await verifier.verify(request.headers.get("Authorization", ""))

    def ticket(request: web.Request) -> MediaTicket:
        return MediaTicket(
            session_id=request.query.get("session", ""),
            token=request.query.get("token", ""),
            call_id=request.headers.get(_CALL_CONNECTION, ""),
        )

    return Carrier(path=ACS_PATH, transport=Transport.ACS, ticket=ticket, verify=verify, framing=AcsFraming)
