"""`gateway serve --workers N`: one machine's database and ports, and N gateways on them, each a replica of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.app.database import CONNECT_S, database_url
from gateway.app.debug_relay import DebugRelay
from gateway.app.failures import binding, start_failures
from gateway.app.metrics_page import metrics_page
from gateway.errors import PartDied
from gateway.settings import Settings
from gateway.workers import ALONE
from gateway.workers.supervisor import Launch, Patience, Supervisor
from storage.postgres.migrate import prepare
from storage.postgres.url import parse_database_url

log = logging.getLogger(__name__)

_FEWEST_SILENT_S: Final = 5.0
_END_MARGIN_S: Final = 30.0
"""What a worker may take to end beyond GATEWAY_DRAIN_S, once to give away and once to drain what nobody takes."""


@dataclass(frozen=True, slots=True)
class Workers:
    """`failed` ends, with the reason as exception, when a part that all workers need has died."""

    supervisor: Supervisor
    failed: asyncio.Future[None]

    def check_alive(self) -> None:
        """For after the shutdown. Raises: PartDied when that was its reason."""
        if self.failed.done() and (error := self.failed.exception()) is not None:
            raise PartDied(str(error)) from error


@asynccontextmanager
async def open_workers(settings: Settings, env: Mapping[str, str], number: int) -> AsyncIterator[Workers]:
    """Database migrated and ports reserved; no worker runs before `supervisor.run`. Raises: StartFailed."""
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with AsyncExitStack() as parts:
        with start_failures():
            http_port = parts.enter_context(_reserved(settings.http_host, settings.http_port, "GATEWAY_HTTP_PORT"))
            rtmp_port = settings.rtmp_port and parts.enter_context(
                _reserved(settings.rtmp_host, max(settings.rtmp_port, 0), "GATEWAY_RTMP_PORT")
            )
            url = await parts.enter_async_context(database_url(settings, failed))
            prepared = await prepare(
                parse_database_url(url),
                mode=settings.database_tables,
                allow_gateway_ddl=settings.auto_migrate,
                connect_timeout_s=CONNECT_S,
            )
            for label in prepared.applied:
                log.info("database: applied migration %s", label)
            shared = {
                "GATEWAY_HTTP_PORT": str(http_port),
                "GATEWAY_RTMP_PORT": str(rtmp_port),
                "GATEWAY_AUTO_MIGRATE": "false",
                "GATEWAY_BLOB_URL": settings.blob_store,
            }
            if settings.database_url is None:
                shared["DATABASE_URL"] = url
            launch = _launch(settings.data_dir, number, {**env, **shared})
            patience = Patience(max(settings.lease_s, _FEWEST_SILENT_S), 2 * settings.drain_s + _END_MARGIN_S)
            supervisor = Supervisor(number, launch, patience)
            if settings.metrics_port:
                debug = DebugRelay(supervisor.debug_port)
                page = metrics_page(settings.http_host, settings.metrics_port, supervisor.metrics, debug.register)
                await parts.enter_async_context(page)
        _warn(settings, number)
        yield Workers(supervisor, failed)


def _launch(data_dir: Path, number: int, env: Mapping[str, str]) -> Callable[[int], Launch]:
    def launch(worker: int) -> Launch:
        command = [sys.executable, "-m", "gateway", "serve", "--workers", str(number)]
        command += ["--worker", str(worker), "--line", "{line}"]
        return Launch(command, {**env, "GATEWAY_DATA_DIR": str(_folder(data_dir, worker))})

    return launch


def _folder(data_dir: Path, worker: int) -> Path:
    return data_dir / f"worker-{worker}"


def _warn(settings: Settings, number: int) -> None:
    if not settings.redis_url:
        log.warning(ALONE)
    for left in sorted(settings.data_dir.glob("worker-*/spool/*")):
        worker = left.parent.parent.name.removeprefix("worker-")
        if worker.isdecimal() and int(worker) > number and left.stat().st_size:
            log.warning("%s may hold finals that the database has not got; start once with %s workers", left, worker)


@contextmanager
def _reserved(host: str, port: int, setting: str) -> Iterator[int]:
    """Keep a port for sockets of this user with SO_REUSEPORT; nothing listens here. Yields it, chosen where 0 is asked.

    Without the first look two gateways on one port would share its connections unnoticed. Raises: StartFailed.
    """
    with binding(host, port, setting):
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as look:
            look.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            look.bind(address)
        keep = socket.socket(family, kind, protocol)
        keep.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keep.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        keep.bind(address)
    with keep:
        yield keep.getsockname()[1]
