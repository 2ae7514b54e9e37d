from __future__ import annotations

import json

import pytest

from gateway.live import audio_protocol
from gateway.transcription.usecases.feed import FeedStart


@pytest.mark.parametrize(("told_ms", "by_s", "expected_ms"), [(0, 1.5, 1500), (250, 0.5, 750), (59_000, 4, 60_000)])
def test_whoever_has_waited_has_spoken_so_much_earlier(told_ms: float, by_s: float, expected_ms: float) -> None:
    """On this replica as on the one to which it is carried, for which unknown fields stay as they are."""
    text = json.dumps({"type": "start", "sampleRate": 16_000, "ageMs": told_ms, "later": [1]})
    said = audio_protocol.read(text)
    assert isinstance(said, FeedStart)
    start, passed_on = audio_protocol.aged(said, text, by_s)
    assert audio_protocol.read(passed_on) == start == FeedStart(16_000, 1, None, expected_ms / 1000)
    assert json.loads(passed_on)["later"] == [1]


def test_whoever_has_not_begun_to_speak_has_not_waited() -> None:
    text = '{"type": "start", "sampleRate": 8000}'
    said = audio_protocol.read(text)
    assert isinstance(said, FeedStart)
    assert audio_protocol.aged(said, text, 3.0) == (said, text)
