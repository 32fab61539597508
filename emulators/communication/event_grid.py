"""The Event Grid system topic of the resource: subscriptions, their validation, deliveries with retries.

Source: Microsoft's "Webhook event delivery", "Event Grid message delivery and retry" and "CloudEvents v1.0
schema with Event Grid".
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

import aiohttp
import msgspec
import orjson

from emulators.communication.faults import FaultPlan
from emulators.communication.media_wire import now, timestamp
from emulators.communication.options import Subscription
from emulators.communication.outbound_http import OutboundHttp
from emulators.communication.owned_tasks import OwnedTasks
from emulators.communication.wire import CONFLICT, NOT_FOUND, Json, RejectedError

logger = logging.getLogger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=30)
_ORIGIN = "eventgrid.azure.net"
_NEVER_AGAIN = frozenset({400, 401, 403, 413})
_LONGEST_PAUSE_S = 60.0
_LONGEST_VALIDATION_PAUSE_S = 5.0
_MOST_HELD = 1000
_KEPT_DELIVERIES = 1000


class EventBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An event to be published as it is, whatever its data (`/_emu/event-grid/events`)."""

    type: str
    subject: str = "/test"
    data: object = msgspec.field(default_factory=dict[str, object])


@dataclass(kw_only=True, slots=True)
class Delivery:
    """One batch on its way to one subscriber; `attempts` holds an HTTP status, or an error, each."""

    subscription: str
    event_ids: list[str]
    event_types: list[str]
    attempts: list[int | str] = field(default_factory=list["int | str"])
    state: Literal["waiting", "delivered", "dropped"] = "waiting"

    def shown(self) -> Json:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(kw_only=True, slots=True)
class Subscriber:
    """A subscription and how far its validation is."""

    subscription: Subscription
    code: str = field(default_factory=lambda: secrets.token_hex(16).upper(), repr=False)
    state: Literal["pending", "validated"] = "pending"
    validation_attempts: list[int | str] = field(default_factory=list["int | str"])
    held: deque[tuple[bytes, Delivery, int]] = field(
        default_factory=lambda: deque[tuple[bytes, Delivery, int]](maxlen=_MOST_HELD)
    )
    tasks: OwnedTasks = field(default_factory=OwnedTasks, repr=False)

    def shown(self) -> Json:
        return {
            "name": self.subscription.name,
            "url": self.subscription.url,
            "schema": self.subscription.schema,
            "state": self.state,
            "validation_attempts": self.validation_attempts[-20:],
            "held": len(self.held),
        }


