"""What each command does. Every function returns the process's exit code."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from gateway import logs
from gateway.app.checks import check_parts
from gateway.app.errands import maintain as run_maintenance
from gateway.app.errands import migrate_database, open_speech_server
from gateway.app.failures import StartFailed
from gateway.app.files import judge, open_files, raise_open_files
from gateway.app.root import open_gateway
from gateway.cli.client import Client, connect
from gateway.settings import Settings, doubts

log = logging.getLogger(__name__)

DONE: Final = 0
FAILED: Final = 1


@asynccontextmanager
async def stop_signals() -> AsyncIterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set. A second signal has its usual effect."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def serve(args: argparse.Namespace) -> int:
    """Until a signal. Raises: WrongSettings, StartFailed, and what has ended a task that must not end."""
    settings = Settings.from_env(os.environ)
    logs.configure(settings.log_format, settings.log_level)
    raise_open_files()
    enough, files = judge(settings, open_files())
    log.log(logging.INFO if enough else logging.WARNING, "%s", files)
    for doubt in doubts(settings, os.environ):
        log.warning("%s", doubt)
    async with stop_signals() as stop, open_gateway(settings, os.environ) as gateway:
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, gateway.read_secrets)
        stopping = asyncio.create_task(stop.wait(), name="signals")
        gateway.failed.add_done_callback(lambda _: stop.set())
        await stopping
        if gateway.failed.done():
            gateway.failed.result()  # raises what has died
    return DONE


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
    logs.configure("text", "error")
    raise_open_files()
    good = True
    async for part, fine, text in check_parts(settings):
        good = good and fine
        print(f"{'ok  ' if fine else 'FAIL'}  {part}: {text}")
    for doubt in doubts(settings, os.environ):
        print(f"note  {doubt}")
    return DONE if good else FAILED


# --- commands that talk to a running gateway ------------------------------------------------------------------


@asynccontextmanager
async def _client(args: argparse.Namespace) -> AsyncIterator[Client]:
    url = args.url or os.environ.get("GATEWAY_URL") or "http://localhost:8080"
    token = args.token or os.environ.get("GATEWAY_API_TOKENS", "").split(",")[0].strip()
    async with connect(url, token) as client:
        yield client


async def start(args: argparse.Namespace) -> int:
    """Prints the start's answer. With `--create` SLUG is the title of a new session. Raises: ApiRefused."""
    async with _client(args) as client:
        slug = args.slug
        if args.create:
            slug = (await client.call("POST", "/api/sessions", {"title": args.slug}))["slug"]
        body = {"sessionSlug": slug, "source": args.source, "languages": args.language}
        _show(await client.call("POST", "/api/transcription/start", body))
    return DONE


async def stop(args: argparse.Namespace) -> int:
    """Prints the stop's answer."""
    async with _client(args) as client:
        _show(
            await client.call("POST", "/api/transcription/stop", {"sessionSlug": args.slug, "wait": not args.no_wait})
        )
    return DONE


async def status(args: argparse.Namespace) -> int:
    """Prints one transcription, or all that are not stopped."""
    async with _client(args) as client:
        _show(await client.call("GET", f"/api/transcription/{args.slug}" if args.slug else "/api/transcription"))
    return DONE


async def export(args: argparse.Namespace) -> int:
    """Writes the transcript to standard output as it came."""
    async with _client(args) as client:
        sys.stdout.write(await client.text("GET", f"/api/sessions/{args.slug}/transcript?format={args.format}"))
    return DONE


async def tail(args: argparse.Namespace) -> int:
    """Prints the stream until the transcription has stopped or the session has ended."""
    async with _client(args) as client:
        screen = Screen(sys.stdout)
        async for message in client.follow(args.slug, args.since):
            if args.json:
                print(json.dumps(message, ensure_ascii=False), flush=True)
            else:
                screen.show(message)
    return DONE


class Screen:
    """Captions on a terminal: partials on one line that is rewritten, finals settled above it."""

    def __init__(self, out: Any) -> None:
        self._out = out
        self._live = out.isatty()
        self._partial = False

    def show(self, message: dict[str, Any]) -> None:
        """One message of the live stream; types that are not known are left out."""
        kind, data = message["type"], message["data"]
        match kind:
            case "transcript.final":
                who = data["participantName"] or data["participantIdentity"]
                self._line(f"{message['seq']:4}  {data['startMs'] / 1000:8.2f}s  {who}: {data['text']}")
            case "transcript.partial" if data["text"]:
                self._show_partial(data["text"])
            case "session.state":
                self._line(f"      — {data['state']}" + (f": {data['reason']}" if data.get("reason") else ""))
            case "health" if data["status"] != "ok":
                self._line(f"      ! {'; '.join(data['reasons'])}")
            case "gap":
                self._line(f"      ! finals {data['fromSeq']} to {data['toSeq']} are not available any more")
            case "error":
                self._line(f"      ! {data['message']}")

    def _show_partial(self, text: str) -> None:
        if self._live:
            self._out.write(f"\r\x1b[K\x1b[90m      … {text[-100:]}\x1b[0m")
            self._partial = True
        else:
            self._out.write(f"      … {text}\n")
        self._out.flush()

    def _line(self, text: str) -> None:
        if self._partial:
            self._out.write("\r\x1b[K")
            self._partial = False
        self._out.write(text + "\n")
        self._out.flush()


def _show(answer: Any) -> None:
    print(json.dumps(answer, indent=2, ensure_ascii=False))
