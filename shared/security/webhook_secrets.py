"""The setting REALTIME_WEBHOOK_SECRETS: with which secrets the realtime service may sign its webhooks."""

from __future__ import annotations

import base64
import binascii

PREFIX = "whsec_"
MINIMUM_BYTES = 24  # Standard Webhooks' own minimum for symmetric keys


def parse_webhook_secrets(text: str) -> tuple[str, ...]:
    """Return the secrets of "whsec_…,whsec_…", all of them valid: while one replaces another, give both.

    Raises ValueError that names the entry and what is wrong with it, never the secret itself.
    """
    entries = tuple(entry.strip() for entry in text.split(",") if entry.strip())
    if not entries:
        raise ValueError("holds no secret")
    for number, entry in enumerate(entries, start=1):
        if not entry.startswith(PREFIX):
            raise ValueError(f"entry {number} does not start with {PREFIX}; copy the signing secret whole")
        try:
            secret = base64.b64decode(entry.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            raise ValueError(f"entry {number} is not base64 behind {PREFIX}; copy it whole") from None
        if len(secret) < MINIMUM_BYTES:
            raise ValueError(f"entry {number} has {len(secret)} bytes; at least {MINIMUM_BYTES} are needed")
    return entries
