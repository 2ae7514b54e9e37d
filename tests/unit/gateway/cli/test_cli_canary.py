"""How much of a sentence came back."""

from __future__ import annotations

import pytest

from gateway.cli.canary_round import share_found

SAID = ("good", "morning", "everyone", "and")


@pytest.mark.parametrize(
    ("heard", "share"),
    [
        ("Good morning, everyone. And …", 1.0),
        ("good  uh morning um everyone and and", 1.0),
        ("morning good everyone and", 0.75),
        ("mourning", 0.0),
        ("", 0.0),
        ("goodmorning everyone", 0.25),
    ],
)
def test_words_count_in_their_order(heard: str, share: float) -> None:
    assert share_found(SAID, heard) == share
