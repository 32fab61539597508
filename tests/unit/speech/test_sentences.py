from __future__ import annotations

import pytest

from emulators.speech.sentences import LONGEST_PIECE, spoken_pieces


def test_every_sentence_is_a_piece() -> None:
    assert spoken_pieces("It is paid. Is that all? Good!\nBye") == [
        "It is paid.",
        "Is that all?",
        "Good!",
        "Bye",
    ]


@pytest.mark.parametrize(
    "sentence",
    ["Dr. Lane is in.", "Come at 9 a.m. on Friday.", "It costs $42.10 today.", "Mrs. J. Lane, e.g. you."],
)
def test_a_full_stop_inside_a_sentence_does_not_end_it(sentence: str) -> None:
    assert spoken_pieces(f"Yes. {sentence}") == ["Yes.", sentence]


def test_a_long_first_sentence_starts_with_its_first_clause() -> None:
    text = "Thank you for waiting, your claim is being reviewed now, and it will take a day. All good."
    assert spoken_pieces(text) == [
        "Thank you for waiting,",
        "your claim is being reviewed now, and it will take a day.",
        "All good.",
    ]


def test_a_tiny_clause_does_not_stand_alone() -> None:
    assert spoken_pieces("Oh, that is something I will have to look up.") == [
        "Oh, that is something I will have to look up."
    ]


def test_text_without_punctuation_is_cut_at_spaces_and_nothing_is_lost() -> None:
    text = " ".join(f"word{number}" for number in range(200))
    pieces = spoken_pieces(text)
    assert max(map(len, pieces)) <= LONGEST_PIECE
    assert " ".join(pieces) == text


def test_one_endless_word_is_cut_too() -> None:
    pieces = spoken_pieces("a" * 1000)
    assert max(map(len, pieces)) <= LONGEST_PIECE
    assert "".join(pieces) == "a" * 1000


@pytest.mark.parametrize("text", ["", "  \n ", "...", "?!"])
def test_nothing_to_say_gives_no_piece(text: str) -> None:
    assert spoken_pieces(text) == []
