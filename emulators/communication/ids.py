"""Ids in the service's shapes, reproducible when seeded."""

from __future__ import annotations

import base64
import random
import secrets
import uuid


class IdSource:
    """Makes ids. With a seed the same sequence comes every time (never for secrets)."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed if seed is not None else secrets.randbits(128))

    def guid(self) -> str:
        """Return a new GUID: call connections must be named by nothing else, for clients re-encode paths."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def server_call_id(self) -> str:
        """Return a new server call id: base64 of an address, as the service makes them."""
        address = f"https://conv-emulator.conv.skype.com/conv/{self.guid()}"
        return base64.b64encode(address.encode()).decode()

    def incoming_call_context(self) -> str:
        """Return a new context to answer a call with: long and opaque."""
        parts = [self._random.randbytes(size) for size in (36, 600, 64)]
        return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
