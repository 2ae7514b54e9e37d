"""Why a gateway did not start: whatever a part raises at start becomes one class with one text for the operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.transcription.infra.instance import FolderInUse
from gateway.transcription.usecases.journal import JournalTrouble
from ingest.errors import IngestError
from storage.postgres.errors import StorageError
from storage.postgres.url import BadDatabaseUrl
from storage.redis.url import BadRedisUrl
from stt.errors import SttError


class StartFailed(Exception):
    """A part that is needed cannot be had; the text says which and what to do."""


@contextmanager
def start_failures() -> Iterator[None]:
    """Turns the errors that parts raise while they are opened into StartFailed. Other errors are bugs and pass.

    Raises: StartFailed.
    """
    try:
        yield
    except (StorageError, SttError, IngestError, BadDatabaseUrl, BadRedisUrl) as error:
        raise StartFailed(str(error)) from error
    except (FolderInUse, JournalTrouble) as error:
        raise StartFailed(str(error)) from error
    except OSError as error:
        raise StartFailed(f"cannot listen: {error.strerror or error}; free the port, or choose another one") from error
