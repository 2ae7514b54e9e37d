"""`gateway doctor`: what `gateway check` looks at, and beyond it a sentence that is really spoken, disk and clocks."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import aiohttp

from gateway.app.checks import PROVIDER, Finding, check_parts
from gateway.app.database import CONNECT_S
from gateway.settings import Settings
from gateway.sound import read_sound
from ingest.pcm import CHUNK_SAMPLES, SAMPLE_RATE
from storage.postgres.errors import StorageError
from storage.postgres.pool import connect
from storage.postgres.url import BadDatabaseUrl, parse_database_url
from stt.gladia.client import Provider, ProviderOptions
from stt.gladia.events import Heard, LinkEvent
from stt.gladia.messages import LiveConfig
from stt.local.server import LocalOptions, LocalServer

SPOKEN_S: Final = 5.0
FLUSH_S: Final = 20.0
SKEW_S: Final = 2.0
_CHUNK_S: Final = CHUNK_SAMPLES / SAMPLE_RATE


async def examine(settings: Settings, sample: Path) -> AsyncIterator[tuple[str, bool, str]]:
    """(part, whether it is well, what to know or do), one after the other; half a minute in all.

    `sample`: a sound file of which the first SPOKEN_S seconds are spoken to the provider, which bills them.
    """
    has_provider = True
    async for part, fine, told in check_parts(settings):
        has_provider = has_provider and (fine or part != PROVIDER)
        yield part, fine, told
    yield "disk", *_disk(settings.data_dir, settings.spool_mb)
    for whose, skew in await _clocks(settings):
        yield f"clock against {whose}", *judge_skew(skew)
    if not has_provider:
        yield "a spoken sentence", False, f'not tried: the provider cannot be reached, see "{PROVIDER}"'
        return
    yield (
        "a spoken sentence",
        *await _sentence(settings, await asyncio.to_thread(read_sound, sample, SAMPLE_RATE, 0.0, SPOKEN_S)),
    )


def judge_skew(skew_s: float) -> Finding:
    """`skew_s`: seconds that this machine's clock is ahead."""
    told = f"{abs(skew_s):.1f} s {'ahead' if skew_s >= 0 else 'behind'}"
    if abs(skew_s) <= SKEW_S:
        return True, told
    return False, f"this machine's clock is {told}; captions get wrong times: let NTP set it"


def _disk(folder: Path, spool_mb: int) -> Finding:
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"finals go here while the database is away")
    except OSError as error:
        return False, f"{folder} cannot be written ({error.strerror}); set GATEWAY_DATA_DIR"
    free_mb = shutil.disk_usage(existing).free // 1_000_000
    if free_mb < spool_mb:
        return False, f"{free_mb} MB free for a spool of {spool_mb} MB; free some, or lower GATEWAY_SPOOL_MB"
    return True, f"{free_mb} MB free in {folder}"


async def _clocks(settings: Settings) -> list[tuple[str, float]]:
    """Whose clock, and how far this machine's is ahead of it; those that cannot be asked were told of before."""
    found = []
    if settings.database_url is not None:
        try:
            connection = await connect(parse_database_url(settings.database_url), timeout_s=CONNECT_S)
        except (StorageError, BadDatabaseUrl):
            pass
        else:
            try:
                asked = datetime.now(UTC)
                told: datetime = await connection.fetchval("SELECT clock_timestamp()")
                found.append(("the database", ((asked + (datetime.now(UTC) - asked) / 2) - told).total_seconds()))
            finally:
                await connection.close()
    if settings.engine == "gladia" and (date := await _date(settings.gladia_api_url)) is not None:
        found.append(("the provider", (datetime.now(UTC) - date).total_seconds() - 0.5))  # it tells whole seconds
    return found


async def _date(url: str) -> datetime | None:
    try:
        timeout = aiohttp.ClientTimeout(total=CONNECT_S)
        async with aiohttp.ClientSession(timeout=timeout) as client, client.get(url) as answer:
            date = parsedate_to_datetime(answer.headers["Date"])
    except (aiohttp.ClientError, TimeoutError, KeyError, ValueError):
        return None
    return date if date.tzinfo else None


async def _sentence(settings: Settings, pcm: bytes) -> Finding:
    """As fast as a person speaks: that is how the provider is used."""
    heard: list[str] = []
    answered: list[float] = []

    def listen(event: LinkEvent) -> None:
        if isinstance(event, Heard) and event.utterance.is_final:
            heard.append(event.utterance.text)
            answered.append(time.monotonic())

    async with _engine(settings) as options, Provider(options) as provider:
        link = provider.link(LiveConfig(languages=("en",)), listen, lambda report: None)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(link.run(), name="spoken sentence")
            size = 2 * CHUNK_SAMPLES
            for at in range(0, len(pcm), size):
                link.send(at // 2, pcm[at : at + size])
                await asyncio.sleep(_CHUNK_S)
            spoken_at = time.monotonic() - 1.0
            link.finish(FLUSH_S)
        outcome = running.result()
    if not heard:
        why = f" ({outcome.failed})" if outcome.failed else ""
        return (
            False,
            f"{SPOKEN_S:g} s of speech brought no text{why}; try again, then look at the provider's status page",
        )
    delay_s = max(0.0, answered[0] - spoken_at)
    return True, f'"{" ".join(heard)}", {delay_s:.1f} s after its end'


@asynccontextmanager
async def _engine(settings: Settings) -> AsyncIterator[ProviderOptions]:
    if settings.engine == "gladia":
        yield ProviderOptions(settings.gladia_api_key or "", settings.gladia_api_url)
        return
    async with LocalServer(LocalOptions(api_key="doctor", engine=settings.engine)) as local:
        yield ProviderOptions("doctor", local.url)
