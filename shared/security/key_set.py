"""A signer's public keys (JWKS, RFC 7517), fetched when they are needed and kept for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from shared.errors import UnavailableError

if TYPE_CHECKING:
    import jwt

_log = logging.getLogger("sidetone.security.key_set")

KEPT_S = 3600.0
"""After this a key set is fetched again, in case that a key has been withdrawn."""

STALE_S = 86_400.0
"""For this long the old keys hold when their signer cannot be reached."""

FLOOR_S = 30.0
"""Between two fetches lies at least this much: a flood of unknown key ids costs the signer nothing."""

TIMEOUT_S = 5.0
MAX_BYTES = 256 * 1024
MAX_KEYS = 64


class KeySet:
    """The keys at one address, by their ids.

    A key id that is not there is looked for once more, since signers rotate their keys: then, and not
    more often than every FLOOR_S seconds, the set is fetched.
    """

    def __init__(
        self, url: str, *, floor_s: float = FLOOR_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """clock: seconds, for the times between fetches."""
        self._url = url
        self._floor_s = floor_s
        self._clock = clock
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()

    async def key(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key of this id, None where the signer has none.

        Raises UnavailableError `signer_keys_unavailable` when there are no keys to look in.
        """
        if key_id not in self._keys or self._age() > KEPT_S:
            async with self._fetching:  # whoever waited finds what the first one fetched
                if (key_id not in self._keys or self._age() > KEPT_S) and self._may_fetch():
                    await self._refresh()
        if self._age() > STALE_S:
            raise UnavailableError(
                "signer_keys_unavailable",
                "The keys that callbacks are signed with could not be fetched: try again, and check "
                "ACS_KEYS_URL and the way out of this network.",
                retry_after_s=self._floor_s,
            )
        return self._keys.get(key_id)

    def _age(self) -> float:
        return float("inf") if self._fetched_at is None else self._clock() - self._fetched_at

    def _may_fetch(self) -> bool:
        return self._tried_at is None or self._clock() - self._tried_at >= self._floor_s

    async def _refresh(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = await _fetched(self._url)
        except Exception as error:  # whatever an address may answer with; the old keys hold for a while
            _log.warning("signer keys could not be fetched", extra={"error": type(error).__name__})
            return
        self._fetched_at = self._clock()


async def _fetched(url: str) -> Mapping[str, jwt.PyJWK]:
    """Return the RSA signing keys at `url`; raises whatever is wrong with it."""
    import aiohttp
    import jwt
    import msgspec

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url, allow_redirects=False) as answer:
        answer.raise_for_status()
        body = await answer.content.read(MAX_BYTES + 1)
        while len(body) <= MAX_BYTES and (more := await answer.content.read(MAX_BYTES + 1 - len(body))):
            body += more
    if answer.status != HTTPStatus.OK or len(body) > MAX_BYTES:
        raise ValueError("no key set")
    found = msgspec.json.decode(body, type=dict[str, list[dict[str, object]]])
    keys: dict[str, jwt.PyJWK] = {}
    for described in found["keys"][:MAX_KEYS]:
        if described.get("kty") != "RSA" or described.get("use", "sig") != "sig":
            continue
        key = jwt.PyJWK.from_dict(described, algorithm="RS256")
        if key.key_id:
            keys[key.key_id] = key
    if not keys:
        raise ValueError("a key set without a signing key")
    return keys
