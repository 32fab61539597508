"""Start a call through the product's public HTTP API, in either of its two ways.

token: the API hands out an ephemeral secret, the caller posts its SDP offer to the provider by itself and
reports the call id. relay: the caller posts its offer to the API, which does the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, cast
from urllib.parse import quote, urlsplit

import aiohttp

from emulators.caller.peer import WebRtcCaller

CallMode = Literal["token", "relay"]

_LARGEST_BODY_SHOWN = 2_000


class SessionClientError(RuntimeError):
    """A request was refused or went wrong; the message shows the status and the problem body.

    `status` is None where no answer came. `problem` is the answer's JSON object, if it was one.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        problem: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.problem = problem or {}


@dataclass(frozen=True, kw_only=True)
class StartedCall:
    """A session whose call the provider answered. The token is good for this session alone."""

    session_id: str
    call_id: str | None
    """The provider's id (`rtc_...`); None in relay mode, where the API keeps it to itself."""
    client_token: str = field(repr=False)


class SessionClient:
    """Speaks to `{base_url}/api/v1`. Use as an async context manager, or `close()` it."""

    def __init__(self, base_url: str, function_key: str, *, timeout_s: float = 30.0) -> None:
        """`base_url` such as http://127.0.0.1:7071; `function_key` goes into `x-functions-key`."""
        if urlsplit(base_url).scheme not in ("http", "https"):
            raise ValueError(f"the base URL must begin with http:// or https://, got {base_url!r}")
        self._api = base_url.rstrip("/") + "/api/v1"
        self._key = function_key
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s))

    async def __aenter__(self) -> SessionClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._http.close()

    async def start(self, caller: WebRtcCaller, agent: str, mode: CallMode = "token") -> StartedCall:
        """Start a session with `agent` and connect `caller` to it.

        Raises SessionClientError where a request fails, CallError where the SDP answer can't be used. On
        either the caller is left for its owner to hang up.
        """
        if mode == "token":
            return await self._start_with_token(caller, agent)
        return await self._start_by_relay(caller, agent)

    async def _start_with_token(self, caller: WebRtcCaller, agent: str) -> StartedCall:
        granted = await self._post_json(
            f"{self._api}/token", {"agent": agent}, {"x-functions-key": self._key}, "ask for a token"
        )
        session_id = _text_member(granted, "session_id", "the token")
        client_token = _text_member(granted, "client_token", "the token")
        calls_url = _text_member(granted, "calls_url", "the token")
        secret = granted.get("client_secret")
        if not isinstance(secret, dict):
            raise SessionClientError("answer_incomplete", "the token's answer has no object `client_secret`")
        value = _text_member(cast(dict[str, object], secret), "value", "the token's client_secret")

        answer, headers = await self._post_offer(
            calls_url,
            await caller.offer(),
            {"Authorization": f"Bearer {value}"},
            "offer the call to the provider",
        )
        call_id = _last_path_segment(headers, "the provider's answer")
        await caller.accept(answer)
        await self._post_json(
            f"{self._api}/sessions/{quote(session_id, safe='')}/call",
            {"call_id": call_id},
            {"Authorization": f"Bearer {client_token}"},
            "report the call id",
        )
        return StartedCall(session_id=session_id, call_id=call_id, client_token=client_token)

    async def _start_by_relay(self, caller: WebRtcCaller, agent: str) -> StartedCall:
        answer, headers = await self._post_offer(
            f"{self._api}/sessions?agent={quote(agent, safe='')}",
            await caller.offer(),
            {"x-functions-key": self._key},
            "offer the call to the API",
        )
        session_id = _last_path_segment(headers, "the API's answer")
        client_token = headers.get("x-sidetone-client-token", "")
        if not client_token:
            raise SessionClientError("answer_incomplete", "the API's answer has no x-sidetone-client-token")
        await caller.accept(answer)
        return StartedCall(session_id=session_id, call_id=None, client_token=client_token)

    async def _post_json(
        self, url: str, body: Mapping[str, object], headers: Mapping[str, str], purpose: str
    ) -> dict[str, object]:
        try:
            async with self._http.post(url, json=body, headers=headers) as response:
                text = await response.text()
                problem = _json_object(response, text)
                if response.status // 100 != 2:
                    raise _refused(purpose, url, response.status, text, problem)
                return problem
        except (aiohttp.ClientError, TimeoutError) as problem:
            raise _unreachable(purpose, url, problem) from problem

    async def _post_offer(
        self, url: str, sdp: str, headers: Mapping[str, str], purpose: str
    ) -> tuple[str, Mapping[str, str]]:
        sent = {"Content-Type": "application/sdp", **headers}
        try:
            async with self._http.post(url, data=sdp.encode(), headers=sent) as response:
                text = await response.text()
                if response.status != 201:
                    raise _refused(purpose, url, response.status, text, _json_object(response, text))
                return text, response.headers
        except (aiohttp.ClientError, TimeoutError) as problem:
            raise _unreachable(purpose, url, problem) from problem


def _json_object(response: aiohttp.ClientResponse, text: str) -> dict[str, object]:
    if "json" not in response.content_type:
        return {}
    try:
        value: object = json.loads(text)
    except ValueError:
        return {}
    return cast(dict[str, object], value) if isinstance(value, dict) else {}


def _refused(
    purpose: str, url: str, status: int, text: str, problem: Mapping[str, object]
) -> SessionClientError:
    shown = text.strip()[:_LARGEST_BODY_SHOWN] or "(no body)"
    return SessionClientError(
        "request_refused",
        f"could not {purpose}: {_without_query(url)} answered {status}: {shown}",
        status=status,
        problem=problem,
    )


def _unreachable(purpose: str, url: str, problem: BaseException) -> SessionClientError:
    return SessionClientError(
        "service_unreachable",
        f"could not {purpose}: no answer from {_without_query(url)} "
        f"({problem or type(problem).__name__}); check that it is running",
    )


def _without_query(url: str) -> str:
    return url.split("?", 1)[0]


def _text_member(answer: Mapping[str, object], name: str, of: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise SessionClientError("answer_incomplete", f"the answer for {of} has no text `{name}`")
    return value


def _last_path_segment(headers: Mapping[str, str], of: str) -> str:
    segment = urlsplit(headers.get("Location", "")).path.rstrip("/").rsplit("/", 1)[-1]
    if not segment:
        raise SessionClientError("answer_incomplete", f"{of} has no Location header with an id in it")
    return segment
