"""Turns what happens in a call into callback events, with the data that every event carries."""

from __future__ import annotations

from emulators.communication.callbacks import Callback, CallbackSender
from emulators.communication.calls import Call
from emulators.communication.cloud_events import SUCCESS, Result, cloud_event
from emulators.communication.streaming import Details, OperationEcho, Status
from emulators.communication.wire import Json

_STREAMING_EVENTS: dict[Status, str] = {
    "mediaStreamingStarted": "MediaStreamingStarted",
    "mediaStreamingFailed": "MediaStreamingFailed",
    "mediaStreamingStopped": "MediaStreamingStopped",
}


class Announcements:
    """Sends the callbacks of calls."""

    def __init__(self, sender: CallbackSender) -> None:
        self._sender = sender

    def tell(
        self,
        call: Call,
        name: str,
        data: Json | None = None,
        *,
        result: Result = SUCCESS,
        echo: OperationEcho | None = None,
    ) -> None:
        """Send the event `name`; `echo` is what the request behind it said (default: answer or create)."""
        echo = echo or call.echo
        event = cloud_event(
            name,
            call.id,
            {
                **(data or {}),
                "callConnectionId": call.id,
                "serverCallId": call.server_call_id,
                "correlationId": call.correlation_id,
                "operationContext": echo.context,
                "resultInformation": result.to_json(),
            },
        )
        uri = echo.callback_uri or call.callback_uri
        self._sender.send(call.lane, Callback(name=name, uri=uri, event=event))

    def roster(self, call: Call) -> None:
        """Tell who is in the call now."""
        self.tell(call, "ParticipantsUpdated", call.roster.update())

    def streaming(
        self, call: Call, status: Status, details: Details, result: Result, echo: OperationEcho
    ) -> None:
        """Tell how media streaming goes."""
        update: Json = {
            "contentType": "Audio",
            "mediaStreamingStatus": status,
            "mediaStreamingStatusDetails": details,
        }
        data: Json = {"mediaStreamingUpdate": update}
        self.tell(call, _STREAMING_EVENTS[status], data, result=result, echo=echo)
