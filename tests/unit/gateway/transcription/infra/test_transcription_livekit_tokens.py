"""What the tokens allow, and no more."""

from __future__ import annotations

from datetime import timedelta

import jwt
import pytest

from gateway.transcription.infra import livekit_tokens
from gateway.transcription.infra.livekit_tokens import Keys

KEYS = Keys("key", "a-secret-of-the-tests-0123456789abcdef")


def claims(token: str) -> dict[str, object]:
    read: dict[str, object] = jwt.decode(token, KEYS.secret, algorithms=["HS256"])
    return read


@pytest.mark.parametrize("captions", [True, False])
def test_the_transcriber_hears_one_room_unseen(captions: bool) -> None:
    read = claims(livekit_tokens.transcriber(KEYS, "abc", "transcriber-abc", captions=captions))
    assert read["video"] == {
        "roomJoin": True,
        "room": "abc",
        "hidden": True,
        "canSubscribe": True,
        "canPublish": False,
        "canPublishData": captions,
    }
    assert (read["iss"], read["sub"], read["kind"]) == ("key", "transcriber-abc", "agent")
    assert 0 < int(str(read["exp"])) - int(str(read["nbf"])) <= 300


def test_a_participant_may_speak_and_listen_in_one_room() -> None:
    read = claims(livekit_tokens.participant(KEYS, "abc", "anna", "Anna", timedelta(hours=2)))
    granted = {"roomJoin": True, "room": "abc", "canSubscribe": True, "canPublish": True, "canPublishData": True}
    assert read["video"] == granted
    assert (read["sub"], read["name"]) == ("anna", "Anna") and "kind" not in read


def test_the_secret_is_not_shown() -> None:
    assert KEYS.secret not in repr(KEYS)
