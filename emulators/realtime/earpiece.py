"""What the caller of a SIP call hears: played in real time, and kept as it sounds on a telephone."""

from __future__ import annotations

import asyncio
import io
import wave
from collections import deque

from emulators.realtime.g711 import FromPcm24k, to_pcm16
from emulators.realtime.speech_set import BYTES_PER_MS

_RATE = 8_000
_LONGEST_MS = 10 * 60_000
_LOOK_S = 0.02


class Earpiece:
    """A sink (see `playback.AudioSink`) that keeps ten minutes as G.711 µ-law, silence where nothing came."""

    speed = 1.0

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._at = self._loop.time()
        self._queued: deque[bytes] = deque()
        self._played_bytes = 0
        self._encoder = FromPcm24k("audio/pcmu")
        self._heard = bytearray()
        self._down = False
        self._quiet_bytes = 0

    def write(self, audio: bytes | None, milliseconds: float) -> None:
        self._advance()
        self._queued.append(audio if audio is not None else bytes(int(milliseconds) * BYTES_PER_MS))

    def clear(self) -> None:
        self._advance()
        self._queued.clear()

    def consumed_ms(self) -> float:
        self._advance()
        return self._played_bytes / BYTES_PER_MS

    def put_down(self) -> None:
        """The call is over: nothing more is heard."""
        self._advance()
        self._down = True

    async def listen(self, *, sound: bool, milliseconds: int, timeout_ms: int) -> bool:
        """Wait until so much sound was heard from now on, or so much quiet at a stretch.

        False: not within `timeout_ms`, or the call ended before.
        """
        self._advance()
        until = self._at + timeout_ms / 1000
        begun, self._quiet_bytes = self._played_bytes, 0
        while (self._played_bytes - begun if sound else self._quiet_bytes) < milliseconds * BYTES_PER_MS:
            if self._down or self._at >= until:
                return False
            await asyncio.sleep(_LOOK_S)
            self._advance()
        return True

    def wav(self) -> bytes:
        """Return what was heard so far as a WAV file: 16 bits, mono, 8 kHz."""
        self._advance()
        file = io.BytesIO()
        with wave.open(file, "wb") as recording:
            recording.setparams((1, 2, _RATE, 0, "NONE", ""))
            recording.writeframes(to_pcm16("audio/pcmu", bytes(self._heard)))
        return file.getvalue()

    def _advance(self) -> None:
        """Play what time has passed for, whole milliseconds of it; the rest of that time was silence."""
        passed_ms = 0 if self._down else int((self._loop.time() - self._at) * 1000)
        self._at += passed_ms / 1000
        missing = passed_ms * BYTES_PER_MS
        while missing and self._queued:
            piece = self._queued.popleft()
            if len(piece) > missing:
                self._queued.appendleft(piece[missing:])
                piece = piece[:missing]
            missing -= len(piece)
            self._played_bytes += len(piece)
            self._quiet_bytes = 0
            self._keep(piece)
        self._quiet_bytes += missing
        self._keep(bytes(min(missing, _LONGEST_MS * BYTES_PER_MS)))

    def _keep(self, pcm16: bytes) -> None:
        if pcm16 and len(self._heard) < _LONGEST_MS * _RATE // 1000:
            self._heard += self._encoder.feed(pcm16)
