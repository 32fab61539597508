"""Speech as text, made comparable: lower case, no punctuation, numbers as digits."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rapidfuzz import fuzz

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
          "nineteen")  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {
    **{word: value for value, word in enumerate(_DIGITS)},
    **{word: value for value, word in enumerate(_TEENS, 10)},
    **{word: value for value, word in zip(range(20, 100, 10), _TENS, strict=True)},
}
_SCALES = {"hundred": 100, "thousand": 1000}
_REPEATS = {"double": 2, "triple": 3}
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+(?:'[^\W\d_]+)*")
_JOINED_DIGITS = re.compile(r"(?<=\d)[,-](?=\d)")
_SHORT_SHARE = 0.6


def normalise(text: str) -> str:
    """Return `text` in lower case, without punctuation, with spoken numbers as digits.

    Consecutive numbers are one number: "One two, 3-4." becomes "1234", "forty two" becomes "42",
    "two hundred five" becomes "205". A decimal point inside a number stays.
    """
    plain = text.lower().replace("\u2019", "'")
    tokens = _TOKEN.findall(_JOINED_DIGITS.sub("", plain))
    words: list[str] = []
    run: list[str] = []
    for position, token in enumerate(tokens):
        following = tokens[position + 1] if position + 1 < len(tokens) else ""
        if _numeric(token, in_run=bool(run), following=following):
            run.append(token)
            continue
        if run:
            words.append(_number(run))
            run = []
        words.append(token)
    if run:
        words.append(_number(run))
    return " ".join(words)


def _numeric(token: str, *, in_run: bool, following: str) -> bool:
    if token[0].isdigit() or token in _VALUES:
        return True
    next_is_number = bool(following) and (following[0].isdigit() or following in _VALUES)
    if token in ("oh", "o"):
        return in_run or next_is_number
    if token in _REPEATS:
        return next_is_number
    return token in _SCALES and in_run


def _number(run: Sequence[str]) -> str:
    if any(token in _SCALES for token in run) and all(token in _VALUES or token in _SCALES for token in run):
        return str(_cardinal(run))
    parts: list[str] = []
    repeat, tens_open = 1, False
    for token in run:
        if token in _REPEATS:
            repeat = _REPEATS[token]
            continue
        value = _VALUES.get(token)
        digits = "0" if token in ("oh", "o") else str(value) if value is not None else token
        if tens_open and value is not None and 1 <= value <= 9:
            parts[-1] = parts[-1][:-1] + digits
        else:
            parts.append(digits * repeat)
        repeat = 1
        tens_open = token in _TENS
    return "".join(parts)


def _cardinal(run: Sequence[str]) -> int:
    total = current = 0
    for token in run:
        scale = _SCALES.get(token)
        if scale is None:
            current += _VALUES[token]
        elif scale == 100:
            current = max(1, current) * 100
        else:
            total, current = total + max(1, current) * 1000, 0
    return total + current


def similarity(said: str, phrase: str) -> float:
    """Return 0 to 100: how well `phrase` occurs in `said` (both normalised), slips of the ear forgiven.

    An utterance much shorter than the phrase must resemble all of it.
    """
    whole = fuzz.ratio(said, phrase)
    if len(said) < _SHORT_SHARE * len(phrase):
        return whole
    return max(whole, fuzz.partial_ratio(said, phrase))
