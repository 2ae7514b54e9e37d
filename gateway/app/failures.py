"""Why a gateway did not start: whatever a part raises at start becomes one class with one text for the operator."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.errors import StartFailed
from gateway.transcription.infra.instance import FolderInUse
from gateway.transcription.usecases.journal import JournalTrouble
from ingest.errors import IngestError
from storage.postgres.errors import StorageError
from storage.postgres.url import BadDatabaseUrl
from storage.redis.url import BadRedisUrl
from stt.errors import SttError

_HOSTS: Final = {"--port": "--host", "GATEWAY_RTMP_PORT": "GATEWAY_RTMP_HOST"}


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
        raise StartFailed(f"a file or address cannot be had: {error}; free it, or choose another one") from error


@contextmanager
def binding(host: str, port: int, setting: str) -> Iterator[None]:
    """For the call that binds a port. `setting`: where another one is chosen. Raises: StartFailed."""
    try:
        yield
    except OSError as error:
        code = error.errno or 0
        why = os.strerror(code) if code > 0 else str(error.strerror or error)  # a name's lookup counts below 0
        if code == errno.EADDRINUSE:
            do = f"stop what uses it, or choose another one with {setting}"
        elif code == errno.EACCES:
            do = f"choose a port above 1023 with {setting}, or allow this one"
        else:
            do = f"choose an address of this machine with {_HOSTS.get(setting, 'GATEWAY_HTTP_HOST')}"
        raise StartFailed(f"cannot listen on {host}:{port}: {why}; {do}") from error
