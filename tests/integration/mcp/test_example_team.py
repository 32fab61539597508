"""The example team's billing desk in a call: every process real, the billing system reached over MCP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agents.servers.billing.ledger import Ledger
from shared.security.tokens import TokenRing
from tests.integration.functions.api_client import OFFER
from tests.support.billing_stack import BillingStack
from tests.support.eventually import eventually
from tests.support.stack import REPOSITORY, RunningFunctions

MEMBER = "48291734"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[BillingStack]:
    with BillingStack(tmp_path) as running:
        running.start_redis()
        running.start_realtime("--no-speech", "--no-media", "--mind-dir", str(REPOSITORY / "agents"))
        running.start_billing()
        yield running


class Call:
    """A caller of the line who writes, and what the agents said."""

    def __init__(self, stack: BillingStack, functions: RunningFunctions, http: aiohttp.ClientSession) -> None:
        self.functions = functions
        self._stack = stack
        self._http = http
        self._key = {"x-functions-key": functions.key}
        self.session_id = ""
        self._call_id = ""

    async def begin(self) -> None:
        url = f"{self.functions.url}/api/v1/sessions?agent=member_services"
        headers = {**self._key, "Content-Type": "application/sdp"}
        async with self._http.post(url, data=OFFER, headers=headers) as reply:
            assert reply.status == 201, await reply.text()
            self.session_id = reply.headers["Location"].rpartition("/")[2]
        async with self._http.get(f"{self._stack.provider_url}/_emu/calls") as reply:
            (one,) = (await reply.json())["calls"]
            self._call_id = one["id"]

    async def say(self, words: str, *, hears: str) -> None:
        """Say something and wait for an answer with these words."""
        url = f"{self._stack.provider_url}/_emu/calls/{self._call_id}/say"
        async with self._http.post(url, json={"text": words}) as reply:
            assert reply.status == 200, await reply.text()
        await self.hears(hears)

    async def hears(self, words: str) -> None:
        async def said() -> bool:
            return any(words in turn["text"] for turn in (await self.transcript())["turns"])

        try:
            await eventually(said, within=20)
        except AssertionError:
            told = await self.transcript()
            last = [turn["text"] for turn in told["turns"][-3:]], told["tools"][-2:]
            raise AssertionError(f"{words!r} was not said: {last}\n{self._stack.logs()}") from None

    async def transcript(self) -> Any:
        url = f"{self.functions.url}/api/v1/sessions/{self.session_id}/transcript"
        async with self._http.get(url, headers=self._key) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()


async def approve(call: Call, stack: BillingStack, http: aiohttp.ClientSession) -> None:
    """Say yes to what waits, as Ruth."""
    token = TokenRing(stack.signing_keys).issue_approver_token("Ruth", 60)
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{call.functions.url}/api/v1/approvals"

    async def waiting() -> list[dict[str, str]]:
        async with http.get(url, headers=headers) as reply:
            return (await reply.json())["approvals"]

    (asked,) = await eventually(waiting, what="an approval that waits")
    assert asked["question"].startswith("Refund 250.00 dollars of invoice INV-1988?")
    yes = {"decision": "approve"}
    async with http.post(f"{url}/{asked['approval_id']}", json=yes, headers=headers) as reply:
        assert reply.status == 200, await reply.text()


async def test_a_member_pays_and_gets_money_back_over_mcp(stack: BillingStack) -> None:
    functions = stack.start_functions(**stack.mcp)
    worker = stack.start_worker(functions, **stack.mcp)
    assert worker.url
    books = Ledger(stack.books)
    async with aiohttp.ClientSession() as http:
        call = Call(stack, functions, http)
        await call.begin()
        await call.say("I have a question about an invoice", hears="What is your member number?")
        await call.say(" ".join(MEMBER), hears="in which year were you born?")
        await call.say("1984", hears="This is billing.")
        await call.say("which invoices are open", hears="monthly premium")
        await call.say("I want to pay invoice 2041", hears="the receipt is P")
        assert books.invoice(MEMBER, "INV-2041").open_cents == 0

        refund = "please refund 250 dollars of invoice 1988"
        await call.say(refund, hears="asking for that")
        await approve(call, stack, http)
        await call.hears("You get 250.00 dollars back")
        assert books.invoice(MEMBER, "INV-1988").refunded_cents == 25_000
        tools = {tool["name"]: tool for tool in (await call.transcript())["tools"]}
        assert tools["billing__refund_payment"]["execution"] == "durable"
        assert MEMBER not in tools["billing__pay_invoice"]["arguments"]
