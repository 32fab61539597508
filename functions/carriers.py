"""Which carrier has a session's call, and what it is told about us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import UnavailableError

CALLBACK_PATH = "/api/v1/webhooks/acs"
MEDIA_PATH = "/api/v1/media/stream"
LONGEST_RING_S = 120
# Beyond the longest call and the time until it is answered: what comes late is still told, and believed.
_TOKENS_OUTLIVE_CALLS_S = 900

if TYPE_CHECKING:
    from functions.dependencies import Dependencies
    from shared.security.tokens import TokenRing
    from shared.session.model import Session
    from shared.settings import ControlPlaneSettings
    from shared.telephony.acs.carrier import AcsCarrier, CallAddresses
    from shared.telephony.legs import CarrierLeg


def leg_of(needs: Dependencies, session: Session) -> CarrierLeg:
    """Return the call of a session whose `call_id` is known. Raises `acs_not_configured`."""
    from shared.session.model import Transport
    from shared.telephony.provider_leg import ProviderLeg

    if session.transport is Transport.ACS:
        return carrier_of(needs).leg(session)
    return ProviderLeg(needs.provider, session.call_id, by_sip=session.transport is Transport.SIP)


def carrier_of(needs: Dependencies) -> AcsCarrier:
    """Return Azure Communication Services. Raises UnavailableError `acs_not_configured`."""
    if needs.acs is None:
        raise UnavailableError(
            "acs_not_configured",
            "Set ACS_ENDPOINT (or ACS_CONNECTION_STRING), ACS_RESOURCE_ID, ACS_CALLBACK_URL and "
            "MEDIA_STREAM_URL.",
        )
    return needs.acs


async def hang_up(needs: Dependencies, session: Session) -> bool:
    """Hang up the session's call; return False when there is none, or not any more."""
    if not session.call_id:
        return False
    return await leg_of(needs, session).hang_up()


def addresses_of(settings: ControlPlaneSettings, tokens: TokenRing, session: Session) -> CallAddresses:
    """Return what the carrier of this session's call is told about us.

    The carrier keeps both addresses, and opens the media socket again after an interruption: their tokens
    have to hold for the whole call.
    """
    from shared.telephony.acs.carrier import CallAddresses

    longest_s = session.max_duration_s or settings.max_call_duration_s
    ttl_s = settings.connect_timeout_s + LONGEST_RING_S + longest_s + _TOKENS_OUTLIVE_CALLS_S
    session_id = session.session_id
    callback, media = (
        tokens.issue_callback_token(session_id, ttl_s),
        tokens.issue_media_token(session_id, ttl_s),
    )
    return CallAddresses(
        callback_url=f"{settings.acs_callback_url}{CALLBACK_PATH}/{session_id}?token={callback}",
        media_url=f"{settings.media_stream_url}{MEDIA_PATH}?session={session_id}&token={media}",
    )
