"""HTTP to an MCP server, where the trouble of one request stays the trouble of that request.

The SDK's transport sends every POST in one task group: an exception in one of them breaks the connection
under all calls that are under way. Here what breaks, and what is too long to read, becomes a JSON-RPC error
that answers the one request. Source of the shapes: MCP, streamable HTTP; JSON-RPC 2.0.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import cache
from http import HTTPStatus

import httpx2
from mcp.client.auth import OAuthFlowError
from pydantic_core import to_json

from shared.errors import SidetoneError
from shared.mcp.failures import WireFailure
from shared.telemetry.logs import get_logger

# How long the way to a server may take; the wait for its answer has the call's own limit.
CONNECT_S = 3.0

_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
_UNAUTHORIZED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_JSON = "application/json"
# A short body that unpacks to a gigabyte would be past every limit before it is counted.
_UNPACKED = {"accept-encoding": "identity"}

_log = get_logger(__name__)


async def trusted_roots() -> ssl.SSLContext:
    """Return the process's one TLS context: reading its certificates takes too long for an event loop."""
    return await asyncio.to_thread(_trusted_roots)


@cache
def _trusted_roots() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


class GuardedClient(httpx2.AsyncClient):
    """An HTTP client for the SDK's transport that answers for a server that does not.

    max_bytes: the longest JSON answer that is read; a stream's events are bounded by the transport.
    """

    def __init__(
        self, tls: ssl.SSLContext, *, auth: httpx2.Auth | None, max_bytes: int, max_connections: int
    ) -> None:
        super().__init__(
            verify=tls,
            auth=auth,
            headers=_UNPACKED,
            timeout=httpx2.Timeout(CONNECT_S, read=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=max_connections),
        )
        self._max_bytes = max_bytes

    async def send(  # type: ignore[override]  # narrower keywords than upstream: what the transport passes
        self, request: httpx2.Request, *, stream: bool = False, follow_redirects: bool = False
    ) -> httpx2.Response:
        """Return the response to a POST, or one that tells why there is none; others as they come."""
        if request.method != "POST":
            return await super().send(request, stream=stream, follow_redirects=follow_redirects)
        try:
            response = await super().send(request, stream=True, follow_redirects=follow_redirects)
        except (OAuthFlowError, SidetoneError) as error:
            code = error.code if isinstance(error, SidetoneError) else type(error).__name__
            _log.error("no credential for an MCP server", extra={"code": code})
            return _failed(request, WireFailure.UNAUTHORIZED, HTTPStatus.UNAUTHORIZED)
        except _NEVER_SENT:
            return _failed(request, WireFailure.NOT_SENT, HTTPStatus.SERVICE_UNAVAILABLE)
        except httpx2.TransportError:
            return _failed(request, WireFailure.LOST, HTTPStatus.BAD_GATEWAY)
        try:
            return await self._guarded(request, response)
        except httpx2.TransportError:
            await response.aclose()
            return _failed(request, WireFailure.LOST, HTTPStatus.BAD_GATEWAY)

    async def _guarded(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        status, kind = response.status_code, response.headers.get("content-type", "").lower()
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            return _failed(request, WireFailure.REFUSED, HTTPStatus.BAD_GATEWAY)
        if kind.startswith(_JSON) and not response.is_redirect:
            body = await self._body(response)
            if body is None:
                return _failed(request, WireFailure.TOO_LARGE, HTTPStatus.BAD_GATEWAY)
            if status not in _UNAUTHORIZED or b'"jsonrpc"' in body:
                return httpx2.Response(status, headers=response.headers, content=body, request=request)
        if status in _UNAUTHORIZED:
            await response.aclose()
            return _failed(request, WireFailure.UNAUTHORIZED, status)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            await response.aclose()
            return _failed(request, WireFailure.REFUSED, status)
        return response

    async def _body(self, response: httpx2.Response) -> bytes | None:
        """Return the whole body, or None for one that is too long."""
        body = bytearray()
        try:
            async for part in response.aiter_raw():
                body += part
                if len(body) > self._max_bytes:
                    return None
        finally:
            await response.aclose()
        return bytes(body)


def _failed(request: httpx2.Request, failure: WireFailure, status: int) -> httpx2.Response:
    """Return a JSON-RPC error without an id: the transport gives it the request's."""
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": int(failure), "message": failure.name.lower()}}
    return httpx2.Response(status, headers={"content-type": _JSON}, content=to_json(error), request=request)
