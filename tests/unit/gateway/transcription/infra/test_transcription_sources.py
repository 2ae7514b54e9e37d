"""Publishes by RTMP as a source: where the key may stand, and who is told of those that were turned away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from datetime import timedelta
from typing import Any

import pytest
from support.fakes import BEGIN, HandClock
from support.waiting import until

from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.handover import Stream
from gateway.transcription.domain.recent_trouble import KEPT_S, MOST, RecentTrouble
from gateway.transcription.domain.transcription import Claimed, Ingest, Lease, Numbering
from gateway.transcription.infra.rtmp_source import DISPLACED, UNDECODABLE_PACKETS, RtmpSource
from gateway.transcription.infra.sources import CROWDED, NEARLY_KEY, OLD_KEY, Sources
from gateway.transcription.infra.websocket_source import WebsocketSource
from gateway.transcription.usecases.audio import AudioSource, AudioTrack, SourceTrouble
from gateway.transcription.usecases.feed import FeedStart
from ingest.audio_packet import AudioFormat, AudioPacket
from ingest.errors import PublishRefused
from ingest.rtmp.publisher import TAKEN_OVER, Publisher
from ingest.track_assembler import TrackAssembler

LONG_KEY = "abcdefghijkl-nopqrstuvw_"
KEY, OTHER = "k3y-of-144-random-bits", "another-of-144-bits-xx"
ANNA = Speaker("anna", None)


class AtOnce(Executor):
    """Decodes where it is asked to: virtual time does not wait for a thread."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*args, **kwargs))
        return done


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def sources(clock: HandClock) -> Sources:
    return with_rtmp(clock, "rtmp://host:1935")


def with_rtmp(clock: HandClock, base: str | None) -> Sources:
    def rtmp(slug: str, ingest: Ingest, speaker: Speaker) -> RtmpSource:
        return RtmpSource(slug, ingest, speaker, AtOnce(), clock)

    return Sources(rtmp, clock, lambda: base, lambda: "http://host")


def begun(sources: Sources, key: str | None, slug: str = "abc") -> AudioSource:
    kind = "rtmp" if key else "websocket"
    numbering = Numbering("e", BEGIN, 0)
    return sources.open(Claimed(Lease("t", 1), "s", slug, kind, {}, key, BEGIN, numbering), ANNA)


def test_a_transcription_is_kept_where_rtmp_is_off_until_a_gateway_takes_it_that_its_encoder_finds(
    clock: HandClock,
) -> None:
    source = begun(with_rtmp(clock, None), KEY)
    assert isinstance(source, RtmpSource)
    assert source.trouble() is None and source.ingest == Ingest()


async def test_encoders_that_come_before_what_decodes_is_loaded_wait_for_it_in_their_order(clock: HandClock) -> None:
    loading: Future[Any] = Future()

    class Held(AtOnce):
        def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            return loading

    source = RtmpSource("abc", Ingest(), ANNA, Held(), clock)
    first, second = publisher(), publisher(peer="192.0.2.2:5")
    publishing = [asyncio.create_task(source.publish(one)) for one in (first, second)]
    await asyncio.sleep(0)
    loading.set_result(None)
    tracks = source.tracks()
    before = await anext(tracks)
    assert [chunk async for chunk in before.chunks()] == []
    assert first.ended_because == "taken over" and second.ended_because is None
    second.end("enough")
    assert [chunk async for chunk in (await anext(tracks)).chunks()] == []
    await asyncio.gather(*publishing)


def publisher(
    app: str = "live",
    key: str = KEY,
    clock: Callable[[], float] = lambda: 0.0,
    peer: str = "192.0.2.1:5",
    carried_since: float | None = None,
) -> Publisher:
    made = Publisher(
        app,
        key,
        peer,
        buffer_bytes=1 << 20,
        buffer_packets=1 << 20,
        clock=clock,
        full=lambda: None,
        emptied=lambda: None,
        closed=lambda reason: made.end(reason, None),
        carried_since=carried_since,
    )
    return made


async def heard(source: AudioSource, made: Publisher, sources: Sources) -> None:
    """The publish, to its end."""
    publishing = asyncio.create_task(sources.published(made))
    track = await anext(source.tracks())
    try:
        async for _ in track.chunks():
            pass
    except SourceTrouble:
        pass
    await publishing


