"""The provider says something odd to one of two speakers: it costs at most itself, and the other notices nothing."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestServer
from stt_gladia_odd import PLAIN, OddProvider, Play, changes, shuffled, with_change
from support.fakes import LoopClock
from support.fakes.clock import BEGIN
from support.transcribing import replica, start

from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.infra.transcriber import GladiaTranscriber
from gateway.transcription.infra.voice import Voice, VoiceOptions
from stt.gladia.client import Provider, ProviderOptions

COUNT = int(os.environ.get("GATEWAY_ODD_COUNT", "120"))
SEED = int(os.environ.get("GATEWAY_ODD_SEED", "1"))
AT_ONCE = 8
SPEECH = SpeechOptions(translate_to=("fr",), named_entities=True, sentiment=True)


class Still(LoopClock):
    """The wall clock stands, so that captions of two runs are the same to the byte."""

    def now(self):  # type: ignore[no-untyped-def]
        return BEGIN


@pytest.fixture
async def odd() -> AsyncIterator[tuple[OddProvider, GladiaTranscriber]]:
    server = OddProvider()
    async with TestServer(server.app) as there, Provider(ProviderOptions("any", str(there.make_url("/")))) as provider:
        voice = Voice(VoiceOptions(gate="off"))
        yield (
            server,
            GladiaTranscriber(provider, "test", voice, process="test", endpointing_s=None, maximum_utterance_s=None),
        )


async def heard(odd: tuple[OddProvider, GladiaTranscriber], number: int, play: Play) -> tuple[list[str], list[bytes]]:
    """Anna's finals, and Ben's as they are stored. Ben's provider says what is documented."""
    server, transcriber = odd
    slug = f"s{number}"
    anna, ben = f"anna{number}", f"ben{number}"
    server.plays.update({anna: play, ben: PLAIN})
    async with replica(session=slug, clock=Still(), transcriber=transcriber) as there:
        await there.service.start(start("websocket", slug=slug, speech=SPEECH))
        tracks = [there.source(slug).appear(name) for name in (anna, ben)]
        for _ in range(60):
            for track in tracks:
                track.speak(0.1)
            await asyncio.sleep(0)
        for track in tracks:
            track.hang_up()
        while there.service.runs[0].tracks or not there.service.runs[0].speakers:
            await asyncio.sleep(0.01)
        stopped = await there.service.stop(slug)
        assert stopped is not None and stopped.record.stop_reason == "stopped by request", play.case
        stored = there.records.stored(slug)
    finals = [final.caption.text for final in stored if final.caption.speaker.identity == anna]
    others = [final.data.replace(ben.encode(), b"ben") for final in stored
              if final.caption.speaker.identity != anna]  # fmt: skip
    return finals, others


async def test_whatever_is_said_to_one_the_other_hears_the_same(odd: tuple[OddProvider, GladiaTranscriber]) -> None:
    """Any value at any place of any message, messages in any order: no exception gets out; finals are kept, once."""
    _, expected = await heard(odd, 0, PLAIN)
    assert len(expected) == 2
    plays = [with_change(*one) for one in random.Random(SEED).sample(changes(), COUNT)]
    plays += [shuffled(SEED * 1000 + n) for n in range(COUNT // 10)]
    limit = asyncio.Semaphore(AT_ONCE)

    async def judge(number: int, play: Play) -> str | None:
        async with limit, asyncio.timeout(60):
            finals, others = await heard(odd, number, play)
        if others != expected:
            return f"{play.case}: the other heard {others}"
        missing = play.keeps - set(finals)
        twice = [text for text in finals if finals.count(text) > 1]
        return f"{play.case}: {finals}" if missing or twice else None

    wrong = await asyncio.gather(*(judge(number, play) for number, play in enumerate(plays, 1)))
    assert not any(wrong), "\n".join(one for one in wrong if one)
