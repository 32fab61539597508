"""The setting SIGNING_KEYS: which keys sign our own tokens, and what makes one good enough."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

MINIMUM_BYTES = 32
_MINIMUM_DISTINCT_BYTES = 10
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """One HMAC key. `key_id` goes into each token's header; `secret` never shows in a repr."""

    key_id: str
    secret: bytes = field(repr=False)


def parse_signing_keys(text: str) -> tuple[SigningKey, ...]:
    """Return the keys of "kid:base64,kid2:base64"; the first one signs, all of them verify.

    Raises ValueError that names the entry and what is wrong with it, never the key itself.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if not entries:
        raise ValueError("holds no key")
    keys = tuple(_parse_entry(number, entry) for number, entry in enumerate(entries, start=1))
    ids = [key.key_id for key in keys]
    twice = sorted({key_id for key_id in ids if ids.count(key_id) > 1})
    if twice:
        raise ValueError(f"uses the key id {twice[0]} twice; every key needs its own")
    return keys


def _parse_entry(number: int, entry: str) -> SigningKey:
    key_id, colon, encoded = entry.partition(":")
    if not colon:
        raise ValueError(f"entry {number} has no key id in front of a colon")
    if not _KEY_ID.fullmatch(key_id):
        raise ValueError(f"entry {number} needs a key id of 1 to 32 letters, digits, _ or -")
    standard = encoded.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        secret = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except binascii.Error:
        raise ValueError(f"the key {key_id} is not base64") from None
    if len(secret) < MINIMUM_BYTES:
        raise ValueError(f"the key {key_id} has {len(secret)} bytes; at least {MINIMUM_BYTES} are needed")
    if len(set(secret)) < _MINIMUM_DISTINCT_BYTES:
        raise ValueError(f"the key {key_id} repeats a few bytes; take random ones")
    return SigningKey(key_id=key_id, secret=secret)
