"""`gateway check`: each part that the settings name, tried for real; what does not work says what to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from gateway.analysis.analyse import AnalysisImpossible, AnalysisTrouble
from gateway.analysis.chat import open_chat
from gateway.app.advertise import advertised_url
from gateway.app.analysis import chat_options
from gateway.app.database import CONNECT_S
from gateway.app.files import judge, open_files
from gateway.app.livekit import open_livekit_server
from gateway.app.secrets import HeldSecrets
from gateway.app.sessions import open_control
from gateway.sessions.domain.errors import ControlRefused, ControlUnavailable
from gateway.settings import Settings
from gateway.transcription.usecases.attend import RoomsUnavailable
from storage.postgres.activity import LockHolder, lock_holder
from storage.postgres.errors import MigrationsPending, StorageError
from storage.postgres.migrate import prepare
from storage.postgres.url import BadDatabaseUrl, parse_database_url
from storage.redis.throttle import RedisAway, open_throttle
from storage.redis.url import BadRedisUrl
from stt.errors import ProviderUnavailable, SttError
from stt.gladia.client import Provider, ProviderOptions

PROVIDER: Final = "speech provider"
Finding = tuple[bool, str]
"""Whether it works, and what to know or do."""


async def check_parts(settings: Settings) -> AsyncIterator[tuple[str, bool, str]]:
    """(part, whether it works, what to know or do), one after the other. No text holds a secret."""
    yield "this replica", True, _addresses(settings)
    yield "settings", True, f"engine {settings.engine}, data in {settings.data_dir}"
    yield "open files", *judge(settings, open_files())
    yield "database", *await _database(settings)
    if settings.redis_url:
        yield "Redis", *await _redis(settings.redis_url)
    yield "other replicas", *await _advertised(settings)
    yield PROVIDER, *await _provider(settings)
    yield "analysis", *await _analysis(settings)
    yield "LiveKit", *await _livekit(settings)
    if settings.ws_server_url:
        yield "transcribing gateway", *await _other_gateway(settings)


def _addresses(settings: Settings) -> str:
    """By which one tells which replica's environment it is."""
    own = f"at {settings.http_host}:{settings.metrics_port}" if settings.metrics_port else "on the same port"
    return f"HTTP at {settings.http_host}:{settings.http_port}, metrics {own}"


async def _database(settings: Settings) -> Finding:
    if settings.database_url is None:
        return True, "embedded PostgreSQL (for anything kept, set DATABASE_URL)"
    try:
        options = parse_database_url(settings.database_url)
        prepared = await prepare(
            options, mode=settings.database_tables, allow_gateway_ddl=False, connect_timeout_s=CONNECT_S
        )
        holder = await lock_holder(options, CONNECT_S)
    except MigrationsPending as error:
        told = "its migrations will be applied at start" if settings.auto_migrate else str(error)
        return settings.auto_migrate, told
    except (StorageError, BadDatabaseUrl) as error:
        return False, str(error)
    if holder is not None:
        return False, _held_up(holder)
    return True, "; ".join([f"tables are {prepared.ownership}", *prepared.warnings])


def _held_up(by: LockHolder) -> str:
    age = f"its transaction is {by.seconds:.0f} s old" if by.seconds is not None else None
    known = ", ".join(filter(None, (by.program, by.state, age)))
    return (
        f"{by.waiting} statements wait for a lock that process {by.pid} of PostgreSQL holds "
        f"({known or 'of another role'}); if it is forgotten, end it: SELECT pg_terminate_backend({by.pid})"
    )


async def _redis(url: str) -> Finding:
    """One request counted, as rate limits are: a server that only answers pings would not do."""
    parts = urlsplit(url)  # its user, password and query stay here
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    try:
        async with asyncio.timeout(CONNECT_S), open_throttle(url, answer_s=CONNECT_S) as throttle:
            await throttle.take("gateway:check", 60_000_000)
    except TimeoutError:
        why = f"no answer within {CONNECT_S:g} s"
    except RedisAway as error:
        why = str(error).rstrip(".")
    except BadRedisUrl as error:
        return False, str(error)
    else:
        return True, f"{place} counts requests for all replicas"
    return False, f"{place}: {why}; check REDIS_URL, until then each replica counts requests for itself"


async def _advertised(settings: Settings) -> Finding:
    """Where other gateways reach this one, and who answers there. Nobody does before it runs."""
    url = await advertised_url(settings, settings.database_url, settings.http_port)
    if url is None:
        return False, "could not reach this one: set GATEWAY_ADVERTISE_URL, or GATEWAY_HTTP_HOST to 0.0.0.0"
    if settings.advertise_url is None and not settings.http_port:
        return True, f"will reach this one at {url.removesuffix(':0')} and the port that it gets"
    hint = "set GATEWAY_ADVERTISE_URL to an address of this very process"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CONNECT_S)) as http,
            http.get(f"{url}/healthz", allow_redirects=False) as answer,
        ):
            is_gateway = answer.status == 200 and await answer.read() == b'{"status":"ok"}'
    except aiohttp.ClientConnectorDNSError:
        return False, f"would look for this one at {url}, whose name is unknown here; {hint}"
    except aiohttp.ClientConnectorError:
        return True, f"reach this one at {url}, where nothing listens now; it answers once this gateway runs"
    except (aiohttp.ClientError, TimeoutError) as error:
        return False, f"would look for this one at {url}: {type(error).__name__}; {hint}"
    return (
        (True, f"reach this one at {url}, where a gateway answers")
        if is_gateway
        else (False, f"would look for this one at {url}, where something else answers; {hint}")
    )


async def _provider(settings: Settings) -> Finding:
    if settings.engine != "gladia":
        return True, f"offline recogniser {settings.engine}: English only, faulty text"
    async with Provider(ProviderOptions(settings.gladia_api_key or "", settings.gladia_api_url)) as provider:
        try:
            await provider.check()
        except ProviderUnavailable as error:
            told = str(error).removesuffix("; trying again")
            return False, f"{told}; check GLADIA_API_URL ({settings.gladia_api_url}) and the network"
        except SttError as error:
            return False, str(error)
    return True, f"{settings.gladia_api_url} accepts the key"


async def _analysis(settings: Settings) -> Finding:
    if settings.analysis_url is None:
        return True, "no language model configured: summaries are extractive"
    async with open_chat(chat_options(settings, settings.analysis_url)) as chat:
        try:
            return True, await chat.check()
        except (AnalysisTrouble, AnalysisImpossible) as error:
            return False, str(error)


async def _livekit(settings: Settings) -> Finding:
    async with open_livekit_server(settings, HeldSecrets(settings)) as livekit:
        if livekit is None:
            return True, "not configured"
        try:
            return True, f"{settings.livekit_url} accepts the key; {len(await livekit.rooms())} rooms now"
        except RoomsUnavailable as error:
            return False, str(error)


async def _other_gateway(settings: Settings) -> Finding:
    async with open_control(settings, HeldSecrets(settings)) as control:
        try:
            await control.check()
        except (ControlUnavailable, ControlRefused) as error:
            return False, f"{error}; {error.hint}" if error.hint else str(error)
    return True, f"{settings.ws_server_url} answers and accepts the token"
