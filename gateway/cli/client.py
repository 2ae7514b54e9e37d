"""A client of the HTTP API and of the live stream, for the commands that talk to a running gateway."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from gateway.cli import request
from gateway.cli.errors import ApiRefused, StreamCut, absent, problem

RECONNECT_S: Final = 60.0
_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_SESSION_ENDED: Final = 4510  # close codes: docs/stream.md; their module loads more than this one needs


@dataclass(frozen=True, slots=True)
class Client:
    """Of the gateway at `url`. Nothing is asked before the first call."""

    url: str
    token: str = field(repr=False)

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """JSON in, JSON out. Raises: ApiRefused."""
        return await asyncio.to_thread(request.call, self.url, self.token, method, path, body)

    @asynccontextmanager
    async def watch(self, slug: str, since: str | None = None) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The live stream, as a browser gets it. Raises: ApiRefused, StreamCut."""
        query = urlencode({"session": slug} | ({"since": since} if since else {}))
        base = self.url.rstrip("/").replace("http", "ws", 1)
        offered = [Subprotocol("transcript.v1"), Subprotocol(f"bearer.{self.token}")]
        try:
            socket = await connect(
                f"{base}/api/realtime/transcribe?{query}",
                subprotocols=offered if self.token else offered[:1],
                max_size=_MESSAGE_BYTES,
                proxy=None,
            )
        except InvalidStatus as error:
            status, text = error.response.status_code, error.response.body.decode(errors="replace")
            if status in (429, 503):
                raise StreamCut(f"HTTP {status}") from error
            raise ApiRefused(problem(text, status)) from error
        except (WebSocketException, OSError) as error:
            raise absent(self.url, error) from error
        async with socket:
            yield _messages(socket)

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


async def _messages(socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    """Raises: StreamCut for an end after which one comes back, ApiRefused for one after which one does not."""
    try:
        while True:
            message = await socket.recv()
            if isinstance(message, str):
                yield json.loads(message)
    except ConnectionClosed as end:
        code, reason = (end.rcvd.code, end.rcvd.reason) if end.rcvd else (1006, "")
    if code == _SESSION_ENDED:
        return
    if code < 4500:
        raise StreamCut(reason or f"code {code}")
    raise ApiRefused(f"the stream was closed for good: {reason or code}")


def has_stopped(message: dict[str, Any]) -> bool:
    """Whether a message of the stream says that the transcription stops now, with all finals out before it."""
    return message["type"] == "session.state" and _says_stopped(message)


def _says_stopped(message: dict[str, Any]) -> bool:
    return bool(message["data"]["state"] == "stopped")