@pytest.mark.parametrize(
    "app, name",
    [
        ("live", KEY),
        (f"live/{KEY}", ""),
        (f"live/{KEY}", KEY),
        ("live/", KEY),
        ("", f"live/{KEY}"),
        ("live/_definst_", KEY),
        (KEY, ""),
        ("stream/anything", KEY),
    ],
)
async def test_the_key_is_taken_wherever_it_stands_in_the_url(sources: Sources, app: str, name: str) -> None:
    source = begun(sources, KEY)
    begun(sources, OTHER, "other")
    assert await sources.authorise(app, name, "", "peer")
    made = publisher(app, name)
    made.end("unpublished")
    await heard(source, made, sources)
    assert source.trouble() is None


@pytest.mark.parametrize("app, name", [("live", ""), ("", ""), ("live", KEY[:-1]), ("live", KEY + "x"), (KEY, OTHER)])
async def test_no_key_half_a_key_and_two_keys_are_refused(sources: Sources, app: str, name: str) -> None:
    begun(sources, KEY)
    begun(sources, OTHER, "other")
    assert not await sources.authorise(app, name, "", "peer")


async def test_who_waits_for_a_publisher_is_told_of_one_with_another_key(
    sources: Sources, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Not who has one; and only for some minutes."""
    waiting, live = begun(sources, KEY), begun(sources, OTHER, "other")
    made = publisher(key=OTHER)
    made.end("unpublished")
    await heard(live, made, sources)
    assert not await sources.authorise("live", "wrong", "", "peer")
    sources.crowded()
    assert "unknown" in (waiting.trouble() or "") and KEY not in (waiting.trouble() or "")
    assert CROWDED in (waiting.trouble() or "") and live.trouble() == CROWDED, "its encoder is gone"
    assert "GATEWAY_MAX_RTMP_CONNECTIONS_PER_ADDRESS" in caplog.text  # so the operator reads what to set
    clock.at += timedelta(seconds=KEPT_S)
    assert waiting.trouble() is None


@pytest.mark.parametrize("name", [KEY[:-1], KEY + "x", f"<{KEY.upper()}>", f"{KEY[:9]}…", KEY[3:]])
async def test_who_mistypes_a_key_is_told_of_by_the_session_that_was_meant(sources: Sources, name: str) -> None:
    """Also while another encoder is heard there; and by nobody else."""
    meant, other = begun(sources, KEY), begun(sources, OTHER, "other")
    publishing = asyncio.create_task(sources.published(made := publisher()))
    track = await anext(meant.tracks())
    assert not await sources.authorise("live", name, "", "peer")
    sources.crowded()
    assert (meant.trouble(), other.trouble()) == (NEARLY_KEY, CROWDED)
    made.end("unpublished")
    assert await anext(track.chunks(), None) is None
    await publishing


async def test_a_key_of_an_earlier_transcription_is_told_of_by_the_sessions_newest(sources: Sources) -> None:
    await begun(sources, KEY).close("stopped")
    assert not await sources.authorise("live", KEY, "", "peer")
    again, other = begun(sources, OTHER), begun(sources, "third-key-of-144-bits", "other")
    assert not await sources.authorise("live", KEY, "", "peer")
    assert (again.trouble(), other.trouble()) == (OLD_KEY, None)


@pytest.mark.parametrize(
    "still_sends, peers, told",
    [
        (True, ["192.0.2.1:5", "192.0.2.9:5"], True),
        (True, ["192.0.2.1:5", "192.0.2.1:6"], False),  # its own encoder is back, sooner than we have noticed
        (True, ["192.0.2.1:5", "192.0.2.1:6", "192.0.2.1:7"], True),
        (False, ["192.0.2.1:5", "192.0.2.9:5", "192.0.2.1:6"], False),
    ],
)
async def test_encoders_that_fight_for_a_key_are_told_of(
    sources: Sources, still_sends: bool, peers: list[str], told: bool
) -> None:
    source = begun(sources, KEY)
    now = [0.0]
    for peer in peers:
        made = publisher(clock=lambda: now[0], peer=peer)
        made.take(AudioPacket(0, b"\0\0", AudioFormat("pcm_s16le", b"", 8_000, 1, True)))
        now[0] += 0.1 if still_sends else 3.0
        made.displace()
        await heard(source, made, sources)
    assert (source.trouble() == DISPLACED) is told


async def test_what_an_encoder_does_in_vain_is_told_while_it_is_heard(sources: Sources, clock: HandClock) -> None:
    """Again only when it happens again."""
    source = begun(sources, KEY)
    publishing = asyncio.create_task(sources.published(made := publisher()))
    track = await anext(source.tracks())
    assert source.trouble() is None
    made.abandoned_messages, made.repeated_publishes = 2, 1
    told = source.trouble() or ""
    assert "gives messages up half way" in told and "asks to publish while it publishes already" in told
    clock.at += timedelta(seconds=KEPT_S)
    assert source.trouble() is None
    made.abandoned_messages = 3
    made.end("unpublished")
    assert await anext(track.chunks(), None) is None
    await publishing
    assert "half way" in (source.trouble() or "")


async def test_a_publisher_that_was_thrown_out_is_told_of_after_it_has_gone(sources: Sources) -> None:
    source = begun(sources, KEY)
    made = publisher()
    made.end("too many tiny chunks: in 900 bytes", "too many tiny chunks: in 900 bytes")
    await heard(source, made, sources)
    assert "too many tiny chunks" in (source.trouble() or "")


@pytest.mark.parametrize("ending", ["unpublished", "connection lost", "taken over"])
async def test_an_end_that_is_nobodys_fault_is_no_trouble(sources: Sources, ending: str) -> None:
    source = begun(sources, KEY)
    made = publisher()
    made.end(ending)
    await heard(source, made, sources)
    assert source.trouble() is None


async def test_audio_that_cannot_be_decoded_is_told_of_while_it_comes_and_behind_it(sources: Sources) -> None:
    """AAC that never says its configuration."""
    source = begun(sources, KEY)
    made = publisher()
    bare = AudioFormat("aac", b"", None, None, True)
    for n in range(UNDECODABLE_PACKETS):
        made.take(AudioPacket(n * 21, b"\x01\x02\x03", bare))
    publishing = asyncio.create_task(sources.published(made))
    track = await anext(source.tracks())
    chunks = track.chunks()
    reading = asyncio.ensure_future(anext(chunks))
    async with asyncio.timeout(5):
        while (trouble := source.trouble()) is None:
            await asyncio.sleep(0.01)
    assert "none of it can be decoded" in trouble and "AAC" in trouble
    made.end("unpublished")
    with pytest.raises(StopAsyncIteration):
        await reading
    await publishing
    assert source.trouble() == trouble


async def test_a_bug_in_the_decoding_of_a_publish_costs_those_packets(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder notices nothing: it goes on to publish, and is read on."""
    source = begun(sources, KEY)
    made = publisher()
    publishing = asyncio.create_task(sources.published(made))
    track = await anext(source.tracks())
    pcm = AudioFormat("pcm_s16le", b"", 16_000, 1, True)
    made.take(AudioPacket(0, bytes(3_200), pcm))
    with monkeypatch.context() as broken, pytest.raises(TypeError):
        broken.setattr(TrackAssembler, "feed", None)
        await anext(track.chunks())
    made.take(AudioPacket(100, bytes(32_000), pcm))
    chunks = track.chunks()
    assert (await anext(chunks)).samples == 1_600 and not publishing.done()
    made.end("unpublished")
    assert [chunk async for chunk in chunks]
    await publishing


async def test_an_unsupported_codec_is_told_of_after_the_publish(sources: Sources) -> None:
    source = begun(sources, KEY)
    made = publisher()
    made.take(AudioPacket(0, b"x", AudioFormat("speex", b"", None, None, False)))
    await heard(source, made, sources)
    assert "speex" in (source.trouble() or "")


async def test_another_spelling_of_the_url_takes_over_too(sources: Sources) -> None:
    """The server knows publishes by app and name; here they are one key's."""
    source = begun(sources, KEY)
    assert isinstance(source, RtmpSource)
    first, second = publisher(), publisher(f"live/{KEY}", "")
    publishing = [asyncio.create_task(sources.published(first))]
    tracks = source.tracks()
    reading = asyncio.ensure_future(anext((await anext(tracks)).chunks(), None))
    publishing.append(asyncio.create_task(sources.published(second)))
    assert await reading is None
    assert first.ended_because == "taken over"
    second.end("unpublished")
    assert await anext((await anext(tracks)).chunks(), None) is None
    await asyncio.gather(*publishing)


@pytest.mark.parametrize("is_fed", [True, False])
async def test_one_identity_that_sends_from_two_places_is_told_of(
    sources: Sources, clock: HandClock, is_fed: bool
) -> None:
    """Not one that comes back while its dead connection is still there."""
    source = begun(sources, None)
    over: list[str] = []
    first = sources.enter("abc", ANNA, FeedStart(16_000, 1), lambda why, taken_over: over.append(why))
    first.put(bytes(640))
    clock.at += timedelta(seconds=0.5 if is_fed else 5)
    sources.enter("abc", ANNA, FeedStart(16_000, 1), lambda why, taken_over: None)
    assert len(over) == 1
    assert ("two connections" in (source.trouble() or "")) is is_fed


@pytest.mark.parametrize("rate, stream, goes_on", [(16_000, "mic", True), (48_000, "mic", False), (16_000, "n", False)])
async def test_a_stream_goes_on_behind_its_last_sample_or_begins_anew(
    clock: HandClock, rate: int, stream: str, goes_on: bool
) -> None:
    left = Stream("mic", "anna", 16_000, 1, 4_000, BEGIN)
    source = WebsocketSource(Ingest(), ANNA, clock, streams=[left])
    feed = source.enter(ANNA, FeedStart(rate, 1, stream), lambda why, ending: None)
    track = await anext(aiter(source.tracks()))
    assert (track.is_continued, feed.taken) == ((True, 4_000) if goes_on else (False, 0))
    await source.close("over")


@pytest.mark.parametrize("real_rate, word", [(44_100, "slower"), (48_000, None)])
async def test_a_sample_rate_that_is_too_high_is_told_of(
    sources: Sources, clock: HandClock, real_rate: int, word: str | None
) -> None:
    source = begun(sources, None)
    feed = sources.enter("abc", ANNA, FeedStart(48_000, 1), lambda why, taken_over: None)
    for _ in range(400):
        feed.put(bytes(2 * (real_rate // 10)))
        clock.at += timedelta(seconds=0.1)
    trouble = source.trouble()
    assert (trouble is None) if word is None else (f"comes {word} than it is spoken" in (trouble or ""))
    feed.leave(for_good=True)


def test_what_was_noted_is_bounded_and_told_newest_first() -> None:
    recent = RecentTrouble()
    for n in range(10):
        recent.note(f"{n}", n)
    recent.note("8", 10)
    assert recent.told(11) == "8; 9; 7"
    assert MOST == 3
    assert recent.told(9 + KEPT_S) == "8"
    assert recent.told(10 + KEPT_S) is None


def test_who_makes_trouble_again_and_again_hides_no_others() -> None:
    recent = RecentTrouble()
    recent.note("ben", 0)
    for n in range(10):
        recent.note(f"anna {n}", n, about="anna")
    assert recent.told(11) == "anna 9; ben"


async def test_a_publisher_is_not_told_where_the_database_is(sources: Sources) -> None:
    async def fetch(keys: object) -> None:
        raise RecordsUnavailable("ConnectionRefusedError: connect call failed ('10.0.0.7', 5432)")

    sources.fetch = fetch
    with pytest.raises(PublishRefused, match="the database does not answer") as refused:
        await sources.authorise("live", "k" * 24, "", "192.0.2.1:5000")
    assert "10.0.0.7" not in str(refused.value)


class Carriers:
    """Whoever carries audio to other replicas: how often, with which heir, and what of the audio was left for it."""

    def __init__(self, sources: Sources, *, comes_back: bool = False) -> None:
        self.heirs: list[str | None] = []
        self.carried: list[int] = []
        self._comes_back = comes_back
        sources.carry = self.carry

    async def carry(self, publisher: Publisher, heir: str | None, is_back: Callable[[], bool]) -> bool:
        self.heirs.append(heir)
        while not (self._comes_back and is_back()) and not publisher.is_over:
            publisher.interrupt()
            self.carried += [packet.timestamp_ms for packet in await publisher.read()]
            await asyncio.sleep(0.001)
        return not publisher.is_over


def audio(at_ms: int) -> AudioPacket:
    return AudioPacket(at_ms, bytes(1_600), AudioFormat("pcm_s16le", b"", 8_000, 1, True))


async def test_an_encoder_stays_when_its_transcription_goes_and_what_it_sends_from_there_on_goes_after_it(
    sources: Sources,
) -> None:
    source, carriers = begun(sources, KEY), Carriers(sources)
    publishing = asyncio.create_task(sources.published(made := publisher()))
    track = await anext(source.tracks())
    for at_ms in (0, 100, 200):
        made.take(audio(at_ms))
    listening = asyncio.create_task(_all(track))
    await asyncio.sleep(0.01)
    await source.leave("moved", "heir")
    await source.close("moved")
    assert await listening == 3_200, "at 16 kHz; the rest fills no chunk yet"
    for at_ms in (300, 400):
        made.take(audio(at_ms))
    made.end("unpublished")
    await publishing
    assert (carriers.heirs, carriers.carried) == (["heir"], [200, 300, 400])
    assert made.ended_because == "unpublished", "nobody has closed it"


@pytest.mark.parametrize("is_carried", [False, True])
async def test_a_carried_publish_goes_on_where_the_former_owner_has_stopped(
    sources: Sources, clock: HandClock, is_carried: bool
) -> None:
    """So a word that was cut in two there can be mended; any other publish begins anew."""
    source = begun(sources, KEY)
    made = publisher(carried_since=-9.0 if is_carried else None)
    publishing = asyncio.create_task(sources.published(made))
    track = await anext(source.tracks())
    assert (track.is_continued, track.ends_at) == (is_carried, None)
    for at_ms in (0, 100, 200):
        made.take(audio(at_ms))
    made.end("unpublished")
    assert await _all(track) == 4_800
    await publishing
    assert track.anchor is not None and track.ends_at == track.anchor + timedelta(seconds=0.3)


async def test_an_encoder_is_heard_here_again_when_its_transcription_comes_back(sources: Sources) -> None:
    source, carriers = begun(sources, KEY), Carriers(sources, comes_back=True)
    publishing = asyncio.create_task(sources.published(made := publisher()))
    listening = asyncio.create_task(_all(await anext(source.tracks())))
    await source.leave("moved")
    await listening
    made.take(audio(0))
    await until(lambda: carriers.carried == [0])
    again = begun(sources, KEY)
    track = await anext(again.tracks())
    made.take(audio(100))
    made.end("unpublished")
    assert await _all(track) == 1_600
    await publishing
    assert carriers.carried == [0] and source.trouble() is None


@pytest.mark.parametrize("how", ["closed", "carried", "refused", "released"])
async def test_nothing_is_carried_of_what_has_ended_or_came_from_elsewhere(sources: Sources, how: str) -> None:
    """A session that is stopped; a publish that another replica carries, which finds the next owner; a bad track."""
    source, carriers = begun(sources, KEY), Carriers(sources)
    made = publisher(carried_since=-9.0 if how == "carried" else None)
    publishing = asyncio.create_task(sources.published(made))
    track = await anext(source.tracks())
    if how == "refused":
        made.take(AudioPacket(0, b"x", AudioFormat("speex", b"", None, None, False)))
    listening = asyncio.create_task(_all(track))
    if how == "closed":
        await source.close("stopped by request")
    elif how == "carried":
        await source.leave("moved", "heir")
    elif how == "released":
        track.release()
    await asyncio.wait_for(publishing, 5)
    listening.cancel()
    assert not carriers.heirs
    assert made.is_moved is (how == "carried")


async def test_a_publish_that_comes_from_elsewhere_takes_over_from_none_that_was_there_after_it(
    sources: Sources,
) -> None:
    """Whatever the spelling of its URL."""
    source = begun(sources, KEY)
    newest = publisher()
    publishing = asyncio.create_task(sources.published(newest))
    await anext(source.tracks())
    late = publisher(app="other", carried_since=-9.0)
    await sources.published(late)
    assert late.ended_because == TAKEN_OVER and newest.ended_because is None
    newest.end("unpublished")
    publishing.cancel()


async def test_what_cannot_be_heard_here_and_is_elsewhere_is_let_in(sources: Sources) -> None:
    """To be carried there; a key that nobody has is refused as ever."""
    keys: list[list[str]] = []

    async def fetch(asked: Sequence[str]) -> bool:
        keys.append(list(asked))
        return asked == [LONG_KEY]

    sources.fetch = fetch
    assert await sources.authorise("live", LONG_KEY, "", "peer")
    assert not await sources.authorise("live", LONG_KEY[::-1], "", "peer")
    assert keys == [[LONG_KEY], [LONG_KEY[::-1]]]


async def _all(track: AudioTrack) -> int:
    """Samples of a track, to its end."""
    try:
        return sum([chunk.samples async for chunk in track.chunks()])
    except SourceTrouble:
        return 0
