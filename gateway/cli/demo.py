"""`gateway demo`: the whole product on one machine, with nothing else installed, on a bundled sample of speech."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final, cast

from gateway import logs
from gateway.app.root import Gateway, open_gateway
from gateway.cli.client import Client
from gateway.cli.demo_room import RoomFailed, people, until_heard
from gateway.cli.errors import DONE, FAILED
from gateway.cli.livekit_local import LocalLivekit, NoLivekit, running
from gateway.cli.screen import Screen
from gateway.cli.signals import stop_signals
from gateway.settings import Settings

_IGNORED: Final = (
    *("DATABASE_URL", "GLADIA_API_KEY", "GATEWAY_STT_ENGINE", "REDIS_URL"),
    *("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"),
)


async def demo(args: argparse.Namespace) -> int:
    """Run the sample once; serve on until Ctrl-C unless `--once`."""
    if args.json and not args.once:
        print("gateway: --json needs --once", file=sys.stderr)
        return 2
    settings = _settings()
    # People get the transcript, not the log; with --json the log may be wanted on standard error.
    logs.configure("text", "info" if args.json else "error")
    out = open(os.devnull, "w") if args.json else sys.stdout  # noqa: SIM115, PTH123, ASYNC230 - until the end
    began = time.monotonic()
    _tell(out, "starting: embedded PostgreSQL, offline speech recogniser, gateway …")
    async with AsyncExitStack() as rooms:
        stop = await rooms.enter_async_context(stop_signals())
        encoder = await rooms.enter_async_context(_encoder())
        livekit = await _livekit(rooms, settings)
        if isinstance(livekit, LocalLivekit):
            settings = replace(
                settings,
                livekit_url=livekit.url,
                livekit_api_key=livekit.key,
                livekit_api_secret=livekit.secret,
                livekit_auto_start=False,
            )
        gateway = await rooms.enter_async_context(open_gateway(settings))
        client = Client(gateway.http_url, settings.api_tokens[0])
        slug = (await client.call("POST", "/api/sessions", {"title": "Demo"}))["slug"]
        _tell(out, _welcome(gateway, settings, slug))
        finals, stopped = await _run_sample(client, slug, encoder, out, stop)
        room = await _run_room(client, livekit, out, stop) if isinstance(livekit, LocalLivekit) else livekit
        if stop.is_set():
            print("gateway: interrupted before the sample was over", file=sys.stderr)
            return FAILED
        report = {
            "finals": finals,
            "usage": stopped["usage"],
            "livekit": room if isinstance(room, dict) else {"leftOut": str(room)},
            "databaseUrl": gateway.database_url,
            "elapsedSeconds": round(time.monotonic() - began, 3),
        }
        if args.json:
            print(json.dumps(report, ensure_ascii=False), flush=True)
        _tell(out, _summary(report, stopped, slug))
        if not args.once and not stop.is_set():
            _tell(out, "\nServing until Ctrl-C.")
            gateway.failed.add_done_callback(lambda _: stop.set())
            await stop.wait()
    gateway.check_alive()
    return DONE if finals else FAILED


async def _run_sample(
    client: Client, slug: str, encoder: asyncio.subprocess.Process, out: Any, stop: asyncio.Event
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Start, publish, watch, stop. Returns: the finals as they came over the stream, and the answer of stop."""
    started = await client.call(
        "POST", "/api/transcription/start", {"sessionSlug": slug, "source": "rtmp", "language": "en"}
    )
    finals: list[dict[str, Any]] = []
    watching = asyncio.create_task(_watch(client, slug, finals, Screen(out)), name="watch")
    try:
        await _publish(encoder, started["ingest"]["rtmpUrl"], stop)
        stopped: dict[str, Any] = await client.call("POST", "/api/transcription/stop", {"sessionSlug": slug})
        with suppress(TimeoutError):  # the stop has waited for all finals; they are on their way
            async with asyncio.timeout(5):
                await watching
    finally:
        watching.cancel()
    return finals, stopped


async def _livekit(rooms: AsyncExitStack, settings: Settings) -> LocalLivekit | NoLivekit:
    """A LiveKit server until the end, where one can be had."""
    try:
        return await rooms.enter_async_context(running(settings.data_dir / "livekit.log"))
    except NoLivekit as missing:
        return missing


