"""The recording API: what of a call is kept, its state, and the file that Event Grid tells of at the end.

Source: `StartCallRecordingRequest` and `RecordingStateResponse` of the public Python SDK; Microsoft's
"Call Recording" (RecordingFileStatusUpdated, the metadata's schema).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from emulators.communication import rest_bodies as bodies
from emulators.communication.announcements import Announcements
from emulators.communication.calls import Call
from emulators.communication.cloud_events import Result
from emulators.communication.event_grid import EventBody, EventGrid
from emulators.communication.frames import FRAME_MS
from emulators.communication.ids import IdSource
from emulators.communication.media_wire import now, timestamp
from emulators.communication.options import TOPIC
from emulators.communication.streaming import OperationEcho
from emulators.communication.tracks import joined, mixed_down, mono_wav
from emulators.communication.wire import NOT_FOUND, Json, RejectedError

_DUPLICATE = "8553"
_PAUSE_NOT_ALLOWED = "8573"
_KEPT = 200
_FILE_UPDATED = "Microsoft.Communication.RecordingFileStatusUpdated"


@dataclass(kw_only=True, slots=True)
class Recording:
    """One recording; `spans` are the frames of the call between start, pause, resume and stop.

    first: the frame of the call at which it began.
    """

    id: str
    document_id: str
    call: Call
    callback_uri: str | None
    began: datetime
    first: int
    spans: list[tuple[int, int | None]] = field(default_factory=list[tuple[int, "int | None"]])
    stopped: bool = False

    @property
    def active(self) -> bool:
        return bool(self.spans) and self.spans[-1][1] is None

    @property
    def milliseconds(self) -> int:
        """How much of the call is in it."""
        end = self.call.media.ticks
        return sum(((end if last is None else last) - first) * FRAME_MS for first, last in self.spans)

    def pauses(self) -> list[Json]:
        """Return the times at which nothing was kept, up to the last that was."""
        found: list[Json] = []
        paused_at = self.first
        for begin, end in self.spans:
            if begin > paused_at:
                at = self.began + timedelta(milliseconds=(paused_at - self.first) * FRAME_MS)
                found.append({"startTime": timestamp(at), "duration": (begin - paused_at) * FRAME_MS})
            paused_at = self.call.media.ticks if end is None else end
        return found

    def state(self) -> Json:
        """Return `RecordingStateResponse`."""
        return {
            "recordingId": self.id,
            "recordingState": "active" if self.active else "inactive",
            "recordingKind": "azureCommunicationServices",
        }

    def wav(self) -> bytes:
        """Return everybody's voice and what was played, mixed."""
        # What one person hears is what is played and what the others say: with their own voice it is all.
        first = self.call.roster.first()
        frames: list[bytes | None] = []
        if first is None:
            return mono_wav(b"")
        for begin, end in self.spans:
            frames += mixed_down([first.said.frames(begin, end), first.heard.frames(begin, end)])
        return mono_wav(joined(frames))


