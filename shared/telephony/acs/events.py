"""What Communication Services tells: a call that rings (Event Grid), and what becomes of calls (callbacks).

Sources: Microsoft Learn, "Azure Communication Services - voice and video calling events" (IncomingCall),
"Call Automation" how-tos (callback events, CloudEvents 1.0 in a JSON array), and the models of
azure-communication-callautomation 1.6. The SDK parses none of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import msgspec

from shared.errors import InvalidRequestError
from shared.ids import is_call_id
from shared.session.model import EndReason, Transport
from shared.telephony.addresses import address_of
from shared.telephony.calls import InboundCall

INCOMING_CALL = "Microsoft.Communication.IncomingCall"
PREFIX = "Microsoft.Communication."
_PHONE = "4:"
_SIP_SUB_CODES = 560_000
_LARGEST_SIP_CODE = 699

_BUSY = frozenset({486, 600})
_DECLINED = frozenset({603, 607})
_NO_ANSWER = frozenset({408, 480, 487})
_UNREACHABLE = frozenset({404, 410, 484, 485, 604})


@dataclass(frozen=True, kw_only=True)
class IncomingCall:
    """A call that rings. context: what answers it, once; it opens the call to whoever has it."""

    call: InboundCall
    context: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class CallbackEvent:
    """Something that became of a call.

    kind: the type without its prefix. call_id: the call connection's. operation_id: what the request that it
    answers had as its context. code, sub_code: the service's result. status: of media streaming, in its own
    words. participants: how many there are. recording_id, recording_state: of a recording.
    """

    event_id: str
    kind: str
    call_id: str
    operation_id: str = ""
    code: int = 0
    sub_code: int = 0
    status: str = ""
    participants: int = 0
    recording_id: str = ""
    recording_state: str = ""
    tone: str = ""

    @property
    def reason(self) -> EndReason:
        """Why somebody was not reached."""
        sip = self.sub_code - _SIP_SUB_CODES
        code = sip if 0 < sip <= _LARGEST_SIP_CODE else self.code
        if code in _BUSY:
            return EndReason.BUSY
        if code in _DECLINED:
            return EndReason.DECLINED
        if code in _NO_ANSWER:
            return EndReason.NO_ANSWER
        return EndReason.UNREACHABLE if code in _UNREACHABLE else EndReason.PROVIDER_FAILED


class _Number(msgspec.Struct):
    value: str = ""


class _Identifier(msgspec.Struct, rename="camel"):
    raw_id: str = ""
    phone_number: _Number | None = None

    def address(self) -> str:
        number = self.phone_number.value if self.phone_number else ""
        return address_of(number or self.raw_id.removeprefix(_PHONE))


class _Incoming(msgspec.Struct, rename="camel"):
    incoming_call_context: str
    correlation_id: str = ""
    server_call_id: str = ""
    to: _Identifier = msgspec.field(default_factory=_Identifier)
    caller: _Identifier = msgspec.field(default_factory=_Identifier, name="from")


class _Result(msgspec.Struct, rename="camel"):
    code: int = 0
    sub_code: int = 0


class _Streaming(msgspec.Struct, rename="camel"):
    media_streaming_status_details: str = ""


class _Data(msgspec.Struct, rename="camel"):
    call_connection_id: str = ""
    operation_context: str | None = None
    result_information: _Result | None = None
    media_streaming_update: _Streaming | None = None
    participants: list[object] | None = None
    recording_id: str | None = None
    state: str | None = None
    tone: str | None = None


class _CloudEvent(msgspec.Struct):
    id: str
    type: str
    data: _Data


def incoming_call(data: object) -> IncomingCall:
    """Return the call that the data of an IncomingCall event tells of; raise `invalid_event`."""
    try:
        told = msgspec.convert(data, _Incoming)
    except msgspec.ValidationError as error:
        raise InvalidRequestError("invalid_event", f"This is no IncomingCall: {error}.") from error
    name = told.correlation_id or told.server_call_id
    if not told.incoming_call_context or not name:
        raise InvalidRequestError("invalid_event", "An IncomingCall has a context and a correlation id.")
    call = InboundCall(
        call_id=name if is_call_id(name) else hashlib.sha256(name.encode()).hexdigest()[:32],
        transport=Transport.ACS,
        caller=told.caller.address(),
        called=told.to.address(),
    )
    return IncomingCall(call=call, context=told.incoming_call_context)


def callback_events(body: bytes) -> tuple[list[CallbackEvent], int]:
    """Return the events of a callback, and how many elements of it are none.

    The body is a CloudEvent or an array of them. Raises InvalidRequestError `invalid_json` for anything else.
    """
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError("invalid_json", "A callback is a JSON array of CloudEvents.") from error
    if not isinstance(given, list | dict):
        raise InvalidRequestError("invalid_json", "A callback is a JSON array of CloudEvents.")
    elements: list[object] = given if isinstance(given, list) else [given]
    events: list[CallbackEvent] = []
    for element in elements:
        try:
            events.append(_event(msgspec.convert(element, _CloudEvent)))
        except msgspec.ValidationError:
            continue
    return events, len(elements) - len(events)


def _event(cloud: _CloudEvent) -> CallbackEvent:
    data = cloud.data
    result = data.result_information or _Result()
    streaming = data.media_streaming_update
    return CallbackEvent(
        event_id=cloud.id,
        kind=cloud.type.removeprefix(PREFIX),
        call_id=data.call_connection_id,
        operation_id=data.operation_context or "",
        code=result.code,
        sub_code=result.sub_code,
        status=streaming.media_streaming_status_details if streaming else "",
        participants=len(data.participants or ()),
        recording_id=data.recording_id or "",
        recording_state=data.state or "",
        tone=data.tone or "",
    )
