"""The telephone's side of the Communication Services emulator, for tests."""

from __future__ import annotations

from typing import Any

import aiohttp

from tests.support.eventually import eventually


class CarrierLine:
    """Rings, listens, hangs up, and plans faults, through `/_emu`."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self._http = http

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask an admin route; it must succeed."""
        async with self._http.request(method, f"{self.url}/_emu/{path}", json=body) as answer:
            text = await answer.text()
            assert answer.status < 300, (method, path, answer.status, text)
            return await answer.json() if text else None

    async def subscribe(self, url: str, name: str, schema: str = "eventgrid") -> None:
        """Let Event Grid deliver to `url`, and wait until it is validated."""
        await self.ask("POST", "event-grid/subscriptions", {"url": url, "schema": schema, "name": name})

        async def validated() -> bool:
            found = (await self.ask("GET", "event-grid"))["subscriptions"]
            return any(each["name"] == name and each["state"] == "validated" for each in found)

        await eventually(validated, within=10, what=f"the subscription {name} is validated")

    async def unsubscribe(self, name: str) -> None:
        await self.ask("DELETE", f"event-grid/subscriptions/{name}")

    async def ring(self, **body: object) -> Any:
        """A call comes in; return it."""
        return await self.ask("POST", "ring", body)

    async def call(self, call_id: str) -> Any:
        return await self.ask("GET", f"calls/{call_id}")

    async def calls(self) -> list[Any]:
        return (await self.ask("GET", "calls"))["calls"]

    async def on(self, call_id: str, action: str, **body: object) -> Any:
        return await self.ask("POST", f"calls/{call_id}/{action}", body)

    async def becomes(self, call_id: str, *states: str, within: float = 10.0) -> Any:
        """Wait until a call is in one of these states, and return it."""

        async def there() -> Any:
            call = await self.call(call_id)
            return call if call["state"] in states else None

        return await eventually(there, within=within, what=f"{call_id} becomes {' or '.join(states)}")

    async def events(self, call_id: str, what: str) -> list[Any]:
        events = (await self.ask("GET", f"calls/{call_id}/events"))["events"]
        return [event for event in events if event["what"] == what]

    async def told(self, call_id: str, name: str, *, within: float = 10.0) -> Any:
        """Wait until a callback of this name has been delivered with success; return its delivery."""

        async def delivered() -> Any:
            for event in await self.events(call_id, "callback"):
                if name in event["events"] and event["answers"][-1] == 200:
                    return event
            return None

        return await eventually(delivered, within=within, what=f"{call_id} has told {name}")

    async def deliveries(self, *, within: float = 10.0) -> list[Any]:
        """Wait until Event Grid has nothing under way; return all deliveries."""

        async def settled() -> list[Any] | None:
            found = (await self.ask("GET", "event-grid"))["deliveries"]
            return None if any(each["state"] == "waiting" for each in found) else found

        found = await eventually(settled, within=within, what="Event Grid has delivered all")
        assert found is not None
        return found

    async def number(self, number: str, outcome: str, **body: object) -> None:
        """Set what happens when this number is called."""
        await self.ask("POST", "phones", {"number": number, "outcome": outcome, **body})

    async def fault(self, kind: str, **fault: object) -> None:
        await self.ask("POST", "faults", {"kind": kind, **fault})

    async def forget_faults(self) -> None:
        await self.ask("DELETE", "faults")
