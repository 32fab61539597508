"""Speech in and out of aiortc: a paced outgoing track, and incoming frames as mono PCM16."""

from __future__ import annotations

import asyncio
import fractions

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from emulators.speech.resampling import BYTES_PER_SAMPLE, StreamResampler

SPEECH_RATE = 24_000
FRAME_MS = 20
FRAME_BYTES = SPEECH_RATE * FRAME_MS // 1000 * BYTES_PER_SAMPLE
LONGEST_QUEUE_MS = 10 * 60 * 1000
VOICED_RMS = 0.01
"""A frame louder than this (-40 dBFS) counts as voice; what codecs make of silence lies far below."""
_LATEST_CATCH_UP_S = 0.1


class SpeechTrack(MediaStreamTrack):
    """An outgoing audio track that plays what is pushed to it, and silence otherwise, in real time.

    PCM16 mono at 24 kHz goes in; a frame of 20 ms comes out every 20 ms of wall clock, as a sender must pace
    itself.
    """

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.last_voiced_at: float | None = None
        """Event loop time at which the last frame with voice in it ended."""
        self._queue = bytearray()
        self._drained = asyncio.Event()
        self._drained.set()
        self._frames = 0
        self._origin: float | None = None

    @property
    def queued_ms(self) -> int:
        """Milliseconds of pushed audio not played yet."""
        return len(self._queue) * 1000 // (SPEECH_RATE * BYTES_PER_SAMPLE)

    def push(self, pcm16: bytes) -> None:
        """Play PCM16 mono 24 kHz after what is queued. Raises ValueError beyond ten minutes of queue."""
        if len(pcm16) % BYTES_PER_SAMPLE:
            raise ValueError("PCM16 audio must have an even number of bytes")
        if (len(self._queue) + len(pcm16)) * 1000 // (SPEECH_RATE * BYTES_PER_SAMPLE) > LONGEST_QUEUE_MS:
            raise ValueError("more than ten minutes of audio are queued; push it in parts")
        if pcm16:
            self._queue += pcm16
            self._drained.clear()

    def clear(self) -> int:
        """Drop what is queued (an interruption); return how many milliseconds were dropped."""
        dropped = self.queued_ms
        self._queue.clear()
        self._drained.set()
        return dropped

    async def drained(self) -> None:
        """Wait until all that was pushed has been played, or was cleared."""
        await self._drained.wait()

    async def recv(self) -> AudioFrame:
        """Return the next frame when it is due (aiortc's sender calls this)."""
        if self.readyState != "live":
            raise MediaStreamError
        await self._until_due()
        pcm16 = bytes(self._queue[:FRAME_BYTES])
        del self._queue[:FRAME_BYTES]
        if pcm16 and root_mean_square(pcm16) >= VOICED_RMS:
            self.last_voiced_at = asyncio.get_running_loop().time() + FRAME_MS / 1000
        if not self._queue:
            self._drained.set()
        samples = np.frombuffer(pcm16.ljust(FRAME_BYTES, b"\0"), dtype=np.int16)
        frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = SPEECH_RATE
        frame.pts = self._frames * samples.size
        frame.time_base = fractions.Fraction(1, SPEECH_RATE)
        self._frames += 1
        return frame

    def stop(self) -> None:
        """End the track; whoever waits in `drained` goes on."""
        super().stop()
        self._drained.set()

    async def _until_due(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._origin is None:
            self._origin = now
        due = self._origin + self._frames * FRAME_MS / 1000
        if now - due > _LATEST_CATCH_UP_S:
            # After a stall a burst of late frames would overrun the receiver's jitter buffer.
            self._origin += now - due
        elif due > now:
            await asyncio.sleep(due - now)


class MonoReader:
    """Turns the frames of one incoming track (48 kHz stereo from Opus) into PCM16 mono at `rate` Hz."""

    def __init__(self, rate: int = SPEECH_RATE) -> None:
        self.rate = rate
        self._resampler: StreamResampler | None = None

    def read(self, frame: AudioFrame) -> bytes:
        """Return the frame's audio; a few milliseconds of it may come with the next frame.

        Raises ValueError for a frame that is not 16-bit: aiortc's decoders make no other.
        """
        if frame.format.name != "s16":
            raise ValueError(f"expected 16-bit audio frames, got {frame.format.name}")
        if self._resampler is None or self._resampler.from_rate != frame.sample_rate:
            self._resampler = StreamResampler(frame.sample_rate, self.rate)
        channels = len(frame.layout.channels)
        samples = frame.to_ndarray().reshape(-1, channels)
        mono = samples.mean(axis=1).astype(np.int16) if channels > 1 else samples
        return self._resampler.feed(mono.tobytes())


def root_mean_square(pcm16: bytes) -> float:
    """Loudness of PCM16 audio from 0.0 (silence, or nothing) to 1.0."""
    samples = np.frombuffer(pcm16, dtype=np.int16)
    if samples.size == 0:
        return 0.0
    return float(np.sqrt(np.mean(np.square(samples.astype(np.float32) / 32768.0))))
