"""Who listens to a room before it takes it over has to hear it: being in it is not enough."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from livekit import rtc

from ingest.livekit_room import LivekitRoom, RoomOptions
from ingest.livekit_track import LivekitTrack
from ingest.livekit_visit import Visit, VisitOptions, _Hearing

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def visit(*published: Any) -> Visit:
    found = Visit(lambda track: None, VisitOptions(), monotonic=lambda: 0.0, wall=lambda: NOW)
    person = SimpleNamespace(
        kind=rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD, track_publications={one.sid: one for one in published}
    )
    found.room = SimpleNamespace(remote_participants={"anna": person})  # type: ignore[assignment]
    return found


def publication(sid: str, **more: Any) -> Any:
    usual = {"kind": rtc.TrackKind.KIND_AUDIO, "source": rtc.TrackSource.SOURCE_MICROPHONE, "muted": False}
    return SimpleNamespace(sid=sid, **(usual | more))


def hear(there: Visit, one: Any) -> LivekitTrack:
    track = LivekitTrack(one.sid, "anna", None, {}, there, hang_over_s=0.8, monotonic=lambda: 0.0, wall=lambda: NOW)
    there._hearings[one.sid] = _Hearing(one, track)
    return track


async def test_everybody_is_heard_once_audio_has_come_of_what_is_wanted_and_not_muted() -> None:
    one = publication("a")
    there = visit(
        one,
        publication("muted", muted=True),
        publication("video", kind=rtc.TrackKind.KIND_VIDEO),
        publication("screen", source=rtc.TrackSource.SOURCE_SCREENSHARE_AUDIO),
        publication("secret"),
    )
    there._refused["secret"] = "it is encrypted"
    assert not there.hears_all
    track = hear(there, one)
    assert not there.hears_all, "it is subscribed, and nothing has come"
    track.feed(bytes(3200))
    assert there.hears_all


async def test_a_room_counts_as_joined_when_it_is_heard() -> None:
    async def exists() -> bool:
        return True

    room = LivekitRoom(
        "room",
        RoomOptions("ws://none"),
        token=str,
        exists=exists,
        spawn=lambda task: None,  # type: ignore[arg-type, misc]
        monotonic=lambda: 0.0,
        wall=lambda: NOW,
    )
    one = publication("a")
    room._visit = there = visit(one)
    waiting = asyncio.create_task(room.joined(60))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    hear(there, one).feed(bytes(3200))
    await waiting
    room._visit = None
    await room.joined(0.05)
