"""A client of the HTTP API, for the commands that talk to a running gateway."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp


class ApiRefused(Exception):
    """The gateway answered with a problem, or not at all. The text says what to do."""


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
        try:
            async with self.http.request(method, self.url + path, json=body) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._absent(error) from error
        if response.status >= 400:
            raise ApiRefused(_problem(text, response.status))
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
            raise ApiRefused(f"the stream was refused with HTTP {error.status}: {error.message}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._absent(error) from error
        async with socket:
            yield _messages(socket)

    def _absent(self, error: Exception) -> ApiRefused:
        return ApiRefused(
            f"no gateway answers at {self.url} ({error or type(error).__name__}); "
            "is `gateway serve` running? --url or GATEWAY_URL says where"
        )


async def _messages(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[dict[str, Any]]:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            yield json.loads(message.data)


def _problem(text: str, status: int) -> str:
    try:
        told = json.loads(text)
        hint = f"; {told['hint']}" if told.get("hint") else ""
        return f"{told['title']} (HTTP {status}): {told['detail']}{hint}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {status}: {text[:300]}"


@asynccontextmanager
async def connect(url: str, token: str) -> AsyncIterator[Client]:
    timeout = aiohttp.ClientTimeout(total=120)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        yield Client(url.rstrip("/"), token, http)
