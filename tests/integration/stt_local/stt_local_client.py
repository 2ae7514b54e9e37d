"""A small client that follows the provider's documented algorithm to the letter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from stt.local.server import LocalServer

KEY = {"x-gladia-key": "test"}
ALL = {
    "receive_partial_transcripts": True,
    "receive_lifecycle_events": True,
}

Serve = Callable[..., Awaitable[LocalServer]]


@dataclass
class Talk:
    """What one client went through: every message, every connection's end, its place in the session."""

    url: str = ""
    id: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    closes: list[int | None] = field(default_factory=list)
    malformed: int = 0
    counter: int = 0

    def of(self, *types: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] in types]

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.messages]

    @property
    def finals(self) -> list[dict[str, Any]]:
        return [message["data"] for message in self.of("transcript") if message["data"]["is_final"]]

    @property
    def words(self) -> list[str]:
        return [word["word"].strip() for final in self.finals for word in final["utterance"]["words"]]


@dataclass
class Client:
    """Keeps what is not acknowledged, sends it again after a lost connection, repeats its stop."""

    server: LocalServer
    http: aiohttp.ClientSession

    async def create(self, **body: Any) -> dict[str, Any]:
        body.setdefault("messages_config", ALL)
        async with self.http.post(f"{self.server.url}/v2/live", json=body, headers=KEY) as answer:
            assert answer.status == 201, await answer.text()
            made: dict[str, Any] = await answer.json()
            return made

    async def get(self, path: str) -> Any:
        async with self.http.get(f"{self.server.url}{path}", headers=KEY) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def talk(self, pcm: bytes, *, chunk: int = 3200, tries: int = 20, **body: Any) -> Talk:
        """One whole session; at most `tries` connections."""
        made = await self.create(**body)
        talk = Talk(made["url"], made["id"])
        for _ in range(tries):
            code = await self.connect(talk, pcm, chunk)
            talk.closes.append(code)
            if code in (1000, 1001) or (code is not None and 4400 <= code < 4500):
                break
        return talk

    async def connect(self, talk: Talk, pcm: bytes, chunk: int = 3200) -> int | None:
        """Send from the last acknowledged byte to the end, then stop; listen until the connection ends."""
        async with self.http.ws_connect(talk.url) as socket:
            listening = asyncio.create_task(self._listen(socket, talk))
            try:
                for at in range(talk.counter, len(pcm), chunk):
                    await socket.send_bytes(pcm[at : at + chunk])
                    await asyncio.sleep(0)
                await socket.send_json({"type": "stop_recording"})
            except ConnectionError:
                pass
            await listening
        return socket.close_code if socket.close_code != 1006 else None

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse, talk: Talk) -> None:
        async for frame in socket:
            try:
                message = json.loads(frame.data)
            except ValueError:
                talk.malformed += 1
                continue
            talk.messages.append(message)
            if message["type"] == "audio_chunk" and message["acknowledged"]:
                talk.counter = message["data"]["byte_range"][1]


Meet = Callable[..., Awaitable[Client]]
