"""`make approve`."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from emulators.local.addresses import Addresses
from emulators.local.approve import decide
from emulators.local.errors import LocalStackError

ASKED = {"approval_id": "apr_1", "question": "Refund 500?"}


class Stack:
    """The two routes that are used. `waiting`: what is pending."""

    def __init__(self) -> None:
        self.waiting: list[dict[str, str]] = [ASKED]
        self.decided: list[dict[str, Any]] = []
        app = web.Application()
        app.router.add_get("/api/v1/approvals", self.pending)
        app.router.add_post("/api/v1/approvals/{id}", self.decide)
        self.server = TestServer(app)

    async def pending(self, request: web.Request) -> web.Response:
        if request.headers["Authorization"] != "Bearer token":
            return web.json_response({"code": "approver_token_invalid"}, status=401)
        return web.json_response({"approvals": self.waiting, "next": None})

    async def decide(self, request: web.Request) -> web.Response:
        self.decided.append(await request.json())
        return web.json_response({"state": "rejected", "decided_by": "me"})

    def addresses(self, token: str = "token") -> Addresses:
        url = str(self.server.make_url("")).rstrip("/")
        return Addresses(
            pid=1,
            functions_url=url,
            function_key="",
            approver_token=token,
            worker_url="",
            realtime_url="",
            redis_url="",
            traces_url="",
        )


async def test_the_oldest_is_decided_and_told() -> None:
    stack = Stack()
    async with stack.server:
        told = await decide(stack.addresses(), reject=True, comment="No.")
        assert told == "Refund 500?  rejected by me"
        assert stack.decided == [{"decision": "reject", "comment": "No."}]


async def test_what_is_wrong_is_said() -> None:
    stack = Stack()
    async with stack.server:
        with pytest.raises(LocalStackError, match="answered 401"):
            await decide(stack.addresses("wrong"), reject=False, comment="")
        stack.waiting = []
        with pytest.raises(LocalStackError, match="Nothing waits"):
            await decide(stack.addresses(), reject=False, comment="")
