"""The emulated service: how calls come to be, are answered, and end."""

from __future__ import annotations

import asyncio
from typing import Literal

from emulators.communication import rest_bodies as bodies
from emulators.communication.announcements import Announcements
from emulators.communication.call_media import CallMedia
from emulators.communication.callbacks import CallbackSender, Lane
from emulators.communication.calls import Call, Calls
from emulators.communication.cloud_events import ENDED_BY_API, ENDED_BY_CALLER, Result, failed
from emulators.communication.event_grid import EventBody, EventGrid
from emulators.communication.event_log import EventLog
from emulators.communication.faults import Fault, FaultPlan
from emulators.communication.identifiers import Identifier, phone, user
from emulators.communication.ids import IdSource
from emulators.communication.media_operations import MediaOperations
from emulators.communication.microphone import Utterance, spoken_tone
from emulators.communication.options import TOPIC, EmulatorOptions
from emulators.communication.outbound_http import OutboundHttp
from emulators.communication.owned_tasks import OwnedTasks
from emulators.communication.participants import Participant, Roster
from emulators.communication.phones import FAILURES, Outcome, PhoneBook
from emulators.communication.recordings import Recordings
from emulators.communication.streaming import (
    MediaStreaming,
    MediaStreamingOptions,
    OperationEcho,
    StreamIdentity,
)
from emulators.communication.telephones import Telephones
from emulators.communication.tokens import TokenSigner
from emulators.communication.tracks import Track
from emulators.communication.voice import BEEP_HERTZ, BEEP_MS, Voice
from emulators.communication.wire import CONFLICT, NOT_FOUND, NOT_SUPPORTED, Json, RejectedError, invalid

_GOODBYE_S = 0.5
_LAST_CALLBACKS_S = 0.2


