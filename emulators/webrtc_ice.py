"""Make aiortc connect on one machine: no STUN, loopback candidates, no mDNS look-ups.

aiortc asks a public STUN server by default, its ICE library (aioice) leaves 127.0.0.1 out of the host
candidates, and it resolves a browser's `<uuid>.local` candidates by multicast for about a second before it
answers. Each of the three breaks or delays a call that never leaves the machine.

Sources: aioice `ice.get_host_addresses` and aiortc `RTCConfiguration`; RFC 8839 section 5.1 for the candidate
attribute.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import aioice.ice
from aiortc import RTCConfiguration, RTCPeerConnection

LOOPBACK: tuple[str, ...] = ("127.0.0.1",)

# a=candidate:<foundation> <component> <transport> <priority> <address> <port> ...
_ADDRESS_FIELD = 4


def use_host_candidates(addresses: Sequence[str] = LOOPBACK) -> None:
    """Let every ICE agent of this process offer exactly `addresses` as its host candidates.

    aioice has no setting for it, so its look-up function is replaced, for the whole process; calling again
    replaces the choice. Give the machine's address beside 127.0.0.1 where callers come from other machines.

    Raises ValueError where `addresses` is empty or holds something that is not an IP address.
    """
    if not addresses:
        raise ValueError("give at least one address for the ICE host candidates, such as 127.0.0.1")
    chosen = [(address, ipaddress.ip_address(address).version) for address in addresses]

    def host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return [address for address, version in chosen if (use_ipv4 if version == 4 else use_ipv6)]

    aioice.ice.get_host_addresses = host_addresses


def local_peer_connection(addresses: Sequence[str] = LOOPBACK) -> RTCPeerConnection:
    """Return a peer connection that uses no STUN or TURN server and offers `addresses` as host candidates."""
    use_host_candidates(addresses)
    return RTCPeerConnection(configuration=RTCConfiguration(iceServers=[]))


def without_mdns_candidates(sdp: str) -> str:
    """Return `sdp` without the candidate lines whose address is an mDNS name (`<uuid>.local`).

    Nothing is lost by it: the peer's connectivity checks reveal its address as a peer-reflexive candidate.
    All other lines keep their text and their line endings.
    """
    return "".join(line for line in sdp.splitlines(keepends=True) if not _is_mdns_candidate(line))


def _is_mdns_candidate(line: str) -> bool:
    if not line.startswith("a=candidate:"):
        return False
    fields = line.split()
    return len(fields) > _ADDRESS_FIELD and fields[_ADDRESS_FIELD].lower().endswith(".local")
