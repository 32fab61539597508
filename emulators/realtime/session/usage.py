"""Token accounting by simple stated rules; totals always add up.

Rules: a text token is four characters, input audio costs 10 tokens a second, output audio 20 (all rounded
up), an image 170. A response pays for its whole context: instructions, tools, every item. Of that, the prefix
it shares with the previous turn's context, rounded down to a multiple of 64, is cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emulators.realtime.wire import Json

CACHE_STEP = 64
IMAGE_TOKENS = 170


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One piece of context. `key` tells its content apart, so that a changed piece ends the cached prefix."""

    key: str
    text: int = 0
    audio: int = 0
    image: int = 0

    @property
    def total(self) -> int:
        return self.text + self.audio + self.image


def text_tokens(text: str) -> int:
    """Return the tokens of `text`."""
    return -(-len(text) // 4)


def input_audio_tokens(milliseconds: float) -> int:
    """Return the tokens of heard audio."""
    return -(-int(milliseconds) // 100)


def output_audio_tokens(milliseconds: float) -> int:
    """Return the tokens of spoken audio."""
    return -(-int(milliseconds) // 50)


def response_usage(
    context: Sequence[Segment], previous: Sequence[Segment], *, output_text: int, output_audio: int
) -> Json:
    """Return the `usage` object of a response over `context`, after a turn whose context was `previous`."""
    cached = _cached(context, previous)
    text = sum(segment.text for segment in context)
    audio = sum(segment.audio for segment in context)
    image = sum(segment.image for segment in context)
    output = output_text + output_audio
    return {
        "total_tokens": text + audio + image + output,
        "input_tokens": text + audio + image,
        "output_tokens": output,
        "input_token_details": {
            "text_tokens": text,
            "audio_tokens": audio,
            "image_tokens": image,
            "cached_tokens": sum(cached),
            "cached_tokens_details": {
                "text_tokens": cached[0],
                "audio_tokens": cached[1],
                "image_tokens": cached[2],
            },
        },
        "output_token_details": {"text_tokens": output_text, "audio_tokens": output_audio},
    }


def _cached(context: Sequence[Segment], previous: Sequence[Segment]) -> tuple[int, int, int]:
    shared: list[Segment] = []
    for now, before in zip(context, previous, strict=False):
        if now != before:
            break
        shared.append(now)
    left = sum(segment.total for segment in shared) // CACHE_STEP * CACHE_STEP
    text = audio = image = 0
    for segment in shared:
        for_text = min(segment.text, left)
        for_audio = min(segment.audio, left - for_text)
        for_image = min(segment.image, left - for_text - for_audio)
        text, audio, image = text + for_text, audio + for_audio, image + for_image
        left -= for_text + for_audio + for_image
    return text, audio, image
