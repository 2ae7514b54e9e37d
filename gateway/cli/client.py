"""A client of the HTTP API, for the commands that talk to a running gateway."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import yarl

from gateway.cli.errors import ApiRefused, StreamCut, absent, problem
from gateway.live.protocol import CloseCode, StreamState

RECONNECT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Client:
    """Use inside `connect`."""

    url: str
    token: str = field(repr=False)
    http: aiohttp.ClientSession

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """JSON in, JSON out. Raises: ApiRefused."""
        return json.loads(await self.text(method, path, body))

    async def text(self, method: str, path: str, body: dict[str, Any] | None = None) -> str:
        """The answer's body. `body` is sent as JSON. Raises: ApiRefused."""
        try:
            address = yarl.URL(self.url + path, encoded=True)  # as it is: a slug may hold %2F
            async with self.http.request(method, address, json=body) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise absent(self.url, error) from error
        if response.status >= 400:
            raise ApiRefused(problem(text, response.status))
        return text

    @asynccontextmanager
    async def watch(self, slug: str, since: str | None = None) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The live stream, as a browser gets it. Raises: ApiRefused."""
        query = {"session": slug} | ({"since": since} if since else {})
        try:
            socket = await self.http.ws_connect(
                f"{self.url}/api/realtime/transcribe",
                params=query,
                protocols=("transcript.v1", f"bearer.{self.token}"),
                max_msg_size=16 * 1024 * 1024,
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (429, 503):
                raise StreamCut(f"HTTP {error.status}") from error
            raise ApiRefused(await self._why_refused(error.status, query)) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise absent(self.url, error) from error
        async with socket:
            yield _messages(socket)

    async def _why_refused(self, status: int, query: dict[str, str]) -> str:
        """A refused handshake has no body; the same request as server-sent events has one."""
        url = f"{self.url}/api/realtime/transcribe"
        try:
            async with self.http.get(url, params=query, headers={"Accept": "text/event-stream"}) as response:
                return problem(await response.text(), response.status) if response.status >= 400 else f"HTTP {status}"
        except (aiohttp.ClientError, TimeoutError):
            return f"the stream was refused with HTTP {status}"

    async def follow(self, slug: str, since: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """The live stream until the transcription has stopped, across cuts and restarts of the gateway.

        Raises: ApiRefused when it is refused, or when no gateway has answered for RECONNECT_S.
        """
        cut_at: float | None = None
        ends_at: int | None = None
        while True:
            try:
                async with self.watch(slug, since) as messages:
                    async for message in messages:
                        cut_at = None
                        yield message
                        if message["type"] == "hello":
                            ends_at = message["data"]["seq"] if _says_stopped(message) else None
                        if message["type"] == "transcript.final":
                            since = f"{message['epoch']}:{message['seq']}"
                        seen = int(since.rpartition(":")[2]) if since else 0
                        if has_stopped(message) or (ends_at is not None and seen >= ends_at):
                            return
                    return  # closed for good
            except (StreamCut, ApiRefused) as error:
                if isinstance(error, ApiRefused) and cut_at is None:
                    raise
                cut_at = cut_at or time.monotonic()
                if time.monotonic() - cut_at > RECONNECT_S:
                    where = f"; go on later with --since {since}" if since else ""
                    raise ApiRefused(f"the stream was cut ({error}) and could not be opened again{where}") from error
                await asyncio.sleep(0.5)


async def _messages(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[dict[str, Any]]:
    """Raises: StreamCut for an end after which one comes back, ApiRefused for one after which one does not."""
    reason = ""
    while (message := await socket.receive()).type not in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
        if message.type is aiohttp.WSMsgType.TEXT:
            yield json.loads(message.data)
        elif message.type is aiohttp.WSMsgType.CLOSE:
            reason = str(message.extra or "")
            break
        elif message.type is aiohttp.WSMsgType.CLOSING:
            break
    code = socket.close_code or 1006
    if code == CloseCode.SESSION_ENDED:
        return
    if code < 4500:
        raise StreamCut(reason or f"code {code}")
    raise ApiRefused(f"the stream was closed for good: {reason or code}")


def has_stopped(message: dict[str, Any]) -> bool:
    """Whether a message of the stream says that the transcription stops now, with all finals out before it."""
    return message["type"] == "session.state" and _says_stopped(message)


def _says_stopped(message: dict[str, Any]) -> bool:
    return bool(message["data"]["state"] == StreamState.STOPPED)


@asynccontextmanager
async def connect(url: str, token: str) -> AsyncIterator[Client]:
    """A client of the gateway at `url` for as long as the block lasts. Nothing is asked before the first call."""
    timeout = aiohttp.ClientTimeout(total=120)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        yield Client(url.rstrip("/"), token, http)
