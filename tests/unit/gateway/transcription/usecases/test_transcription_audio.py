"""Audio over WebSockets without sockets: messages, who may speak, and what becomes of a sender that is cut off."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import jwt
import pytest
from support.fakes import LoopClock, MemoryRecords

from gateway.live import audio_protocol
from gateway.live.audio_protocol import Gap, Stop, WrongMessage
from gateway.live.credentials import Secrets, check
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.transcription import Ingest
from gateway.transcription.infra.websocket_source import GRACE_S, SPEAKERS, WebsocketSource
from gateway.transcription.usecases.audio import AudioTrack
from gateway.transcription.usecases.feed import Ending, Feeding, FeedStart, IdentityRefused, NotTaken

ANNA, BEN = Speaker("anna", "Anna"), Speaker("ben", None)
SECRET = "room-secret-of-at-least-thirty-two-bytes"


# --- messages -----------------------------------------------------------------------------------------------


def test_a_start_is_read() -> None:
    assert audio_protocol.read('{"type":"start","sampleRate":48000,"channels":1}') == FeedStart(48_000, 1)
    told = {
        "type": "start",
        "sampleRate": 8000,
        "channels": 2,
        "stream": "s",
        "ageMs": 1500,
        "gaps": True,
        "later": [1],
    }
    assert audio_protocol.read(json.dumps(told)) == FeedStart(8_000, 2, "s", 1.5, tells_gaps=True)
    assert audio_protocol.read('{"type":"stop"}') == Stop()
    assert audio_protocol.read('{"type":"gap","ms":1500}') == Gap(1500)
    assert audio_protocol.read('{"type":"mute","on":true}') is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "start",
        "[]",
        "{}",
        '{"type":7}',
        '{"type":"start"}',
        '{"type":"start","sampleRate":"48000"}',
        '{"type":"start","sampleRate":48000.5}',
        '{"type":"start","sampleRate":true}',
        '{"type":"start","sampleRate":48000,"channels":null}',
        '{"type":"start","sampleRate":48000,"stream":""}',
        json.dumps({"type": "start", "sampleRate": 48000, "stream": "x" * 65}),
        '{"type":"start","sampleRate":48000,"ageMs":-1}',
        '{"type":"gap"}',
        '{"type":"gap","ms":-1}',
        '{"type":"start","sampleRate":48000,"ageMs":1e9}',
        "[" * 100_000,
    ],
)
def test_what_cannot_be_understood_is_refused(text: str) -> None:
    with pytest.raises(WrongMessage):
        audio_protocol.read(text)


def test_answers_are_as_the_contract_says() -> None:
    assert json.loads(audio_protocol.ready(None)) == {"type": "ready"}
    assert json.loads(audio_protocol.ready(0)) == {"type": "ready", "samples": 0}
    assert json.loads(audio_protocol.ack(48_000)) == {"type": "ack", "samples": 48_000}


# --- who may ------------------------------------------------------------------------------------------------


def room_token(**grants: Any) -> str:
    video = {"room": "abc", "roomJoin": True, **grants}
    claims = {"iss": "key", "sub": "anna", "name": "Anna", "exp": time.time() + 60, "video": video}
    return jwt.encode(claims, SECRET, algorithm="HS256")


@pytest.mark.parametrize(
    "grants, may",
    [
        ({}, True),
        ({"canPublish": True}, True),
        ({"canPublish": False}, False),
        ({"canPublishSources": ["camera"]}, False),
        ({"canPublishSources": ["camera", "microphone"]}, True),
        ({"canPublishSources": "microphone"}, False),
        ({"canPublish": False, "canPublishSources": ["microphone"]}, False),
    ],
)
def test_a_livekit_token_speaks_if_it_may_publish(grants: dict[str, Any], may: bool) -> None:
    access = check(room_token(**grants), Secrets(livekit_keys=(("key", SECRET),)))
    assert (access.may_speak, access.subject, access.name) == (may, "anna", "Anna")


async def test_a_user_speaks_as_itself_or_as_the_participant_it_is() -> None:
    records = MemoryRecords(LoopClock())
    session = await records.sessions.create("abc", None, None)
    records.person("abc", "anna-phone", user_id="user-1")
    records.person("abc", "ben-phone", user_id="user-2")
    records.person("abc", "guest")
    feeding = Feeding(records, Door(), lambda *_: None)
    for given, heard in ((None, "user-1"), ("user-1", "user-1"), ("anna-phone", "anna-phone")):
        assert (await feeding.own_identity(session.id, "user-1", given)).identity == heard
    for stranger in ("ben-phone", "guest", "nobody", "user-2"):
        with pytest.raises(IdentityRefused):
            await feeding.own_identity(session.id, "user-1", stranger)


class Door:
    """Nobody takes audio here."""

    def enter(self, *_: object) -> Any:
        raise NotTaken("nothing runs")


@pytest.mark.parametrize("source, come_back", [("websocket", True), ("rtmp", False)])
async def test_a_transcription_of_another_replica_is_worth_coming_back_for(source: str, come_back: bool) -> None:
    records = MemoryRecords(LoopClock())
    feeding = Feeding(records, Door(), lambda *_: None)
    session = await records.sessions.create("abc", None, None)
    with pytest.raises(NotTaken) as error:
        await feeding.enter("abc", ANNA, FeedStart(16_000, 1), print)
    assert not error.value.come_back
    await records.leases.claim(session, source, {}, None, "another", 60)
    with pytest.raises(NotTaken) as error:
        await feeding.enter("abc", ANNA, FeedStart(16_000, 1), print)
    assert error.value.come_back is come_back


# --- a sender and its connections ---------------------------------------------------------------------------


class Connection:
    """What one connection is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []

    def over(self, why: str, taken_over: bool) -> None:
        self.told.append((why, taken_over))


