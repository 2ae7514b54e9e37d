"""Transcriptions of another gateway, as a session starts and stops them: over its HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

import aiohttp
import msgspec

from gateway.errors import SessionNotFound, SessionOver
from gateway.reading import NotJson, read_json
from gateway.sessions.domain.errors import ControlRefused, ControlUnavailable
from gateway.sessions.usecases.ports import Begun, Wanted
from gateway.transcription.domain.errors import LimitReached
from gateway.transcription.domain.transcription import Ingest

RETRY_AFTER_S: Final = (0.2, 1.0)
CONNECT_S: Final = 3.0
ATTEMPT_S: Final = 5.0
START_S: Final = 12.0  # all attempts together
_ALIVE: Final = b'{"status":"ok"}'  # at /healthz


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """`token`: a service token, asked for at each call. `stop_s`: how long a stop, which awaits finals, may take."""

    url: str
    token: Callable[[], str] = field(repr=False)
    stop_s: float = 30.0
    retry_after_s: Sequence[float] = RETRY_AFTER_S


class _Ingest(msgspec.Struct, rename="camel"):
    rtmp_url: str | None = None
    stream_key: str | None = None
    websocket_url: str | None = None


class _Started(msgspec.Struct, rename="camel"):
    transcription_id: str
    session_slug: str
    state: str
    source: str
    created: bool
    started_at: Annotated[datetime, msgspec.Meta(tz=True)]
    ingest: _Ingest | None = None


class _Problem(msgspec.Struct):
    title: str = ""
    detail: str = ""
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    retry_after: str

    @property
    def problem(self) -> _Problem:
        try:
            return read_json(self.body, _Problem)
        except NotJson:
            return _Problem("no reason given")

    @property
    def words(self) -> str:
        problem = self.problem
        return f"HTTP {self.status}, {problem.title}: {problem.detail}".rstrip(": ")


class RemoteControl:
    """Both calls are idempotent over there, so that they may be repeated when no answer came."""

    def __init__(self, options: RemoteOptions, http: aiohttp.ClientSession) -> None:
        self._options = options
        self._http = http

    async def start(self, slug: str, source: str, wanted: Wanted | None = None) -> Begun:
        """Raises: SessionNotFound, SessionOver, LimitReached, ControlRefused, ControlUnavailable."""
        told = {} if wanted is None else wanted.told
        answer = await self._call("start", {**told, "sessionSlug": slug, "source": source}, START_S)
        match answer.status:
            case HTTPStatus.CREATED | HTTPStatus.OK:
                return _begun(answer.body)
            case HTTPStatus.NOT_FOUND:
                raise SessionNotFound(slug)
            case HTTPStatus.CONFLICT if answer.problem.title == SessionOver.title:
                raise SessionOver(slug, "over")
            case HTTPStatus.TOO_MANY_REQUESTS:
                after = answer.retry_after
                raise LimitReached(answer.problem.detail, int(after[:9]) if after.isdecimal() else None)
        raise _refused(answer)

    async def stop(self, slug: str, reason: str) -> bool:
        """The reason stays here: the other gateway's API does not take one."""
        answer = await self._call("stop", {"sessionSlug": slug}, self._options.stop_s)
        if answer.status not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):  # 404: it never started
            raise _refused(answer)
        return True

    async def check(self) -> None:
        """Whether a gateway is there and takes our token. Raises: ControlUnavailable, ControlRefused."""
        for path in ("healthz", "api/transcription"):
            try:
                answer = await self._ask("GET", path, ATTEMPT_S)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise ControlUnavailable(f"no answer from {self._options.url}: {_words(error)}") from error
            if answer.status == HTTPStatus.UNAUTHORIZED:
                raise _refused(answer)
            if answer.status != HTTPStatus.OK or (path == "healthz" and answer.body != _ALIVE):
                raise ControlRefused(
                    f"{self._options.url}/{path} answers {answer.words}", "WS_SERVER_URL must name a gateway"
                )

    async def _call(self, what: str, body: dict[str, Any], within_s: float) -> _Answer:
        """Raises: ControlUnavailable when nothing but 503 was answered to several attempts."""
        why = "no answer in time"
        try:
            async with asyncio.timeout(within_s):
                for wait_s in (*self._options.retry_after_s, None):
                    try:
                        each_s = min(within_s, max(ATTEMPT_S, within_s / 2))
                        answer = await self._ask("POST", f"api/transcription/{what}", each_s, body)
                        if answer.status not in (502, 503, 504):
                            return answer
                        why = answer.words
                    except (aiohttp.ClientError, TimeoutError) as error:  # its own, not the one around
                        why = _words(error)
                    if wait_s is not None:
                        await asyncio.sleep(wait_s)
        except TimeoutError:
            pass
        raise ControlUnavailable(f"the gateway at {self._options.url} did not {what} the transcription: {why}")

    async def _ask(self, method: str, path: str, within_s: float, body: dict[str, Any] | None = None) -> _Answer:
        """Raises: aiohttp.ClientError, TimeoutError."""
        headers = {"Authorization": f"Bearer {self._options.token()}"}
        timeout = aiohttp.ClientTimeout(total=within_s, connect=CONNECT_S)
        url = f"{self._options.url}/{path}"
        async with self._http.request(
            method, url, json=body, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            return _Answer(response.status, await response.read(), response.headers.get("Retry-After", ""))


def _begun(answer: bytes) -> Begun:
    try:
        told = read_json(answer, _Started)
    except NotJson as error:
        hint = "look at WS_SERVER_URL"
        raise ControlRefused(f"its answer is not a gateway's: {error}", hint) from None
    ingest: Any = told.ingest
    return Begun(
        told.transcription_id,
        told.session_slug,
        told.source,
        told.state,
        told.created,
        told.started_at,
        None if ingest is None else Ingest(ingest.rtmp_url, ingest.stream_key, ingest.websocket_url),
    )


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _refused(answer: _Answer) -> ControlRefused:
    if answer.status == HTTPStatus.UNAUTHORIZED:
        hint: str | None = "WS_SERVER_TOKEN must be a service token of the gateway at WS_SERVER_URL"
    else:
        hint = answer.problem.hint
    return ControlRefused(f"it answers {answer.words}", hint)


@asynccontextmanager
async def open_remote_control(options: RemoteOptions) -> AsyncIterator[RemoteControl]:
    """Calls are made inside the block. Nothing is asked of the other gateway yet."""
    async with aiohttp.ClientSession() as http:
        yield RemoteControl(options, http)
