"""A session's audio on its way to the engine: one recogniser for each channel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stt.local.audio import AudioDecoder
from stt.local.recogniser import Engine, Event, Finished, Hear, Listening, Recogniser
from stt.local.request import SessionConfig


class Channels:
    """Decodes what comes in and feeds it to the recognisers, which are opened at the first audio.

    `hear` is given a channel's number and what was heard on it, during a call or later, from the event loop.
    """

    def __init__(self, config: SessionConfig, engine: Engine, hear: Callable[[int, Event], None]) -> None:
        self._config, self._engine, self._hear = config, engine, hear
        self._decoder = AudioDecoder(config.encoding, config.sample_bytes, config.sample_rate, config.channels)
        self._recognisers: list[Recogniser] = []
        self._unfinished = config.channels
        self._heard_all = asyncio.Event()

    @property
    def behind_s(self) -> float:
        """Seconds of audio that the engine has yet to hear."""
        return max((recogniser.behind_s for recogniser in self._recognisers), default=0.0)

    async def room(self) -> None:
        """Return when the engine can be given more audio."""
        for recogniser in self._recognisers:
            await recogniser.room()

    def feed(self, audio: bytes) -> None:
        """Take audio in the session's encoding; a chunk may end inside a sample."""
        self._feed(self._decoder.push(audio))

    async def finish(self) -> None:
        """No more audio comes. Return when the engine has heard everything."""
        self._feed(self._decoder.flush())
        for recogniser in self._recognisers:
            recogniser.finish()
        await self._heard_all.wait()

    def close(self) -> None:
        """Let go of the engine: nothing more is heard."""
        for recogniser in self._recognisers:
            recogniser.close()
        self._recognisers = []

    def _feed(self, channels: list[bytes]) -> None:
        if not self._recognisers:
            self._recognisers = [self._open(channel) for channel in range(self._config.channels)]
        for recogniser, pcm in zip(self._recognisers, channels, strict=True):
            if pcm:
                recogniser.feed(pcm)

    def _open(self, channel: int) -> Recogniser:
        listening = Listening(
            endpointing_s=self._config.endpointing_s,
            longest_s=self._config.longest_s,
            partials=self._config.socket.partials or self._config.callback.partials,
        )
        return self._engine.open(listening, self._listener(channel))

    def _listener(self, channel: int) -> Hear:
        def hear(event: Event) -> None:
            self._hear(channel, event)
            if isinstance(event, Finished):
                self._unfinished -= 1
                if self._unfinished == 0:
                    self._heard_all.set()

        return hear
