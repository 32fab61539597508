"""Read a session over the public HTTP API, as an operator's program would."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import cast

import aiohttp

from emulators.local.errors import LocalStackError
from shared.session.codec import LOG
from shared.session.log import LogEntry

_WAIT_S = 10
_LOOK_EVERY_S = 0.1


class SessionApi:
    """Reads sessions. Use as an async context manager."""

    def __init__(self, base_url: str, function_key: str) -> None:
        self._api = base_url.rstrip("/") + "/api/v1"
        self._http = aiohttp.ClientSession(
            headers={"x-functions-key": function_key}, timeout=aiohttp.ClientTimeout(total=_WAIT_S + 20)
        )

    async def __aenter__(self) -> SessionApi:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def follow(self, session_id: str) -> AsyncGenerator[LogEntry, None]:
        """Yield the entries of the session's log as they come, until nothing can follow.

        Raises LocalStackError when the API refuses or cannot be reached.
        """
        after: str | None = "0-0"
        while after is not None:
            page = await self._get(
                f"sessions/{session_id}/events", after=after, limit="200", wait_s=str(_WAIT_S)
            )
            for event in cast("list[dict[str, object]]", page["events"]):
                yield LOG.decode(json.dumps(event))
            after = cast("str | None", page["next"])

    async def session_of_call(self, call_id: str, *, within_s: float = 20.0) -> str:
        """Return the session of a carrier's or provider's call, as soon as there is one.

        Raises LocalStackError when there is none in time, and as `follow`.
        """
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            page = await self._get("sessions", limit="20")
            for session in cast("list[dict[str, object]]", page["sessions"]):
                if session["call_id"] == call_id:
                    return str(session["session_id"])
            await asyncio.sleep(_LOOK_EVERY_S)
        raise LocalStackError(
            f"No session took the call within {within_s:g} s; look into the log of the Functions host."
        )

    async def _get(self, path: str, **query: str) -> dict[str, object]:
        url = f"{self._api}/{path}"
        try:
            async with self._http.get(url, params=query) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise LocalStackError(f"{url} does not answer ({error or type(error).__name__}).") from error
        if response.status != 200:
            raise LocalStackError(f"{url} answered {response.status}: {text[:500]}")
        return json.loads(text)
