"""The receipt, and how a provider that falls mute is noticed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from gateway.transcription.domain.meters import Meter, read
from gateway.transcription.domain.mute import Unanswered
from gateway.transcription.domain.receipt import receipt
from gateway.transcription.domain.usage import Listened, Usage

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
RATE = 16_000


def used(heard: float, sent: float, *, silent: float, withheld: float, gate: str = "on", price: float = 0.6) -> Usage:
    listened = Listened(*(round(s * RATE) for s in (heard, heard / 4, silent, withheld)))
    return read(Meter("u", "anna", None, NOW, price, listened, samples_sent=round(sent * RATE)), gate)


def test_what_was_heard_is_either_sent_or_saved() -> None:
    """An hour of which a quarter is spoken, at 0.60 USD a minute."""
    made = receipt([used(3600, 900, silent=2700, withheld=2700)])
    assert (made.gate, made.heard_s, made.speech_s, made.sent_s) == ("on", 3600.0, 900.0, 900.0)
    assert (made.saved_s, made.saved_usd) == (2700.0, 27.0)
    assert (made.saveable_s, made.saveable_usd) == (2700.0, 27.0)


def test_participants_add_up() -> None:
    made = receipt([used(60, 20, silent=40, withheld=40), used(30, 30, silent=0, withheld=0)])
    assert (made.heard_s, made.sent_s, made.saved_s) == (90.0, 50.0, 40.0)


def test_a_shadow_saves_nothing_and_shows_what_could_be_saved() -> None:
    made = receipt([used(3600, 3600, silent=2700, withheld=0, gate="shadow")])
    assert (made.gate, made.saved_s, made.saved_usd) == ("shadow", 0.0, 0.0)
    assert (made.saveable_s, made.saveable_usd) == (2700.0, 27.0)


def test_audio_that_was_sent_twice_is_not_called_saved() -> None:
    """Sixty seconds kept back, and fifty of the others sent again after a cut: ten are saved."""
    made = receipt([used(100, 90, silent=60, withheld=60)])
    assert made.saved_s == 10.0
    assert receipt([used(100, 120, silent=60, withheld=60)]).saved_s == 0.0


def test_audio_that_still_waits_is_not_called_saved() -> None:
    assert receipt([used(100, 0, silent=20, withheld=20)]).saved_s == 20.0


def test_no_rows_make_an_empty_receipt() -> None:
    made = receipt([])
    assert (made.gate, made.heard_s, made.saved_usd) == ("off", 0.0, 0.0)


def test_a_row_of_a_former_version_has_no_receipt() -> None:
    old = replace(used(100, 60, silent=0, withheld=0), gate="off", heard_s=0.0, speech_s=0.0)
    assert (receipt([old]).heard_s, receipt([old]).saved_s) == (0.0, 0.0)


# --- audio in, no text out --------------------------------------------------------------------------------------


def test_speech_without_text_is_mute_and_renewed_once() -> None:
    watch = Unanswered(20.0)
    watch.sent(19 * RATE, 19 * RATE)
    assert not watch.is_mute and not watch.may_renew()
    watch.sent(RATE, RATE)
    assert watch.is_mute
    assert [watch.may_renew() for _ in range(3)] == [True, False, False]
    watch.sent(60 * RATE, 60 * RATE)
    assert not watch.may_renew()
    watch.answered()
    assert not watch.is_mute
    watch.sent(20 * RATE, 20 * RATE)
    assert watch.may_renew()


def test_silence_waits_for_no_answer() -> None:
    watch = Unanswered(20.0)
    watch.sent(3600 * RATE, 0)
    watch.sent(RATE, RATE)
    watch.sent(3600 * RATE, 0)
    assert watch.seconds == 1.0
    assert not watch.is_mute


@pytest.mark.parametrize(("audio", "speech", "mute"), [(39, 10, False), (40, 10, True), (40, 9, False)])
def test_slow_speech_is_renewed_while_all_of_it_can_be_said_again(audio: int, speech: int, mute: bool) -> None:
    watch = Unanswered(20.0)
    watch.sent(audio * RATE, speech * RATE)
    assert watch.is_mute is mute


def test_it_can_be_switched_off() -> None:
    watch = Unanswered(0.0)
    watch.sent(3600 * RATE, 3600 * RATE)
    assert not watch.is_mute
