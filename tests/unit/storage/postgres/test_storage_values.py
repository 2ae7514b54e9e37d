from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.postgres import values


@dataclass(frozen=True)
class _Row:
    id: str
    last_activity_at: datetime | None


def test_a_time_is_stored_in_utc_and_cut_to_milliseconds() -> None:
    """PostgreSQL would round .9995 to the next second; JavaScript cuts."""
    moment = datetime(2026, 1, 5, 12, 0, 3, 999_999, timezone(timedelta(hours=3)))
    assert values.naive(moment) == datetime(2026, 1, 5, 9, 0, 3, 999_000)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        values.naive(datetime(2026, 1, 5))


@given(st.datetimes(timezones=st.timezones()))
def test_what_is_read_is_what_was_written_up_to_the_millisecond(moment: datetime) -> None:
    try:
        expected = moment.astimezone(UTC)
    except OverflowError:
        return
    back = values.aware(values.naive(moment))
    assert timedelta() <= expected - back < timedelta(milliseconds=1)


@given(st.text(st.characters()))
def test_clean_text_can_be_stored_and_good_text_is_untouched(text: str) -> None:
    cleaned = values.clean(text)
    cleaned.encode()
    assert "\x00" not in cleaned
    assert values.clean(cleaned) == cleaned
    if "\x00" not in text and not any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        assert cleaned == text


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    assert values.clean("a\ud83d\x00b") == "a\ufffdb"


def test_json_is_cleaned_in_keys_and_values_at_any_depth() -> None:
    raw = rb'{"a\u0000": ["\ud83d", {"b": "\ud83d\ude00", "n": 1.5, "t": true, "z": null}]}'
    assert json.loads(values.clean_json(raw)) == {"a": ["\ufffd", {"b": "😀", "n": 1.5, "t": True, "z": None}]}


def test_json_without_escapes_is_passed_on_as_it_is() -> None:
    raw = '{"text": "Доброе утро"}'.encode()
    assert values.clean_json(raw) is raw


@pytest.mark.parametrize("wrong", [61.5, True, "1", None])
def test_only_a_whole_number_is_one(wrong: object) -> None:
    with pytest.raises(ValueError, match="whole"):
        values.whole(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_cannot_hold_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        values.finite(wrong)


def test_a_row_is_read_by_name() -> None:
    moment = datetime(2026, 1, 5, 9)
    row = values.read(_Row, {"lastActivityAt": moment, "id": "x"})
    assert row == _Row("x", moment.replace(tzinfo=UTC))
