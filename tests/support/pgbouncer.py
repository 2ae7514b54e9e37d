"""A PgBouncer in transaction mode in front of the tests' PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from support.ports import free_port
from support.postgres import PostgresServer
from support.tools import needs

from storage.postgres.placement import Placement, place


class Bouncer:
    """Two server connections for everybody."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.port = free_port()
        host = parse_qs(urlsplit(server.url).query)["host"][0]
        self._config = folder / "pgbouncer.ini"
        self._config.write_text(
            f"[databases]\n* = host={host} port=5432 user=postgres\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\nlogfile = {folder}/log\n"
        )
        self._config.chmod(0o644)
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database_url: str, *, flag: bool = True) -> str:
        name = urlsplit(database_url).path
        return f"postgresql://postgres@127.0.0.1:{self.port}{name}?sslmode=disable" + (
            "&pgbouncer=true" if flag else ""
        )

    def start(self) -> None:
        account = _account()
        self.process = subprocess.Popen(
            ["pgbouncer", "-q", str(self._config)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **({"user": account.account.uid, "group": account.account.gid} if os.getuid() == 0 else {}),
        )

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


def _account() -> Placement:
    """Who runs the embedded server, and so may use its socket."""
    with tempfile.TemporaryDirectory() as folder:
        return place(Path(folder), None)


@contextmanager
def running_bouncer(server: PostgresServer) -> Iterator[Bouncer]:
    """Has to end before the databases do, to which it holds connections."""
    needs("pgbouncer")
    folder = Path(tempfile.mkdtemp(prefix="gateway-bouncer-"))
    folder.chmod(0o777)
    with closing(Bouncer(folder, server)) as bouncer:
        bouncer.start()
        yield bouncer
    shutil.rmtree(folder)
