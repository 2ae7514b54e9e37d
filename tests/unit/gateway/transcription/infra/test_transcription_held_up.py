"""A word whose delivery is held up is heard whole: what is late is no silence, whenever it stopped and however long.

Real audio goes through a real source, the gate and its detector to a recogniser that refuses words with a cut in them.
Held up may be a sender's line, the one between two replicas (the owner sees the same), or an encoder's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor, Future
from functools import partial
from math import inf
from typing import Any, Final, cast

import numpy as np
import pytest
import soxr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.fakes import LoopClock
from support.virtual_time import run_virtually

from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.transcription import Ingest
from gateway.transcription.infra.voice import Voice, VoiceOptions
from gateway.transcription.infra.websocket_source import WebsocketSource
from gateway.transcription.usecases.audio import AudioChunk
from gateway.transcription.usecases.feed import Feed, FeedStart
from ingest.audio_packet import AudioFormat, AudioPacket
from ingest.rtmp.publisher import Publisher
from ingest.rtmp_track import RtmpTrack
from ingest.stall import HELD_UP_S, STALL_S
from ingest.websocket_audio import SILENT_S
from stt.gladia.client import GladiaLink
from stt.gladia.moves import LinkState
from stt.local.recogniser import Event, Heard, Listening
from stt.local.scripted import RATE, WORD_S, ScriptedEngine, speak

WORDS: Final = ["alpha", "bravo", "charlie", "delta"]
PCM, SAID = speak(WORDS, lead_s=0.5, tail_s=0.7, pauses=[0.0, 0.5] * 2)
CHARLIE_S: Final = next(start for word, start, _ in SAID if word == "charlie")
BLOCK: Final = RATE // 50
HIGH: Final = 3
"""Times the recogniser's rate is a page's, whose audio goes through a resampler."""
PCM_HIGH: Final = soxr.resample(np.frombuffer(PCM, "<i2"), RATE, HIGH * RATE, quality="HQ").tobytes()
ENDPOINTING_S: Final = 0.4
GLUED: Final = RATE // 10
"""Of a stretch that was left out the link sends so much silence, at most."""


class AtOnce(Executor):
    """Virtual time does not wait for a thread."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*args, **kwargs))
        return done


class Hearer:
    """The provider: each final with the time at which it was made."""

    state = LinkState.STREAMING

    def __init__(self) -> None:
        self.finals: list[tuple[float, list[str]]] = []
        self._end = 0
        self._recogniser = ScriptedEngine().open(Listening(ENDPOINTING_S), self._hear)

    @property
    def words(self) -> list[str]:
        return [word for _, words in self.finals for word in words]

    def _hear(self, event: Event) -> None:
        if isinstance(event, Heard) and event.is_final:
            self.finals.append((asyncio.get_running_loop().time(), [word.text for word in event.words]))

    def send(self, offset: int, pcm: bytes) -> None:
        if 0 < self._end < offset:
            self.fall_silent(min(offset - self._end, GLUED))
        self._end = offset + len(pcm) // 2
        self._recogniser.feed(pcm)

    def fall_silent(self, samples: int) -> None:
        self._recogniser.feed(bytes(2 * samples))

    def leave_out(self, to: int) -> None: ...


async def listen(chunks: AsyncIterator[AudioChunk], hearer: Hearer) -> None:
    voice = Voice(VoiceOptions(), clock=asyncio.get_running_loop().time)
    link = voice.link(lambda hear: cast(GladiaLink, hearer), "anna", ENDPOINTING_S)
    async for chunk in chunks:
        link.send(chunk)


async def in_real_time(
    until: int, put: Callable[[int, int], object], begin: int = 0, zero: float = 0.0, speed: float = inf
) -> None:
    """Frames from `begin` to `until`, each block when it has been spoken: `zero` is when the first was. `speed`: of the
    line, times real time."""
    for at in range(begin, until, BLOCK):
        end = min(at + BLOCK, until)
        await asyncio.sleep(max(zero + end / RATE - asyncio.get_running_loop().time(), (end - at) / RATE / speed))
        put(at, end)


Speak = Callable[[int, float, bool, float], Awaitable[Hearer]]
"""Until this frame, then nothing for so many seconds (True: the line is cut), then over a line of that speed."""


