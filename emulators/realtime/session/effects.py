"""What a session core asks of the shell around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from emulators.realtime.wire import Json

Transport = Literal["websocket", "webrtc", "sip"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Emit:
    """Send a server event: to every listener, or to the sender of the client event being handled.

    `audio` marks output audio, which only the listener that owns the media gets.
    """

    event: Json
    to_sender: bool = False
    audio: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class InputAudio:
    """Add PCM16 (24 kHz) or G.711 bytes, as the session's input format says, to the input buffer."""

    audio: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscardInput:
    """Empty the input buffer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hear:
    """The input buffer became the audio of `item_id`: find out what was said."""

    item_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Think:
    """Let the mind answer `response_id`; everything it needs is in the core's `turn(response_id)`."""

    response_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StopThinking:
    """Cancel the mind and the voice of `response_id`."""

    response_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ClearPlayback:
    """Throw away what the caller has not heard yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndOfSpeech:
    """No more audio comes for `response_id`: playback ends when it has drained."""

    response_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmIdleTimer:
    """Call `idle_timed_out` after this many milliseconds of silence, unless disarmed."""

    milliseconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DisarmIdleTimer:
    """Forget the idle timer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconfigured:
    """The effective session changed: turn detection may have new parameters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndSession:
    """Close every listener with this WebSocket code; the session is over."""

    close_code: int
    reason: str


Effect = (
    Emit
    | InputAudio
    | DiscardInput
    | Hear
    | Think
    | StopThinking
    | ClearPlayback
    | EndOfSpeech
    | ArmIdleTimer
    | DisarmIdleTimer
    | Reconfigured
    | EndSession
)
