"""The gate before a real link and a real server: no word is lost, silence is not sent, a mute provider is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import numpy as np
import pytest

from gateway.transcription.infra.voice import MARGIN_S, Voice, VoicedLink, VoiceOptions
from gateway.transcription.usecases.speech import LinkEnd
from ingest.pcm import Chunk
from stt.gladia.client import GladiaLink, Provider, ProviderOptions
from stt.gladia.events import Heard, LinkEvent
from stt.gladia.messages import LiveConfig
from stt.gladia.options import LinkOptions
from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer
from stt.transcript import Utterance

RATE = 16_000
ENDPOINTING_S = 0.3


class Speaker:
    """One track through the gate, and what came of it."""

    def __init__(self, server: LocalServer, provider: Provider, gate: str, endpointing_s: float | None = None) -> None:
        self.server, self.provider = server, provider
        self.voice = Voice(VoiceOptions(gate, ENDPOINTING_S + MARGIN_S, 20.0))
        self.heard: list[Utterance] = []
        clock = asyncio.get_running_loop().time
        config = LiveConfig(endpointing_s=endpointing_s or ENDPOINTING_S, maximum_utterance_s=15.0)

        def open_link(first: Callable[[LinkEvent], None]) -> GladiaLink:
            def hear(event: LinkEvent) -> None:
                first(event)
                if isinstance(event, Heard) and event.utterance.is_final:
                    self.heard.append(event.utterance)

            return GladiaLink(provider, config, hear, lambda report: None, clock=clock)

        self.link: VoicedLink = self.voice.link(open_link, "anna")
        self.running = asyncio.create_task(self.link.run(), name="test-link")
        self.at = 0
        self.said: list[tuple[str, float, float]] = []

    @property
    def words(self) -> list[tuple[str, float, float]]:
        return [(word.text.strip(), word.start, word.end) for final in self.heard for word in final.words]

    async def say(self, words: list[str], pauses: list[float], *, tail_s: float = 1.0, noise: float = 20.0) -> None:
        """In real time, into a room that is not quite silent."""
        pcm, said = speak(words, pauses=pauses, lead_s=0.5, tail_s=tail_s)
        self.said += [(word, start + self.at / RATE, end + self.at / RATE) for word, start, end in said]
        dice = np.random.default_rng(len(pcm))
        sound = np.frombuffer(pcm, "<i2") + dice.normal(0.0, noise, len(pcm) // 2)
        noisy = np.clip(np.rint(sound), -32768, 32767).astype("<i2").tobytes()
        for at in range(0, len(noisy), 3200):
            piece = noisy[at : at + 3200]
            self.link.send(Chunk(self.at, piece))
            self.at += len(piece) // 2
            await asyncio.sleep(len(piece) / 2 / RATE)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():
                await asyncio.sleep(0.02)

    async def finish(self) -> LinkEnd:
        self.link.finish(20.0)
        return await self.running

    def lies_right(self) -> bool:
        return len(self.words) == len(self.said) and all(
            word == text and abs(start - begin) < 0.1 and abs(end - stop) < 0.1
            for (word, start, end), (text, begin, stop) in zip(self.words, self.said, strict=True)
        )


@asynccontextmanager
async def speaker(gate: str = "on", plan: dict[str, Any] | None = None, **link: Any) -> AsyncIterator[Speaker]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(LocalServer(LocalOptions(engine="scripted", faults=plan)))
        options = LinkOptions(trailing_silence_s=ENDPOINTING_S + MARGIN_S, **link)
        provider = await stack.enter_async_context(Provider(ProviderOptions("key", server.url, link=options)))
        made = Speaker(server, provider, gate)
        yield made
        made.running.cancel()
        await asyncio.gather(made.running, return_exceptions=True)


TALK = [VOCABULARY[n] for n in range(40)]
PAUSES = [0.0, 0.5, 1.5, 4.0, 0.0, 9.0, 0.2, 2.5] * 5  # 89 s of them


async def test_no_word_is_lost_at_the_gate_and_silence_is_not_sent() -> None:
    async with speaker() as anna:
        await anna.say(TALK, PAUSES)
        end = await anna.finish()
        assert anna.lies_right(), anna.words
        assert end.complete
        listened = anna.link.listened
        assert listened.heard == anna.at
        assert listened.withheld == listened.silent
        assert listened.heard - anna.link.sent_samples == pytest.approx(listened.withheld, abs=3 * RATE)
        assert anna.link.sent_samples < 0.6 * listened.heard
        [session] = anna.server.sessions.values()
        assert session.audio_bytes == 2 * anna.link.sent_samples
        assert anna.voice.sent_samples == anna.link.sent_samples
        assert anna.voice.counts.openings == 20


async def test_each_final_comes_soon_although_the_gate_has_closed() -> None:
    """The provider hears enough silence to end the utterance; nobody has to speak again for it."""
    async with speaker() as anna:
        for n, word in enumerate(["alpha", "bravo", "charlie"], 1):
            await anna.say([word], [], tail_s=1.5)
            assert len(anna.heard) == n
        await anna.finish()


@pytest.mark.parametrize("gate", ["on", "shadow", "off"])
async def test_a_source_that_stops_delivering_gets_its_final_and_pays_no_more_silence(gate: str) -> None:
    """Push to talk: nothing comes between the words, and each is a final of its own at its own time."""
    async with speaker(gate) as anna:
        for n, word in enumerate(["alpha", "bravo", "charlie"], 1):
            await anna.say([word], [], tail_s=0.0)
            for _ in range(2):  # right behind a word the first may be a line that stands still
                anna.link.send(Chunk(anna.at, b""))
            await anna.until(lambda n=n: len(anna.heard) == n)
            anna.at += 5 * RATE
        await anna.finish()
        assert anna.lies_right(), anna.words
        assert anna.link.sent_samples <= anna.link.listened.heard + 3 * 0.75 * RATE


async def test_a_gap_on_the_clock_ends_the_utterance_before_it() -> None:
    """What comes behind is another one, however soon it is sent."""
    async with speaker() as anna:
        await anna.say(["alpha"], [], tail_s=0.0)
        anna.at += RATE
        await anna.say(["bravo"], [], tail_s=1.5)
        assert len(anna.heard) == 2
        await anna.finish()
        assert anna.lies_right(), anna.words


async def test_a_longer_endpointing_of_one_track_is_reached_although_the_gate_has_closed() -> None:
    """The gateway's setting is 0.3 s; this transcription asked for 2 s."""
    async with speaker() as first:
        anna = Speaker(first.server, first.provider, "on", 2.0)
        await anna.say(["alpha"], [], tail_s=5.0)
        assert len(anna.heard) == 1
        assert anna.link.sent_samples < anna.at - 0.5 * RATE
        await anna.finish()


