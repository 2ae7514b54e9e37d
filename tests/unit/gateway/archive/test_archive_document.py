"""The transcript document: its bytes, its published schema, its name."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from support import document_schema

from gateway.archive.document import CLOSING, Attendee, Head, StoredFinal, key, opening, segment
from gateway.live.protocol import encode_caption
from gateway.transcription.domain.captions import Caption, Speaker, Word

BEGIN = datetime(2026, 1, 5, 10, 0, 0, 120_999, tzinfo=UTC)
LATER = BEGIN + timedelta(minutes=30)
HEAD = Head("s1", "abc12345", "Stand-up", "default", "u1", "ENDED", BEGIN, BEGIN, LATER,
            [Attendee("p1", "anna", "Anna", "HOST", "u1", BEGIN, None)], "k3f9", BEGIN, 2, True)  # fmt: skip


def heard(seq: int, text: str) -> StoredFinal:
    at = BEGIN + timedelta(seconds=seq)
    words = tuple(Word(word, 1000 * seq, 1000 * seq + 500) for word in text.split())
    said = Caption(f"p:{seq}", text, "en", True, Speaker("anna", "Anna"), at, at + timedelta(seconds=1), 1000 * seq,
                   1000 * seq + 500, 0.97, words)  # fmt: skip
    return StoredFinal(f"p:{seq}", "p1", "anna", "Anna", text, "en", at, said.ended_at, seq, encode_caption(said))


def whole(*kept: StoredFinal, head: Head = HEAD) -> dict[str, Any]:
    segments = b",".join(segment(one, head.origin or head.created_at) for one in kept)
    document: dict[str, Any] = json.loads(opening(head, LATER) + segments + CLOSING)
    jsonschema.validate(document, document_schema.schema(), format_checker=jsonschema.FormatChecker())
    return document


def test_a_document_is_what_the_schema_says() -> None:
    document = whole(heard(1, "Good morning."), heard(2, "Grüße, 世界"))
    assert document["format"] == "transcript-document/1"
    assert document["createdAt"] == "2026-01-05T10:00:00.120Z"
    assert [one["seq"] for one in document["segments"]] == [1, 2]
    first = document["segments"][0]
    assert (first["text"], first["startMs"], first["endMs"], first["confidence"]) == ("Good morning.", 1000, 1500, 0.97)
    assert first["words"][0] == {"text": "Good", "startMs": 1000, "endMs": 1500}
    assert document["participants"][0]["identity"] == "anna"


def test_a_segment_has_its_translations() -> None:
    told = replace(heard(1, "Good morning."), translations=b'{"de": "Guten Morgen."}')
    first, second = whole(told, heard(2, "Fine."))["segments"]
    assert (first["translations"], second["translations"]) == ({"de": "Guten Morgen."}, {})


def test_an_empty_session_has_a_document_too() -> None:
    silent = Head("s1", "a", None, "x", None, "ENDED", BEGIN, None, None, [], None, None, 0, None)
    assert whole(head=silent)["segments"] == []


def test_a_segment_of_somebody_else_has_its_place_on_the_clock_and_no_number() -> None:
    at = BEGIN + timedelta(seconds=5)
    document = whole(StoredFinal("x-1", None, None, None, "Typed.", None, at, None, None, None))
    [typed] = document["segments"]
    assert (typed["seq"], typed["startMs"], typed["endMs"], typed["words"]) == (None, 5000, 5000, [])


def test_a_text_that_was_changed_since_loses_the_words_times() -> None:
    kept = heard(1, "Good moaning.")
    changed = replace(kept, text="Good morning.", seq=1)
    [said] = whole(changed)["segments"]
    assert (said["text"], said["words"], said["startMs"]) == ("Good morning.", [], 1000)


def test_a_speaker_whose_row_is_gone_keeps_the_name_that_was_heard() -> None:
    kept = heard(1, "Hello.")
    orphan = StoredFinal(kept.utterance_id, None, None, None, "Hello.", "en", kept.started_at, None, 1, kept.heard)
    [said] = whole(orphan)["segments"]
    assert (said["participantIdentity"], said["participantName"]) == ("anna", "Anna")


def test_the_published_schema_is_the_codes() -> None:
    assert document_schema.FILE.read_text() == document_schema.text(), document_schema.__doc__


@pytest.mark.parametrize("slug", ["abc12345", "../../etc", "ä b/c", "", "-", "x" * 300])
def test_a_key_is_plain_whatever_the_slug(slug: str) -> None:
    from storage.blob.store import check_key

    assert check_key(key(slug, "f00d"))
    assert key(slug, "f00d").endswith("-f00d.json")
