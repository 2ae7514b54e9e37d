"""Ids of utterances, whatever the provider does with its own."""

from __future__ import annotations

from stt.gladia.names import Names


def test_partials_and_their_final_bear_one_name_and_a_repeated_final_none() -> None:
    names = Names("s")
    assert names.of("00_00000000", 1.0, 0, "a") == names.of("00_00000000", 1.0, 0, "a") == "s:00_00000000"
    names.settle("00_00000000", 1.0, 2.0, "a")
    assert names.of("00_00000000", 1.0, 0, "a") is None


def test_an_id_that_the_provider_uses_again_gets_a_number() -> None:
    names = Names("s")
    names.of("00_00000000", 1.0, 0, "a")
    names.settle("00_00000000", 1.0, 2.0, "a")
    assert names.of("00_00000000", 2.0, 0, "a") == "s:00_00000000.2"
    assert names.of("00_00000000", 1.0, 1, "a") == "s:00_00000000.3"
    assert names.of("00_00000000", 1.0, 1, "a") == "s:00_00000000.3"


def test_add_ons_name_an_utterance_in_full_or_by_its_counter() -> None:
    names = Names("s")
    names.of("01_00000007", 1.0, 0, "a")
    assert names.known("01_00000007", 0) == names.known("7", 1) == "s:01_00000007"
    assert names.known("7", 0) is None