class Recordings:
    """All recordings."""

    def __init__(
        self, announcements: Announcements, event_grid: EventGrid, ids: IdSource, base_url: str
    ) -> None:
        self._announcements = announcements
        self._event_grid = event_grid
        self._ids = ids
        self._base_url = base_url
        self._recordings: dict[str, Recording] = {}

    def start(self, call: Call, request: bodies.StartRecording) -> Recording:
        """Begin to record; raises RejectedError where the call is recorded already."""
        call.require_connected()
        if any(known.call is call and not known.stopped for known in self._recordings.values()):
            raise RejectedError(400, _DUPLICATE, "The call is being recorded already.")
        recording = Recording(
            id=self._ids.guid(),
            document_id=self._ids.guid(),
            call=call,
            callback_uri=request.recording_state_callback_uri,
            began=now(),
            first=call.media.ticks,
        )
        self._recordings[recording.id] = recording
        self._forget_old()
        if call.faults.take("recording_failed") is not None:
            recording.stopped = True
            result = Result(code=500, sub_code=9001, message="Unknown error from underlying service.")
            data: Json = {"recordingId": recording.id}
            echo = OperationEcho(callback_uri=recording.callback_uri)
            self._announcements.tell(call, "StartRecordingFailed", data, result=result, echo=echo)
            return recording
        if not request.pause_on_start:
            recording.spans.append((call.media.ticks, None))
        self._changed(recording)
        return recording

    def find(self, recording_id: str) -> Recording:
        """Return a recording that is not over; raises RejectedError (404)."""
        recording = self._recordings.get(recording_id)
        if recording is None or recording.stopped:
            raise RejectedError(404, NOT_FOUND, "The recording is not known, or over.")
        return recording

    def document(self, document_id: str) -> Recording:
        """Return a recording that is over, by its document; raises RejectedError (404)."""
        for recording in self._recordings.values():
            if recording.document_id == document_id and recording.stopped:
                return recording
        raise RejectedError(404, NOT_FOUND, "There is no such document.")

    def delete(self, document_id: str) -> None:
        """Forget a document; raises RejectedError (404)."""
        del self._recordings[self.document(document_id).id]

    def pause(self, recording_id: str) -> None:
        """Keep nothing until it is resumed."""
        recording = self.find(recording_id)
        if not recording.active:
            raise RejectedError(400, _PAUSE_NOT_ALLOWED, "The recording is paused already.")
        self._break(recording)
        self._changed(recording)

    def resume(self, recording_id: str) -> None:
        """Go on after a pause."""
        recording = self.find(recording_id)
        if recording.active:
            raise RejectedError(400, _PAUSE_NOT_ALLOWED, "The recording is not paused.")
        recording.spans.append((recording.call.media.ticks, None))
        self._changed(recording)

    def stop(self, recording_id: str, reason: str = "InitiatorLeft") -> None:
        """End it: its state changes, and Event Grid tells where the file is."""
        recording = self.find(recording_id)
        was_active = recording.active
        self._break(recording)
        recording.stopped = True
        if was_active:
            self._changed(recording)
        documents = f"{self._base_url}/v1/objects/{recording.document_id}"
        chunk: Json = {
            "documentId": recording.document_id,
            "index": 0,
            "endReason": "SessionEnded",
            "contentLocation": f"{documents}/content/video",
            "metadataLocation": f"{documents}/content/acsmetadata",
            "deleteLocation": documents,
        }
        data: Json = {
            "recordingStorageInfo": {"recordingChunks": [chunk]},
            "recordingStartTime": timestamp(recording.began),
            "recordingDurationMs": recording.milliseconds,
            "sessionEndReason": reason,
        }
        subject = f"/recording/call/{recording.call.server_call_id}/recordingId/{recording.id}"
        self._event_grid.publish([EventBody(type=_FILE_UPDATED, subject=subject, data=data)])

    def metadata(self, document_id: str) -> Json:
        """Return the document's metadata."""
        recording = self.document(document_id)
        return {
            "resourceId": TOPIC,
            "callId": recording.call.server_call_id,
            "chunkDocumentId": recording.document_id,
            "chunkIndex": 0,
            "chunkStartTime": timestamp(recording.began),
            "chunkDuration": recording.milliseconds,
            "pauseResumeIntervals": recording.pauses(),
            "recordingInfo": {"contentType": "audio", "channelType": "mixed", "format": "wav"},
            "participants": [
                {"participantId": person.identifier.raw_id} for person in recording.call.roster.everybody()
            ],
        }

    def call_ended(self, call: Call) -> None:
        """Stop what is still recording a call."""
        for recording in list(self._recordings.values()):
            if recording.call is call and not recording.stopped:
                self.stop(recording.id, "CallEnded")

    def _forget_old(self) -> None:
        stopped = [known.id for known in self._recordings.values() if known.stopped]
        for recording_id in stopped[: max(0, len(stopped) - _KEPT)]:
            del self._recordings[recording_id]

    def _break(self, recording: Recording) -> None:
        if recording.active:
            first, _ = recording.spans[-1]
            recording.spans[-1] = (first, recording.call.media.ticks)

    def _changed(self, recording: Recording) -> None:
        data: Json = {
            "recordingId": recording.id,
            "state": "active" if recording.active else "inactive",
            "startDateTime": timestamp(recording.began),
            "recordingKind": "azureCommunicationServices",
        }
        echo = OperationEcho(callback_uri=recording.callback_uri)
        self._announcements.tell(recording.call, "RecordingStateChanged", data, echo=echo)
