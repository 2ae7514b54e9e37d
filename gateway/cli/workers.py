"""`gateway serve --workers N`: the process that supervises them. It transcribes nothing and loads little."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal

from gateway import logs
from gateway.app.workers import open_workers
from gateway.cli.errors import DONE
from gateway.cli.signals import show_stacks_on_request, stop_signals
from gateway.settings import Settings


async def serve(args: argparse.Namespace) -> int:
    """Until a signal. Raises: WrongSettings, StartFailed, PartDied."""
    settings = Settings.from_env(os.environ)
    logs.configure(settings.log_format, settings.log_level)
    show_stacks_on_request()
    async with stop_signals() as stop, open_workers(settings, os.environ, args.workers) as workers:
        supervisor = workers.supervisor
        for number in (signal.SIGHUP, signal.SIGUSR1):
            asyncio.get_running_loop().add_signal_handler(number, supervisor.pass_on, number)
        workers.failed.add_done_callback(lambda _: stop.set())
        stopping = asyncio.create_task(stop.wait(), name="signals")
        stopping.add_done_callback(lambda _: supervisor.stop())
        await supervisor.run()
        stopping.cancel()
    workers.check_alive()
    return DONE
