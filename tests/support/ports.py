"""Free ports, so that tests never collide with each other or with a running stack."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

# Below where Linux takes the near ends of connections from: with many of these, they find each other, and
# a port that is given out now for a server that starts later is still free then.
_UNUSED_BY_CONNECTIONS = range(15_000, 32_000)

# Not the module's functions: Hypothesis seeds those alike in every test process.
_chance = random.SystemRandom()


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that was free a moment ago and that no connection will take."""
    while True:
        port = _chance.choice(_UNUSED_BY_CONNECTIONS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
