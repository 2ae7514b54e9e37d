"""Who this process is among replicas: a name kept in its data folder, held by one process at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderInUse(OSError):
    """Another gateway runs on this data folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another gateway uses the data folder {folder}; set GATEWAY_DATA_DIR to another one")


@contextmanager
def own_instance(data_dir: Path) -> Iterator[str]:
    """The name under which this process holds leases.

    The same after a restart on the same folder, so that a killed process's transcriptions are gone on with at once
    instead of after their lease. The lock dies with the process, however that ends.

    Raises: FolderInUse.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "instance").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(data_dir) from None
        file.seek(0)
        name = file.read().strip()
        if not name:
            name = f"{socket.gethostname()}-{secrets.token_hex(6)}"
            file.write(name)
            file.flush()
            os.fsync(file.fileno())
        yield name
