"""The messages of the media-streaming WebSocket, both ways.

Source: Microsoft's "Audio streaming quickstart" for Call Automation, the StreamingData types of the public
JavaScript SDK (camelCase) and the public Python samples (PascalCase): the service reads either.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

import orjson

from emulators.communication.frames import FRAME_MS

AudioFormat = Literal["pcm16KMono", "pcm24KMono"]
RATES: dict[AudioFormat, int] = {"pcm16KMono": 16_000, "pcm24KMono": 24_000}
_SECONDS = "%Y-%m-%dT%H:%M:%S"


class MalformedError(ValueError):
    """A message of the application can't be understood."""


@dataclass(frozen=True, slots=True)
class PlayAudio:
    """Play this PCM16 mono."""

    pcm16: bytes


@dataclass(frozen=True, slots=True)
class StopAudio:
    """Drop what is queued."""


class FrameEncoder:
    """Encodes the frames of one connection, each 20 ms after the other."""

    def __init__(self, rate: int, began: datetime) -> None:
        self.rate = rate
        self._bytes_per_frame = rate * 2 * FRAME_MS // 1000
        self._silence = base64.b64encode(bytes(self._bytes_per_frame)).decode()
        self._second = began.replace(microsecond=0)
        self._milliseconds = began.microsecond // 1000
        self._prefix = self._second.strftime(_SECONDS)
        self._timestamp = timestamp(began)

    def metadata(self, subscription_id: str) -> str:
        """Return the first message of a connection."""
        return orjson.dumps(
            {
                "kind": "AudioMetadata",
                "audioMetadata": {
                    "subscriptionId": subscription_id,
                    "encoding": "PCM",
                    "sampleRate": self.rate,
                    "channels": 1,
                    "length": self._bytes_per_frame,
                },
            }
        ).decode()

    def tick(self) -> None:
        """Go on to the next 20 ms."""
        self._milliseconds += FRAME_MS
        if self._milliseconds >= 1000:
            self._milliseconds -= 1000
            self._second += timedelta(seconds=1)
            self._prefix = self._second.strftime(_SECONDS)
        self._timestamp = f"{self._prefix}.{self._milliseconds:03d}Z"

    def audio(self, pcm16: bytes | None, participant: str | None) -> str:
        """Return one frame at the connection's rate (None: silence) of one participant, or of all mixed."""
        data = self._silence if pcm16 is None else base64.b64encode(pcm16).decode()
        # Written by hand, for this is most of what the emulator does; raw ids hold nothing to be escaped.
        who = "" if participant is None else f'"participantRawID":"{participant}",'
        silent = "true" if pcm16 is None else "false"
        return (
            f'{{"kind":"AudioData","audioData":{{"timestamp":"{self._timestamp}",{who}'
            f'"data":"{data}","silent":{silent}}}}}'
        )


def dtmf(digit: str) -> str:
    """Return the message of a key that was pressed."""
    return orjson.dumps({"kind": "DtmfData", "dtmfData": {"data": digit}}).decode()


def timestamp(at: datetime) -> str:
    """Return a time as the service writes it: UTC, milliseconds, Z."""
    return f"{at.strftime(_SECONDS)}.{at.microsecond // 1000:03d}Z"


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def parse(message: str) -> PlayAudio | StopAudio:
    """Return what the application asks for, in either casing; raises MalformedError."""
    try:
        found: object = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"not JSON: {error}") from None
    body = _lower(found)
    kind = str(body.get("kind", "")).lower()
    if kind == "stopaudio":
        return StopAudio()
    if kind != "audiodata":
        raise MalformedError("'kind' must be AudioData or StopAudio")
    data = _lower(body.get("audiodata")).get("data")
    if not isinstance(data, str):
        raise MalformedError("'AudioData.Data' must be base64")
    try:
        return PlayAudio(base64.b64decode(data, validate=True))
    except binascii.Error:
        raise MalformedError("'AudioData.Data' must be base64") from None


def _lower(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        return {}
    return {str(name).lower(): entry for name, entry in cast("dict[object, object]", value).items()}
