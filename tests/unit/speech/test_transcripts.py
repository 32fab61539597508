from __future__ import annotations

import pytest

from emulators.speech.transcripts import normalised_words, word_error_rate


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("one two three four", "1234"),
        ("1-234", "1, 2, 3, 4."),
        ("one thousand two hundred and thirty-four", "1,234"),
        ("$42.10", "forty two dollars and ten cents"),
        ("$1,200", "twelve hundred dollars"),
        ("three thirty p.m.", "3:30 PM"),
        ("the twenty first of May", "the 21st of may"),
        ("nineteen eighty-four", "1984"),
        ("two thousand and twenty six", "2026"),
        ("forty two point five percent", "42.5%"),
        ("OK, you\u2019re right!", "okay you're right"),
        ("to-day and to-morrow", "Today and tomorrow."),
        ("Good-bye.", "goodbye"),
        ("five five five, oh one", "555 oh 1"),
    ],
)
def test_different_writings_of_the_same_words_are_equal(one: str, other: str) -> None:
    assert normalised_words(one) == normalised_words(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("thirty and forty", "34"), ("five hundred and more", "500 more"), ("twenty one", "twenty two")],
)
def test_different_words_stay_different(one: str, other: str) -> None:
    assert normalised_words(one) != normalised_words(other)


def test_word_error_rate_counts_substitutions_insertions_and_deletions() -> None:
    assert word_error_rate("what is the status of my claim", "What is the status of my claim?") == 0.0
    assert word_error_rate("the red house is big", "the bed house is very big") == pytest.approx(2 / 5)
    assert word_error_rate("the red house", "house") == pytest.approx(2 / 3)
    assert word_error_rate("yes", "no no no") == pytest.approx(3.0)


def test_word_error_rate_of_silence() -> None:
    assert word_error_rate("", "...") == 0.0
    assert word_error_rate("", "hello") == 1.0
