"""Cut text into pieces to be spoken one after the other, so that the first is heard early."""

from __future__ import annotations

import re

LONGEST_PIECE = 240
"""Characters; a longer run without punctuation is cut at a space, so that one piece never takes seconds."""
LONGEST_FIRST_PIECE = 30
"""Characters; a longer first sentence is cut at its first clause, so that the voice sets in early."""
_SHORTEST_CLAUSE = 6

_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+|\n+")
_CLAUSE_END = re.compile("(?<=[,;:])\\s+|\\s+[\u2013\u2014-]\\s+")
_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|st|no|vs|e\.g|i\.e|etc|approx)|\b[a-z])\.$", re.IGNORECASE
)


def spoken_pieces(text: str) -> list[str]:
    """Return the sentences of `text` in order, the first one shortened; no piece is empty.

    Every word of `text` is in exactly one piece.
    """
    pieces = [part for sentence in _sentences(text) for part in _no_longer_than(sentence, LONGEST_PIECE)]
    if pieces and len(pieces[0]) > LONGEST_FIRST_PIECE:
        pieces[:1] = _first_clause_apart(pieces[0])
    return pieces


def _sentences(text: str) -> list[str]:
    sentences: list[str] = []
    start = 0
    for boundary in _SENTENCE_END.finditer(text):
        so_far = text[start : boundary.start()]
        if "\n" not in boundary.group() and _ABBREVIATION.search(so_far):
            continue
        sentences.append(text[start : boundary.end()])
        start = boundary.end()
    sentences.append(text[start:])
    return [sentence.strip() for sentence in sentences if any(map(str.isalnum, sentence))]


def _first_clause_apart(sentence: str) -> list[str]:
    for boundary in _CLAUSE_END.finditer(sentence):
        head, tail = sentence[: boundary.start()].strip(), sentence[boundary.end() :].strip()
        if len(head) >= _SHORTEST_CLAUSE and any(map(str.isalnum, tail)):
            return [head, tail]
    return [sentence]


def _no_longer_than(sentence: str, limit: int) -> list[str]:
    pieces: list[str] = []
    rest = sentence
    while len(rest) > limit:
        cut = rest.rfind(" ", 1, limit + 1)
        if cut < 0:
            cut = limit
        pieces.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    if rest:
        pieces.append(rest)
    return pieces
