"""Attach to a session's call, and again when the connection is lost; or open a provider session for it."""

from __future__ import annotations

import asyncio
import random

from shared.errors import SidetoneError, UnavailableError
from shared.providers.protocol import ProviderSocket, RealtimeProvider
from shared.session.model import Session
from shared.telemetry.logs import get_logger

# Just after its creation the service may not know the call yet.
CALL_APPEARS_WITHIN_S = 5.0
FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 2.0
# A connection that held this long was a good one: when it is lost, the first try comes at once.
STABLE_S = 5.0

_log = get_logger(__name__)


class Attachment:
    """Opens the sideband of one call, with patience while that can help.

    Where the connection carries the audio too, there is no call: every time a new provider session is opened.
    """

    def __init__(
        self, provider: RealtimeProvider, session: Session, timeout_s: float, *, model: str = ""
    ) -> None:
        """model: of the provider's sessions, where it is another than the settings'."""
        self._provider = provider
        self._call_id = session.call_id
        self._carries_media = session.transport.carries_media
        self._timeout_s = timeout_s
        self._model = model
        self._was_attached = session.connected_at_ms > 0
        self._failing_since: float | None = None
        self._confirmed_at: float | None = None
        self._attempts = 0

    @property
    def was_attached(self) -> bool:
        """Whether this call has ever confirmed a configuration: then `call_not_found` means it is over."""
        return self._was_attached

    def confirmed(self) -> None:
        """The service talks to us: it is not failing (any more)."""
        self._was_attached = True
        self._failing_since = None
        self._confirmed_at = asyncio.get_running_loop().time()

    async def open(self) -> ProviderSocket:
        """Return an open connection.

        Raises the provider's SidetoneError when waiting can't help, or has not helped for the timeout.
        An open that was never confirmed counts as a failure too. One that was confirmed and soon lost
        does not, but a service that flaps like this is asked less and less often.
        """
        clock = asyncio.get_running_loop().time
        if self._confirmed_at is not None and clock() - self._confirmed_at >= STABLE_S:
            self._attempts = 0
        self._confirmed_at = None
        if self._failing_since is None:
            self._failing_since = clock()
        elif clock() - self._failing_since >= self._timeout_s:
            raise UnavailableError(
                "provider_unavailable",
                "The realtime service opens the connection and closes it before the session is configured.",
            )
        while True:
            if self._attempts:
                delay = min(FIRST_DELAY_S * 2 ** (self._attempts - 1), LONGEST_DELAY_S)
                await asyncio.sleep(delay * random.uniform(0.75, 1.25))  # noqa: S311  # jitter, not a secret
            self._attempts += 1
            try:
                return await self.connect()
            except SidetoneError as error:
                waited = clock() - self._failing_since
                if not self._worth_waiting(error, waited):
                    raise
                _log.info("provider not open yet", extra={"code": error.code, "attempt": self._attempts})

    async def connect(self) -> ProviderSocket:
        """Try once."""
        if self._carries_media:
            return await self._provider.connect_session(self._model)
        return await self._provider.connect_sideband(self._call_id)

    def _worth_waiting(self, error: SidetoneError, waited_s: float) -> bool:
        if error.code == "call_not_found":
            return not self._was_attached and waited_s < min(CALL_APPEARS_WITHIN_S, self._timeout_s)
        return error.retryable and waited_s < self._timeout_s