async def over_websocket(
    held_from: int,
    held_s: float,
    is_cut: bool = False,
    speed: float = inf,
    *,
    told: bool | None = None,
    pcm: bytes = PCM,
) -> Hearer:
    """`told`: nothing is recorded meanwhile, and the sender says so (True), or does not."""
    hearer, loop = Hearer(), asyncio.get_running_loop()
    source = WebsocketSource(Ingest(), Speaker("anna", None), LoopClock())
    high = len(pcm) // len(PCM)
    start = FeedStart(RATE * high, 1, "s", tells_gaps=told is None)
    feed: Feed = source.enter(None, start, lambda why, ending: None)
    track = await anext(aiter(source.tracks()))
    listening = asyncio.create_task(listen(track.chunks(), hearer))

    def put(begin: int, end: int) -> None:
        feed.put(pcm[2 * begin * high : 2 * end * high])

    zero = loop.time()
    await in_real_time(held_from, put, zero=zero)
    if told is not None:
        await asyncio.sleep(SILENT_S)
        feed.skip(SILENT_S * told)
        await asyncio.sleep(held_s - SILENT_S)
        feed.skip(held_s * told)
        zero += held_s
    elif is_cut:
        feed.leave(for_good=False)
        await asyncio.sleep(held_s)
        feed = source.enter(None, start, lambda why, ending: None)
        assert feed.taken == held_from * high
    else:
        await asyncio.sleep(held_s)
    await in_real_time(len(PCM) // 2, put, held_from, zero, speed)
    feed.leave(for_good=True)
    await listening
    return hearer


async def over_rtmp(held_from: int, held_s: float, is_cut: bool = False, speed: float = inf) -> Hearer:
    """An encoder that is cut begins another publish, which is another track; its timestamps do not tell a slow line
    from a pipeline that paused."""
    hearer, loop = Hearer(), asyncio.get_running_loop()

    def nothing(why: str = "") -> None: ...

    publisher = Publisher(
        "live", "key", "peer", buffer_bytes=1 << 20, buffer_packets=1 << 20, clock=loop.time, full=nothing,
        emptied=nothing, closed=nothing,
    )  # fmt: skip
    format = AudioFormat("pcm_s16le", b"", RATE, 1, True)

    def put(begin: int, end: int) -> None:
        publisher.take(AudioPacket(1000 * begin // RATE, PCM[2 * begin : 2 * end], format))

    track = RtmpTrack(publisher, AtOnce(), monotonic=loop.time, wall=LoopClock().now)
    listening = asyncio.create_task(listen(track.chunks(), hearer))
    zero = loop.time()
    await in_real_time(held_from, put, zero=zero)
    await asyncio.sleep(held_s)
    await in_real_time(len(PCM) // 2, put, held_from, zero)
    publisher.end("unpublished")
    await listening
    return hearer


@pytest.mark.parametrize("speak", [over_websocket, partial(over_websocket, pcm=PCM_HIGH), over_rtmp])
@settings(max_examples=settings.default.max_examples // 4)
@given(st.integers(0, round(WORD_S * 100) + 4), st.floats(0.3, HELD_UP_S - 0.5), st.booleans(), st.floats(1.02, 3))
@example(10, STALL_S + 0.1, False, 10)
@example(3, STALL_S + 0.1, False, 1.2)
@example(18, HELD_UP_S - 0.5, True, 1.02)
def test_generated_holes_in_the_delivery_cost_no_word(
    speak: Speak, into: int, held_s: float, is_cut: bool, speed: float
) -> None:
    """From `into` hundredths of a second into a word on."""
    held_from = round(CHARLIE_S * RATE) + into * RATE // 100
    hearer = run_virtually(speak(held_from, held_s, is_cut, speed))
    assert hearer.words == WORDS


@pytest.mark.parametrize(
    "into_s, told, after_s",
    [(WORD_S, True, SILENT_S), (WORD_S, False, HELD_UP_S), (WORD_S + 0.35, False, STALL_S)],
    ids=["told", "right behind a word", "behind a breath"],
)
def test_who_is_muted_gets_a_final_at_once_where_that_is_certain(into_s: float, told: bool, after_s: float) -> None:
    """Right behind a word nothing but the sender tells a mute from a line that stands still."""
    until = round((CHARLIE_S + 0.23 + into_s) * RATE)
    hearer = run_virtually(over_websocket(until, 20.0, told=told))
    assert hearer.words == WORDS
    at = next(at for at, words in hearer.finals if words[-1] == WORDS[-1])
    assert at - until / RATE == pytest.approx(after_s, abs=0.15)
