"""How long words may take to be heard, where nothing tells when they were."""

from __future__ import annotations

# Rather too slow than to cut anything short.
_CHARS_PER_S = 10
# For the way to the caller's ear, and a line that is away for a moment.
_SLACK_MS = 10_000


def longest_ms(words: str) -> int:
    """Return after how many milliseconds from their last piece of sound `words` have been heard for sure."""
    return len(words) * 1000 // _CHARS_PER_S + _SLACK_MS
