"""Media streaming of one call: dial the application, keep the connection, tell how it goes.

Source: Microsoft's "Audio streaming" for Call Automation; `MediaStreamingStatusDetails` of the public Python
SDK. That an interrupted connection is dialled again follows from the details that the SDK knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from emulators.communication.cloud_events import SUCCESS, Result
from emulators.communication.event_log import EventLog
from emulators.communication.faults import Fault, FaultPlan
from emulators.communication.frame_resampler import FrameResampler
from emulators.communication.frames import RATE, mixed
from emulators.communication.identifiers import Identifier
from emulators.communication.media_socket import MediaSocket, UnreachableError, dial
from emulators.communication.media_wire import RATES, AudioFormat, FrameEncoder, dtmf, now
from emulators.communication.outbound_http import OutboundHttp
from emulators.communication.owned_tasks import OwnedTasks
from emulators.communication.playback import PlaybackQueue
from emulators.communication.tokens import TokenSigner
from emulators.communication.wire import INVALID_STREAM_URL, Json, RejectedError

_DOMINANT_SPEAKERS = 4
_CLEAN = 1000
_REFUSED = 1008

Status = Literal["mediaStreamingStarted", "mediaStreamingFailed", "mediaStreamingStopped"]
Details = Literal[
    "subscriptionStarted", "subscriptionStopped", "streamConnectionReestablished",
    "streamConnectionUnsuccessful", "streamConnectionInterrupted", "initialWebSocketConnectionFailed",
]  # fmt: skip


class MediaStreamingOptions(msgspec.Struct, rename="camel", kw_only=True):
    """`mediaStreamingOptions` of answer and create."""

    transport_url: str = ""
    transport_type: Literal["websocket"] = "websocket"
    content_type: Literal["audio"] = "audio"
    audio_channel_type: Literal["mixed", "unmixed"]
    start_media_streaming: bool | None = False
    enable_bidirectional: bool | None = False
    audio_format: AudioFormat | None = None
    enable_dtmf_tones: bool | None = False

    def checked(self) -> MediaStreamingOptions:
        """Return these options; raises RejectedError (400) where there is nothing to dial."""
        if not self.transport_url.startswith(("ws://", "wss://")):
            raise RejectedError(
                400, INVALID_STREAM_URL, "'transportUrl' must be a wss (here also ws) address."
            )
        return self


class Announce(Protocol):
    """Tells the application how streaming goes."""

    def __call__(self, status: Status, details: Details, result: Result, echo: OperationEcho) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationEcho:
    """What a request wants to see again in its events: its context, and where they shall go."""

    context: str | None = None
    callback_uri: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamIdentity:
    """What the application is told in the handshake."""

    call_connection_id: str
    correlation_id: str
    subscription_id: str


class MediaStreaming:
    """The application's end of a call's sound (`call_media.MediaPeer`)."""

    def __init__(
        self,
        options: MediaStreamingOptions,
        identity: StreamIdentity,
        *,
        http: OutboundHttp,
        signer: TokenSigner,
        faults: FaultPlan,
        log: EventLog,
        announce: Announce,
        on_pace: Callable[[float], None],
        reconnects: int,
        reconnect_delay: float,
    ) -> None:
        self.options = options
        self.identity = identity
        self.state: Literal["inactive", "active"] = "inactive"
        self.connections: list[MediaSocket] = []
        self._http = http
        self._signer = signer
        self._faults = faults
        self._log = log
        self._announce = announce
        self._on_pace = on_pace
        self._reconnects = reconnects
        self._reconnect_delay = reconnect_delay
        self._rate = RATES[options.audio_format or "pcm16KMono"]
        self.playback = PlaybackQueue(self._rate) if options.enable_bidirectional else None
        self._socket: MediaSocket | None = None
        self._encoder = FrameEncoder(self._rate, now())
        self._resamplers: dict[str, FrameResampler] = {}
        self._tasks = OwnedTasks()
        self._task: asyncio.Task[None] | None = None
        self._dropping: asyncio.TimerHandle | None = None
        self._may_reopen = True
        self._reopen_delay: float | None = None

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def start(self, operation: OperationEcho) -> None:
        """Dial; nothing happens when it is active already."""
        if self._task is None or self._task.done():
            self._may_reopen = True
            self._task = self._tasks.start(self._run(operation))

    async def stop(self, operation: OperationEcho | None) -> None:
        """Close the connection; with an `operation`, MediaStreamingStopped is announced. Idempotent."""
        task, self._task = self._task, None
        was_active = self.state == "active"
        self.state = "inactive"
        if self._dropping is not None:
            self._dropping.cancel()
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
        if task is not None:
            await self._tasks.close()
        if self.playback is not None:
            self.playback.stop()
        if operation is not None and was_active:
            self._announce("mediaStreamingStopped", "subscriptionStopped", SUCCESS, operation)

    def abandon(self) -> None:
        """Break the connection and dial no more: nobody waits for goodbyes."""
        if self._socket is not None:
            self._socket.drop()
        if self._task is not None:
            self._task.cancel()

    def drop(self, *, reopen: bool, delay_s: float | None) -> bool:
        """Break the connection now; False when there is none."""
        if self._socket is None:
            return False
        self._may_reopen = reopen
        self._reopen_delay = delay_s
        self._socket.drop()
        return True

    def send_raw(self, message: str | bytes) -> bool:
        """Send something that the service would never send; False when there is no connection."""
        if self._socket is None:
            return False
        self._socket.offer(message)
        return True

    def press(self, digit: str) -> None:
        """A key was pressed."""
        if self.options.enable_dtmf_tones and self._socket is not None:
            self._socket.offer(dtmf(digit))

    def next_frame(self) -> bytes | None:
        return self.playback.next_frame() if self.playback is not None else None

    def take(self, voices: list[tuple[Identifier, bytes | None]]) -> None:
        if self._socket is None:
            return
        self._encoder.tick()
        if self.options.audio_channel_type == "unmixed":
            for who, frame in voices[:_DOMINANT_SPEAKERS]:
                pcm16 = self._at_rate(who.raw_id, frame)
                self._socket.offer(self._encoder.audio(pcm16, who.raw_id))
            return
        pcm16 = self._at_rate("", mixed([frame for _, frame in voices]))
        self._socket.offer(self._encoder.audio(pcm16, None))

    def shown(self) -> Json:
        """Return the state as JSON."""
        return {
            "state": self.state,
            "connected": self.connected,
            "transport_url": self.options.transport_url,
            "rate": self._rate,
            "connections": [socket.counters.shown() for socket in self.connections],
            "playback": self.playback.shown() if self.playback is not None else None,
        }

    def _at_rate(self, who: str, frame: bytes | None) -> bytes | None:
        rate = self._encoder.rate
        if rate == RATE:
            return frame
        resampler = self._resamplers.get(who)
        if resampler is None:
            if frame is None:
                return None
            resampler = self._resamplers[who] = FrameResampler(rate)
        return resampler.feed(frame)

    async def _run(self, operation: OperationEcho) -> None:
        try:
            await self._dial()
        except UnreachableError as error:
            self._log.record("media_unreachable", why=str(error))
            result = Result(
                code=error.status or 500, sub_code=8603, message=f"Media streaming failed: {error}."
            )
            self._announce("mediaStreamingFailed", "initialWebSocketConnectionFailed", result, operation)
            return
        self.state = "active"
        self._announce("mediaStreamingStarted", "subscriptionStarted", SUCCESS, operation)
        while self._socket is not None:
            code = await self._socket.carry()
            if self._task is not asyncio.current_task():
                return  # stopped by the application or by the call's end
            self._socket = None
            self._log.record("media_closed", code=code)
            if code == _CLEAN:
                self.state = "inactive"
                self._announce("mediaStreamingStopped", "subscriptionStopped", SUCCESS, operation)
            elif code == _REFUSED or not await self._redial(code, operation):
                self.state = "inactive"
                result = Result(code=500, sub_code=8603, message=f"The media socket closed with {code}.")
                self._announce("mediaStreamingFailed", "streamConnectionUnsuccessful", result, operation)

    async def _redial(self, code: int, operation: OperationEcho) -> bool:
        if not self._may_reopen or self._reconnects == 0:
            return False
        result = Result(code=500, sub_code=8603, message=f"The media socket closed with {code}.")
        self._announce("mediaStreamingFailed", "streamConnectionInterrupted", result, operation)
        for _ in range(self._reconnects):
            delay, self._reopen_delay = self._reopen_delay, None
            await asyncio.sleep(self._reconnect_delay if delay is None else delay)
            try:
                await self._dial()
            except UnreachableError as error:
                self._log.record("media_unreachable", why=str(error))
                continue
            self._announce("mediaStreamingStarted", "streamConnectionReestablished", SUCCESS, operation)
            return True
        return False

    async def _dial(self) -> None:
        if self._faults.take("media_unreachable") is not None:
            raise UnreachableError("a fault on request")
        forged = self._faults.take("media_forged")
        headers = {
            "x-ms-call-connection-id": self.identity.call_connection_id,
            "x-ms-call-correlation-id": self.identity.correlation_id,
        }
        authorization = self._signer.authorization(forged.token if forged else None)
        if authorization is not None:
            headers["Authorization"] = authorization
        socket = await dial(self._http.client, self.options.transport_url, headers, self.playback, self._log)
        wrong_rate = self._faults.take("media_rate")
        self._resamplers.clear()
        self._encoder = FrameEncoder(wrong_rate.rate if wrong_rate else self._rate, now())
        socket.offer(self._encoder.metadata(self.identity.subscription_id))
        self._socket = socket
        self.connections.append(socket)
        self._log.record("media_opened", connection=len(self.connections))
        if (pace := self._faults.take("media_pace")) is not None:
            self._on_pace(pace.factor)
        if (dropping := self._faults.take("media_drop")) is not None:
            self._drop_later(dropping)

    def _drop_later(self, fault: Fault) -> None:
        loop = asyncio.get_running_loop()
        self._dropping = loop.call_later(
            fault.ms / 1000, lambda: self.drop(reopen=fault.reopen, delay_s=None)
        )