class CommunicationService:
    """Everything behind the routes. `close` ends every call."""

    def __init__(self, options: EmulatorOptions, base_url: str) -> None:
        self.options = options
        self.ids = IdSource(options.seed)
        self.calls = Calls(options.keep_calls)
        self.faults = FaultPlan()
        self.voice = Voice(speech=options.speech)
        self.signer = TokenSigner(issuer=options.issuer, audience=options.resource_id)
        self.http = OutboundHttp(options.trusted)
        self.sender = CallbackSender(
            self.http, self.signer, attempts=options.callback_attempts, first_delay=options.callback_delay
        )
        self.announcements = Announcements(self.sender)
        self.event_grid = EventGrid(
            self.http,
            topic=TOPIC,
            base_url=base_url,
            attempts=options.event_grid_attempts,
            first_delay=options.event_grid_delay,
            faults=self.faults,
        )
        book = PhoneBook()
        for who, behaviour in options.phones:
            book.set(who, behaviour)
        self.telephones = Telephones(book, ring_seconds=options.ring_seconds, speed=options.speech_factor)
        self.media_operations = MediaOperations(
            self.announcements, self.voice, self.http, speed=options.speech_factor
        )
        self.recordings = Recordings(self.announcements, self.event_grid, self.ids, base_url)
        self._tasks = OwnedTasks()

    def start(self) -> None:
        """Subscribe whom the options name."""
        for subscription in self.options.subscriptions:
            self.event_grid.subscribe(subscription)

    def ring(
        self,
        caller: Identifier,
        called: Identifier,
        *,
        display_name: str = "",
        custom_context: Json | None = None,
        duplicates: int = 0,
        batch_with: list[EventBody] | None = None,
    ) -> Call:
        """Somebody calls: Event Grid tells; it rings until it is answered, refused or given up."""
        call = self._call("inbound", caller, called, display_name)
        call.incoming_call_context = self.ids.incoming_call_context()
        call.roster.add(self._participant(caller, call))
        place = "phoneCall/" if caller.is_phone else ""
        event = EventBody(
            type="Microsoft.Communication.IncomingCall",
            subject=f"/{place}caller/{caller.raw_id}/recipient/{called.raw_id}",
            data={
                "to": called.to_json(),
                "from": caller.to_json(),
                "serverCallId": call.server_call_id,
                "callerDisplayName": display_name,
                "incomingCallContext": call.incoming_call_context,
                "correlationId": call.correlation_id,
                "customContext": custom_context or {"sipHeaders": {}, "voipHeaders": {}},
                "onBehalfOfCallee": None,
            },
        )
        self.event_grid.publish([*(batch_with or []), event], duplicates=duplicates)
        call.log.record("incoming", caller=caller.name, called=called.name)
        call.tasks.start(self._give_up(call))
        return call

    def answer(self, request: bodies.Answer) -> Call:
        """Answer a ringing call; what follows comes as callbacks."""
        _only_media(request.transcription_options)
        callback_uri = _callback_uri(request.callback_uri)
        call = self._ringing(request.incoming_call_context)
        options = _checked(request.media_streaming_options)
        call.state = "connecting"
        call.callback_uri = callback_uri
        call.echo = OperationEcho(context=request.operation_context)
        call.log.record("answered")
        if call.faults.take("answer_failed") is not None:
            result = Result(code=500, sub_code=9001, message="Unknown error from underlying service.")
            call.state, call.end_reason = "ended", "answer_failed"
            self.announcements.tell(call, "AnswerFailed", result=result)
            return call
        call.tasks.start(self._establish(call, options))
        return call

    def reject(self, request: bodies.Reject) -> None:
        """Refuse a ringing call."""
        call = self._ringing(request.incoming_call_context)
        call.reject_reason = request.call_reject_reason or "none"
        self._end_ringing(call, "rejected")

    def redirect(self, request: bodies.Redirect) -> None:
        """Send a ringing call to somebody else."""
        target = request.target.identifier()
        call = self._ringing(request.incoming_call_context)
        call.redirected_to = target
        self._end_ringing(call, "redirected")

    def create(self, request: bodies.Create) -> Call:
        """Call somebody; what comes of it comes as callbacks."""
        _only_media(request.transcription_options)
        callback_uri = _callback_uri(request.callback_uri)
        targets = [target.identifier() for target in request.targets]
        caller_id = request.source_caller_id_number
        if caller_id is None and any(target.is_phone for target in targets):
            raise invalid("'sourceCallerIdNumber' is needed to call a phone number.")
        options = _checked(request.media_streaming_options)
        source = phone(caller_id.value) if caller_id else user(self.options.resource_id)
        call = self._call("outbound", source, targets[0], request.source_display_name or "")
        call.state = "connecting"
        call.callback_uri = callback_uri
        call.echo = OperationEcho(context=request.operation_context)
        call.tasks.start(self._place(call, targets, options))
        return call

    def hang_up(self, call: Call, *, everyone: bool) -> None:
        """The application leaves; `everyone`: the call ends for all."""
        call.require_present()
        stays = not everyone and call.state == "connected"
        self.disconnect(call, "left" if stays else "ended", ENDED_BY_API, "hung_up")

    def caller_hangs_up(self, call: Call, who: Identifier | None) -> None:
        """Somebody on the phone hangs up (or gives up ringing); by default everybody."""
        if call.state == "ended":
            return
        if call.state == "ringing":
            self._end_ringing(call, "caller_gave_up")
            return
        leaving = [who] if who is not None else [participant.identifier for participant in call.roster]
        for identifier in leaving:
            call.roster.find(identifier)
            call.roster.remove(identifier)
            call.log.record("hung_up", who=identifier.name)
        self.somebody_left(call, ENDED_BY_CALLER, "caller_hung_up")

    def somebody_left(self, call: Call, result: Result, reason: str) -> None:
        """The roster is shorter: tell the application, or end a call that nobody is in."""
        if len(call.roster) == 0:
            self.disconnect(call, "ended", result, reason)
        elif call.state == "connected":
            self.announcements.roster(call)

    def disconnect(
        self,
        call: Call,
        state: Literal["transferred", "left", "ended"],
        result: Result,
        reason: str,
    ) -> None:
        """Take the application out of a call, as the last thing that it hears of it."""
        was_present = call.state in ("connecting", "connected")
        call.state = state
        call.end_reason = reason
        self._tasks.start(self._finish(call, result if was_present else None))

    def reached(self, call: Call, who: Identifier, outcome: Outcome) -> Participant:
        """Somebody has picked up the phone: put them into the call."""
        participant = self._participant(who, call)
        call.roster.add(participant)
        if outcome == "machine":
            greeting = self.telephones.book.behaviour(who).greeting
            call.tasks.start(self._greet(participant, greeting))
        return participant

    async def close(self) -> None:
        """End every call, give up deliveries, wait for what is being closed. Takes less than two seconds."""
        for call in self.calls:
            if call.state != "ended":
                self.caller_hangs_up(call, None)
        await self._tasks.settle(_GOODBYE_S)
        await self.sender.flush(_LAST_CALLBACKS_S)
        for call in self.calls:
            if call.streaming is not None:
                call.streaming.abandon()
        await self.sender.close()
        await self.event_grid.close()
        await self._tasks.close()
        await asyncio.gather(*(_silence(call) for call in self.calls))
        await self.http.close()

    async def _place(
        self, call: Call, targets: list[Identifier], options: MediaStreamingOptions | None
    ) -> None:
        failures: list[Outcome] = []

        async def call_one(target: Identifier) -> None:
            outcome = await self.telephones.ring(call, target, "call")
            if outcome not in ("answer", "machine"):
                failures.append(outcome)
                return
            self.reached(call, target, outcome)
            if call.state == "connecting":
                self._connect(call, options)
            elif call.state == "connected":
                self.announcements.roster(call)

        await asyncio.gather(*map(call_one, targets))
        if call.state == "connecting" and len(failures) == len(targets):
            call.state, call.end_reason = "ended", failures[-1]
            self.announcements.tell(call, "CreateCallFailed", result=failed(FAILURES[failures[-1]]))

    async def _establish(self, call: Call, options: MediaStreamingOptions | None) -> None:
        await asyncio.sleep(0)  # the answer to the request says "connecting"
        if call.state == "connecting":
            self._connect(call, options)

    def _connect(self, call: Call, options: MediaStreamingOptions | None) -> None:
        """The application is in the call."""
        call.state = "connected"
        self.announcements.tell(call, "CallConnected")
        self.announcements.roster(call)
        call.media.start()
        if options is None:
            return
        call.streaming = MediaStreaming(
            options,
            StreamIdentity(
                call_connection_id=call.id,
                correlation_id=call.correlation_id,
                subscription_id=self.ids.guid(),
            ),
            http=self.http,
            signer=self.signer,
            faults=call.faults,
            log=call.log,
            announce=lambda status, details, result, echo: self.announcements.streaming(
                call, status, details, result, echo
            ),
            on_pace=lambda factor: setattr(call.media, "pace", factor),
            reconnects=self.options.media_reconnects,
            reconnect_delay=self.options.media_reconnect_delay,
        )
        call.media.peer = call.streaming
        if options.start_media_streaming:
            call.streaming.start(call.echo)

    async def _finish(self, call: Call, result: Result | None) -> None:
        for ringing in list(call.ringing.values()):
            ringing.decide("no_answer")
        if call.recognition is not None:
            call.recognition.close()
        self.recordings.call_ended(call)
        call.media.prompts.cancel()
        call.media.peer = None
        if call.streaming is not None:
            await call.streaming.stop(call.echo if result is not None else None)
        if result is not None:
            self.announcements.tell(call, "CallDisconnected", result=result)
        call.log.record("disconnected", state=call.state, reason=call.end_reason)
        if call.state == "ended":
            await _silence(call)

    async def _give_up(self, call: Call) -> None:
        await asyncio.sleep(self.options.ring_seconds / self.options.speech_factor)
        if call.state == "ringing":
            self._end_ringing(call, "not_answered")

    async def _greet(self, machine: Participant, greeting: str) -> None:
        words = await self.voice.prompt(greeting)
        machine.microphone.say(Utterance(words, greeting))
        machine.microphone.say(spoken_tone(BEEP_MS, BEEP_HERTZ))

    def _end_ringing(self, call: Call, reason: str) -> None:
        call.state, call.end_reason = "ended", reason
        call.log.record("ended", reason=reason)

    def _ringing(self, context: str) -> Call:
        call = self.calls.by_context(context)
        if call is None:
            raise invalid("'incomingCallContext' is not one of this resource, or too old.")
        if call.state == "ended" and not call.callback_uri:
            raise RejectedError(404, NOT_FOUND, f"The call does not ring any more ({call.end_reason}).")
        if call.state != "ringing":
            raise RejectedError(409, CONFLICT, "The call has already been answered.")
        return call

    def _participant(self, who: Identifier, call: Call) -> Participant:
        minutes = self.options.recording_minutes
        said, heard = Track(minutes), Track(minutes)
        for track in (said, heard):
            track.start_at(call.media.ticks)
        return Participant(identifier=who, said=said, heard=heard)

    def _call(
        self,
        direction: Literal["inbound", "outbound"],
        source: Identifier,
        target: Identifier,
        display_name: str,
    ) -> Call:
        roster = Roster()
        log = EventLog(self.options.event_log)
        faults = FaultPlan(self.calls.take_faults())

        def said(participant: Participant, utterance: Utterance) -> None:
            log.record("said", who=participant.identifier.name, words=utterance.words)
            self.media_operations.said(call, participant, utterance)

        call = Call(
            id=self.ids.guid(),
            server_call_id=self.ids.server_call_id(),
            correlation_id=self.ids.guid(),
            direction=direction,
            source=source,
            target=target,
            display_name=display_name,
            roster=roster,
            media=CallMedia(roster, speed=self.options.speech_factor, on_said=said),
            log=log,
            lane=Lane(log=log, faults=faults),
            faults=faults,
        )
        self.calls.add(call)
        return call

    def plan(self, fault: Fault) -> None:
        """Let a fault wait where it will strike; raises RejectedError (404) for an unknown call."""
        if fault.kind == "http" or fault.kind.startswith("event_grid_"):
            self.faults.add([fault])
        else:
            self.calls.plan(fault)


async def _silence(call: Call) -> None:
    if call.streaming is not None:
        await call.streaming.stop(None)
    await call.media.close()
    await call.tasks.close()


def _callback_uri(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise invalid("The field CallbackUri is invalid.", target="callbackUri")
    return text


def _checked(options: MediaStreamingOptions | None) -> MediaStreamingOptions | None:
    return options.checked() if options is not None else None


def _only_media(transcription: dict[str, object] | None) -> None:
    if transcription is not None:
        raise RejectedError(405, NOT_SUPPORTED, "The emulator has no live transcription.")
