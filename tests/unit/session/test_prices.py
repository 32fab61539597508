"""Prices as a person writes them into a setting."""

from __future__ import annotations

import pytest

from shared.session.prices import EXAMPLE_PRICES, parse_prices


def test_the_example_is_valid_and_nothing_means_no_prices() -> None:
    prices = parse_prices(EXAMPLE_PRICES)
    assert prices is not None
    assert (prices.text_cached, prices.audio_output) == (0.4, 64)
    assert parse_prices("") is None


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("4 dollars", "must be JSON"),
        ('{"text_input": 4}', "text_cached"),
        (EXAMPLE_PRICES.replace("64", '"much"'), "audio_output"),
        (EXAMPLE_PRICES.replace("}", ',"video": 1}'), "video"),
        (EXAMPLE_PRICES.replace("64", "-1"), "below 0"),
    ],
)
def test_wrong_prices_say_what_is_wrong(written: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_prices(written)