class Listening:
    """The transcription: hears every track to its end."""

    def __init__(self, source: WebsocketSource) -> None:
        self.heard: dict[int, int] = {}
        self.tracks: list[AudioTrack] = []
        self.ended: list[AudioTrack] = []
        self._source = source

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            async for track in self._source.tracks():
                self.tracks.append(track)
                tasks.create_task(self._hear(track))

    async def _hear(self, track: AudioTrack) -> None:
        async for chunk in track.chunks():
            self.heard[id(track)] = self.heard.get(id(track), 0) + chunk.samples
        self.ended.append(track)


def source() -> WebsocketSource:
    return WebsocketSource(Ingest(), Speaker("websocket", None), LoopClock())


async def test_several_identities_are_several_tracks() -> None:
    there = source()
    listening = Listening(there)
    running = asyncio.create_task(listening.run())
    for speaker in (ANNA, BEN, None):
        there.enter(speaker, FeedStart(16_000, 1), Connection().over).put(bytes(6_400))
    await asyncio.sleep(1)
    assert [track.speaker.identity for track in listening.tracks] == ["anna", "ben", "websocket"]
    await there.close("stopped by request")
    await running
    assert list(listening.heard.values()) == [3_200, 3_200, 3_200]


async def test_a_second_connection_takes_over_as_a_new_track() -> None:
    there = source()
    listening = Listening(there)
    running = asyncio.create_task(listening.run())
    first, second = Connection(), Connection()
    old = there.enter(ANNA, FeedStart(16_000, 1), first.over)
    new = there.enter(ANNA, FeedStart(16_000, 1), second.over)
    await asyncio.sleep(0)
    assert [ending for _, ending in first.told] == [Ending.REPLACED] and second.told == []
    old.put(bytes(3_200))  # what still came over the old one
    old.leave(for_good=True)
    new.put(bytes(3_200))
    await asyncio.sleep(1)
    assert (old.taken, new.taken) == (0, 1_600)
    assert len(listening.tracks) == 2 and len(listening.ended) == 1
    await there.close("stopped by request")
    await running
    assert second.told == [("stopped by request", Ending.STOPPED)]


