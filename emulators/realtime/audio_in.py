"""Input audio of one session: the buffer, turn detection, and what was said in an utterance."""

from __future__ import annotations

from dataclasses import dataclass

from emulators.realtime.g711 import ToPcm24k
from emulators.realtime.session.configuration import SessionConfiguration
from emulators.realtime.speech_set import BYTES_PER_MS, Ears, Started, Stopped, VoiceActivity

_LONGEST_BUFFER_MS = 120_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Utterance:
    """What became of one user turn: its audio (PCM16 mono, 24 kHz), or the text it was typed as."""

    audio: bytes = b""
    text: str | None = None


class AudioIn:
    """Takes the caller's audio; without `ears` it only counts and keeps it."""

    def __init__(self, configuration: SessionConfiguration, ears: Ears | None) -> None:
        self._configuration = configuration
        self._ears = ears
        self._detector: VoiceActivity | None = None
        self._decoder: ToPcm24k | None = None
        self._buffer = bytearray()
        self._typed: list[str] = []
        self._utterance: Utterance | None = None
        self.heard_ms = 0.0

    def decode(self, audio: bytes) -> bytes:
        """Return audio in the session's input format as PCM16 at 24 kHz."""
        law = self._configuration.input_format
        if law not in ("audio/pcmu", "audio/pcma"):
            return audio
        if self._decoder is None or self._decoder.law != law:
            self._decoder = ToPcm24k(law)
        return self._decoder.feed(audio)

    def feed(self, pcm16: bytes) -> list[Started | Stopped]:
        """Take PCM16 at 24 kHz; return where speech starts or stops in it."""
        self.heard_ms += len(pcm16) / BYTES_PER_MS
        self._buffer += pcm16
        detection = self._configuration.turn_detection
        if self._ears is None or detection is None:
            self._limit_buffer(_LONGEST_BUFFER_MS)
            return []
        if self._detector is None:
            self._detector = self._ears.listen()
            self.reconfigure()
        edges = self._detector.feed(pcm16)
        self._limit_buffer(_LONGEST_BUFFER_MS)
        return edges

    def reconfigure(self) -> None:
        """Turn detection may have changed."""
        detection = self._configuration.turn_detection
        if self._detector is None:
            return
        if detection is None:
            self._detector.reset()
        else:
            self._detector.configure(
                threshold=detection.threshold,
                prefix_padding_ms=detection.padding_ms,
                silence_duration_ms=detection.silence_ms,
            )

    def type(self, text: str) -> None:
        """Put words into the buffer as if they had been spoken."""
        self._typed.append(text)

    def ended(self, utterance: Utterance) -> None:
        """The next turn that is committed consists of this."""
        self._utterance = utterance

    def take(self) -> Utterance:
        """Return the turn being committed, and empty the buffer."""
        utterance, self._utterance = self._utterance, None
        if utterance is None:
            text = " ".join(self._typed) if self._typed else None
            utterance = Utterance(audio=bytes(self._buffer), text=text)
            if self._detector is not None:
                self._detector.reset()
        self._buffer.clear()
        self._typed.clear()
        return utterance

    def discard(self) -> None:
        """Empty the buffer."""
        self._buffer.clear()
        self._typed.clear()
        if self._detector is not None:
            self._detector.reset()

    def close(self) -> None:
        if self._detector is not None:
            self._detector.close()
            self._detector = None

    def _limit_buffer(self, longest_ms: int) -> None:
        surplus = len(self._buffer) - longest_ms * BYTES_PER_MS
        if surplus > 0:
            del self._buffer[:surplus]
