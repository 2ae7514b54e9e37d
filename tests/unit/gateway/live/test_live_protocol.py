"""The stream on the wire: messages, resume points, offered tokens."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.live import protocol
from gateway.live.protocol import CloseCode, ResumePoint, StreamState, message, offered_token, parse_since
from gateway.transcription.domain.captions import Caption, Speaker, Word
from gateway.transcription.domain.transcription import TranscriptionState

NOW = datetime(2026, 1, 5, 10, 0, 3, 120_000, UTC)


@given(slug=st.text(max_size=30).filter(lambda text: text.isprintable()), epoch=st.text(max_size=8))
def test_a_message_is_json_whatever_the_names(slug: str, epoch: str) -> None:
    """Quotes, backslashes, control characters: the head is escaped, the data is taken as it is."""
    told = json.loads(message("transcript.final", slug, epoch, 42, NOW, b'{"text":"\\"so\\""}'))
    assert told == {
        "v": 1,
        "type": "transcript.final",
        "sessionSlug": slug,
        "epoch": epoch,
        "seq": 42,
        "ts": "2026-01-05T10:00:03.120Z",
        "data": {"text": '"so"'},
    }


def test_a_message_without_a_number_has_no_seq() -> None:
    assert "seq" not in json.loads(message("transcript.partial", "abc", "k3f9", None, NOW, b"{}"))


def test_a_caption_has_the_fields_of_the_contract() -> None:
    """design.md 4.4, name by name."""
    caption = Caption(
        "p:1",
        'She said "hi" \\ \n<b>',
        "en",
        True,
        Speaker("anna", "Anna"),
        NOW,
        NOW + timedelta(milliseconds=630),
        1880,
        2510,
        0.97,
        (Word("Good", 1880, 2100),),
    )
    assert json.loads(protocol.encode_caption(caption)) == {
        "utteranceId": "p:1",
        "text": 'She said "hi" \\ \n<b>',
        "language": "en",
        "isFinal": True,
        "participantIdentity": "anna",
        "participantName": "Anna",
        "startedAt": "2026-01-05T10:00:03.120Z",
        "endedAt": "2026-01-05T10:00:03.750Z",
        "startMs": 1880,
        "endMs": 2510,
        "confidence": 0.97,
        "words": [{"text": "Good", "startMs": 1880, "endMs": 2100}],
    }


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("k3f9:42", ResumePoint("k3f9", 42)),
        ("k3f9:0", ResumePoint("k3f9", 0)),
        ("a:b:7", ResumePoint("a:b", 7)),
        ("-:0", ResumePoint("-", 0)),
        ("k3f9:999999999999999", ResumePoint("k3f9", 999_999_999_999_999)),
    ],
)
def test_a_resume_point_is_read(text: str, point: ResumePoint) -> None:
    assert parse_since(text) == point


@pytest.mark.parametrize(
    "text",
    ["", "42", "k3f9", "k3f9:", "k3f9:-1", "k3f9:+1", "k3f9:1.5", "k3f9: 1", "k3f9:1e3", "k3f9:٤٢", "k3f9:²", "k:1\n",
     "k3f9:" + "9" * 16, "e" * 65 + ":1"],
)  # fmt: skip
def test_anything_else_is_no_resume_point(text: str) -> None:
    """Neither signs, nor other scripts' digits, nor numbers beyond what a browser holds exactly."""
    with pytest.raises(ValueError, match="EPOCH:SEQ"):
        parse_since(text)


@given(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), st.integers(0, 10**15 - 1))
def test_a_resume_point_is_what_the_messages_carry(epoch: str, seq: int) -> None:
    told = json.loads(message("transcript.final", "abc", epoch, seq, NOW, b"{}"))
    assert parse_since(f"{told['epoch']}:{told['seq']}") == ResumePoint(epoch, seq)


def test_the_token_is_found_among_the_subprotocols() -> None:
    assert offered_token(["transcript.v1", "bearer.a.b.c"]) == "a.b.c"
    assert offered_token(["bearer."]) == ""
    assert offered_token(["transcript.v1", "Bearer x"]) is None
    assert offered_token([]) is None


def test_close_codes_tell_whether_to_come_back() -> None:
    """4000-4499 come back, 4500-4999 do not; the contract's codes are what they were."""
    assert {code.name: int(code) for code in CloseCode} == {
        "DRAINING": 4000,
        "TOO_SLOW": 4008,
        "TOO_MANY": 4029,
        "MALFORMED": 4500,
        "CREDENTIAL_REFUSED": 4501,
        "NO_SUCH_SESSION": 4504,
        "TAKEN_OVER": 4509,
        "SESSION_ENDED": 4510,
        "WRONG_AUDIO": 4522,
        "NOT_TEXT": 1003,
        "TOO_MANY_FRAMES": 1008,
        "NORMAL": 1000,
        "INTERNAL": 1011,
    }


def test_the_stream_has_a_word_for_every_state_and_one_for_none() -> None:
    assert {state.value for state in StreamState} == {"idle", *(state.shown for state in TranscriptionState)}
