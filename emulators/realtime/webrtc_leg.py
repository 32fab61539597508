"""The media side of a WebRTC call: audio both ways, and the events on the data channel.

Source: RFC 8829 for the exchange; channel and filter as in Azure's WebRTC guide for the Realtime API.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from aiortc import MediaStreamTrack, RTCDataChannel, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from emulators.realtime.live_session import LiveSession
from emulators.realtime.speech_set import BYTES_PER_MS
from emulators.realtime.wire import RejectedError
from emulators.webrtc_audio import MonoReader, SpeechTrack
from emulators.webrtc_ice import local_peer_connection, without_mdns_candidates

# What `webrtcfilter=on` lets through to the browser.
FILTERED_EVENTS = frozenset(
    {
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.added",
        "conversation.item.created",
        "response.output_text.delta",
        "response.output_text.done",
        "response.output_audio_transcript.delta",
        "response.output_audio_transcript.done",
    }
)


class TrackSink:
    """Plays into the call's outgoing track, in real time."""

    speed = 1.0

    def __init__(self, track: SpeechTrack) -> None:
        self._track = track
        self._written = 0.0

    def write(self, audio: bytes | None, milliseconds: float) -> None:
        pcm16 = audio if audio is not None else bytes(int(milliseconds) * BYTES_PER_MS)
        self._track.push(pcm16)
        self._written += len(pcm16) / BYTES_PER_MS

    def clear(self) -> None:
        self._written -= self._track.clear()

    def consumed_ms(self) -> float:
        return self._written - self._track.queued_ms


class ChannelListener:
    """The data channel as a listener; with `filtered`, only harmless events pass."""

    name = "data-channel"
    closable = False

    def __init__(self, channel: RTCDataChannel, *, filtered: bool) -> None:
        self._channel = channel
        self._filtered = filtered

    def accepts(self, event_type: str, *, audio: bool) -> bool:
        return not audio and (not self._filtered or event_type in FILTERED_EVENTS)

    def offer(self, data: bytes) -> None:
        if self._channel.readyState == "open":
            self._channel.send(data.decode())

    def end(self, code: int, reason: str) -> None:
        """Nothing to do: the channel goes with the connection."""


class WebRtcLeg:
    """One peer connection. `close` is idempotent."""

    def __init__(self, addresses: Sequence[str], *, filtered: bool) -> None:
        self._connection = local_peer_connection(addresses)
        self._track = SpeechTrack()
        self._filtered = filtered
        self._channel: RTCDataChannel | None = None
        self._reading: set[asyncio.Task[None]] = set()
        self.sink = TrackSink(self._track)

    async def answer(self, offer: str, session: LiveSession, on_lost: Callable[[], None]) -> str:
        """Return the SDP answer; from then on audio and events flow for `session`.

        `on_lost` is called when the peer goes away. Raises RejectedError for an offer that can't be used.
        """
        connection = self._connection

        def on_track(track: MediaStreamTrack) -> None:
            if track.kind == "audio":
                task = asyncio.ensure_future(_read(track, session))
                self._reading.add(task)
                task.add_done_callback(self._reading.discard)

        def on_datachannel(channel: RTCDataChannel) -> None:
            if self._channel is None:
                self._channel = channel
                self._attach(channel, session)

        def on_state() -> None:
            if connection.connectionState in ("failed", "closed"):
                on_lost()

        connection.on("track", on_track)
        connection.on("datachannel", on_datachannel)
        connection.on("connectionstatechange", on_state)
        try:
            connection.addTrack(self._track)
            await connection.setRemoteDescription(
                RTCSessionDescription(sdp=without_mdns_candidates(offer), type="offer")
            )
            await connection.setLocalDescription(await connection.createAnswer())
        except Exception as error:
            # aiortc has no error type of its own for what it can't read.
            raise RejectedError(
                "invalid_offer", f"Unable to use the SDP offer: {error or type(error).__name__}.", param="sdp"
            ) from error
        return connection.localDescription.sdp

    async def close(self) -> None:
        """Close the connection and stop reading."""
        self._track.stop()
        await self._connection.close()
        for task in list(self._reading):
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)

    def _attach(self, channel: RTCDataChannel, session: LiveSession) -> None:
        listener = ChannelListener(channel, filtered=self._filtered)

        def on_message(message: str | bytes) -> None:
            session.client_frame(listener, message)

        channel.on("message", on_message)
        channel.on("close", lambda: session.detach(listener))
        session.attach(listener, greet=not self._filtered)


async def _read(track: MediaStreamTrack, session: LiveSession) -> None:
    reader = MonoReader()
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        if isinstance(frame, AudioFrame):
            session.feed_audio(reader.read(frame))
