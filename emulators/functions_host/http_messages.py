"""Between HTTP on the wire and what functions see of it.

Source: `GrpcMessageConversionExtensions.cs` (ToRpcHttp) and `HttpBinding.cs` of the Functions
host. A function sees a body only if the request has a Content-Length: a chunked request
arrives empty, and this host warns about it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import cast

from aiohttp import web
from multidict import CIMultiDict

from emulators.functions_host.app_model import (
    BytesData,
    HttpRequestData,
    HttpResponseData,
    OutputData,
    TextData,
)

logger = logging.getLogger("functions_host.http")

MAX_BODY = 100 * 1024 * 1024
"""Bytes; the host's limit for a request."""


def header_values(request: web.Request) -> Mapping[str, str]:
    """Return the headers: names in lower case, several values joined by a comma."""
    return {name.lower(): ",".join(request.headers.getall(name)) for name in request.headers}


def query_values(request: web.Request) -> Mapping[str, str]:
    """Return the query: several values joined by a comma, empty values dropped."""
    joined = {name: ",".join(v for v in request.query.getall(name) if v) for name in request.query}
    return {name: value for name, value in joined.items() if value}


async def request_data(request: web.Request, route_params: Mapping[str, str]) -> HttpRequestData:
    """Return the request as a function sees it. Raises web.HTTPRequestEntityTooLarge."""
    body = await request.read()
    if body and not request.content_length:
        logger.warning(
            "chunked request reaches the function with an empty body", extra={"path": request.path}
        )
        body = b""
    return HttpRequestData(
        method=request.method,
        url=f"{origin_of(request)}{request.raw_path}",
        headers=header_values(request),
        query=query_values(request),
        route_params=route_params,
        body=body,
    )


def origin_of(request: web.Request) -> str:
    """Return scheme://host as the caller wrote it."""
    return f"{request.scheme}://{request.host}"


def response_of(value: OutputData) -> web.Response:
    """Turn what an HTTP function returned into a response."""
    match value:
        case HttpResponseData():
            return _response(value)
        case TextData(text=text):
            return _from_text(text)
        case BytesData(content=content):
            return web.Response(body=content, content_type="application/octet-stream")
        case None:
            return web.Response(status=204)
        case _:
            return web.Response(text=str(value.number))


def _response(data: HttpResponseData) -> web.Response:
    headers = CIMultiDict(
        {n: v for n, v in data.headers.items() if n.lower() not in ("content-length", "transfer-encoding")}
    )
    for cookie in data.cookies:
        headers.add("Set-Cookie", cookie)
    return web.Response(status=data.status, headers=headers, body=data.body)


def _from_text(text: str) -> web.Response:
    """A returned string that is JSON is taken as a response description, or as JSON."""
    try:
        content = json.loads(text)
    except ValueError:
        return web.Response(text=text)
    if not isinstance(content, dict):
        return web.json_response(content)
    described = cast("Mapping[str, object]", content)
    if "body" not in described:
        return web.json_response(described)
    body = described["body"]
    headers = described.get("headers")
    response = web.Response(text=body) if isinstance(body, str) else web.json_response(body)
    response.set_status(int(str(described.get("status") or described.get("statusCode") or 200)))
    if isinstance(headers, dict):
        response.headers.update({str(n): str(v) for n, v in cast("Mapping[str, object]", headers).items()})
    return response
