"""The line to one session's caller: over one media socket after another, to one provider session after
another.

Both sides come and go: a carrier opens its socket again after an interruption, a provider session is lost or
renewed. What cannot be passed on at the moment is kept, never more than some seconds of it; what is oldest
goes first, and is counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from realtime_worker.conversation.wire import part, text
from realtime_worker.media.framing import CHARS_PER_MS, Framing, duration_ms, joined
from realtime_worker.media.playback_clock import PlaybackClock
from shared.errors import SidetoneError
from shared.providers.protocol import AudioSource, ProviderSocket
from shared.telemetry.logs import get_logger

# What the caller says while nobody listens, and what the agent says while the carrier does not.
HEARD_KEPT_MS = 5_000
SAID_KEPT_MS = 30_000
# A caller hears the end of what was said a little later than the clock of this side has it.
TAIL_MS = 250.0
# How often a carrier that is behind is looked at.
CONGESTED_PAUSE_S = 0.02
# A carrier that tells what it has played is asked to about once for so much audio.
MARK_EVERY_MS = 1_000.0

# WebSocket close codes (RFC 6455 and the IANA registry): a carrier comes again after the second.
OVER = 1000
COME_AGAIN = 1012

_PADDED = ord("=")

_log = get_logger(__name__)


class Wire(Protocol):
    """An open media socket."""

    @property
    def free(self) -> bool:
        """Whether what is sent now leaves at once."""
        ...

    def send(self, message: bytes) -> None:
        """Send a text message; a connection that is gone takes it without a word."""
        ...

    async def shut(self, code: int) -> None:
        """Close with a WebSocket close code; safe to call twice."""
        ...


class CallerLine:
    """What a session has of its caller. Told through `tell`, as events of the Realtime API:

    - `output_audio_buffer.started`, `.stopped` and `.cleared`, as the service tells them where it plays the
      audio itself; a cleared one lists in `heard` what was heard of which item;
    - `input_audio_buffer.dtmf_event_received`.
    """

    def __init__(
        self, tell: Callable[[Mapping[str, object]], None], *, interruptible: Callable[[], bool]
    ) -> None:
        """interruptible: whether the caller may speak over the agent now."""
        self._tell = tell
        self._interruptible = interruptible
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._wire: Wire | None = None
        self._framing: Framing | None = None
        self._changed = asyncio.Event()
        self._closed = False
        self._flushing: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        # From the agent to the caller.
        self._clock = PlaybackClock()
        self._source: AudioSource | None = None  # of the piece before
        self._said: deque[tuple[AudioSource, bytes]] = deque()  # not sent yet
        self._said_chars = 0
        self._sounding = ""  # the response whose audio comes
        self._unfinished = ""  # the same, until all of it is there
        self._silenced = ""  # a response that the caller has spoken over
        self._played = False  # something was sent since the carrier was last told to stop
        self._stop_owed = False
        self._ends: dict[str, asyncio.TimerHandle | None] = {}  # responses that are all there, not heard out
        self._mark_ms = 0.0
        self._marks = 0
        # From the caller to the agent.
        self._provider: ProviderSocket | None = None
        self._heard: deque[bytes] = deque()
        self._heard_chars = 0
        self.lost_heard_ms = 0.0
        self.lost_said_ms = 0.0

    # --- the two ends ---------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is a caller to talk to."""
        return self._wire is not None

    async def wait(self, *, connected: bool) -> None:
        """Return once the caller is there, or is not."""
        while self.connected is not connected:
            self._changed.clear()
            await self._changed.wait()

    def attach(self, wire: Wire, framing: Framing) -> bool:
        """Talk over this socket from now on; one that was used before is closed. False: the session is over
        here."""
        if self._closed:
            return False
        before, self._wire, self._framing = self._wire, wire, framing
        self._changed.set()
        self._flush_soon()
        if before is not None and before is not wire:
            task = self._loop.create_task(before.shut(OVER), name="media socket's end")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return True

    def detach(self, wire: Wire) -> None:
        """This socket is gone; nothing happens where another one has taken its place."""
        if self._wire is wire:
            self._wire = self._framing = None
            self._changed.set()

    def listen_with(self, provider: ProviderSocket) -> None:
        """What the caller says goes there from now on, what was kept first."""
        self._provider = provider
        self._pass_on([])

    def stop_listening(self) -> None:
        """There is nobody to listen; the agent says no more in this provider session."""
        self._provider = None
        if self._unfinished:
            self.finished(self._unfinished)

    async def close(self, code: int) -> None:
        """Let go of the caller; safe to call twice."""
        self._closed = True
        for handle in self._ends.values():
            if handle is not None:
                handle.cancel()
        self._ends.clear()
        flushing, self._flushing = self._flushing, None
        if flushing is not None:
            flushing.cancel()
            await asyncio.wait([flushing])
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.shut(code)
        if self._closing:
            await asyncio.wait(self._closing)
        if self.lost_heard_ms or self.lost_said_ms:
            lost = {"lost_heard_ms": int(self.lost_heard_ms), "lost_said_ms": int(self.lost_said_ms)}
            _log.warning("audio was lost", extra=lost)

    # --- what the caller says ---------------------------------------------------------------------

    def hear(self, audio: bytes) -> None:
        """Pass on a piece of what the caller says, with what was kept before it."""
        provider = self._provider
        if provider is None or not provider.free:
            self._keep_heard(audio)
        elif self._heard:
            self._pass_on([audio])
        else:
            try:
                provider.send_audio(audio)
            except SidetoneError:  # the session's reader sees the same
                self._keep_heard(audio)

    def _pass_on(self, last: list[bytes]) -> None:
        """Send what was kept, and `last` behind it."""
        pieces = joined([*self._heard, *last])
        self._heard.clear()
        self._heard_chars = 0
        for piece in pieces:
            try:
                if self._provider is not None:
                    self._provider.send_audio(piece)
                    continue
            except SidetoneError:
                self._provider = None
            self._keep_heard(piece)

    def pressed(self, key: str) -> None:
        """The caller pressed a key."""
        if self._interruptible():
            self.interrupt()
        self._tell({"type": "input_audio_buffer.dtmf_event_received", "event": key})

    def reached(self, mark: str) -> None:
        """The carrier has played everything before a mark."""
        self._clock.reached(mark, self._now_ms())
        for response_id, handle in self._ends.items():
            if handle is not None:
                handle.cancel()
                self._ends[response_id] = self._heard_out_later(response_id)

    def _keep_heard(self, audio: bytes) -> None:
        self._heard.append(audio)
        self._heard_chars += len(audio)
        while self._heard_chars > HEARD_KEPT_MS * CHARS_PER_MS and len(self._heard) > 1:
            oldest = self._heard.popleft()
            self._heard_chars -= len(oldest)
            if not self.lost_heard_ms:
                _log.warning("what the caller says is lost", extra={"kept_ms": HEARD_KEPT_MS})
            self.lost_heard_ms += duration_ms(oldest)

    # --- what the agent says ----------------------------------------------------------------------

    def play(self, source: AudioSource, audio: bytes) -> None:
        """Pass on a piece of what the agent says."""
        if source is not self._source:
            self._source = source
            self._began(source.response_id)
        if source.response_id == self._silenced or not audio:
            return
        wire = self._wire
        if wire is None or self._said or self._stop_owed or not wire.free:
            self._keep_said(source, audio)
        else:
            self._send(wire, source, audio)

    def heed(self, event: Mapping[str, object]) -> None:
        """Do what an event of the service means for the caller's ear, before anybody else hears of it."""
        match event.get("type"):
            case "input_audio_buffer.speech_started" if self._interruptible():
                self.interrupt()
            case "response.done":
                response = part(event, "response")
                if text(response, "status") == "cancelled":
                    self.interrupt()
                self.finished(text(response, "id"))
            case _:
                pass

    def finished(self, response_id: str) -> None:
        """All audio of a response is there."""
        if response_id and response_id == self._unfinished:
            self._unfinished = ""
            self._ends[response_id] = None
            self._end_when_heard(response_id)

    def interrupt(self) -> None:
        """The caller spoke over the agent: let the carrier drop what it has not played, at once."""
        now_ms = self._now_ms()
        if self._played:
            self._played = False
            self._stop_owed = True
            self._stop()
        self._tell_cleared(now_ms)
        self._flush_soon()

    def _stop(self) -> None:
        """Tell the carrier to stop if it can be told now; else before anything else is sent."""
        if self._wire is not None and self._framing is not None and self._wire.free:
            self._stop_owed = False
            self._wire.send(self._framing.stop())

    def _tell_cleared(self, now_ms: float) -> None:
        """Tell, for each response that was cut off, what was heard of it."""
        kept = [source for source, _ in self._said]
        cut = dict.fromkeys([*self._clock.unheard(now_ms), *kept])
        if self._unfinished and self._source is not None and self._unfinished != self._silenced:
            cut[self._source] = None
        heard = [self._clock.heard(source, now_ms) for source in cut]
        self._said.clear()
        self._said_chars = 0
        self._clock.stop()
        self._mark_ms = 0.0
        self._silenced, self._unfinished = self._sounding, ""
        for response_id in dict.fromkeys(one.source.response_id for one in heard):
            self._forget_end(response_id)
            items = [
                {
                    "item_id": one.source.item_id,
                    "content_index": one.source.content_index,
                    "audio_end_ms": one.milliseconds,
                }
                for one in heard
                if one.source.response_id == response_id
            ]
            self._tell({"type": "output_audio_buffer.cleared", "response_id": response_id, "heard": items})

    def _began(self, response_id: str) -> None:
        if response_id == self._sounding:
            return
        if self._unfinished:
            self.finished(self._unfinished)  # nobody said so: its end was lost with a connection
        self._sounding = self._unfinished = response_id
        self._tell({"type": "output_audio_buffer.started", "response_id": response_id})

    def _send(self, wire: Wire, source: AudioSource, audio: bytes) -> None:
        framing = self._framing
        if framing is None:
            return
        length_ms = len(audio) / CHARS_PER_MS if audio[-1] != _PADDED else duration_ms(audio)
        self._played = True
        self._clock.sent(source, length_ms, self._time() * 1000)
        message = framing.play(audio)
        if message:
            wire.send(message)
        self._mark_ms += length_ms
        if self._mark_ms >= MARK_EVERY_MS:
            self._mark(wire, framing)

    def _mark(self, wire: Wire, framing: Framing) -> None:
        self._mark_ms = 0.0
        self._marks += 1
        name = f"m{self._marks}"
        if message := framing.mark(name):
            self._clock.marked(name)
            wire.send(message)

    def _keep_said(self, source: AudioSource, audio: bytes) -> None:
        self._said.append((source, audio))
        self._said_chars += len(audio)
        while self._said_chars > SAID_KEPT_MS * CHARS_PER_MS and len(self._said) > 1:
            _, oldest = self._said.popleft()
            self._said_chars -= len(oldest)
            if not self.lost_said_ms:
                _log.warning("what the agent says is lost", extra={"kept_ms": SAID_KEPT_MS})
            self.lost_said_ms += duration_ms(oldest)
        self._flush_soon()

    def _flush_soon(self) -> None:
        owed = bool(self._said) or self._stop_owed
        if self._wire is not None and owed and (self._flushing is None or self._flushing.done()):
            self._flushing = self._loop.create_task(self._flush(), name="caller line")

    async def _flush(self) -> None:
        """Send what was kept, as fast as the carrier takes it."""
        while (self._said or self._stop_owed) and (wire := self._wire) is not None:
            if not wire.free:
                await asyncio.sleep(CONGESTED_PAUSE_S)
                continue
            if self._stop_owed:
                self._stop()
                continue
            source, audio = self._said.popleft()
            self._said_chars -= len(audio)
            self._send(wire, source, audio)
        if not self._said:
            for response_id, handle in list(self._ends.items()):
                if handle is None:
                    self._end_when_heard(response_id)

    # --- the end of a response --------------------------------------------------------------------

    def _end_when_heard(self, response_id: str) -> None:
        if all(source.response_id != response_id for source, _ in self._said):
            self._ends[response_id] = self._heard_out_later(response_id)

    def _heard_out_later(self, response_id: str) -> asyncio.TimerHandle:
        delay_ms = max(self._clock.over_at_ms(response_id) - self._now_ms(), 0.0) + TAIL_MS
        return self._loop.call_later(delay_ms / 1000, self._heard_out, response_id)

    def _heard_out(self, response_id: str) -> None:
        self._forget_end(response_id)
        self._tell({"type": "output_audio_buffer.stopped", "response_id": response_id})

    def _forget_end(self, response_id: str) -> None:
        handle = self._ends.pop(response_id, None)
        if handle is not None:
            handle.cancel()

    def _now_ms(self) -> float:
        return self._time() * 1000
