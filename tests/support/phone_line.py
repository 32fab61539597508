"""The realtime service's side of phone calls for tests: rings, and signed webhooks of any kind."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import aiohttp

from emulators.realtime.webhooks import signature
from tests.support.eventually import eventually
from tests.support.stack import RunningFunctions, Stack

CALLER, CALLED = "+15550100", "+15550199"
PATH = "/webhooks/realtime"
_ENDPOINTS = "dashboard/webhook_endpoints"
_NOWHERE = "http://127.0.0.1:9/"


class PhoneLine:
    """Two webhook endpoints at the realtime emulator, each with its secret; the second one is idle."""

    def __init__(self, stack: Stack, http: aiohttp.ClientSession) -> None:
        self._stack = stack
        self._http = http
        self._endpoints: list[dict[str, str]] = []

    async def register(self) -> str:
        """Make the endpoints, leading nowhere yet; return what REALTIME_WEBHOOK_SECRETS shall be."""
        for name in ("first", "second"):
            body = {"name": name, "url": _NOWHERE, "event_types": ["batch.completed"]}
            self._endpoints.append(await self._provider(_ENDPOINTS, body))
        return ",".join(self.secrets)

    @property
    def secrets(self) -> list[str]:
        return [endpoint["signing_secret"] for endpoint in self._endpoints]

    async def connect(self, functions: RunningFunctions, endpoint: int = 0) -> None:
        """Let an endpoint tell `functions` of calls."""
        change = {"url": functions.api + PATH, "event_types": ["realtime.call.incoming"]}
        await self._provider(f"{_ENDPOINTS}/{self._endpoints[endpoint]['id']}", change)

    async def disconnect(self, endpoint: int = 0) -> None:
        """Let an endpoint tell nobody of anything."""
        await self._provider(
            f"{_ENDPOINTS}/{self._endpoints[endpoint]['id']}", {"event_types": ["batch.completed"]}
        )

    async def ring(self, caller: str = CALLER, called: str = CALLED, **options: object) -> str:
        """A call comes in; return its id."""
        body = {"from": caller, "to": called, **options}
        return (await self.emulate("POST", "/_emu/incoming-sip", body))["call_id"]

    async def call(self, call_id: str) -> Any:
        """Return a call as the service sees it."""
        return await self.emulate("GET", f"/_emu/calls/{call_id}")

    async def becomes(self, call_id: str, state: str, *, within: float = 10.0) -> Any:
        """Wait until a call is in `state`, and return it."""

        async def there() -> Any:
            call = await self.call(call_id)
            return call if call["state"] == state else None

        return await eventually(there, within=within, what=f"{call_id} becomes {state}")

    async def delivered(self, call_id: str, *, within: float = 15.0) -> list[int | str]:
        """Wait until all webhooks of a call are delivered; return the answers they got, in their order."""

        async def all_delivered() -> list[Any] | None:
            deliveries = (await self.call(call_id))["webhook_deliveries"]
            return deliveries if all(delivery["delivered"] for delivery in deliveries) else None

        deliveries = await eventually(all_delivered, within=within, what=f"webhooks of {call_id}")
        assert deliveries is not None
        return [attempt for delivery in deliveries for attempt in delivery["attempts"]]

    async def accept(self, call_id: str) -> None:
        """Accept a call, as somebody did of whom nothing more was heard."""
        session = {"type": "realtime", "model": "gpt-realtime", "instructions": "Wait."}
        await self._provider(f"realtime/calls/{call_id}/accept", session)

    async def fault(self, **fault: object) -> None:
        await self.emulate("POST", "/_emu/faults", {"kind": "http", **fault})

    async def forget_faults(self) -> None:
        await self.emulate("DELETE", "/_emu/faults")

    async def emulate(self, method: str, path: str, body: object = None) -> Any:
        async with self._http.request(method, self._stack.provider_url + path, json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def _provider(self, path: str, body: object) -> Any:
        url = f"{self._stack.provider_url}/openai/v1/{path}"
        async with self._http.post(url, json=body, headers={"api-key": self._stack.provider_key}) as answer:
            assert answer.status == 200, await answer.text()
            return json.loads(await answer.text() or "null")


def incoming(call_id: str, *, age_s: int = 0, caller: str = CALLER, called: str = CALLED) -> bytes:
    """Return the body of the event that a call rings."""
    data = {
        "call_id": call_id,
        "sip_headers": [
            {"name": "From", "value": f'"Ann" <sip:{caller}@carrier.example>;tag=a1'},
            {"name": "To", "value": f"<sip:{called}@sip.example>"},
        ],
    }
    return event("realtime.call.incoming", data, age_s=age_s)


def event(kind: str, data: object, *, age_s: int = 0) -> bytes:
    created_at = int(time.time()) - age_s
    return json.dumps({"id": "evt_1", "type": kind, "created_at": created_at, "data": data}).encode()


def signed(secret: str, body: bytes, *, webhook_id: str = "", age_s: int = 0) -> dict[str, str]:
    """Return the headers of a delivery of `body`."""
    webhook_id = webhook_id or f"wh_{secrets.token_hex(8)}"
    at = int(time.time()) - age_s
    return {
        "Webhook-Id": webhook_id,
        "Webhook-Timestamp": str(at),
        "Webhook-Signature": signature(secret, webhook_id, at, body),
        "Content-Type": "application/json",
    }
