"""The stream on the wire: times, messages, frames, resume points, offered tokens."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.frames import frames
from websockets.frames import Opcode

from gateway.live import protocol
from gateway.live.protocol import CloseCode, ResumePoint, message, offered_token, parse_since, text_frame, timestamp
from gateway.transcription.domain.captions import Caption, Speaker, Word

NOW = datetime(2026, 1, 5, 10, 0, 3, 120_000, UTC)


@pytest.mark.parametrize(
    ("microsecond", "shown"), [(0, "000"), (999, "000"), (1000, "001"), (120_999, "120"), (999_999, "999")]
)
def test_milliseconds_are_cut_not_rounded(microsecond: int, shown: str) -> None:
    """As JavaScript does; rounding 999.9 ms up would need the next second."""
    assert timestamp(NOW.replace(microsecond=microsecond)) == f"2026-01-05T10:00:03.{shown}Z"


def test_times_of_other_zones_are_shown_in_utc() -> None:
    assert timestamp(NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))) == "2026-01-05T10:00:03.120Z"


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)),
    st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_every_moment_is_shown_as_iso_8601_spells_it(moment: datetime, zone: timezone) -> None:
    """Whatever was shown before in the same second."""
    there = moment.replace(tzinfo=zone)
    spelt = there.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert timestamp(there) == timestamp(there.astimezone(UTC)) == spelt


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_frames_of_every_length_are_read_by_a_client_library(size: int) -> None:
    """At both borders where the length field grows (RFC 6455, 5.2)."""
    payload = b"x" * size
    [frame] = frames(text_frame(payload))
    assert (frame.opcode, frame.fin, frame.data) == (Opcode.TEXT, True, payload)
    assert not (frame.rsv1 or frame.rsv2 or frame.rsv3)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_frames_written_together_stay_apart(payloads: list[bytes]) -> None:
    assert [frame.data for frame in frames(b"".join(map(text_frame, payloads)))] == payloads


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
        "NORMAL": 1000,
    }
