"""The commands that run something here. Every function returns the process's exit code."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import as_file, files
from pathlib import Path

from gateway import logs
from gateway.app.checks import check_parts
from gateway.app.doctor import examine
from gateway.app.errands import maintain as run_maintenance
from gateway.app.errands import migrate_database, open_speech_server
from gateway.app.files import judge, open_files, raise_open_files
from gateway.app.root import open_gateway
from gateway.cli.errors import DONE, FAILED
from gateway.cli.plain import plain
from gateway.cli.signals import show_stacks_on_request, stop_signals
from gateway.errors import StartFailed
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


async def migrate(args: argparse.Namespace) -> int:
    """Prints what was applied on standard output, warnings on standard error. Needs no API token."""
    settings = Settings.from_env(os.environ, needs_token=False)
    logs.configure(settings.log_format, settings.log_level)
    applied, warnings = await migrate_database(settings)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print("\n".join(f"applied {label}" for label in applied) or "the database is up to date")
    return DONE


async def maintain(args: argparse.Namespace) -> int:
    """One round of upkeep; prints how many of each kind were dealt with. Needs no API token."""
    settings = Settings.from_env(os.environ, needs_token=False)
    logs.configure(settings.log_format, settings.log_level)
    done = await run_maintenance(settings)
    print(", ".join(f"{name} {count}" for name, count in done.items()))
    return DONE


async def stt(args: argparse.Namespace) -> int:
    """The local speech server until a signal. Raises: StartFailed."""
    logs.configure("text", "info")
    try:
        faults = Path(args.faults).read_bytes() if args.faults else None  # noqa: ASYNC240 - nothing runs yet
    except OSError as error:
        raise StartFailed(f"the fault plan cannot be read: {error}") from error
    async with stop_signals() as stop, open_speech_server(args, faults) as url:
        print(f"Gladia-compatible speech server ({args.engine}) at {url}", flush=True)
        await stop.wait()
    return DONE


async def check(args: argparse.Namespace) -> int:
    """One line a part on standard output. FAILED when a part has to be mended; notes alone do not count."""
    settings = Settings.from_env(os.environ)
    return await _tell(settings, check_parts(settings))


async def doctor(args: argparse.Namespace) -> int:
    """As `check`, and further: a sentence is spoken to the provider."""
    settings = Settings.from_env(os.environ)
    with as_file(files("gateway.cli").joinpath("sample.flac")) as sample:
        return await _tell(settings, examine(settings, sample))


async def _tell(settings: Settings, findings: AsyncIterator[tuple[str, bool, str]]) -> int:
    logs.configure("text", "error")
    raise_open_files()
    good = True
    async for part, fine, text in findings:
        good = good and fine
        print(f"{'ok  ' if fine else 'FAIL'}  {part}: {plain(text)}")
    for doubt in doubts(settings, os.environ):
        print(f"note  {doubt}")
    return DONE if good else FAILED
