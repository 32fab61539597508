"""Compare what was said with what was heard: numbers and punctuation made equal, then word error rate."""

from __future__ import annotations

import re

# fmt: off
_UNIT_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
_TENS_WORDS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINAL_WORDS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth",
    "nineteenth",
)
# fmt: on
_TENS = {word: 20 + 10 * index for index, word in enumerate(_TENS_WORDS)}
_VALUES = (
    {word: value for value, word in enumerate(_UNIT_WORDS)}
    | {word: value for value, word in enumerate(_ORDINAL_WORDS, start=1)}
    | _TENS
    | {word.removesuffix("y") + "ieth": value for word, value in _TENS.items()}
)
_SCALES = {"thousand": 1000, "million": 1_000_000}
_SAME_WORD = {"ok": "okay", "mister": "mr", "doctor": "dr", "missus": "mrs"}

_MONEY = re.compile(r"[$€£]\s?([\d,]+)(?:\.(\d\d))?")
_MONEY_NAMES = {"$": "dollars", "€": "euros", "£": "pounds"}
_WORD = re.compile(r"[a-z]+|\d+")


def normalised_words(text: str) -> list[str]:
    """Return the words of English `text` in lower case without punctuation, every number in digits.

    Neighbouring numbers are joined, so that "1-234", "1 2 3 4" and "one two three four" are all "1234";
    "$42.10" and "forty-two dollars and ten cents" are both "42 dollars 10 cents".
    """
    lowered = _MONEY.sub(_money_in_words, text.lower().replace("\u2019", "'"))
    lowered = re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m", lowered)
    lowered = re.sub(r"\bto-(day|night|morrow)\b", r"to\1", lowered)
    lowered = re.sub(r"\bgood[- ]bye\b", "goodbye", lowered)
    lowered = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", lowered)
    lowered = re.sub(r"(?<=\d)\.(?=\d)", " point ", lowered)
    lowered = lowered.replace("%", " percent ").replace("'", "").replace("&", " and ")
    found: list[str] = _WORD.findall(lowered)
    tokens = [_SAME_WORD.get(word, word) for word in found]
    words = _join_digits(_number_words_to_digits(tokens))
    return _without_and_before_cents(words)


def word_error_rate(said: str, heard: str) -> float:
    """Return substitutions, insertions and deletions per word said, after normalisation; 0.0 is perfect.

    Where nothing was said it is 0.0 if nothing was heard, else 1.0.
    """
    reference, hypothesis = normalised_words(said), normalised_words(heard)
    if not reference:
        return 1.0 if hypothesis else 0.0
    return _edit_distance(reference, hypothesis) / len(reference)


def _money_in_words(match: re.Match[str]) -> str:
    whole, cents = match.group(1), match.group(2)
    name = _MONEY_NAMES[match.group(0)[0]]
    return f" {whole} {name} {cents} cents " if cents and cents != "00" else f" {whole} {name} "


def _number_words_to_digits(tokens: list[str]) -> list[str]:
    words: list[str] = []
    position = 0
    while position < len(tokens):
        if tokens[position] in _VALUES:
            value, position = _cardinal(tokens, position)
            words.append(str(value))
        else:
            words.append(tokens[position])
            position += 1
    return words


def _cardinal(tokens: list[str], position: int) -> tuple[int, int]:
    """Read one number, as long as its words can belong together; return it and where it ends."""
    total, group = 0, 0
    room = 1_000_000_000  # what follows must be less to belong to the same number
    while position < len(tokens):
        word = tokens[position]
        value = _VALUES.get(word)
        if value is not None:
            if value >= room or (room == 10 and value == 0):
                break
            group += value
            room = 10 if word in _TENS else 0
        elif word == "hundred" and 0 < group < 100:
            group *= 100
            room = 100
        elif word in _SCALES and group and (total == 0 or _SCALES[word] < total):
            total += group * _SCALES[word]
            group, room = 0, 1000
        elif not (
            word == "and" and room in (100, 1000) and _VALUES.keys() & tokens[position + 1 : position + 2]
        ):
            break
        position += 1
    return total + group, position


def _join_digits(words: list[str]) -> list[str]:
    joined: list[str] = []
    for word in words:
        if word.isdigit() and joined and joined[-1].isdigit():
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _without_and_before_cents(words: list[str]) -> list[str]:
    return [
        word
        for index, word in enumerate(words)
        if not (word == "and" and words[index + 2 : index + 3] == ["cents"])
    ]


def _edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    row = list(range(len(hypothesis) + 1))
    for index, expected in enumerate(reference, start=1):
        diagonal, row[0] = row[0], index
        for column, actual in enumerate(hypothesis, start=1):
            substitution = diagonal + (expected != actual)
            diagonal = row[column]
            row[column] = min(substitution, row[column] + 1, row[column - 1] + 1)
    return row[-1]
