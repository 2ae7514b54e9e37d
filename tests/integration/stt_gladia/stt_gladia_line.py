"""One link to one local server, and everything it said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from stt.gladia.client import GladiaLink, Outcome, Provider, SessionReport
from stt.gladia.events import AudioGivenUp, Complained, Heard, LinkEvent, Retracted, TranslationHeard
from stt.gladia.messages import LiveConfig
from stt.local.live import Live
from stt.local.scripted import speak
from stt.local.server import LocalServer
from stt.transcript import Utterance

CHUNK = 3200
CONFIG = LiveConfig(endpointing_s=0.1, maximum_utterance_s=5.0)


class Line:
    def __init__(self, server: LocalServer, provider: Provider, config: LiveConfig = CONFIG) -> None:
        self.server, self.provider = server, provider
        self.events: list[LinkEvent] = []
        self.reports: list[SessionReport] = []
        self._news = asyncio.Event()
        clock = asyncio.get_running_loop().time
        self.link = GladiaLink(provider, config, self._hear, self.reports.append, clock=clock)
        self.running = asyncio.create_task(self.link.run(), name="test-link")
        self.sent = 0
        self.outcome: Outcome | None = None

    def _hear(self, event: LinkEvent) -> None:
        self.events.append(event)
        self._news.set()

    @property
    def finals(self) -> list[Utterance]:
        return [event.utterance for event in self.events if isinstance(event, Heard) and event.utterance.is_final]

    @property
    def words(self) -> list[str]:
        return [word.text.strip() for final in self.finals for word in final.words]

    @property
    def complaints(self) -> list[Complained]:
        return [event for event in self.events if isinstance(event, Complained)]

    @property
    def given_up(self) -> list[AudioGivenUp]:
        return [event for event in self.events if isinstance(event, AudioGivenUp)]

    @property
    def retracted(self) -> list[str]:
        return [event.utterance_id for event in self.events if isinstance(event, Retracted)]

    @property
    def translations(self) -> list[TranslationHeard]:
        return [event for event in self.events if isinstance(event, TranslationHeard)]

    @property
    def sessions(self) -> list[Live]:
        return list(self.server.sessions.values())

    async def say(self, words: str, *, pauses: Sequence[float] = (), pace: float = 0.0, tail_s: float = 0.3) -> None:
        """Speak, in chunks of 100 ms, `pace` seconds apart."""
        pcm, _ = speak(words, pauses=pauses, lead_s=0.1, tail_s=tail_s)
        for at in range(0, len(pcm), CHUNK):
            await self.send(pcm[at : at + CHUNK], pace)

    async def send(self, chunk: bytes, pace: float) -> None:
        """The next audio of the track."""
        self.link.send(self.sent, chunk)
        self.sent += len(chunk) // 2
        await asyncio.sleep(pace)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until this is so."""
        async with asyncio.timeout(60):
            while not true():
                self._news.clear()
                try:
                    async with asyncio.timeout(0.02):
                        await self._news.wait()
                except TimeoutError:
                    pass

    async def finish(self, flush_s: float = 10.0) -> Outcome:
        self.link.finish(flush_s)
        async with asyncio.timeout(flush_s + 5.0):
            self.outcome = await self.running
        return self.outcome

    async def all_ended(self) -> None:
        """Every session at the server comes to its end."""
        async with asyncio.timeout(60):
            for live in self.sessions:
                await live.ended()

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
