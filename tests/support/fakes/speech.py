"""A speech provider that hears what a test says it hears."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

from gateway.transcription.domain.errors import ProviderRefusedKey
from gateway.transcription.domain.link_state import LinkState
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.domain.usage import Listened
from gateway.transcription.usecases.audio import AudioChunk
from gateway.transcription.usecases.speech import LinkEnd, ProviderSession, Speech
from stt.transcript import Utterance, Word


class FakeLink:
    """One track's link. `flush_s`: how long its last words take after `finish`."""

    def __init__(self, transcriber: FakeTranscriber, identity: str, hear: Callable[[Speech], None]) -> None:
        self.state = LinkState.STREAMING
        self.sent_samples = 0
        self.messages_sent = 0
        self.backlog_s = self.silent_s = 0.0
        self.held: list[tuple[int, bytes]] = []
        """What has no final."""
        self.heard_again: list[tuple[int, bytes]] = []
        self.listened = Listened()
        self.is_mute = self.is_speaking = False
        self.is_in_word = True
        self.identity = identity
        self.hear = hear
        self.finished_with: float | None = None
        self.former: FakeLink | None = None
        self.send_fails = False
        self.changes: list[tuple[SpeechOptions, bool]] = []
        self.rests = 0
        self.report: Callable[[ProviderSession], None] = lambda session: None
        self._transcriber = transcriber
        self._over: asyncio.Future[LinkEnd] = asyncio.get_running_loop().create_future()
        self._said = itertools.count(1)

    def send(self, chunk: AudioChunk) -> None:
        if self.send_fails:
            raise LookupError("of our own")
        self.sent_samples += chunk.samples
        self.listened += Listened(heard=chunk.samples)
        self.messages_sent += 1

    def sent_at(self, sample: int) -> float | None:
        return None

    def final(self, text: str, utterance_id: str | None = None, *, start: float = 0.0, end: float = 1.0) -> str:
        return self._say(text, utterance_id, start, end, is_final=True)

    def partial(self, text: str, utterance_id: str | None = None, *, start: float = 0.0, end: float = 1.0) -> str:
        return self._say(text, utterance_id, start, end, is_final=False)

    def words(self, utterance_id: str, words: Sequence[tuple[str, float, float]]) -> None:
        """A final of these, each with its seconds on the track's clock."""
        heard = tuple(Word(text, start, end, 0.9) for text, start, end in words)
        text = " ".join(word.text for word in heard)
        self.hear(Utterance(utterance_id, True, text, "en", heard[0].start, heard[-1].end, 0.9, heard))

    def _say(self, text: str, utterance_id: str | None, start: float, end: float, *, is_final: bool) -> str:
        chosen = utterance_id or f"{self.identity}:{next(self._said)}"
        self.hear(Utterance(chosen, is_final, text, "en", start, end, 0.9))
        return chosen

    def change(self, options: SpeechOptions, *, at_once: bool = True) -> None:
        self.changes.append((options, at_once))

    def rest(self) -> None:
        self.rests += 1

    def fail(self, error: Exception) -> None:
        """`run` raises it."""
        self._over.set_exception(error)

    def succeed(self, former: FakeLink) -> int:
        self.former = former
        return 0

    def unheard(self) -> Iterator[tuple[int, bytes]]:
        return iter(self.held)

    def hear_again(self, offset: int, pcm: bytes) -> None:
        self.heard_again.append((offset, pcm))

    def finish(self, flush_s: float) -> None:
        self.finished_with = flush_s
        loop = asyncio.get_running_loop()
        loop.call_later(self._transcriber.flush_s, self._flush)

    def _flush(self) -> None:
        for number, text in enumerate(self._transcriber.last_words, 1):
            self.final(text, start=number, end=number + 1.0)
        self.end(complete=self._transcriber.complete)

    def end(self, *, complete: bool = True, refused: str | None = None) -> None:
        if not self._over.done():
            self._over.set_result(LinkEnd(complete, refused))

    async def run(self) -> LinkEnd:
        return await self._over


class FakeTranscriber:
    """Opens links and keeps them in order. `refusal`: the provider rejects the key."""

    engine = "fake"
    gate = "on"

    def __init__(self) -> None:
        self.links: list[FakeLink] = []
        self.options: list[SpeechOptions] = []
        self.refusal: str | None = None
        self.trouble: str | None = None
        self.complete = True
        self.flush_s = 0.0
        self.last_words: tuple[str, ...] = ()

    async def check_key(self) -> None:
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise ProviderRefusedKey(self.refusal)

    def open(
        self,
        options: SpeechOptions,
        labels: Mapping[str, str],
        hear: Callable[[Speech], None],
        report: Callable[[ProviderSession], None],
    ) -> FakeLink:
        link = FakeLink(self, labels["identity"], hear)
        link.report = report
        self.links.append(link)
        self.options.append(options)
        return link