class EventGrid:
    """Publishes the resource's events. Own its `close`."""

    def __init__(
        self,
        http: OutboundHttp,
        *,
        topic: str,
        base_url: str,
        attempts: int,
        first_delay: float,
        faults: FaultPlan,
    ) -> None:
        self.subscribers: list[Subscriber] = []
        self.deliveries: deque[Delivery] = deque(maxlen=_KEPT_DELIVERIES)
        self._http = http
        self._topic = topic
        self._base_url = base_url
        self._attempts = attempts
        self._first_delay = first_delay
        self._faults = faults

    def subscribe(self, subscription: Subscription) -> Subscriber:
        """Add a subscription; it is validated until it works, and gets its events from then on.

        An endpoint that is not up yet is asked again; events that come meanwhile are held. Raises
        RejectedError (409) for a name that is taken.
        """
        if any(known.subscription.name == subscription.name for known in self.subscribers):
            raise RejectedError(409, CONFLICT, "There is a subscription of this name already.")
        subscriber = Subscriber(subscription=subscription)
        self.subscribers.append(subscriber)
        subscriber.tasks.start(self._validate(subscriber))
        return subscriber

    async def unsubscribe(self, name: str) -> None:
        """End a subscription and what is on its way to it; raises RejectedError (404)."""
        ending = [each for each in self.subscribers if each.subscription.name == name]
        if not ending:
            raise RejectedError(404, NOT_FOUND, "There is no subscription of this name.")
        for subscriber in ending:
            self.subscribers.remove(subscriber)
            await subscriber.tasks.close()

    def validated_by_url(self, name: str, code: str) -> bool:
        """Take a GET of `validationUrl`; tell whether it was right."""
        for subscriber in self.subscribers:
            if subscriber.subscription.name == name and secrets.compare_digest(subscriber.code, code):
                self._validated(subscriber)
                return True
        return False

    def publish(self, events: list[EventBody], *, duplicates: int = 0) -> list[Delivery]:
        """Deliver `events` as one batch to every subscriber, `1 + duplicates` times under the same ids."""
        ids = [str(uuid4()) for _ in events]
        at = timestamp(now())
        if self._faults.take("event_grid_drop") is not None:
            return []
        if self._faults.take("event_grid_duplicate") is not None:
            duplicates += 1
        delay = fault.ms if (fault := self._faults.take("event_grid_delay")) is not None else 0
        started: list[Delivery] = []
        for subscriber in self.subscribers:
            envelopes = [
                self._envelope(subscriber.subscription, event, event_id, at)
                for event, event_id in zip(events, ids, strict=True)
            ]
            single = subscriber.subscription.schema == "cloudevents" and len(envelopes) == 1
            body = orjson.dumps(envelopes[0] if single else envelopes)
            for _ in range(1 + duplicates):
                delivery = Delivery(
                    subscription=subscriber.subscription.name,
                    event_ids=ids,
                    event_types=[event.type for event in events],
                )
                started.append(delivery)
                if subscriber.state == "validated":
                    subscriber.tasks.start(self._deliver(subscriber, body, delivery, delay))
                else:
                    subscriber.held.append((body, delivery, delay))
        self.deliveries.extend(started)
        return started

    async def close(self) -> None:
        """Give up what is under way."""
        await asyncio.gather(*(subscriber.tasks.close() for subscriber in self.subscribers))

    def _envelope(self, subscription: Subscription, event: EventBody, event_id: str, at: str) -> Json:
        if subscription.schema == "cloudevents":
            return {
                "id": event_id,
                "source": self._topic,
                "type": event.type,
                "specversion": "1.0",
                "subject": event.subject,
                "time": at,
                "datacontenttype": "application/json",
                "data": event.data,
            }
        return {
            "id": event_id,
            "topic": self._topic,
            "subject": event.subject,
            "eventType": event.type,
            "dataVersion": "1.0",
            "metadataVersion": "1",
            "eventTime": at,
            "data": event.data,
        }

    async def _deliver(self, subscriber: Subscriber, body: bytes, delivery: Delivery, delay_ms: int) -> None:
        await asyncio.sleep(delay_ms / 1000)
        subscription = subscriber.subscription
        for attempt in range(self._attempts):
            if attempt:
                await asyncio.sleep(min(self._first_delay * 2 ** (attempt - 1), _LONGEST_PAUSE_S))
            status = await self._post(subscription, body, attempt)
            delivery.attempts.append(status)
            if isinstance(status, int) and 200 <= status < 300:
                delivery.state = "delivered"
                return
            if status in _NEVER_AGAIN:
                break
        delivery.state = "dropped"
        logger.warning(
            "An event was not taken and is dropped",
            extra={"subscription": subscription.name, "attempts": delivery.attempts},
        )

    async def _validate(self, subscriber: Subscriber) -> None:
        pause = self._first_delay
        while subscriber.state == "pending":
            by_options = subscriber.subscription.schema == "cloudevents"
            outcome = await (self._ask_origin(subscriber) if by_options else self._ask_code(subscriber))
            subscriber.validation_attempts.append(outcome)
            if subscriber.state == "pending":
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_VALIDATION_PAUSE_S)

    async def _ask_code(self, subscriber: Subscriber) -> int | str:
        subscription = subscriber.subscription
        event: Json = {
            "id": str(uuid4()),
            "topic": self._topic,
            "subject": "",
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "dataVersion": "2",
            "metadataVersion": "1",
            "eventTime": timestamp(now()),
            "data": {
                "validationCode": subscriber.code,
                "validationUrl": f"{self._base_url}/eventsubscriptions/{subscription.name}/validate"
                f"?id={subscriber.code}",
            },
        }
        body = orjson.dumps([event])
        headers = self._headers(subscription, "SubscriptionValidation", 0, body)
        try:
            async with self._http.client.post(
                subscription.url, data=body, headers=headers, timeout=_TIMEOUT
            ) as reply:
                text = await reply.text()
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError) as error:
            return type(error).__name__
        # Only 200 counts: 202 is a failure. Without the code in it, `validationUrl` may still be fetched.
        if reply.status == 200 and _echoed(text) == subscriber.code:
            self._validated(subscriber)
        return reply.status

    async def _ask_origin(self, subscriber: Subscriber) -> int | str:
        headers = {"WebHook-Request-Origin": _ORIGIN, "WebHook-Request-Rate": "120"}
        try:
            async with self._http.client.options(
                subscriber.subscription.url, headers=headers, timeout=_TIMEOUT
            ) as reply:
                allowed = reply.headers.get("WebHook-Allowed-Origin", "")
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__
        if reply.status == 200 and allowed.strip().lower() in (_ORIGIN, "*"):
            self._validated(subscriber)
        return reply.status

    def _validated(self, subscriber: Subscriber) -> None:
        subscriber.state = "validated"
        while subscriber.held:
            body, delivery, delay = subscriber.held.popleft()
            subscriber.tasks.start(self._deliver(subscriber, body, delivery, delay))

    async def _post(self, subscription: Subscription, body: bytes, attempt: int) -> int | str:
        headers = self._headers(subscription, "Notification", attempt, body)
        try:
            async with self._http.client.post(
                subscription.url, data=body, headers=headers, allow_redirects=False, timeout=_TIMEOUT
            ) as reply:
                return reply.status
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__

    def _headers(self, subscription: Subscription, kind: str, attempt: int, body: bytes) -> dict[str, str]:
        headers = {
            "aeg-event-type": kind,
            "aeg-subscription-name": subscription.name.upper(),
            "aeg-delivery-count": str(attempt),
        }
        if subscription.schema == "cloudevents":
            form = "cloudevents-batch" if body.startswith(b"[") else "cloudevents"
            return {**headers, "Content-Type": f"application/{form}+json; charset=utf-8"}
        return {
            **headers,
            "aeg-data-version": "1.0",
            "aeg-metadata-version": "1",
            "Content-Type": "application/json; charset=utf-8",
        }


def _echoed(text: str) -> object:
    try:
        found: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found.get("validationResponse") if isinstance(found, dict) else None
