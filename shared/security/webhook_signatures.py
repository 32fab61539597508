"""Whether a webhook comes from whom it says: Standard Webhooks, verified by the openai SDK.

The signature covers id, timestamp and body; a timestamp more than five minutes off is refused, so that
what somebody recorded cannot be sent again later. Within that time the id tells a repetition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from shared.errors import InvalidRequestError

TOLERANCE_S = 300


class WebhookVerifier:
    """Verifies what is signed with any of `secrets`."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        self._verify: Callable[..., None] | None = None

    async def verify(self, body: bytes, headers: Mapping[str, str]) -> str:
        """Return the `webhook-id` of a request that is signed, and lately.

        headers: by their names in lower case. Raises InvalidRequestError `webhook_signature_invalid`.
        """
        if self._verify is None:
            # The SDK takes a second to import: off the event loop.
            self._verify = await asyncio.to_thread(_sdk_verification)
        verify = self._verify
        if not any(_passes(verify, body, headers, secret) for secret in self._secrets):
            raise InvalidRequestError(
                "webhook_signature_invalid",
                "The webhook is not signed with a secret of ours, or its time is more than "
                f"{TOLERANCE_S // 60} minutes off: check REALTIME_WEBHOOK_SECRETS and this machine's clock.",
            )
        return headers["webhook-id"]


def _passes(verify: Callable[..., None], body: bytes, headers: Mapping[str, str], secret: str) -> bool:
    try:
        verify(payload=body, headers=headers, secret=secret, tolerance=TOLERANCE_S)
    except (ValueError, TypeError):
        # A wrong signature and a missing header are ValueErrors, as is a body that is not UTF-8; a
        # signature beyond ASCII is a TypeError of hmac.
        return False
    return True


def _sdk_verification() -> Callable[..., None]:
    from openai import OpenAI

    return OpenAI(api_key="none", base_url="http://127.0.0.1").webhooks.verify_signature  # it sends nothing
