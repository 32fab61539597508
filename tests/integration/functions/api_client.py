"""Speaks to the API as its callers do, and checks every answer against the OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import jsonschema

from functions.openapi import document
from tests.support.stack import RunningFunctions

OFFER = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
_DOCUMENT: Any = document()


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer of the API."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    def problem(self) -> tuple[int, str]:
        """Return (status, code) of a problem; fails the test when this is none."""
        assert self.headers.get("content-type", "").startswith("application/problem+json"), self
        body = self.json
        assert body["status"] == self.status
        assert body["detail"]
        return self.status, body["code"]


class Api:
    """One caller: an application with a function key, a client or a worker with a token."""

    def __init__(self, functions: RunningFunctions, **headers: str) -> None:
        self._functions = functions
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @classmethod
    def application(cls, functions: RunningFunctions, key: str = "default") -> Api:
        return cls(functions, x_functions_key=functions.keys[key])

    @classmethod
    def bearer(cls, functions: RunningFunctions, token: str) -> Api:
        return cls(functions, Authorization=f"Bearer {token}")

    def with_headers(self, **headers: str) -> Api:
        """Return the same caller, with these headers besides."""
        kept = {name.replace("-", "_"): value for name, value in self._headers.items()}
        return Api(self._functions, **kept, **headers)

    async def get(self, path: str, **query: str) -> Reply:
        return await self.send("GET", path, query=query)

    async def delete(self, path: str) -> Reply:
        return await self.send("DELETE", path)

    async def post(self, path: str, body: object = None, **query: str) -> Reply:
        data = None if body is None else json.dumps(body).encode()
        return await self.send("POST", path, data=data, content_type="application/json", query=query)

    async def offer(self, agent: str, sdp: str = OFFER, content_type: str = "application/sdp") -> Reply:
        return await self.send(
            "POST", "/sessions", data=sdp.encode(), content_type=content_type, query={"agent": agent}
        )

    async def send(
        self,
        method: str,
        path: str,
        *,
        data: bytes | None = None,
        content_type: str = "",
        query: Mapping[str, str] | None = None,
    ) -> Reply:
        headers = dict(self._headers)
        if data is not None and content_type:
            headers["Content-Type"] = content_type
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http,
            http.request(
                method, self._functions.api + path, data=data, params=dict(query or {}), headers=headers
            ) as response,
        ):
            reply = Reply(
                status=response.status,
                headers={name.lower(): value for name, value in response.headers.items()},
                text=await response.text(),
            )
        _check(method, path, reply)
        return reply


def _check(method: str, path: str, reply: Reply) -> None:
    """Fail unless the document has this status for the operation, and the body fits its schema."""
    described = _operation(method, path)["responses"]
    if reply.status == 401 and not reply.text:
        return  # the host's own answer to a wrong key
    assert str(reply.status) in described, f"{method} {path}: {reply.status} is not documented: {reply.text}"
    content = described[str(reply.status)].get("content", {})
    given = reply.headers.get("content-type", "").split(";")[0]
    if not content:
        assert reply.text == "", f"{method} {path}: no body is documented"
        return
    assert given in content, f"{method} {path}: {given} is not documented"
    schema = {**content[given]["schema"], "components": _DOCUMENT["components"]}
    if given.endswith("json"):
        jsonschema.validate(reply.json, schema, cls=jsonschema.Draft202012Validator)
    if given == "application/problem+json":
        code = reply.json["code"]
        assert code in described[str(reply.status)]["description"], (
            f"{method} {path}: {code} is not documented"
        )


def _operation(method: str, path: str) -> Any:
    for template, methods in _DOCUMENT["paths"].items():
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", template)
        if re.fullmatch(pattern, "/api/v1" + path) and method.lower() in methods:
            return methods[method.lower()]
    raise AssertionError(f"{method} {path} is not documented")
