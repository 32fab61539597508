"""What a carrier's media socket says and is told, whatever the carrier.

A carrier's adapter is a Framing: a few lines that know its messages. Audio goes in and out as base64 text in
the format of the provider's session (PCM, 16 bits, little-endian, mono, 24 kHz), so that a carrier with the
same format passes it on as it came.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Protocol, TypeAlias

SESSION_RATE = 24_000

# Base64 writes three bytes, which are a sixteenth of a millisecond, in four characters.
CHARS_PER_MS = 64
SILENT_FRAME = base64.b64encode(bytes(20 * SESSION_RATE // 1000 * 2))

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PADDING = (b"=", b"==")
_BYTES_PER_MS = SESSION_RATE * 2 / 1000


@dataclass(frozen=True, kw_only=True)
class StreamOpened:
    """The carrier has said how it will send; from now on it can be sent to."""


@dataclass(frozen=True, kw_only=True)
class KeyPressed:
    """The caller pressed a key: 0-9, *, #, A-D."""

    key: str


@dataclass(frozen=True, kw_only=True)
class MarkReached:
    """The carrier has played everything that was sent before this mark."""

    name: str


MediaEvent: TypeAlias = StreamOpened | KeyPressed | MarkReached


class MalformedMessageError(ValueError):
    """A message that can't be understood. The text says why, and repeats nothing of it."""


class UnsupportedAudioError(ValueError):
    """The carrier sends audio that we can't take; no later message can be right."""


class Framing(Protocol):
    """One connection of one carrier. Not for concurrent use."""

    def read(self, message: bytes) -> bytes | MediaEvent | None:
        """Return the audio in a text message, or what else it tells; None where that is of no interest.

        Raises MalformedMessageError and UnsupportedAudioError.
        """
        ...

    def play(self, audio: bytes) -> bytes:
        """Return the message that has `audio` played after what was sent before, b"" for nothing yet."""
        ...

    def stop(self) -> bytes:
        """Return the message that makes the carrier drop what it has not played."""
        ...

    def mark(self, name: str) -> bytes:
        """Return the message that asks for MarkReached, b"" for a carrier that does not tell."""
        ...


def checked_audio(audio: bytes) -> bytes:
    """Return `audio` if it is base64; raises MalformedMessageError."""
    padding = audio.translate(None, _BASE64)
    if len(audio) & 3 or (padding and not (padding in _PADDING and audio.endswith(padding))):
        raise MalformedMessageError("audio that is not base64")
    return audio


def duration_ms(audio: bytes) -> float:
    """Return how long base64 audio lasts."""
    length = len(audio) * 3 // 4
    return (length - audio.count(b"=", -2)) / _BYTES_PER_MS if audio[-1:] == b"=" else length / _BYTES_PER_MS


def joined(pieces: list[bytes]) -> list[bytes]:
    """Return the same audio in as few pieces as base64 can be joined to: none ends in the middle of one."""
    whole: list[bytes] = []
    begun: list[bytes] = []
    for piece in pieces:
        begun.append(piece)
        if piece.endswith(b"="):
            whole.append(b"".join(begun))
            begun = []
    return [*whole, b"".join(begun)] if begun else whole
