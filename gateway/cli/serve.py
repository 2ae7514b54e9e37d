"""`gateway serve`: one gateway in this process. Returns the exit code."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway import logs
from gateway.app.files import judge, open_files, raise_open_files
from gateway.app.root import open_gateway
from gateway.cli.errors import DONE
from gateway.cli.signals import show_stacks_on_request, stop_signals
from gateway.settings import Settings, doubts
from gateway.workers.worker import Worker, joined

log = logging.getLogger(__name__)


async def serve(args: argparse.Namespace) -> int:
    """Until a signal, or as a worker until its supervisor is gone. Raises: WrongSettings, StartFailed, PartDied."""
    settings = Settings.from_env(os.environ)
    logs.configure(settings.log_format, settings.log_level, **({"worker": args.worker} if args.worker else {}))
    show_stacks_on_request()
    raise_open_files()
    enough, told = judge(settings, open_files())
    log.log(logging.INFO if enough else logging.WARNING, "%s", told)
    for doubt in doubts(settings, os.environ):
        log.warning("%s", doubt)
    async with (
        stop_signals() as stop,
        _worker(args, stop) as worker,
        open_gateway(settings, os.environ, worker) as gateway,
    ):
        if worker is not None:
            worker.ready()
        if hasattr(signal, "SIGHUP"):
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, gateway.read_secrets)
            loop.add_signal_handler(signal.SIGUSR1, gateway.flip_log_level)
        stopping = asyncio.create_task(stop.wait(), name="signals")
        gateway.failed.add_done_callback(lambda _: stop.set())
        await stopping
    gateway.check_alive()
    return DONE


@asynccontextmanager
async def _worker(args: argparse.Namespace, stop: asyncio.Event) -> AsyncIterator[Worker | None]:
    """This process's line to its supervisor, where it has one; without that it stops."""
    if args.worker is None:
        yield None
        return
    async with joined(args.worker, args.workers, args.line) as worker:
        lost = asyncio.create_task(worker.lost.wait(), name="supervisor lost")
        lost.add_done_callback(lambda _: stop.set())
        yield worker
        lost.cancel()