@pytest.mark.parametrize("gate", ["shadow", "off"])
async def test_a_gate_that_is_not_on_sends_everything(gate: str) -> None:
    async with speaker(gate) as anna:
        await anna.say(TALK[:12], PAUSES[:12])
        await anna.finish()
        assert anna.lies_right()
        assert anna.link.sent_samples == anna.at
        assert anna.link.listened.withheld == 0
        assert anna.link.listened.silent > 0.4 * anna.at


async def test_a_silent_track_opens_no_session() -> None:
    async with speaker() as anna:
        await anna.say([], [], tail_s=30.0)
        assert (await anna.finish()).complete
        assert not anna.server.sessions
        assert anna.link.sent_samples == 0
        assert anna.link.listened.withheld == anna.at


async def test_sessions_rest_change_and_return_under_the_gate() -> None:
    """Sessions are ended after three seconds of silence and changed after five of life, with cuts in between."""
    cut = {"cuts": [{"at_byte": 20_000}, {"at_byte": 50_000, "ack": "after"}], "max_duration_s": 12.0}
    async with speaker(plan={"every": cut}, idle_s=3.0, roll_over_s=5.0, roll_over_grace_s=2.0) as anna:
        await anna.say(TALK, PAUSES)
        end = await anna.finish()
        assert anna.lies_right(), anna.words
        assert end.complete
        assert len(anna.server.sessions) >= 10
        assert not any(session.open for session in anna.server.sessions.values())


@pytest.mark.parametrize("gate", ["on", "off"])
async def test_speech_that_brings_no_text_renews_the_session_and_all_of_it_is_heard(gate: str) -> None:
    """The first session hears nothing at all; what was said meanwhile is said again to the second."""
    async with speaker(gate, {"sessions": {"1": {"deaf": True}}}) as anna:
        words = [VOCABULARY[n % len(VOCABULARY)] for n in range(120)]
        await anna.say(words, [0.0] * 120)
        end = await anna.finish()
        assert anna.lies_right(), (len(anna.words), len(anna.said))
        assert end.complete
        assert anna.voice.counts.renewals == 1
        assert len(anna.server.sessions) == 2
        assert not anna.link.is_mute


async def test_a_provider_that_stays_mute_is_renewed_once_and_said_to_be_mute() -> None:
    async with speaker(plan={"every": {"mute": True}}) as anna:
        await anna.say([VOCABULARY[n % len(VOCABULARY)] for n in range(200)], [0.0] * 200)
        assert anna.link.is_mute
        assert anna.voice.unanswered_s > 20.0
        assert anna.voice.counts.renewals == 1
        assert len(anna.server.sessions) == 2
        anna.server.faults = {}
        await anna.say(["alpha"], [])
        await anna.until(lambda: bool(anna.heard))
        assert not anna.link.is_mute
        await anna.finish()


class Broken:
    frame_samples = 160

    def is_speech(self, frame: bytes) -> bool:
        raise OSError("out of order")


async def test_a_detector_that_fails_costs_silence_but_no_word() -> None:
    async with speaker() as anna:
        anna.link._gate._detector = Broken()
        await anna.say(TALK[:4], PAUSES[:4])
        assert (await anna.finish()).complete
        assert anna.lies_right()
        assert anna.voice.counts.failures == 1
        assert anna.link.sent_samples == anna.at
