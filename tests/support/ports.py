"""Free ports, so that tests never collide with each other or with a running stack."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

# Below where Linux takes the near ends of connections from: with many of these, they find each other.
_UNUSED_BY_CONNECTIONS = range(15_000, 32_000)


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_port_for_later() -> int:
    """Return a free TCP port on 127.0.0.1 that no connection will take before a server listens there."""
    while True:
        port = random.choice(_UNUSED_BY_CONNECTIONS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