async def _run_room(
    client: Client, livekit: LocalLivekit, out: Any, stop: asyncio.Event
) -> dict[str, Any] | RoomFailed:
    """Two people in a LiveKit room. Returns: as of the sample's leg; or why there is nothing to show."""
    slug = (await client.call("POST", "/api/sessions", {"title": "Demo room"}))["slug"]
    _tell(out, f"\nTwo people in LiveKit room {slug}, speaking at the same time:\n")
    leg = asyncio.create_task(_room_leg(client, livekit, slug, Screen(out)), name="room")
    interrupted = asyncio.create_task(stop.wait(), name="interrupted")
    try:
        await asyncio.wait({leg, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        return await leg if leg.done() else RoomFailed("interrupted")
    except RoomFailed as failed:
        return failed
    finally:
        interrupted.cancel()
        leg.cancel()
        await asyncio.wait({leg})


async def _room_leg(client: Client, livekit: LocalLivekit, slug: str, screen: Screen) -> dict[str, Any]:
    finals: list[dict[str, Any]] = []
    started = {"sessionSlug": slug, "source": "livekit", "language": "en"}
    with as_file(files("gateway.cli").joinpath("sample.flac")) as sample:
        async with people(livekit, sample, slug) as there:
            watching = asyncio.create_task(_watch(client, slug, finals, screen), name="watch room")
            try:
                await client.call("POST", "/api/transcription/start", started)
                await until_heard(client, slug)
                await there.speak()
                stopped = await client.call("POST", "/api/transcription/stop", {"sessionSlug": slug})
                with suppress(TimeoutError):
                    async with asyncio.timeout(5):
                        await watching
            finally:
                watching.cancel()
    return {"finals": finals, "usage": stopped["usage"]}


@asynccontextmanager
async def _encoder() -> AsyncIterator[asyncio.subprocess.Process]:
    """For the sample, in a process of its own. It loads while everything else does, and waits for an address."""
    with as_file(files("gateway.cli").joinpath("sample.flac")) as sample:
        encoder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.cli.publish", str(sample)),
            stdin=asyncio.subprocess.PIPE,
            stdout=sys.stderr,
            start_new_session=True,
        )
        try:
            yield encoder
        finally:
            cast("asyncio.StreamWriter", encoder.stdin).close()  # it may still wait for an address
            if encoder.returncode is None:
                encoder.terminate()
            await encoder.wait()


async def _publish(encoder: asyncio.subprocess.Process, url: str, stop: asyncio.Event) -> None:
    """Until its sample is over; a stop ends it early."""
    cast("asyncio.StreamWriter", encoder.stdin).write(f"{url}\n".encode())
    published = asyncio.create_task(encoder.wait(), name="published")
    interrupted = asyncio.create_task(stop.wait(), name="interrupted")
    try:
        await asyncio.wait({published, interrupted}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        interrupted.cancel()
        if encoder.returncode is None:
            encoder.terminate()
        await published


async def _watch(client: Client, slug: str, finals: list[dict[str, Any]], screen: Screen) -> None:
    """Show and collect, until the stream says that the transcription has stopped."""
    with screen:
        async for message in client.follow(slug):
            screen.show(message)
            if message["type"] == "transcript.final":
                data = message["data"]
                wanted = {"text": data["text"], "startMs": data["startMs"], "endMs": data["endMs"]}
                finals.append({"seq": message["seq"], **wanted, "participantIdentity": data["participantIdentity"]})


def _settings() -> Settings:
    """Everything embedded, on loopback, with a token made up for this run."""
    env = {name: value for name, value in os.environ.items() if name not in _IGNORED}
    settings = Settings.from_env(env, needs_token=False)
    return replace(
        settings,
        api_tokens=settings.api_tokens or (secrets.token_urlsafe(24),),
        data_dir=settings.data_dir if "GATEWAY_DATA_DIR" in env else Path("var/demo"),
        http_host=settings.http_host if "GATEWAY_HTTP_HOST" in env else "127.0.0.1",
        rtmp_host=settings.rtmp_host if "GATEWAY_RTMP_HOST" in env else "127.0.0.1",
        http_port=settings.http_port if _is_free(settings.http_port) else 0,
        rtmp_port=settings.rtmp_port if settings.rtmp_port > 0 and _is_free(settings.rtmp_port) else -1,
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _welcome(gateway: Gateway, settings: Settings, slug: str) -> str:
    return f"""
  Watch in a browser   {gateway.http_url}/#token={settings.api_tokens[0]}&session={slug}
  API and its document {gateway.http_url}/docs
  Service token        {settings.api_tokens[0]}
  RTMP                 {gateway.rtmp_url}/live
  Recogniser           {gateway.engine} (offline, English, two to three words in ten are wrong)

Publishing the sample over RTMP as session {slug}; what comes back over the WebSocket:
"""


def _summary(report: dict[str, Any], stopped: dict[str, Any], slug: str) -> str:
    totals, receipt = report["usage"]["totals"], report["usage"]["receipt"]
    minutes = totals["durationMinutes"]
    complete = "all arrived" if stopped["finalsComplete"] else "some may be missing"
    return f"""
  Finals   {len(report["finals"])} ({complete})
  Heard    {receipt["secondsHeard"]:.0f} s of audio, sent {totals["durationSeconds"]} s, billed as {minutes} min
  Cost     {totals["totalCost"]:.2f} USD
  Room     {_room_summary(report["livekit"])}
  Rows     "TranscriptSegment" and "TranscriptionUsage" of session {slug} in
           {report["databaseUrl"]}
  Took     {report["elapsedSeconds"]:.1f} s"""


def _room_summary(room: dict[str, Any]) -> str:
    if "leftOut" in room:
        return f"left out: {room['leftOut']}"
    return f"{len(room['finals'])} finals of {len(room['usage']['rows'])} people, each under their own name"


def _tell(out: Any, text: str) -> None:
    print(text, file=out, flush=True)
