"""What can go wrong with the database, one class per reaction of a caller."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

import asyncpg


class StorageError(Exception):
    """Base of everything this room raises on its own account."""

    retryable: ClassVar[bool] = False


class StorageUnavailable(StorageError):
    """The server did not answer in time. The same call may succeed later."""

    retryable = True


class StorageRefused(StorageError):
    """The server answered and said no (password, database, TLS): the settings have to change first."""


class SchemaMismatch(StorageError):
    """The tables are not what this build needs. Nothing was changed."""

    def __init__(self, place: str, problems: list[str]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"the database {place} cannot be used:\n{lines}")


class MigrationsPending(SchemaMismatch):
    """Nothing is wrong with the tables, but this build's migrations are not applied yet and were not to be."""


class SessionGone(StorageError):
    """The video session's row was deleted; whatever referred to it is to be dropped."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(f"the video session {session_id} does not exist any more")


class SessionOver(StorageError):
    """The video session is ended or expired, or its row was deleted: nothing new begins on it."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(f"the video session {session_id} is over")


class UserUnknown(StorageError):
    """The app's table has no such user; in a transaction, which is over now, that cannot be mended."""


class SlugTaken(StorageError):
    """Another session has this slug already; make another one."""

    def __init__(self, slug: str) -> None:
        self.slug = slug
        super().__init__(f"the slug {slug} is taken")


# A connection that answers so will always answer so: the server behind it was exchanged, by a pooler or a failover.
STALE: Final = (
    asyncpg.InvalidCachedStatementError,
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
    asyncpg.ReadOnlySQLTransactionError,
)
_PASSING: Final = (
    *STALE,
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.TransactionRollbackError,  # class 40: deadlock, serialisation
    asyncpg.InsufficientResourcesError,  # class 53: too many connections, disk full
    asyncpg.OperatorInterventionError,  # class 57: shutdown, restart, "starting up", cancelled
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    StorageUnavailable,
    OSError,
    TimeoutError,
    asyncio.IncompleteReadError,
)
# asyncpg has classes for "you misuse me" and "I am confused" that also say "the connection just went"; only the words
# tell. The last one: the server's farewell arrived on an idle connection, its end of stream has not yet.
_PASSING_WORDS: Final = ("connection is closed", "connection was closed", "cannot switch to state")


def retryable(error: BaseException) -> bool:
    """Whether the same call, repeated after a pause, may succeed although nothing is changed."""
    if isinstance(error, _PASSING):
        return True
    unclear = isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError)
    return unclear and any(words in str(error) for words in _PASSING_WORDS)


def row_is_to_blame(error: BaseException) -> bool:
    """Whether a value in the statement was refused, so that the same rows without the bad one may be taken.

    Class 22 is a bad value, 23 a broken constraint, 54 a value too long (for an index, say); a ValueError is asyncpg
    refusing to encode a value.
    """
    state = getattr(error, "sqlstate", None) or ""
    return state[:2] in ("22", "23", "54") or isinstance(error, ValueError)
