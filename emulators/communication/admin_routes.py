"""`/_emu`: the test's side of the emulator. Only reachable from this machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from emulators.communication import admin_bodies as bodies
from emulators.communication.calls import Call
from emulators.communication.faults import Fault, FaultRequest
from emulators.communication.frames import BYTES_PER_MS, FRAME_BYTES, SILENCE
from emulators.communication.identifiers import named
from emulators.communication.microphone import Utterance
from emulators.communication.options import Subscription
from emulators.communication.phones import Behaviour
from emulators.communication.service import CommunicationService
from emulators.communication.spoken import utterance_of
from emulators.communication.wire import CONFLICT, Json, RejectedError, answer, decode, invalid, read

OnCall = Callable[[web.Request, Call], Awaitable[web.Response]]


class AdminRoutes:
    """Handlers below `/_emu` but for those of the caller's voice."""

    def __init__(self, service: CommunicationService) -> None:
        self._service = service

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        add = app.router.add_route
        add("GET", "/_emu/health", self.health)
        for method, path, handler in (
            ("POST", "/_emu/ring", self.ring),
            ("GET", "/_emu/calls", self.list_calls),
            ("GET", "/_emu/calls/{id}", on_call(self._service, self.show_call)),
            ("GET", "/_emu/calls/{id}/events", on_call(self._service, self.events)),
            ("POST", "/_emu/calls/{id}/phone", on_call(self._service, self.decide)),
            ("POST", "/_emu/calls/{id}/media/drop", on_call(self._service, self.drop)),
            ("POST", "/_emu/calls/{id}/media/send", on_call(self._service, self.send)),
            ("GET", "/_emu/phones", self.phones),
            ("POST", "/_emu/phones", self.set_phone),
            ("GET", "/_emu/faults", self.list_faults),
            ("POST", "/_emu/faults", self.add_faults),
            ("DELETE", "/_emu/faults", self.forget_faults),
            ("GET", "/_emu/event-grid", self.event_grid),
            ("POST", "/_emu/event-grid/subscriptions", self.subscribe),
            ("DELETE", "/_emu/event-grid/subscriptions/{name}", self.unsubscribe),
            ("POST", "/_emu/event-grid/events", self.publish),
            ("POST", "/_emu/keys/rotate", self.rotate),
        ):
            add(method, path, only_from_here(handler))

    async def health(self, request: web.Request) -> web.Response:
        calls = list(self._service.calls)
        live = sum(call.state != "ended" for call in calls)
        return answer({"status": "ok", "live": live, "known": len(calls)})

    async def ring(self, request: web.Request) -> web.Response:
        """A call comes in; answers with it."""
        body = await read(request, bodies.Ring)
        context: Json | None = None
        if body.sip_headers is not None or body.voip_headers is not None:
            context = {"sipHeaders": body.sip_headers or {}, "voipHeaders": body.voip_headers or {}}
        words = None if body.say is None else await utterance_of(body.say, self._service.voice)
        call = self._service.ring(
            named(body.caller),
            named(body.to),
            display_name=body.display_name,
            custom_context=context,
            duplicates=body.duplicates,
            batch_with=body.batch_with,
        )
        if words is not None:
            # Time passes for a microphone from the call's connection on.
            caller = call.person(None).microphone
            caller.say(Utterance(SILENCE, length=body.say_after_ms * BYTES_PER_MS or FRAME_BYTES))
            caller.say(words)
        return answer(call.shown(), status=201)

    async def list_calls(self, request: web.Request) -> web.Response:
        """All calls, or those of one `?state=`."""
        wanted = request.query.get("state")
        calls = [call.shown() for call in self._service.calls if wanted in (None, call.state)]
        return answer({"calls": calls})

    async def show_call(self, request: web.Request, call: Call) -> web.Response:
        return answer(call.shown())

    async def events(self, request: web.Request, call: Call) -> web.Response:
        after = request.query.get("after", "0")
        if not after.isdecimal():
            raise invalid("'after' must be a number.")
        return answer({"events": call.log.after(int(after))})

    async def decide(self, request: web.Request, call: Call) -> web.Response:
        """Answer a ringing telephone of an outbound call, an added participant or a transfer; or do not."""
        body = await read(request, bodies.Decide)
        ringing = list(call.ringing.values())
        if body.number is not None:
            who = named(body.number)
            ringing = [each for each in ringing if each.who == who]
        if len(ringing) != 1:
            names = ", ".join(each.who.name for each in call.ringing.values()) or "none"
            raise RejectedError(409, CONFLICT, f"Name the 'number' of a ringing telephone; ringing: {names}.")
        ringing[0].decide(body.outcome)
        return answer({"number": ringing[0].who.name, "outcome": body.outcome})

    async def drop(self, request: web.Request, call: Call) -> web.Response:
        """Break the media connection; the service opens it again, unless `reopen` is false."""
        body = await read(request, bodies.Drop)
        delay = None if body.reopen_after_ms is None else body.reopen_after_ms / 1000
        if call.streaming is None or not call.streaming.drop(reopen=body.reopen, delay_s=delay):
            raise _no_media()
        return answer({"dropped": True})

    async def send(self, request: web.Request, call: Call) -> web.Response:
        """Send something malformed, or something large, to the application's media socket."""
        body = await read(request, bodies.RawMedia)
        message: str | bytes | None = body.text
        if body.base64 is not None:
            message = body.base64
        if body.size is not None:
            message = "x" * body.size
        if message is None:
            raise invalid("Give 'text', 'base64' or 'size'.")
        if call.streaming is None or not call.streaming.send_raw(message):
            raise _no_media()
        return answer({"sent": len(message)})

    async def phones(self, request: web.Request) -> web.Response:
        return answer(self._service.telephones.book.shown())

    async def set_phone(self, request: web.Request) -> web.Response:
        body = await read(request, bodies.SetPhone)
        behaviour = Behaviour(outcome=body.outcome, ring_ms=body.ring_ms, greeting=body.greeting)
        self._service.telephones.book.set(body.number, behaviour)
        return answer(self._service.telephones.book.shown())

    async def list_faults(self, request: web.Request) -> web.Response:
        waiting = self._service.faults.waiting + self._service.calls.waiting()
        return answer({"waiting": [fault.shown() for fault in waiting]})

    async def add_faults(self, request: web.Request) -> web.Response:
        """Plan one fault, or a list under `faults`."""
        data = await request.read()
        several = "faults" in decode(data, dict[str, msgspec.Raw])
        faults = decode(data, FaultRequest).faults if several else [decode(data, Fault)]
        for fault in faults:
            self._service.plan(fault)
        return answer({"planned": [fault.shown() for fault in faults]}, status=201)

    async def forget_faults(self, request: web.Request) -> web.Response:
        self._service.calls.forget_faults()
        self._service.faults.waiting.clear()
        return answer({"waiting": []})

    async def event_grid(self, request: web.Request) -> web.Response:
        grid = self._service.event_grid
        return answer(
            {
                "subscriptions": [subscriber.shown() for subscriber in grid.subscribers],
                "deliveries": [delivery.shown() for delivery in grid.deliveries],
            }
        )

    async def subscribe(self, request: web.Request) -> web.Response:
        body = await read(request, bodies.Subscribe)
        subscription = Subscription(url=body.url, schema=body.schema, name=body.name)
        return answer(self._service.event_grid.subscribe(subscription).shown(), status=201)

    async def unsubscribe(self, request: web.Request) -> web.Response:
        await self._service.event_grid.unsubscribe(request.match_info["name"])
        return answer(status=204)

    async def publish(self, request: web.Request) -> web.Response:
        """Deliver any events, poisonous ones too, as one batch."""
        body = await read(request, bodies.Publish)
        deliveries = self._service.event_grid.publish(body.events, duplicates=body.duplicates)
        return answer({"deliveries": [delivery.shown() for delivery in deliveries]}, status=201)

    async def rotate(self, request: web.Request) -> web.Response:
        body = await read(request, bodies.Rotate)
        return answer({"kid": self._service.signer.rotate(forget=body.forget)})


def on_call(
    service: CommunicationService, handler: OnCall
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that finds the call of the path first."""

    async def handle(request: web.Request) -> web.Response:
        return await handler(request, service.calls.find(request.match_info["id"]))

    return handle


def only_from_here(
    handler: Callable[[web.Request], Awaitable[web.Response]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that serves this machine alone."""

    async def handle(request: web.Request) -> web.Response:
        try:
            local = ipaddress.ip_address(request.remote or "").is_loopback
        except ValueError:
            local = False
        if not local:
            raise RejectedError(403, "Forbidden", "/_emu is only served to this machine.")
        return await handler(request)

    return handle


def _no_media() -> RejectedError:
    return RejectedError(409, CONFLICT, "The call has no open media connection.")
