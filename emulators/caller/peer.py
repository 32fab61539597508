"""A client of the Realtime API over WebRTC as a browser is one: a microphone, a speaker, a data channel.

Source: the Realtime API's WebRTC guide (an audio m-line, a data channel named `oai-events`, JSON events).
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import json
import logging
import math
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from aiortc import (
    InvalidAccessError,
    InvalidStateError,
    MediaStreamTrack,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from emulators.speech.voice_activity import SpeechStarted, SpeechStopped, VoiceActivityDetector
from emulators.webrtc_audio import SPEECH_RATE, VOICED_RMS, MonoReader, SpeechTrack, root_mean_square
from emulators.webrtc_ice import LOOPBACK, local_peer_connection, without_mdns_candidates

logger = logging.getLogger(__name__)

MOST_EVENTS_KEPT = 10_000
LONGEST_HEARD_S = 15 * 60
_AGENT_SILENCE_MS = 400
# aiortc's SDP parser has no exception of its own for text that is not SDP.
_UNUSABLE_ANSWER = (
    InvalidAccessError, InvalidStateError, ValueError, KeyError, IndexError, AttributeError, AssertionError,
)  # fmt: skip
_ONSET_AFTER_SILENCE_S = 0.2


class CallError(RuntimeError):
    """The call can't be made or went away; `code` is stable, the message says what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class ReceivedEvent:
    """A data-channel event and when it came (event loop time in seconds)."""

    at: float
    event: Mapping[str, object]

    @property
    def type(self) -> str:
        """The event's `type`, or "" where it has none."""
        return str(self.event.get("type", ""))


