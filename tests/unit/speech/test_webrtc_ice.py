from __future__ import annotations

from collections.abc import Iterator

import aioice.ice
import pytest

from emulators.webrtc_ice import local_peer_connection, use_host_candidates, without_mdns_candidates

OFFER = (
    "v=0\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
    "a=candidate:1 1 udp 2113937151 5b1a6a3e-3a35-4cf0-b0f1-9d4f0f6c2f61.local 51472 typ host\r\n"
    "a=candidate:2 1 udp 2113937151 127.0.0.1 51473 typ host\r\n"
    "a=candidate:3 1 UDP 2113937151 ABC.LOCAL 51474 typ host\r\n"
    "a=end-of-candidates\r\n"
)


@pytest.fixture(autouse=True)
def _aioice_as_it_was() -> Iterator[None]:
    original = aioice.ice.get_host_addresses
    yield
    aioice.ice.get_host_addresses = original


def test_only_mdns_candidates_are_taken_out() -> None:
    assert without_mdns_candidates(OFFER) == (
        "v=0\r\n"
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
        "a=candidate:2 1 udp 2113937151 127.0.0.1 51473 typ host\r\n"
        "a=end-of-candidates\r\n"
    )


@pytest.mark.parametrize("sdp", ["", "a=candidate:broken\n", "not sdp at all"])
def test_other_text_is_left_alone(sdp: str) -> None:
    assert without_mdns_candidates(sdp) == sdp


async def test_an_offer_has_the_loopback_candidate_alone() -> None:
    peer = local_peer_connection()
    try:
        peer.addTransceiver("audio")
        await peer.setLocalDescription(await peer.createOffer())
        candidates = [
            line.split()[4] for line in peer.localDescription.sdp.splitlines() if "a=candidate" in line
        ]
    finally:
        await peer.close()
    assert set(candidates) == {"127.0.0.1"}


def test_addresses_are_filtered_by_family() -> None:
    use_host_candidates(["127.0.0.1", "::1"])
    assert aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=False) == ["127.0.0.1"]
    assert aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=True) == ["127.0.0.1", "::1"]


@pytest.mark.parametrize("addresses", [[], ["localhost"]])
def test_what_is_no_address_is_refused(addresses: list[str]) -> None:
    with pytest.raises(ValueError, match=r"address|localhost"):
        use_host_candidates(addresses)
