"""The list's query string, and the memory for recordings."""

from __future__ import annotations

import io
import wave

import pytest

from stt.local.archive import Query, Recorder, parse_query, wav_header
from stt.local.request import SessionConfig


def test_both_forms_of_the_metadata_filter_mean_the_same() -> None:
    assert parse_query([("custom_metadata", '{"room":"a"}')]) == parse_query([("custom_metadata[room]", "a")])


def test_defaults_and_repeated_statuses() -> None:
    assert parse_query([]) == Query(offset=0, limit=20)
    assert parse_query([("status", "done"), ("status", "error")]).status == ("done", "error")


@pytest.mark.parametrize(
    "pair",
    [
        ("offset", "-1"),
        ("limit", "0"),
        ("limit", "x"),
        ("status", "lost"),
        ("date", "yesterday"),
        ("custom_metadata", "{"),
        ("custom_metadata", "7"),
    ],
)
def test_a_wrong_query_is_named(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=pair[0]):
        parse_query([pair])


def test_recordings_make_room_for_newer_ones_and_are_never_headless() -> None:
    recorder = Recorder(limit_bytes=10)
    recorder.write("a", b"12345")
    recorder.write("b", b"12345")
    recorder.write("c", b"123")
    assert recorder.read("a") is None
    recorder.write("a", b"6")
    assert recorder.read("a") is None
    assert (recorder.read("b"), recorder.read("c")) == (b"12345", b"123")
    recorder.forget("b")
    recorder.write("c", b"4567890")
    assert recorder.read("c") == b"1234567890"


def test_the_wav_header_describes_the_session() -> None:
    config = SessionConfig(sample_rate=8000, channels=2, sample_bytes=2)
    audio = bytes(8000 * 4)
    with wave.open(io.BytesIO(wav_header(config, len(audio)) + audio)) as read:
        assert (read.getframerate(), read.getnchannels(), read.getsampwidth()) == (8000, 2, 2)
        assert read.getnframes() == 8000