class WebRtcCaller:
    """Places one call: `offer()`, hand the SDP to the service, `accept()` its answer, talk, `hang_up()`.

    Use it on one event loop. Times are the loop's, in seconds; audio is PCM16 mono at 24 kHz.
    """

    def __init__(self, *, host_addresses: Sequence[str] = LOOPBACK) -> None:
        """`host_addresses`: the local addresses to offer; 127.0.0.1 reaches services on the same machine."""
        self.connected = asyncio.Event()
        self.ended = asyncio.Event()
        """Set when the call is over, whoever ended it."""
        self.remote_audio_rms = 0.0
        """Loudness of the newest 20 ms that arrived, 0.0 to 1.0."""
        self.last_heard_voice_at: float | None = None
        """When the last frame with voice in it arrived."""
        self._addresses = tuple(host_addresses)
        self._peer: RTCPeerConnection | None = None
        self._channel: RTCDataChannel | None = None
        self._microphone = SpeechTrack()
        self._ears: VoiceActivityDetector | None = None
        self._heard = bytearray()
        self._heard_dropped = 0
        self._voice_times: deque[float] = deque(maxlen=LONGEST_HEARD_S * 50)
        self._events: deque[ReceivedEvent] = deque(maxlen=MOST_EVENTS_KEPT)
        self._event_count = 0
        self._change = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._hung_up = False

    async def offer(self) -> str:
        """Return the SDP offer with all candidates in it. Raises CallError when called twice or hung up."""
        if self._peer is not None or self._hung_up:
            raise CallError("call_already_placed", "a caller places one call; make a new WebRtcCaller")
        self._ears = await asyncio.to_thread(
            lambda: VoiceActivityDetector(
                rate=SPEECH_RATE, prefix_padding_ms=0, silence_duration_ms=_AGENT_SILENCE_MS
            )
        )
        peer = self._peer = local_peer_connection(self._addresses)
        peer.addTrack(self._microphone)
        channel = self._channel = peer.createDataChannel("oai-events")
        channel.on("message", self._on_message)
        peer.on("track", self._on_track)
        peer.on("connectionstatechange", self._on_connection_state)
        await peer.setLocalDescription(await peer.createOffer())
        return peer.localDescription.sdp

    async def accept(self, answer_sdp: str) -> None:
        """Take the service's SDP answer; `connected` is set once media can flow.

        Raises CallError where there was no offer or the answer is no SDP answer to it.
        """
        if self._peer is None or self._hung_up:
            raise CallError("call_not_offered", "make the offer first, and keep the call open")
        answer = RTCSessionDescription(sdp=without_mdns_candidates(answer_sdp), type="answer")
        try:
            await self._peer.setRemoteDescription(answer)
        except _UNUSABLE_ANSWER as problem:
            raise CallError(
                "sdp_answer_unusable", f"the service's answer is not SDP that fits the offer: {problem!r}"
            ) from problem

    async def wait_connected(self, timeout_s: float = 10.0) -> None:
        """Wait until the call is up and its data channel open; CallError where it isn't in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self.connected.is_set() and not self.ended.is_set():
                    await self.changed()
        except TimeoutError:
            raise CallError(
                "call_not_connected",
                f"no WebRTC connection within {timeout_s:g} s; check that the service answers on "
                f"{', '.join(self._addresses)} and that UDP is not blocked",
            ) from None
        if self.ended.is_set():
            raise CallError("call_ended", "the call is over; place a new one")

    def say(self, pcm16_24k: bytes) -> None:
        """Speak PCM16 mono 24 kHz after what is still being said; between utterances silence is sent."""
        self._microphone.push(pcm16_24k)

    async def said_all(self) -> None:
        """Wait until everything given to `say` has been sent, or the call is over."""
        await self._microphone.drained()

    @property
    def last_spoke_at(self) -> float | None:
        """When the last voiced frame of this caller's own speech was sent."""
        return self._microphone.last_voiced_at

    def send_event(self, event: Mapping[str, object]) -> None:
        """Send a client event over the data channel; CallError where the channel is not open."""
        if self._channel is None or self._channel.readyState != "open":
            raise CallError("data_channel_closed", "the data channel is not open; wait for `connected`")
        self._channel.send(json.dumps(event))

    async def events(self) -> AsyncGenerator[Mapping[str, object], None]:
        """Yield the data channel's events, from the first of the call on, until the call is over.

        Several consumers may iterate at once, and each gets all. Who falls ten thousand events behind misses
        the oldest.
        """
        position = 0
        while True:
            changed = self._change
            while position < self._event_count:
                position = max(position, self._event_count - len(self._events))
                received = self._events[position - self._event_count]
                position += 1
                yield received.event
            if self.ended.is_set():
                return
            await changed.wait()

    def events_since(self, moment: float) -> list[ReceivedEvent]:
        """Return the events that came at or after `moment`, in order."""
        return [received for received in self._events if received.at >= moment]

    async def changed(self) -> None:
        """Wait until a frame or an event arrives or the call ends."""
        if not self.ended.is_set():
            await self._change.wait()

    @property
    def heard_position(self) -> int:
        """How many bytes of audio arrived so far; a mark for `heard_since`."""
        return self._heard_dropped + len(self._heard)

    def heard_since(self, position: int = 0, until: int | None = None) -> bytes:
        """Return the audio that arrived between two marks (of the last fifteen minutes)."""
        end = None if until is None else max(until - self._heard_dropped, 0)
        return bytes(self._heard[max(position - self._heard_dropped, 0) : end])

    @property
    def remote_speaking(self) -> bool:
        """True while voice activity detection finds speech in what arrives (0.4 s of silence end it)."""
        return self._ears is not None and self._ears.speaking

    def voice_onsets_since(self, moment: float) -> list[float]:
        """Return when the agent began to be heard, after at least 0.2 s without voice, since `moment`."""
        first = bisect.bisect_left(self._voice_times, moment)
        times = list(itertools.islice(self._voice_times, max(first - 1, 0), None))
        previous = times.pop(0) if first > 0 else -math.inf
        onsets: list[float] = []
        for at in times:
            if at - previous >= _ONSET_AFTER_SILENCE_S:
                onsets.append(at)
            previous = at
        return onsets

    async def hang_up(self) -> None:
        """End the call and free what it holds; idempotent, and safe at any stage of the call."""
        if self._hung_up:
            await self.ended.wait()
            return
        self._hung_up = True
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._microphone.stop()
        try:
            if self._peer is not None:
                await self._peer.close()
        finally:
            if self._ears is not None:
                self._ears.close()
            self._end()

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            self._own(self._listen(track))

    def _on_connection_state(self) -> None:
        state = self._peer.connectionState if self._peer else "closed"
        if state == "connected":
            self._own(self._when_channel_opens())
        elif state in ("failed", "closed"):
            self._end()

    def _on_message(self, message: str | bytes) -> None:
        try:
            event: object = json.loads(message)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            logger.warning("Data channel message is not a JSON object", extra={"length": len(message)})
            return
        now = asyncio.get_running_loop().time()
        self._events.append(ReceivedEvent(at=now, event=cast(dict[str, object], event)))
        self._event_count += 1
        self._announce_change()

    async def _when_channel_opens(self) -> None:
        channel = self._channel
        if channel is None:
            return
        opened = asyncio.Event()
        channel.on("open", opened.set)
        if channel.readyState != "open":
            await opened.wait()
        self.connected.set()
        channel.on("close", self._end)
        self._announce_change()

    async def _listen(self, track: MediaStreamTrack) -> None:
        reader = MonoReader(SPEECH_RATE)
        loop = asyncio.get_running_loop()
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, AudioFrame):
                    self._take_in(reader.read(frame), loop.time())
        except MediaStreamError:
            logger.debug("The agent's audio ended")

    def _take_in(self, pcm16: bytes, now: float) -> None:
        self._heard += pcm16
        surplus = len(self._heard) - LONGEST_HEARD_S * SPEECH_RATE * 2
        if surplus > SPEECH_RATE * 2:
            del self._heard[:surplus]
            self._heard_dropped += surplus
        self.remote_audio_rms = root_mean_square(pcm16)
        if self.remote_audio_rms >= VOICED_RMS:
            self.last_heard_voice_at = now
            self._voice_times.append(now)
        if self._ears is not None:
            for event in self._ears.feed(pcm16):
                match event:
                    case SpeechStarted():
                        logger.debug("The agent began to speak", extra={"audio_ms": event.audio_ms})
                    case SpeechStopped():
                        logger.debug("The agent fell silent", extra={"audio_ms": event.audio_ms})
        self._announce_change()

    def _announce_change(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def _end(self) -> None:
        self.ended.set()
        self._microphone.stop()
        self._announce_change()

    def _own(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            logger.error("A part of the caller failed", exc_info=problem)
            self._end()
