"""A session's counters, ids and messages, without a socket."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt.local.faults import SessionFaults
from stt.local.messages import Message, Topic
from stt.local.recogniser import Heard, SpeechEnded, SpeechStarted, Stumbled, Word
from stt.local.request import parse_request
from stt.local.session import MOVES, Phase, Session
from stt.local.summary import MARK, summarise


def session(body: dict[str, Any] | None = None, faults: SessionFaults | None = None) -> Session:
    config, _ = parse_request(body or {}, engine="test", languages=None)
    made = Session(config, faults or SessionFaults(), lambda text, target: text.upper(), lambda kind, words: None)
    made.move(Phase.RECORDING)
    return made


def said(text: str, number: int = 0, *, is_final: bool = True, start: float = 0.0) -> Heard:
    words = [Word(word, start + i / 2, start + i / 2 + 0.4, 0.9) for i, word in enumerate(text.split())]
    return Heard(number, tuple(words), is_final)


def ids(messages: list[Message]) -> list[str]:
    return [message.body["data"]["id"] for message in messages if message.type == "transcript"]


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_acks_tile_the_session_without_gap_or_overlap(chunks: list[bytes]) -> None:
    one = session()
    ranges, audio = [], b""
    for chunk in chunks:
        message, heard = one.acknowledge(one.receive(chunk))
        ranges.append(message.body["data"]["byte_range"])
        audio += heard
    assert audio == b"".join(chunks)
    assert [end for _, end in ranges] == [start for start, _ in ranges[1:]] + ([len(audio)] if chunks else [])


def test_an_ack_counts_bytes_and_seconds_from_the_start_of_the_session() -> None:
    one = session()
    one.acknowledge(one.receive(bytes(3200)))
    message, _ = one.acknowledge(one.receive(bytes(3200)))
    assert message.type == "audio_chunk"
    assert message.body == {
        "acknowledged": True,
        "error": None,
        "data": {"byte_range": [3200, 6400], "time_range": [0.1, 0.2]},
    }


def test_an_empty_chunk_is_acknowledged_where_the_session_stands() -> None:
    one = session()
    one.acknowledge(one.receive(bytes(320)))
    assert one.acknowledge(one.receive(b""))[0].body["data"]["byte_range"] == [320, 320]


@given(st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=30))
def test_a_reconnect_forgets_what_was_not_acknowledged(first: bytes, lost: bytes, after: bytes) -> None:
    one = session()
    _, audio = one.acknowledge(one.receive(first))
    one.receive(lost)
    assert one.resume() == b""
    message, more = one.acknowledge(one.receive(lost + after))
    assert audio + more == first + lost + after
    assert message.body["data"]["byte_range"] == [len(first), len(first + lost + after)]


def test_a_reconnect_keeps_it_when_the_plan_says_so() -> None:
    one = session(faults=SessionFaults(unacknowledged="keep"))
    one.receive(b"abcd")
    assert one.resume() == b"abcd"
    assert one.acknowledged == 4


def test_stop_hears_what_was_held_back() -> None:
    one = session()
    one.receive(bytes(32_000))
    assert one.stop() == bytes(32_000)
    assert not one.accepts_audio
    data = {"recording_duration": 1.0, "recording_left_to_process": 0.25}
    assert one.stopped(0.25).body["data"] == data


def test_partial_and_final_share_an_id_made_of_channel_and_counter() -> None:
    one = session({"channels": 2})
    assert ids(one.heard(0, said("a", is_final=False))) == ["00_00000000"]
    assert ids(one.heard(0, said("a b"))) == ["00_00000000"]
    assert ids(one.heard(1, said("c"))) == ["01_00000000"]
    assert ids(one.heard(0, said("d", 7))) == ["00_00000007"]


def test_text_and_words_carry_a_leading_space() -> None:
    (message,) = session().heard(0, said("good morning", start=1.0))
    assert message.body["data"] == {
        "id": "00_00000000",
        "is_final": True,
        "utterance": {
            "text": " good morning",
            "start": 1.0,
            "end": 1.9,
            "language": "en",
            "confidence": 0.9,
            "channel": 0,
            "words": [
                {"word": " good", "start": 1.0, "end": 1.4, "confidence": 0.9},
                {"word": " morning", "start": 1.5, "end": 1.9, "confidence": 0.9},
            ],
        },
    }


def test_ids_restart_after_a_reconnect_when_the_plan_says_so() -> None:
    """An utterance in progress goes on as number 0."""
    one = session(faults=SessionFaults(restart_ids=True))
    one.heard(0, said("a", 0))
    one.heard(0, said("b", 1, is_final=False))
    one.resume()
    assert ids(one.heard(0, said("b c", 1))) == ["00_00000000"]
    assert ids(one.heard(0, said("d", 2))) == ["00_00000001"]


def test_every_event_has_its_message_class() -> None:
    one = session()
    assert one.heard(0, SpeechStarted(1.25))[0].body == {"data": {"time": 1.25, "channel": 0}}
    assert one.heard(0, SpeechEnded(2.0))[0].topic is Topic.SPEECH
    assert one.heard(0, said("a", is_final=False))[0].topic is Topic.PARTIAL
    assert one.heard(0, said("a"))[0].topic is Topic.FINAL
    assert one.heard(0, Stumbled("oops"))[0].body == {"data": {"code": "internal_error", "message": "oops"}}


TRANSLATE = {"realtime_processing": {"translation": True, "translation_config": {"target_languages": ["fr", "de"]}}}


def test_a_final_brings_one_translation_per_target_language() -> None:
    messages = session(TRANSLATE).heard(0, said("one two"))
    assert [m.type for m in messages] == ["transcript", "translation", "translation"]
    data = messages[1].body["data"]
    assert (data["utterance_id"], data["original_language"], data["target_language"]) == ("00_00000000", "en", "fr")
    assert data["translated_utterance"]["text"] == " ONE TWO"
    assert data["translated_utterance"]["words"][1] == {"word": " TWO", "start": 0.5, "end": 0.9, "confidence": 0.9}


def test_self_translation_and_counter_ids_are_faults_that_can_be_chosen() -> None:
    one = session(TRANSLATE, SessionFaults(self_translation=True, utterance_id="counter"))
    messages = one.heard(0, said("one two", 3))
    assert [m.body["data"]["target_language"] for m in messages[1:]] == ["fr", "de", "en"]
    assert [m.body["data"]["utterance_id"] for m in messages[1:]] == ["3", "3", "3"]
    assert messages[3].body["data"]["translated_utterance"]["text"] == " one two"


def test_what_the_engine_cannot_do_is_answered_with_an_error_and_no_data() -> None:
    config = {"realtime_processing": {"named_entity_recognition": True, "sentiment_analysis": True}}
    messages = session(config).heard(0, said("one"))
    assert [m.type for m in messages] == ["transcript", "named_entity_recognition", "sentiment_analysis"]
    for message in messages[1:]:
        assert message.body["data"] is None
        assert "cannot" in message.body["error"]["message"]


def test_the_end_comes_in_the_documented_order_with_the_whole_result() -> None:
    one = session({"channels": 2, "post_processing": {"summarization": True}})
    one.acknowledge(one.receive(bytes(64_000)))
    one.heard(1, said("second", start=2.0))
    one.heard(0, said("first", start=1.0))
    one.stop()
    messages = one.end(one.result(took_s=0.5))
    assert [m.type for m in messages] == [
        "end_recording",
        "post_transcript",
        "post_final_transcript",
        "post_summarization",
        "end_session",
    ]
    assert messages[0].body["data"] == {"recording_duration": 1.0}
    assert messages[1].body["data"]["full_transcript"] == "first second"
    result = messages[2].body["data"]
    assert result["metadata"] == {
        "audio_duration": 1.0,
        "number_of_distinct_channels": 2,
        "billing_time": 2.0,
        "transcription_time": 0.5,
    }
    assert [u["channel"] for u in result["transcription"]["utterances"]] == [0, 1]
    assert messages[3].body["data"]["results"].startswith(MARK)
    assert one.status == "done"


@pytest.mark.parametrize("start", Phase)
@pytest.mark.parametrize("to", Phase)
def test_only_the_listed_moves_are_possible(start: Phase, to: Phase) -> None:
    one = session()
    one.phase = start
    if (start, to) in MOVES:
        one.move(to)
        assert one.phase is to
    else:
        with pytest.raises(RuntimeError, match="cannot go"):
            one.move(to)


def test_a_summary_selects_and_says_so() -> None:
    texts = [" the budget is late", " hm", " the budget needs the board", " yes"]
    assert summarise(texts, "concise") == f"{MARK} the budget is late. the budget needs the board."
    assert summarise(texts, "bullet_points").splitlines()[:2] == [MARK, "- the budget is late"]
    assert summarise([], "general") == MARK
