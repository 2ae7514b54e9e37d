"""The commands that need no whole gateway: migrate, maintain, the local speech server, version.

Every function returns the exit code.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

from gateway import logs
from gateway.app.errands import maintain as run_maintenance
from gateway.app.errands import migrate_database, open_speech_server
from gateway.cli.errors import DONE
from gateway.cli.signals import stop_signals
from gateway.errors import StartFailed
from gateway.settings import Settings
from gateway.version import VERSION, how_it_runs


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


async def version(args: argparse.Namespace) -> int:
    """The version, and how all that `serve` loads runs, on standard output."""
    import_module("gateway.app.root")
    print(f"{VERSION} {how_it_runs(sys.modules)}")
    return DONE
