"""A telephone at an emulated carrier: it calls, speaks, listens, presses keys and hangs up.

Two carriers have the same telephones: the Communication Services emulator, and the Realtime emulator for
calls by SIP. Both are told over their `/_emu` routes.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import cast

import aiohttp

_RATE = 24_000
# Real thumbs: this long from key to key.
_KEY_EVERY_S = 0.2
_REQUEST_S = 150.0
_LOOK_EVERY_S = 0.05
_UP = frozenset({"connected", "live"})


class TelephoneError(RuntimeError):
    """The call can't go on; the message is a sentence."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A carrier's emulator. `ring` and `press` are what its routes for these are called."""

    url: str
    ring: str
    press: str


def communication_services(url: str) -> Exchange:
    """Return the exchange of the Communication Services emulator."""
    return Exchange(url=url, ring="ring", press="press")


def sip(url: str) -> Exchange:
    """Return the exchange of the Realtime emulator."""
    return Exchange(url=url, ring="incoming-sip", press="dtmf")


class Telephone:
    """One call. Use as an async context manager, which hangs up."""

    def __init__(self, exchange: Exchange) -> None:
        self.call_id = ""
        self._exchange = exchange
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_REQUEST_S))

    async def __aenter__(self) -> Telephone:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.hang_up()
        except TelephoneError:
            pass  # the emulator is gone, and its calls with it
        finally:
            await self._http.close()

    async def ring(self, number: str, *, caller: str) -> None:
        """Call a number; somebody answers later, or nobody."""
        called = await self._post(self._exchange.ring, {"from": caller, "to": number})
        self.call_id = str(called.get("call_id") or called["id"])

    async def answered(self, *, timeout_s: float = 40.0) -> None:
        """Wait until somebody picks up; raise TelephoneError where nobody does."""
        deadline = time.monotonic() + timeout_s
        while (call := await self.state())["state"] not in _UP:
            if call["state"] == "ended":
                raise TelephoneError(f"The call was not answered: {call['end_reason']}.")
            if time.monotonic() > deadline:
                raise TelephoneError(f"The call was not answered within {timeout_s:g} s.")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def state(self) -> dict[str, object]:
        """Return the call as the carrier shows it."""
        return _object(await self._ask("GET", f"calls/{self.call_id}"))

    async def events(self, *, after: int = 0) -> list[dict[str, object]]:
        """Return what happened at the carrier, oldest first; only what is numbered above `after`."""
        query = {"after": str(after)}
        found = _object(await self._ask("GET", f"calls/{self.call_id}/events", query=query))
        return cast("list[dict[str, object]]", found["events"])

    async def say(self, pcm16: bytes, *, participant: str = "") -> None:
        """Speak PCM16 mono at 24 kHz; return when it is said. `participant`: somebody else in the call."""
        query = {"participant": participant} if participant else {}
        path = f"calls/{self.call_id}/say"
        await self._ask("POST", path, _wav(pcm16), kind="audio/wav", query=query)

    async def press(self, keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            await self._post(f"calls/{self.call_id}/{self._exchange.press}", {"digits": key})
            await asyncio.sleep(_KEY_EVERY_S)

    async def hears(self, milliseconds: int, *, timeout_s: float = 20.0) -> None:
        """Wait until so much sound was heard from now on; raise TelephoneError where it was not in time."""
        await self._listen("sound", milliseconds, timeout_s)

    async def hears_nothing(self, milliseconds: int, *, timeout_s: float = 90.0) -> None:
        """Wait until it was quiet for so long; raise TelephoneError where it was not in time."""
        await self._listen("quiet", milliseconds, timeout_s)

    async def over(self) -> bool:
        """Whether the call has ended, whoever ended it."""
        return (await self.state())["state"] == "ended"

    async def hang_up(self) -> None:
        """Put the receiver down; nothing happens where the call is over."""
        if self.call_id and not await self.over():
            await self._post(f"calls/{self.call_id}/hang-up", {})

    async def heard(self) -> bytes:
        """Return what was heard since the call began, as a WAV file."""
        return await self._ask("GET", f"calls/{self.call_id}/heard.wav")

    async def _listen(self, until: str, milliseconds: int, timeout_s: float) -> None:
        body = {"until": until, "ms": milliseconds, "timeout_ms": round(timeout_s * 1000)}
        await self._post(f"calls/{self.call_id}/listen", body)

    async def _post(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        return _object(await self._ask("POST", path, json.dumps(body).encode()))

    async def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        kind: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> bytes:
        url = f"{self._exchange.url}/_emu/{path}"
        headers = {"Content-Type": kind} if body is not None else {}
        try:
            async with self._http.request(method, url, data=body, params=query, headers=headers) as answer:
                told = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TelephoneError(f"{url} does not answer ({error or type(error).__name__}).") from error
        if answer.status >= 300:
            raise TelephoneError(f"{url} answered {answer.status}: {told[:500].decode(errors='replace')}")
        return told


def _object(answer: bytes) -> dict[str, object]:
    return cast("dict[str, object]", json.loads(answer or b"{}"))


def _wav(pcm16: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setparams((1, 2, _RATE, 0, "NONE", ""))
        recording.writeframes(pcm16)
    return file.getvalue()
