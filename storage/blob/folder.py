"""Blobs as files in a folder, readable to this account only.

A file is written beside its place, synced and renamed into it, so that a reader finds the old document or the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from pathlib import Path
from typing import Final

from storage.blob.store import BlobError, check_key

# A part file of this age was left by a writer that was killed: no write takes that long.
_ABANDONED_S: Final = 600.0


class FolderBlobs:
    """The store Blobs, in one folder; made when the first document is put."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    @property
    def place(self) -> str:
        return f"folder {self._folder}"

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        await asyncio.to_thread(self._put, self._path(key), data)

    async def get(self, key: str) -> bytes | None:
        return await asyncio.to_thread(self._get, self._path(key))

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._delete, self._path(key))

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key)

    def _put(self, path: Path, data: bytes) -> None:
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._remove_parts(path, older_than_s=_ABANDONED_S)
            try:
                descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            except OSError:
                part.unlink(missing_ok=True)
                raise
            _sync(path.parent)
        except OSError as error:
            raise self._trouble(error) from error

    def _get(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._trouble(error) from error

    def _delete(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
            self._remove_parts(path, older_than_s=0)
            with contextlib.suppress(FileNotFoundError):
                _sync(path.parent)
        except OSError as error:
            raise self._trouble(error) from error

    def _remove_parts(self, path: Path, older_than_s: float) -> None:
        for part in path.parent.glob(f"{path.name}.*.part"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime >= older_than_s:
                    part.unlink()

    def _trouble(self, error: OSError) -> BlobError:
        what = error.strerror or type(error).__name__
        return BlobError(f"the folder {self._folder} cannot be used: {what}; mend it", retryable=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
