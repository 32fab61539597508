"""What a realtime model's tokens cost."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

EXAMPLE_PRICES = (
    '{"text_input":4,"text_cached":0.4,"text_output":16,'
    '"audio_input":32,"audio_cached":0.4,"audio_output":64}'
)


class TokenPrices(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Prices of a million tokens, in one currency. Cached input is what the provider had in its cache."""

    text_input: float
    text_cached: float
    text_output: float
    audio_input: float
    audio_cached: float
    audio_output: float


@dataclass(frozen=True, kw_only=True)
class TokenCounts:
    """The tokens of one kind (text or audio) that a response was billed for; `cached` is part of `input`."""

    input: int = 0
    cached: int = 0
    output: int = 0


def parse_prices(text: str) -> TokenPrices | None:
    """Return the prices that a setting's JSON text tells, None for an empty one.

    Raises ValueError with a message that says what is wrong.
    """
    if not text:
        return None
    try:
        prices = msgspec.json.decode(text, type=TokenPrices)
    except msgspec.MsgspecError as error:
        names = ", ".join(TokenPrices.__struct_fields__)
        raise ValueError(f"must be JSON with the prices of a million tokens ({names}): {error}") from error
    if any(getattr(prices, name) < 0 for name in TokenPrices.__struct_fields__):
        raise ValueError("has a price below 0")
    return prices


def cost_micros(prices: TokenPrices, *, text: TokenCounts, audio: TokenCounts) -> int:
    """Return what the tokens cost, in millionths of the currency's unit, rounded."""
    of_text = _cost(text, prices.text_input, prices.text_cached, prices.text_output)
    of_audio = _cost(audio, prices.audio_input, prices.audio_cached, prices.audio_output)
    return round(of_text + of_audio)


def _cost(counts: TokenCounts, fresh: float, cached: float, output: float) -> float:
    return (counts.input - counts.cached) * fresh + counts.cached * cached + counts.output * output