async def test_audio_that_comes_while_it_is_not_certain_whose_it_is_waits_for_its_acknowledgement() -> None:
    """Who takes over gets it from the sender; so it must not be acknowledged by one who then loses it."""
    certain = [True]
    there = WebsocketSource(Ingest(), Speaker("websocket", None), LoopClock(), may_acknowledge=lambda: certain[0])
    feed = there.enter(ANNA, FeedStart(16_000, 1), Connection().over)
    feed.put(bytes(3_200))
    certain[0] = False
    feed.put(bytes(3_200))
    assert feed.taken == 1_600
    certain[0] = True
    feed.put(bytes(3_200))
    assert feed.taken == 4_800
    await there.close("stopped by request")


async def test_what_was_heard_and_not_acknowledged_is_not_heard_twice_when_its_sender_comes_again() -> None:
    certain = [True]
    there = WebsocketSource(Ingest(), Speaker("websocket", None), LoopClock(), may_acknowledge=lambda: certain[0])
    start = FeedStart(16_000, 1, stream="s")
    feed = there.enter(ANNA, start, Connection().over)
    feed.put(bytes(3_200))
    certain[0] = False
    feed.put(bytes(6_400))
    again = there.enter(ANNA, start, Connection().over)
    assert again.taken == 1_600, "from there its sender goes on"
    certain[0] = True
    again.put(bytes(4_000))
    assert again.taken == 1_600
    again.skip(0.0)
    again.put(bytes(4_000))
    assert again.taken == 1_600 + 4_000
    await there.close("stopped by request")
    [track] = [track async for track in there.tracks()]
    assert sum([chunk.samples async for chunk in track.chunks()]) == 1_600 + 4_000


async def test_a_stream_goes_on_where_it_was_cut() -> None:
    """The same track, so that a word may span the cut; the count says what need not be sent again."""
    there = source()
    listening = Listening(there)
    running = asyncio.create_task(listening.run())
    start = FeedStart(16_000, 1, "s1")
    first = there.enter(ANNA, start, Connection().over)
    first.put(bytes(2_000))
    first.leave(for_good=False)
    await asyncio.sleep(GRACE_S - 1)
    silent = Connection()
    second = there.enter(ANNA, start, silent.over)
    assert second.taken == 1_000
    second.put(bytes(2_000))
    third = there.enter(ANNA, start, Connection().over)  # the second is dead, but nobody knows yet
    assert [ending for _, ending in silent.told] == [Ending.REPLACED]
    second.leave(for_good=False)  # now it is known; it must not matter
    await asyncio.sleep(GRACE_S + 1)
    third.put(bytes(2_000))
    assert (third.taken, len(listening.tracks), listening.ended) == (3_000, 1, [])
    third.leave(for_good=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(listening.ended) == 1
    await there.close("stopped")
    await running


@pytest.mark.parametrize("after", [FeedStart(16_000, 1, "s2"), FeedStart(8_000, 1, "s1"), FeedStart(16_000, 1)])
async def test_another_stream_or_format_is_a_new_track(after: FeedStart) -> None:
    there = source()
    there.enter(ANNA, FeedStart(16_000, 1, "s1"), Connection().over).put(bytes(2_000))
    assert there.enter(ANNA, after, Connection().over).taken == 0
    await there.close("stopped")


async def test_a_sender_that_does_not_come_back_has_left() -> None:
    there = source()
    listening = Listening(there)
    running = asyncio.create_task(listening.run())
    start = FeedStart(16_000, 1, "s1")
    there.enter(ANNA, start, Connection().over).leave(for_good=False)
    await asyncio.sleep(GRACE_S + 1)
    assert len(listening.ended) == 1
    assert there.enter(ANNA, start, Connection().over).taken == 0
    await there.close("stopped")
    await running


async def test_the_number_of_speakers_is_bounded() -> None:
    there = source()
    for number in range(SPEAKERS):
        there.enter(Speaker(f"p{number}", None), FeedStart(16_000, 1), Connection().over)
    with pytest.raises(NotTaken) as error:
        there.enter(ANNA, FeedStart(16_000, 1), Connection().over)
    assert error.value.come_back
    there.enter(Speaker("p7", None), FeedStart(16_000, 1), Connection().over)  # one that is in may come back
    await there.close("stopped")
    with pytest.raises(NotTaken):
        there.enter(ANNA, FeedStart(16_000, 1), Connection().over)
