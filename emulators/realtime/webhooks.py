"""Webhook endpoints, and signed deliveries to them (Standard Webhooks, as the openai SDK verifies).

Sources: `openai/lib/_webhooks.py` and `openai/resources/webhooks` of the public Python SDK.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import aiohttp
import orjson

from emulators.realtime.ids import IdSource
from emulators.realtime.session.validation import missing, only_keys, wrong_type
from emulators.realtime.wire import Json, RejectedError, as_list

logger = logging.getLogger(__name__)

_USER_AGENT = "OpenAI/1.0 (+https://platform.openai.com/docs/webhooks)"
_DELIVERY_TIMEOUT = aiohttp.ClientTimeout(total=10)
_SECRET_PREFIX = "whsec_"  # noqa: S105 (the public prefix of signing secrets)


@dataclass(kw_only=True)
class WebhookEndpoint:
    """A registered receiver. `secret` signs; it is shown only once."""

    id: str
    name: str
    url: str
    event_types: list[str]
    created_at: int
    secret: str = field(repr=False)

    def shown(self) -> Json:
        """Return the endpoint as the API lists it."""
        return {
            "id": self.id,
            "object": "webhook.endpoint",
            "name": self.name,
            "url": self.url,
            "event_types": self.event_types,
            "created_at": self.created_at,
            "signing_secret_hint": f"{_SECRET_PREFIX}...{self.secret[-4:]}",
        }


class WebhookEndpoints:
    """The registered receivers."""

    def __init__(self, ids: IdSource) -> None:
        self._ids = ids
        self._endpoints: dict[str, WebhookEndpoint] = {}

    def create(self, body: Json, *, secret: str | None = None) -> Json:
        """Register a receiver; the answer holds the `signing_secret` this once."""
        name, url, event_types = _checked(body)
        endpoint = WebhookEndpoint(
            id=self._ids.new("we"),
            name=name,
            url=url,
            event_types=event_types,
            created_at=int(time.time()),
            secret=secret or _SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode(),
        )
        self._endpoints[endpoint.id] = endpoint
        return {**endpoint.shown(), "signing_secret": endpoint.secret}

    def list(self) -> Json:
        """Return all receivers as the API lists them."""
        data = [endpoint.shown() for endpoint in self._endpoints.values()]
        return {"object": "list", "data": data, "has_more": False}

    def get(self, endpoint_id: str) -> WebhookEndpoint:
        """Return one receiver; raises RejectedError (404) when it is unknown."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None:
            raise RejectedError(
                "not_found", f"No webhook endpoint found with id '{endpoint_id}'.", status=404
            )
        return endpoint

    def update(self, endpoint_id: str, body: Json) -> Json:
        """Change name, address or event types; the secret stays."""
        endpoint = self.get(endpoint_id)
        current: Json = {
            "name": endpoint.name,
            "url": endpoint.url,
            "event_types": endpoint.event_types,
        }
        endpoint.name, endpoint.url, endpoint.event_types = _checked({**current, **body})
        return endpoint.shown()

    def delete(self, endpoint_id: str) -> Json:
        """Forget a receiver."""
        del self._endpoints[self.get(endpoint_id).id]
        return {"id": endpoint_id, "object": "webhook.endpoint", "deleted": True}

    def for_event(self, event_type: str) -> list[WebhookEndpoint]:
        """Return the receivers that want events of this type."""
        return [one for one in self._endpoints.values() if event_type in one.event_types]


def _checked(body: Json) -> tuple[str, str, list[str]]:
    only_keys(body, ("name", "url", "event_types"), "body")
    for name in ("name", "url", "event_types"):
        if body.get(name) is None:
            raise missing(name)
    name, url = body["name"], body["url"]
    event_types = as_list(body["event_types"])
    if not isinstance(name, str) or not name:
        raise wrong_type(name, "a string", "name")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise RejectedError("invalid_value", "'url' must be an http or https address.", param="url")
    if not event_types or not all(isinstance(entry, str) for entry in event_types):
        raise wrong_type(body["event_types"], "an array of strings", "event_types")
    return name, url, [str(entry) for entry in event_types]


def signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Return the `webhook-signature` header: HMAC-SHA256 over `<id>.<timestamp>.<body>`, base64."""
    key = (
        base64.b64decode(secret[len(_SECRET_PREFIX) :])
        if secret.startswith(_SECRET_PREFIX)
        else secret.encode()
    )
    signed = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


@dataclass(kw_only=True)
class Delivery:
    """One event on its way to one receiver; `attempts` holds an HTTP status, or an error, each."""

    webhook_id: str
    url: str
    attempts: list[int | str] = field(default_factory=list["int | str"])
    delivered: bool = False

    def shown(self) -> Json:
        """Return the delivery as JSON."""
        return {
            "webhook_id": self.webhook_id,
            "url": self.url,
            "attempts": self.attempts,
            "delivered": self.delivered,
        }


class WebhookSender:
    """Delivers events with retries. Own its `close`."""

    def __init__(self, *, attempts: int, first_delay: float) -> None:
        self._attempts = attempts
        self._first_delay = first_delay
        self._client: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def deliver(
        self, event: Json, endpoints: Iterable[WebhookEndpoint], *, duplicates: int = 0
    ) -> list[Delivery]:
        """Start delivering `event`, `1 + duplicates` times each under the same id; returns what to watch."""
        body = orjson.dumps(event)
        deliveries: list[Delivery] = []
        for endpoint in endpoints:
            webhook_id = f"wh_{secrets.token_hex(12)}"
            for _ in range(1 + duplicates):
                delivery = Delivery(webhook_id=webhook_id, url=endpoint.url)
                deliveries.append(delivery)
                task = asyncio.create_task(self._deliver(delivery, endpoint.secret, body))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return deliveries

    async def close(self) -> None:
        """Give up what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def _deliver(self, delivery: Delivery, secret: str, body: bytes) -> None:
        if self._client is None:
            self._client = aiohttp.ClientSession(timeout=_DELIVERY_TIMEOUT)
        for attempt in range(self._attempts):
            if attempt:
                await asyncio.sleep(self._first_delay * 2 ** (attempt - 1))
            timestamp = int(time.time())
            headers = {
                "content-type": "application/json",
                "user-agent": _USER_AGENT,
                "webhook-id": delivery.webhook_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": signature(secret, delivery.webhook_id, timestamp, body),
            }
            try:
                async with self._client.post(
                    delivery.url, data=body, headers=headers, allow_redirects=False
                ) as answer:
                    delivery.attempts.append(answer.status)
            except (aiohttp.ClientError, TimeoutError) as error:
                delivery.attempts.append(type(error).__name__)
                continue
            if 200 <= answer.status < 300:
                delivery.delivered = True
                return
        logger.warning(
            "A webhook could not be delivered", extra={"url": delivery.url, "attempts": delivery.attempts}
        )
