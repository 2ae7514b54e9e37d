from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.postgres.errors import SlugTaken, StorageRefused, StorageUnavailable, retryable
from storage.postgres.segments import NewSegment, fold
from storage.postgres.sql import Queries, quoted

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def _segment(session: str, utterance: str, text: str, is_final: bool) -> NewSegment:
    return NewSegment(session, None, utterance, text, None, is_final, NOW, None, NOW)


SEGMENTS = st.builds(
    _segment, st.sampled_from("ab"), st.sampled_from("xyz"), st.text("0123456789", max_size=3), st.booleans()
)


@given(st.lists(SEGMENTS))
def test_a_folded_batch_holds_each_utterance_once_in_one_order(rows: list[NewSegment]) -> None:
    keys = [(row.session_id, row.utterance_id) for row in fold(rows)]
    assert keys == sorted({(row.session_id, row.utterance_id) for row in rows})


@given(st.lists(SEGMENTS, min_size=1))
def test_a_final_beats_a_partial_and_otherwise_the_last_wins(rows: list[NewSegment]) -> None:
    for kept in fold(rows):
        same = [r for r in rows if (r.session_id, r.utterance_id) == (kept.session_id, kept.utterance_id)]
        finals = [r for r in same if r.is_final]
        assert kept == (finals or same)[-1]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (asyncpg.DeadlockDetectedError(), True),
        (asyncpg.SerializationError(), True),
        (asyncpg.TooManyConnectionsError(), True),
        (asyncpg.AdminShutdownError(), True),
        (asyncpg.CannotConnectNowError(), True),
        (asyncpg.ConnectionDoesNotExistError(), True),
        (asyncpg.InvalidCachedStatementError(), True),
        (asyncpg.InvalidSQLStatementNameError(), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"), True),
        (asyncpg.InternalClientError("got result for unknown protocol state 3"), False),
        (ConnectionRefusedError(), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (StorageUnavailable(), True),
        (asyncpg.InterfaceError("the server expects 3 arguments for this query, 2 were passed"), False),
        (asyncpg.ForeignKeyViolationError(), False),
        (asyncpg.UniqueViolationError(), False),
        (asyncpg.UndefinedTableError(), False),
        (asyncpg.InsufficientPrivilegeError(), False),
        (asyncpg.CharacterNotInRepertoireError(), False),
        (StorageRefused(), False),
        (SlugTaken("x"), False),
        (ValueError(), False),
    ],
)
def test_what_may_be_tried_again(error: Exception, expected: bool) -> None:
    assert retryable(error) is expected


def test_every_table_of_the_app_is_qualified_and_nothing_is_left_to_fill_in() -> None:
    for name, text in Queries('odd"schema').items():
        assert "app." not in text, name
        assert "{" not in text.replace("'{}'", "").replace("'{SELECT,", ""), name
        for table in ("VideoSession", "Participant", "TranscriptSegment", "TranscriptionUsage", "Space"):
            assert text.count(f'"{table}"') == text.count(f'"odd""schema"."{table}"'), name


def test_identifiers_are_quoted() -> None:
    assert quoted('a"b') == '"a""b"'
