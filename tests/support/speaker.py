"""A sender of audio over a WebSocket, as the shipped client is one: it comes back, and loses and doubles no sample."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
from support.gateway import TOKEN

RATE = 16_000
STEP = RATE // 10


@dataclass
class Speaker:
    """Speaks `pcm` (16 kHz mono s16le) in real time. `urls()`: gateways, tried one after the other."""

    http: aiohttp.ClientSession
    urls: Callable[[], list[str]]
    slug: str
    identity: str
    pcm: bytes
    connections: int = 0
    codes: list[int] = field(default_factory=list)
    _acked: int = 0

    async def speak(self) -> None:
        """Until everything was taken."""
        self._began = time.monotonic()
        tries = 0
        while True:
            url = self.urls()[tries % len(self.urls())]
            tries += 1
            try:
                if await self._once(url):
                    return
            except (aiohttp.ClientError, aiohttp.WSMessageTypeError, ConnectionError):
                pass
            await asyncio.sleep(0.1)

    async def _once(self, url: str) -> bool:
        query = {"session": self.slug, "identity": self.identity}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self.http.ws_connect(f"{url}/api/realtime/audio", params=query, headers=headers) as line:
            self.connections += 1
            age_ms = round((time.monotonic() - self._began - self._acked / RATE) * 1000)
            start = {"type": "start", "sampleRate": RATE, "channels": 1, "stream": f"of {self.identity}"}
            await line.send_str(json.dumps(start | ({"ageMs": age_ms} if age_ms > 0 else {})))
            ready = json.loads((await line.receive_str()) if not line.closed else "{}")
            at = max(ready.get("samples", 0), self._acked)
            listening = asyncio.create_task(self._listen(line))
            try:
                total = len(self.pcm) // 2
                while at < total and not line.closed:
                    await asyncio.sleep(max(0.0, self._began + (at + STEP) / RATE - time.monotonic()))
                    await line.send_bytes(self.pcm[2 * at : 2 * (at + STEP)])
                    at += STEP
                if line.closed:
                    return False
                await line.send_str('{"type":"stop"}')
                await listening
                return self._acked >= total
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
                self.codes.append(line.close_code or 1006)

    async def _listen(self, line: aiohttp.ClientWebSocketResponse) -> None:
        async for message in line:
            told = json.loads(message.data)
            if told["type"] == "ack":
                self._acked = max(self._acked, told["samples"])
