"""The messages of Azure Communication Services' media streaming.

Sources: Microsoft's "Audio streaming quickstart" for Call Automation (AudioMetadata, AudioData, DtmfData in
camelCase; frames of 20 ms), its public samples (AudioData and StopAudio to the service, in PascalCase).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import orjson

from realtime_worker.media.framing import (
    SESSION_RATE,
    SILENT_FRAME,
    KeyPressed,
    MalformedMessageError,
    MediaEvent,
    StreamOpened,
    UnsupportedAudioError,
    checked_audio,
)

if TYPE_CHECKING:
    from realtime_worker.media.resampling import SessionResampler

_AUDIO_FIRST = b'{"kind":"AudioData"'
_DATA = b'"data":"'
_DATA_LENGTH = len(_DATA)
_PLAY = b'{"Kind":"AudioData","AudioData":{"Data":"'
_PLAY_END = b'"},"StopAudio":null}'
_STOP = b'{"Kind":"StopAudio","AudioData":null,"StopAudio":{}}'

_BACKSLASH = ord("\\")
_CHECK_EVERY = 50
_RATES = (16_000, SESSION_RATE)
_KEYS = frozenset("0123456789*#ABCD")
_KEY_NAMES = {
    **{name: str(digit) for digit, name in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    )},
    "asterisk": "*",
    "pound": "#",
}  # fmt: skip


class AcsFraming:
    """A Framing of one media streaming connection."""

    def __init__(self) -> None:
        self._resampler: SessionResampler | None = None
        self._size = 0  # of the last piece that was checked
        self._unchecked = 0  # since then

    def read(self, message: bytes) -> bytes | MediaEvent | None:
        # The service writes its fields in this order; whatever does not look like it is decoded.
        if message.startswith(_AUDIO_FIRST):
            start = message.find(_DATA) + _DATA_LENGTH
            end = message.find(b'"', start)
            if start >= _DATA_LENGTH and end > start:
                audio = message[start:end]
                # All are searched for what could break out of the message that they go into; one in so many,
                # and those of another size, for anything that is not base64.
                self._unchecked += 1
                if end - start != self._size or self._unchecked > _CHECK_EVERY:
                    self._size, self._unchecked = len(checked_audio(audio)), 0
                elif _BACKSLASH in audio or not audio.isascii():
                    raise MalformedMessageError("audio that is not base64")
                return audio if self._resampler is None else self._resampler.to_session(audio)
        return self._decoded(message)

    def play(self, audio: bytes) -> bytes:
        if self._resampler is not None:
            audio = self._resampler.to_carrier(audio)
            if not audio:
                return b""
        return _PLAY + audio + _PLAY_END

    def stop(self) -> bytes:
        if self._resampler is not None:
            self._resampler.forget_played()
        return _STOP

    def mark(self, name: str) -> bytes:
        return b""

    def _decoded(self, message: bytes) -> bytes | MediaEvent | None:
        try:
            found: object = orjson.loads(message)
        except orjson.JSONDecodeError:
            raise MalformedMessageError("a message that is not JSON") from None
        body = _lower(found)
        match str(body.get("kind", "")).lower():
            case "audiodata":
                return self._audio(_lower(body.get("audiodata")))
            case "audiometadata":
                self._opened(_lower(body.get("audiometadata")))
                return StreamOpened()
            case "dtmfdata":
                return _key(_lower(body.get("dtmfdata")))
            case "":
                raise MalformedMessageError("a message without a kind")
            case _:
                return None  # what the service may add

    def _audio(self, fields: Mapping[str, object]) -> bytes:
        data = fields.get("data")
        if not data and fields.get("silent") is True:
            return SILENT_FRAME  # the model's ear keeps time by what it hears
        if not isinstance(data, str) or not data or not data.isascii():
            raise MalformedMessageError("an AudioData without data")
        audio = checked_audio(data.encode())
        return audio if self._resampler is None else self._resampler.to_session(audio)

    def _opened(self, fields: Mapping[str, object]) -> None:
        encoding = str(fields.get("encoding", "PCM")).upper()
        rate, channels = fields.get("samplerate", SESSION_RATE), fields.get("channels", 1)
        if encoding != "PCM" or channels != 1 or rate not in _RATES:
            raise UnsupportedAudioError(f"audio is PCM mono at 24 or 16 kHz, not {encoding} at {rate!r}")
        if rate == SESSION_RATE:
            self._resampler = None
        else:
            from realtime_worker.media.resampling import SessionResampler

            self._resampler = SessionResampler(cast("int", rate))


def _key(fields: Mapping[str, object]) -> KeyPressed:
    told = fields.get("data") or fields.get("tone")
    key = _KEY_NAMES.get(str(told).lower(), str(told).upper())
    if key not in _KEYS:
        raise MalformedMessageError("a key that telephones do not have")
    return KeyPressed(key=key)


def _lower(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        return {}
    return {str(name).lower(): entry for name, entry in cast("dict[object, object]", value).items()}
