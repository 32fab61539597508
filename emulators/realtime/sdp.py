"""SDP offers: telling one from garbage, and a canned answer where no media flows (RFC 8866, RFC 8829)."""

from __future__ import annotations

import re
import secrets

from emulators.realtime.wire import RejectedError

_LINE = re.compile(r"[a-z]=.*")
_REQUIRED = ("v=0", "o=", "s=", "t=")


def check_offer(sdp: str) -> str:
    """Return `sdp` when it reads like an offer with audio; raises RejectedError (400) otherwise."""
    lines = [line.strip() for line in sdp.splitlines() if line.strip()]
    if not lines:
        raise _refused("the body is empty")
    for line in lines:
        if not _LINE.fullmatch(line):
            raise _refused(f"unexpected line '{line[:40]}'")
    if lines[0] != "v=0":
        raise _refused("it must begin with 'v=0'")
    for start in _REQUIRED:
        if not any(line.startswith(start) for line in lines):
            raise _refused(f"no '{start}' line")
    if not any(line.startswith("m=audio ") for line in lines):
        raise _refused("no audio section ('m=audio …')")
    return sdp


def canned_answer(offer: str) -> str:
    """Return a well-formed answer to `offer` that leads nowhere."""
    session, *sections = re.split(r"(?m)^(?=m=)", offer)
    del session
    fingerprint = ":".join(f"{byte:02X}" for byte in secrets.token_bytes(32))
    lines = [
        "v=0",
        f"o=- {secrets.randbits(60)} 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=msid-semantic: WMS *",
    ]
    mids = [_mid(section, index) for index, section in enumerate(sections)]
    lines.append("a=group:BUNDLE " + " ".join(mids))
    for section, mid in zip(sections, mids, strict=True):
        first = section.splitlines()[0].split()
        payloads = first[3:] or ["0"]
        audio = first[0] == "m=audio"
        lines += [
            f"{first[0]} 9 {first[2] if len(first) > 2 else 'UDP/TLS/RTP/SAVPF'} "
            + (" ".join(payloads[:1]) if audio else " ".join(payloads)),
            "c=IN IP4 127.0.0.1",
            f"a=mid:{mid}",
            "a=ice-ufrag:" + secrets.token_hex(4),
            "a=ice-pwd:" + secrets.token_hex(12),
            f"a=fingerprint:sha-256 {fingerprint}",
            "a=setup:active",
        ]
        lines += ["a=sendrecv", "a=rtcp-mux"] if audio else ["a=sctp-port:5000"]
        if audio:
            lines += [line for line in section.splitlines() if line.startswith(f"a=rtpmap:{payloads[0]} ")]
    return "\r\n".join(lines) + "\r\n"


def _mid(section: str, index: int) -> str:
    found = re.search(r"(?m)^a=mid:(\S+)", section)
    return found.group(1) if found else str(index)


def _refused(why: str) -> RejectedError:
    return RejectedError("invalid_offer", f"Unable to parse the SDP offer: {why}.", param="sdp")
