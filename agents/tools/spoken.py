"""Numbers and times as people say them, and as speech recognition writes them."""

from __future__ import annotations

import re

# fmt: off
_SMALL = {
    word: value for value, word in enumerate((
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    ))
} | {"oh": 0, "o": 0}
# Where nothing but digits is expected, these are digits too.
_HOMOPHONES = {"won": "1", "to": "2", "too": "2", "for": "4", "ate": "8"}
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
         "ninety": 90}
# fmt: on
_WORD = re.compile(r"[a-z]+|\d+")
_HALF_DAY = re.compile(r"\b([ap])\.?\s?m\b\.?")
_CLOCK_WORDS = frozenset({"at", "o", "clock", "oclock", "in", "the"})
_AFTERNOON = frozenset({"pm", "afternoon", "evening"})
_MORNING = frozenset({"am", "morning"})


def words(text: str) -> list[str]:
    """Return the lower-case words and numerals of `text`, number words as numerals ("forty two": "42")."""
    found = _WORD.findall(text.lower().replace("'", ""))
    result: list[str] = []
    at = 0
    while at < len(found):
        word = found[at]
        if word in _TENS:
            follower = _SMALL.get(found[at + 1], 0) if at + 1 < len(found) else 0
            units = follower if 1 <= follower <= 9 else 0
            result.append(str(_TENS[word] + units))
            at += 2 if units else 1
        else:
            result.append(str(_SMALL.get(word, word)))
            at += 1
    return result


def digits(text: str, *, ignore: frozenset[str]) -> str:
    """Return the digits of a number that was said ("one zero four two", "ten forty-two", "1,042": "1042").

    Words in `ignore` are passed over; any other word is a ValueError.
    """
    said = [_HOMOPHONES.get(word, word) for word in words(text) if word not in ignore]
    if not all(word.isdigit() for word in said):
        raise ValueError("it holds words that are not digits")
    return "".join(said)


def clock_time(text: str, *, first_hour: int) -> str:
    """Return a time of day as HH:MM: "10", "10:30", "ten thirty", "half past two", "2 p.m.", "noon".

    Without am or pm, an hour before `first_hour` is in the afternoon. Raises ValueError.
    """
    lowered = _HALF_DAY.sub(r" \1m ", text.lower())
    plain = [word for word in _WORD.findall(lowered.replace("'", "")) if word not in _CLOCK_WORDS]
    said = set(plain)
    past = 30 if plain[:2] == ["half", "past"] else 15 if plain[:2] == ["quarter", "past"] else 0
    numbers = " ".join(
        word for word in plain if word not in _AFTERNOON | _MORNING | {"half", "quarter", "past", "sharp"}
    )
    parts = ["12"] if numbers == "noon" else words(numbers)
    if len(parts) == 1 and re.fullmatch(r"\d{3,4}", parts[0]):  # "1030"
        parts = [parts[0][:-2], parts[0][-2:]]
    if not 1 <= len(parts) <= 2 or not all(part.isdigit() for part in parts):
        raise ValueError("it is not a time of day such as 10:30")
    hour, minute = int(parts[0]), int(parts[1]) if len(parts) == 2 else past
    if said & _AFTERNOON and hour < 12:
        hour += 12
    elif said & _MORNING and hour == 12:
        hour = 0
    elif not said & (_MORNING | _AFTERNOON) and 0 < hour < first_hour:
        hour += 12
    if not (0 <= hour <= 23 and 0 <= minute <= 59):
        raise ValueError("it is not a time of day such as 10:30")
    return f"{hour:02}:{minute:02}"
