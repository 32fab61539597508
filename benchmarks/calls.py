"""Calls as a client places them: a token from the API, an SDP offer to the realtime emulator."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import aiohttp

from benchmarks.stage import Stage

AGENT = "member_services"
OFFER = "\r\n".join(
    [
        "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=mid:0", "a=sendrecv",
        "a=rtpmap:111 opus/48000/2", "a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=fingerprint:sha-256 00:11", "a=setup:actpass", "",
    ]
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What the token request gave, and how many milliseconds it took."""

    session_id: str
    client_secret: str = field(repr=False)
    client_token: str = field(repr=False)
    calls_url: str
    took_ms: float


class Caller:
    """A client of the API and of the realtime service; connections stay open as in a real application."""

    def __init__(self, stage: Stage, http: aiohttp.ClientSession) -> None:
        self._stage = stage
        self._http = http

    async def timed(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: object = None
    ) -> tuple[float, dict[str, object]]:
        """Send a request with a JSON body and return (milliseconds, JSON answer); raise when it fails."""
        began = time.perf_counter()
        async with self._http.request(method, url, headers=headers, json=body) as answer:
            text = await answer.read()
            took = (time.perf_counter() - began) * 1000
            answer.raise_for_status()
            return took, cast("dict[str, object]", await answer.json()) if text else {}

    async def status(self, url: str, headers: Mapping[str, str]) -> float:
        """Send a GET whose answer may be that there is nothing; return the milliseconds."""
        began = time.perf_counter()
        async with self._http.get(url, headers=headers) as answer:
            await answer.read()
        return (time.perf_counter() - began) * 1000

    async def token(self) -> Grant:
        """Ask for a token as the application does."""
        took, given = await self.timed(
            "POST",
            f"{self._stage.functions_url}/api/v1/token",
            headers={"x-functions-key": self._stage.function_key},
            body={"agent": AGENT},
        )
        secret = cast("dict[str, object]", given["client_secret"])
        return Grant(
            session_id=str(given["session_id"]),
            client_secret=str(secret["value"]),
            client_token=str(given["client_token"]),
            calls_url=str(given["calls_url"]),
            took_ms=took,
        )

    async def mint(self, session: Mapping[str, object]) -> tuple[float, str]:
        """Ask the realtime service itself for a client secret; return (milliseconds, secret)."""
        took, given = await self.timed(
            "POST",
            f"{self._stage.provider_url}/openai/v1/realtime/client_secrets",
            headers={"api-key": self._stage.api_key},
            body={"session": session},
        )
        return took, str(given["value"])

    async def dial(self, calls_url: str, client_secret: str) -> str:
        """Post an offer as a browser does; return the call's id."""
        headers = {"Authorization": f"Bearer {client_secret}", "Content-Type": "application/sdp"}
        async with self._http.post(calls_url, data=OFFER, headers=headers) as answer:
            await answer.read()
            answer.raise_for_status()
            return answer.headers["Location"].rpartition("/")[2]

    async def report(self, grant: Grant, call_id: str) -> float:
        """Report the call's id to the API; return the milliseconds until it answered."""
        return await self._own_call("POST", grant, {"call_id": call_id})

    async def hang_up(self, grant: Grant) -> float:
        """Hang up as the client."""
        return await self._own_call("DELETE", grant, None)

    async def health(self) -> float:
        """Ask the same host for the least that it serves; return the milliseconds."""
        return (await self.timed("GET", f"{self._stage.functions_url}/api/v1/health"))[0]

    async def _own_call(self, method: str, grant: Grant, body: object) -> float:
        url = f"{self._stage.functions_url}/api/v1/sessions/{grant.session_id}/call"
        headers = {"Authorization": f"Bearer {grant.client_token}"}
        return (await self.timed(method, url, headers=headers, body=body))[0]
