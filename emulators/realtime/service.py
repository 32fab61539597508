"""The emulated service: makes calls and sessions, and knows all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from emulators.realtime.calls import Call, Calls
from emulators.realtime.earpiece import Earpiece
from emulators.realtime.faults import FaultPlan
from emulators.realtime.ids import IdSource
from emulators.realtime.live_session import LiveSession
from emulators.realtime.mind.thoughts import Minds
from emulators.realtime.options import EmulatorOptions
from emulators.realtime.playback import AudioSink, VirtualSink
from emulators.realtime.sdp import canned_answer
from emulators.realtime.secrets_store import SecretsStore
from emulators.realtime.session.core import SessionCore
from emulators.realtime.session.effects import Transport
from emulators.realtime.speech_set import SilentVoice, SpeechEars, SpeechVoice
from emulators.realtime.webhooks import WebhookEndpoints, WebhookSender
from emulators.realtime.wire import Json, RejectedError, as_list, as_object, text_at

INCOMING_CALL = "realtime.call.incoming"


class RealtimeService:
    """Everything behind the routes. `close` ends every call."""

    def __init__(self, options: EmulatorOptions, minds: Minds) -> None:
        self.options = options
        self.ids = IdSource(options.seed)
        self.secrets = SecretsStore(self.ids)
        self.calls = Calls()
        self.webhooks = WebhookEndpoints(self.ids)
        self.http_faults = FaultPlan()
        self._minds = minds
        self._sender = WebhookSender(
            attempts=options.webhook_attempts, first_delay=options.webhook_first_delay
        )
        self._silent = SilentVoice(options.generation_speed * options.speech_factor)
        self._voice = SpeechVoice() if options.speech else self._silent
        self._ears = SpeechEars() if options.speech else None
        self._closing: set[asyncio.Task[None]] = set()

    def open_websocket(self, model: str) -> Call:
        """Start a session whose media goes over its own WebSocket."""
        call = Call(id=self.ids.new("sess"), transport="websocket", faults=self.calls.waiting_faults())
        call.session = self._session(call, {}, model, sink=None, session_id=call.id)
        self.calls.add(call)
        return call

    async def create_webrtc_call(
        self, offer: str, requested: Mapping[str, object], model: str, *, filtered: bool
    ) -> tuple[Call, str]:
        """Answer an SDP offer; returns the call and the SDP answer. Raises RejectedError for a bad offer."""
        call = Call(id=self.ids.new("rtc", digits=24), transport="webrtc", faults=self.calls.waiting_faults())
        late = call.faults.take("late_404")
        if late is not None:
            call.attachable_from = time.monotonic() + late.ms / 1000
        if self.options.media:
            from emulators.realtime.webrtc_leg import WebRtcLeg

            leg = WebRtcLeg(self.options.media_addresses, filtered=filtered)
            session = call.session = self._session(call, requested, model, sink=leg.sink)
            call.release = lambda: self._finish(leg.close())
            try:
                answer = await leg.answer(offer, session, on_lost=lambda: call.end("media_lost"))
            except BaseException:
                call.end("offer_refused")
                raise
        else:
            call.session = self._session(
                call, requested, model, sink=VirtualSink(self.options.speech_factor), voiceless=True
            )
            answer = canned_answer(offer)
        self.calls.add(call)
        return call, answer

    def ring(self, body: Json) -> Call:
        """A SIP call comes in: tell the webhooks; it rings until it is accepted, rejected or given up."""
        headers = _sip_headers(body)
        call = Call(
            id=self.ids.new("rtc", digits=24),
            transport="sip",
            state="ringing",
            faults=self.calls.waiting_faults(),
        )
        self.calls.add(call)
        event: Json = {
            "object": "event",
            "id": self.ids.new("evt"),
            "type": INCOMING_CALL,
            "created_at": int(time.time()),
            "data": {"call_id": call.id, "sip_media_security": "srtp", "sip_headers": headers},
        }
        duplicates = body.get("duplicates", 0)
        call.deliveries = self._sender.deliver(
            event,
            self.webhooks.for_event(INCOMING_CALL),
            duplicates=duplicates if isinstance(duplicates, int) else 0,
        )
        timer = asyncio.get_running_loop().call_later(
            self.options.ring_seconds, lambda: call.end("not_answered") if call.state == "ringing" else None
        )
        call.release = timer.cancel
        return call

    def accept(self, call_id: str, session: Json) -> None:
        """Answer a ringing call with this session."""
        call = self._ringing(call_id)
        call.accepted_with = session
        if call.release is not None:
            call.release()
            call.release = None
        if call.faults.take("accept_dies") is not None:
            call.end("accept_failed")
            return
        late = call.faults.take("late_404")
        if late is not None:
            call.attachable_from = time.monotonic() + late.ms / 1000
        call.state = "live"
        sink: AudioSink = VirtualSink(self.options.speech_factor)
        if self.options.speech and self.options.speech_factor == 1:
            sink = call.earpiece = Earpiece()
            call.release = call.earpiece.put_down
        model = text_at(session, "model")
        call.session = self._session(call, session, model, sink=sink, voiceless=call.earpiece is None)

    def reject(self, call_id: str, status_code: int) -> None:
        """Refuse a ringing call with a SIP status."""
        call = self._ringing(call_id)
        call.reject_status = status_code
        call.end("rejected")

    def refer(self, call_id: str, target: str) -> None:
        """Transfer a live SIP call; it leaves the service."""
        call = self.calls.unended(call_id)
        if call.transport != "sip" or call.state != "live":
            raise RejectedError("invalid_value", "Only an accepted SIP call can be referred.")
        call.refer_target = target
        call.end("referred")

    def hang_up(self, call_id: str) -> None:
        """End a call of any kind."""
        call = self.calls.unended(call_id)
        if call.transport == "websocket":
            raise RejectedError("invalid_value", "A WebSocket session has no call to hang up.")
        call.end("hung_up")

    async def close(self) -> None:
        """End every call, give up webhooks, wait for what is being closed."""
        for call in self.calls:
            if call.session is not None and call.state != "ended":
                call.session.end("shutdown", code=1001)
            call.end("shutdown")
        await self._sender.close()
        sessions = [call.session.close() for call in self.calls if call.session is not None]
        await asyncio.gather(*sessions, *self._closing, return_exceptions=True)
        await self._minds.close()

    def _ringing(self, call_id: str) -> Call:
        call = self.calls.unended(call_id)
        if call.transport != "sip":
            raise RejectedError("invalid_value", "Only an incoming SIP call can be accepted or rejected.")
        if call.state != "ringing":
            raise RejectedError("call_already_accepted", "This call has already been accepted.")
        return call

    def _session(
        self,
        call: Call,
        requested: Mapping[str, object],
        model: str,
        *,
        sink: AudioSink | None,
        session_id: str | None = None,
        voiceless: bool = False,
    ) -> LiveSession:
        transport: Transport = call.transport
        core = SessionCore(
            requested=requested,
            session_id=session_id or self.ids.new("sess"),
            model=model,
            transport=transport,
            ids=self.ids.child(),
            expires_at=int(time.time() + self.options.session_minutes * 60),
        )
        return LiveSession(
            core=core,
            mind=self._minds.new(),
            voice=self._silent if voiceless else self._voice,
            ears=self._ears,
            sink=sink,
            options=self.options,
            faults=call.faults,
            on_end=call.end,
        )

    def _finish(self, work: object) -> None:
        if asyncio.iscoroutine(work):
            task = asyncio.get_running_loop().create_task(work)
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _sip_headers(body: Json) -> list[Json]:
    given = as_list(body.get("headers"))
    if given is not None:
        return [header for entry in given if (header := as_object(entry)) is not None]
    caller, callee = text_at(body, "from", default="+15550100"), text_at(body, "to", default="+15550199")
    return [
        {"name": "From", "value": f"<sip:{caller}@carrier.example>;tag=a1"},
        {"name": "To", "value": f"<sip:{callee}@sip.example>"},
        {"name": "Call-ID", "value": f"{time.time_ns():x}@carrier.example"},
    ]
