"""One room on a real server: who comes, goes, mutes, swaps; how it ends."""

from __future__ import annotations

import asyncio
import socket
from itertools import pairwise

import pytest
from livekit import api, rtc
from livekit_listener import HeardTrack, Listener, listening
from support.gateway import words_in_order
from support.livekit import LivekitServer

from ingest.livekit_room import RoomEnd, RoomOptions
from ingest.livekit_visit import VisitOptions

GREEK = "alpha bravo charlie delta echo foxtrot golf hotel"
DIGITS = "zero one two three four five six seven"
COLOURS = "red orange yellow green blue violet black white"


def check(words: list[str], said: str) -> None:
    """Nobody else's words, in order; the jitter buffer may stretch a tone, which spoils a word now and then."""
    assert set(words) <= set(said.split())
    assert words_in_order(said.split(), words) >= 0.75, words


def playing(listener: Listener, identity: str, tracks: int = 1) -> bool:
    """The newest of so many tracks is being heard."""
    mine = listener.of(identity)
    return len(mine) == tracks and mine[-1].track.anchor is not None


async def test_two_speak_at_once_and_then_swap(livekit: LivekitServer, room_name: str) -> None:
    """Every word lands on who said it, whoever speaks with whom."""
    async with livekit.join(room_name, "anna", "Anna") as anna, livekit.join(room_name, "bob") as bob:
        await asyncio.gather(anna.publish(), bob.publish())
        async with listening(livekit, room_name) as listener:
            await listener.until(lambda one: playing(one, "anna") and playing(one, "bob"))
            await asyncio.gather(anna.say(GREEK), bob.say(DIGITS))
            await asyncio.gather(anna.say(DIGITS), bob.say(GREEK))
            await asyncio.sleep(0.5)
    check(listener.words("anna"), f"{GREEK} {DIGITS}")
    check(listener.words("bob"), f"{DIGITS} {GREEK}")
    assert [one.track.name for one in listener.of("anna")] == ["Anna"]


async def test_leaving_and_coming_back_is_a_new_track_of_the_same_person(
    livekit: LivekitServer, room_name: str
) -> None:
    """The words of both are heard; the second track has an anchor of its own, later."""
    async with livekit.join(room_name, "bob"), listening(livekit, room_name) as listener:
        for round_, said in enumerate((GREEK, DIGITS), 1):
            async with livekit.join(room_name, "anna") as anna:
                await anna.publish()
                await listener.until(lambda one, at=round_: playing(one, "anna", at))
                await anna.say(said)
            await listener.until(lambda one: all(track.over for track in one.of("anna")))
    first, second = listener.of("anna")
    check(first.words, GREEK)
    check(second.words, DIGITS)
    assert first.track.anchor and second.track.anchor and first.track.anchor < second.track.anchor


async def test_republishing_in_a_swap_of_devices_loses_nothing(livekit: LivekitServer, room_name: str) -> None:
    """The microphone is unpublished and another one published; the participant stays."""
    async with livekit.join(room_name, "anna") as anna, listening(livekit, room_name) as listener:
        for round_, said in enumerate((GREEK, DIGITS), 1):
            await anna.publish()
            await listener.until(lambda one, at=round_: playing(one, "anna", at))
            await anna.say(said)
            await anna.unpublish()
    first, second = listener.of("anna")
    check(first.words, GREEK)
    check(second.words, DIGITS)


async def test_muted_time_is_a_gap_on_the_clock_and_not_audio(livekit: LivekitServer, room_name: str) -> None:
    """After the hang-over a muted track yields nothing, and what is said after unmuting stands at its time."""
    async with livekit.join(room_name, "anna") as anna, listening(livekit, room_name) as listener:
        await anna.publish()
        await listener.until(lambda one: playing(one, "anna"))
        await anna.say(GREEK)
        anna.mute()
        await listener.until(lambda one: one.of("anna")[0].track.stats.muted)
        await asyncio.sleep(3)
        anna.unmute()
        await listener.until(lambda one: not one.of("anna")[0].track.stats.muted)
        await anna.say(DIGITS)
        await asyncio.sleep(0.5)
    (track,) = listener.tracks
    check(track.words, f"{GREEK} {DIGITS}")
    offsets = track.chunks
    widest = max(b[0] - a[0] - a[1] for a, b in pairwise(offsets)) / 16_000
    assert widest >= 1.5, f"widest gap {widest} s"
    assert track.track.stats.silent_samples >= 1.5 * 16_000 and track.track.stats.lost_samples == 0


async def test_a_muted_track_rests_and_loses_no_word_at_its_unmuting(livekit: LivekitServer, room_name: str) -> None:
    """Its zeros are not even moved; it stays subscribed, so the first word after unmuting is there, at its time."""
    options = RoomOptions(livekit.url, VisitOptions(hang_over_s=0.3), look_s=0.1)
    async with livekit.join(room_name, "anna") as anna, listening(livekit, room_name, options) as listener:
        await anna.publish()
        await listener.until(lambda one: playing(one, "anna"))
        await anna.say(GREEK)
        anna.mute()
        await listener.until(lambda one: one.of("anna")[0].track.stats.resting)
        resting = listener.of("anna")[0].track.stats.silent_samples
        await asyncio.sleep(1)
        assert listener.of("anna")[0].track.stats.silent_samples == resting
        anna.unmute()
        await anna.say(DIGITS, lead_s=0)
        await asyncio.sleep(0.5)
    (track,) = listener.tracks
    check(track.words, f"{GREEK} {DIGITS}")
    assert set(track.words) & {"zero", "one"}, "the words right after unmuting"
    assert track.track.stats.silent_samples >= resting + 16_000 and track.track.stats.lost_samples == 0


async def test_a_track_muted_for_long_is_unsubscribed_until_it_is_unmuted(
    livekit: LivekitServer, room_name: str
) -> None:
    """On demand. Unmuting within the same moment must not leave it deaf either; it stays one track throughout."""
    options = RoomOptions(livekit.url, VisitOptions(hang_over_s=0, unsubscribe_muted_s=0.1), look_s=0.1)
    async with livekit.join(room_name, "anna") as anna, listening(livekit, room_name, options) as listener:
        await anna.publish()
        await listener.until(lambda one: playing(one, "anna"))

        def unsubscribed(one: Listener) -> bool:
            visit = one.room._visit
            assert visit is not None
            return visit.room.remote_participants["anna"].track_publications[track.track.sid].track is None

        (track,) = listener.tracks
        for round_, said in enumerate((GREEK, DIGITS, COLOURS)):
            anna.mute()
            await listener.until(unsubscribed)
            await asyncio.sleep(0.2 * round_)
            heard = sum(_heard(track))
            anna.unmute()
            await listener.until(lambda _, at=heard: sum(_heard(track)) > at + 16_000)
            await anna.say(said)
        await asyncio.sleep(0.5)
    check(track.words, f"{GREEK} {DIGITS} {COLOURS}")
    assert listener.tracks == [track]


def _heard(track: HeardTrack) -> tuple[int, int]:
    return track.track.stats.heard_samples, track.track.stats.silent_samples


async def test_somebody_who_never_speaks_costs_nothing(livekit: LivekitServer, room_name: str) -> None:
    """A published track without sound yields no chunk; a participant without a track yields no track."""
    async with livekit.join(room_name, "anna") as anna, livekit.join(room_name, "bob"):
        async with listening(livekit, room_name) as listener:
            await anna.publish()
            await listener.until(lambda one: playing(one, "anna"))
            await asyncio.sleep(1)
        assert [one.track.identity for one in listener.tracks] == ["anna"]
        assert not listener.tracks[0].chunks


@pytest.mark.parametrize("wanted", [False, True])
async def test_screen_share_sound_is_heard_on_demand(livekit: LivekitServer, room_name: str, wanted: bool) -> None:
    options = RoomOptions(livekit.url, VisitOptions(screen_share=wanted))
    async with livekit.join(room_name, "anna") as anna, listening(livekit, room_name, options) as listener:
        await listener.until(lambda one: one.room.trouble() is None)
        await anna.publish(rtc.TrackSource.SOURCE_SCREENSHARE_AUDIO)
        if wanted:
            await listener.until(lambda one: playing(one, "anna"))
        else:
            await asyncio.sleep(1)
            assert not listener.tracks


async def test_the_last_words_before_hanging_up_are_heard(livekit: LivekitServer, room_name: str) -> None:
    """No silence after the last word: the participant leaves in the middle of it all."""
    async with livekit.join(room_name, "bob"), listening(livekit, room_name) as listener:
        async with livekit.join(room_name, "anna") as anna:
            await anna.publish()
            await listener.until(lambda one: playing(one, "anna"))
            await anna.say(GREEK, tail_s=0.15)
        await listener.until(lambda one: one.of("anna")[0].over)
        words = listener.words("anna")
    check(words, GREEK)
    assert words[-1] in ("golf", "hotel")


# --- how it ends --------------------------------------------------------------------------------------------


async def test_an_empty_room_is_left_after_a_while(livekit: LivekitServer, room_name: str) -> None:
    options = RoomOptions(livekit.url, empty_s=1.0, look_s=0.1)
    async with livekit.join(room_name, "anna"), listening(livekit, room_name, options) as listener:
        await listener.until(lambda one: one.room.trouble() is None)
        await asyncio.sleep(1.5)
        assert listener.room.ended is None, "somebody is there"
        async with livekit.api() as service:
            removed = api.RoomParticipantIdentity(room=room_name, identity="anna")
            await service.room.remove_participant(removed)
        await listener.until(lambda one: one.room.ended is RoomEnd.EMPTY)


async def test_a_room_that_does_not_exist_is_not_made(livekit: LivekitServer, room_name: str) -> None:
    """It is said, and the room is joined when somebody has opened it."""
    async with listening(livekit, room_name) as listener:
        await listener.until(lambda one: "does not exist" in (one.room.trouble() or ""))
        async with livekit.api() as service:
            assert not (await service.room.list_rooms(api.ListRoomsRequest(names=[room_name]))).rooms
        async with livekit.join(room_name, "anna"):
            await listener.until(lambda one: one.room.trouble() is None)


@pytest.mark.parametrize("end", [RoomEnd.REMOVED, RoomEnd.OVER, RoomEnd.REPLACED])
async def test_being_sent_away_ends_it_with_the_reason(livekit: LivekitServer, room_name: str, end: RoomEnd) -> None:
    async with livekit.join(room_name, "anna") as anna, listening(livekit, room_name) as listener:
        await anna.publish()
        await listener.until(lambda one: playing(one, "anna"))
        async with livekit.api() as service:
            bot = f"transcriber-{room_name}"
            match end:
                case RoomEnd.REMOVED:
                    await service.room.remove_participant(api.RoomParticipantIdentity(room=room_name, identity=bot))
                case RoomEnd.OVER:
                    await service.room.delete_room(api.DeleteRoomRequest(room=room_name))
                case _:
                    async with livekit.join(room_name, bot):
                        pass
        await listener.until(lambda one: one.room.ended is end and all(track.over for track in one.tracks))
        assert listener.room.trouble() == end.value


async def test_the_gateway_is_hidden_and_keeps_no_room_open(frail_livekit: LivekitServer, room_name: str) -> None:
    """People do not see it; the room ends with its last person."""
    livekit = frail_livekit
    livekit.departure_timeout_s = 1
    await asyncio.to_thread(livekit.start)
    async with listening(livekit, room_name, RoomOptions(livekit.url, empty_s=0, look_s=0.1)) as listener:
        async with livekit.join(room_name, "anna") as anna:
            await listener.until(lambda one: one.room.trouble() is None)
            await asyncio.sleep(0.3)
            assert not anna.room.remote_participants
            async with livekit.api() as service, asyncio.timeout(60):
                while True:  # the server counts every few seconds; two would be one too many
                    (room,) = (await service.room.list_rooms(api.ListRoomsRequest(names=[room_name]))).rooms
                    assert room.num_participants <= 1
                    if room.num_participants == 1:
                        break
                    await asyncio.sleep(0.2)
        await listener.until(lambda one: one.room.ended is RoomEnd.OVER)


async def test_an_encrypted_room_is_said(livekit: LivekitServer, room_name: str) -> None:
    async with livekit.join(room_name, "anna", encrypted=True) as anna:
        await anna.publish()
        async with listening(livekit, room_name) as listener:
            await listener.until(lambda one: "end-to-end encrypted" in (one.room.trouble() or ""))
            assert "anna" in (listener.room.trouble() or "") and not listener.tracks


# --- what breaks ----------------------------------------------------------------------------------------------


async def test_a_server_that_comes_late_is_joined_in_the_end(frail_livekit: LivekitServer, room_name: str) -> None:
    options = RoomOptions(frail_livekit.url, retry_first_s=0.05, retry_ceiling_s=0.2, look_s=0.1)
    async with listening(frail_livekit, room_name, options) as listener:
        await listener.until(lambda one: "not reachable" in (one.room.trouble() or ""))
        await asyncio.to_thread(frail_livekit.start)
        async with frail_livekit.join(room_name, "anna") as anna:
            await anna.publish()
            await listener.until(lambda one: playing(one, "anna"))


async def test_a_server_that_restarts_in_mid_call_is_joined_again(frail_livekit: LivekitServer, room_name: str) -> None:
    """The gateway's participant comes back by itself; who rejoins is heard again."""
    await asyncio.to_thread(frail_livekit.start)
    options = RoomOptions(frail_livekit.url, retry_first_s=0.05, retry_ceiling_s=0.5, look_s=0.1)
    async with listening(frail_livekit, room_name, options) as listener:
        async with frail_livekit.join(room_name, "anna") as anna:
            await anna.publish()
            await listener.until(lambda one: playing(one, "anna"))
            await anna.say(GREEK)
            await asyncio.to_thread(frail_livekit.stop)
        await asyncio.to_thread(frail_livekit.start)
        async with frail_livekit.join(room_name, "anna") as anna:
            await anna.publish()
            await listener.until(lambda one: one.tracks[-1].track.anchor is not None and len(one.tracks) >= 2, 60)
            await anna.say(DIGITS)
            await asyncio.sleep(0.5)
    check(listener.tracks[0].words, GREEK)
    check(listener.tracks[-1].words, DIGITS)


async def test_a_join_that_never_ends_is_given_up_without_harm(room_name: str, livekit: LivekitServer) -> None:
    """A server that accepts and says nothing: said within the budget; the process lives on and the next join works."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"ws://127.0.0.1:{deaf.getsockname()[1]}"
        options = RoomOptions(url, join_s=0.5, retry_first_s=0.05, retry_ceiling_s=0.1)
        async with (
            livekit.join(room_name, "anna"),
            listening(livekit, room_name, options, check_left=False) as listener,
        ):
            await listener.until(lambda one: "did not let us join" in (one.room.trouble() or ""))
            deaf.close()
    async with livekit.join(room_name, "anna"), listening(livekit, room_name) as listener:
        await listener.until(lambda one: one.room.trouble() is None)


@pytest.mark.parametrize(
    "scenario",
    [rtc.SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT, rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT],
    ids=["resume", "full"],
)
async def test_a_reconnect_of_the_gateway_keeps_everybody_heard(
    livekit: LivekitServer, room_name: str, scenario: rtc.SimulateScenarioKind.ValueType
) -> None:
    async with livekit.join(room_name, "anna") as anna, listening(livekit, room_name) as listener:
        await anna.publish()
        await listener.until(lambda one: playing(one, "anna"))
        await anna.say(GREEK)
        visit = listener.room._visit
        assert visit is not None
        await visit.room.simulate_scenario(scenario)
        tracks = 2 if scenario == rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT else 1
        await asyncio.sleep(1)
        await listener.until(lambda one: playing(one, "anna", tracks))
        await anna.say(DIGITS)
        await asyncio.sleep(0.5)
    check(listener.words("anna"), f"{GREEK} {DIGITS}")
    assert listener.room.joins == 1


@pytest.mark.parametrize("full", [False, True], ids=["resume", "full"])
async def test_whoever_unmutes_after_a_reconnect_is_heard(livekit: LivekitServer, room_name: str, full: bool) -> None:
    """Her track rested while the gateway's connection broke."""
    options = RoomOptions(livekit.url, VisitOptions(hang_over_s=0), look_s=0.1)
    async with livekit.join(room_name, "anna") as anna, listening(livekit, room_name, options) as listener:
        await anna.publish()
        await listener.until(lambda one: playing(one, "anna"))
        anna.mute()
        await listener.until(lambda one: one.of("anna")[0].track.stats.resting)
        visit, kind = listener.room._visit, rtc.SimulateScenarioKind
        assert visit is not None
        await visit.room.simulate_scenario(kind.SIMULATE_FULL_RECONNECT if full else kind.SIMULATE_SIGNAL_RECONNECT)
        await asyncio.sleep(1)
        await listener.until(lambda one: playing(one, "anna", 2 if full else 1))
        anna.unmute()
        await listener.until(lambda one: not one.of("anna")[-1].track.stats.muted)
        await asyncio.sleep(0.5)
        for tries_left in (2, 1, 0):  # the jitter buffer has its size to find again, which may spoil several words
            before = len(listener.words("anna"))
            await anna.say(DIGITS)
            await asyncio.sleep(0.5)
            heard = listener.words("anna")[before:]
            if not tries_left or words_in_order(DIGITS.split(), heard) >= 0.75:
                break
    check(heard, DIGITS)
    assert listener.room.joins == 1


# --- captions -------------------------------------------------------------------------------------------------


async def test_captions_appear_under_the_speaker(livekit: LivekitServer, room_name: str) -> None:
    """As the stock components read them: one text stream a version, the segment's id, the speaker as sender."""
    seen: list[tuple[str, dict[str, str], str]] = []
    reading: set[asyncio.Task[None]] = set()

    def opened(reader: rtc.TextStreamReader, sender: str) -> None:
        async def read() -> None:
            seen.append((sender, dict(reader.info.attributes or {}), await reader.read_all()))

        reading.add(asyncio.ensure_future(read()))

    async with livekit.join(room_name, "anna") as anna, livekit.join(room_name, "bob") as bob:
        bob.room.register_text_stream_handler("lk.transcription", opened)
        await anna.publish()
        async with listening(livekit, room_name) as listener:
            await listener.until(lambda one: playing(one, "anna"))
            track = listener.tracks[0].track
            for version in range(1, 21):
                track.caption("s1", f"version {version}", is_final=False)
                await asyncio.sleep(0.02)
            track.caption("s1", "the final", is_final=True)
            await listener.until(lambda _: any(text == "the final" for _, _, text in seen))
    assert {sender for sender, _, _ in seen} == {"anna"}
    assert all(facts["lk.segment_id"] == "s1" and facts["lk.transcribed_track_id"] == track.sid for _, facts, _ in seen)
    assert [facts["lk.transcription_final"] for _, facts, _ in seen] == ["false"] * (len(seen) - 1) + ["true"]
    assert 1 <= len(seen) - 1 <= 3, "partials are throttled to three a second"


async def test_older_clients_see_captions_as_packets(livekit: LivekitServer, room_name: str) -> None:
    """`TranscriptionReceived`, under the speaker and on the track."""
    seen: list[tuple[str, str, str, bool, str]] = []

    def received(
        segments: list[rtc.TranscriptionSegment],
        participant: rtc.Participant | None,
        publication: rtc.TrackPublication | None,
    ) -> None:
        assert participant is not None
        assert publication is not None
        seen.extend((participant.identity, one.id, one.text, one.final, publication.sid) for one in segments)

    async with livekit.join(room_name, "anna") as anna, livekit.join(room_name, "bob") as bob:
        bob.room.on("transcription_received", received)
        await anna.publish()
        async with listening(livekit, room_name) as listener:
            await listener.until(lambda one: playing(one, "anna"))
            track = listener.tracks[0].track
            track.caption("s1", "the", is_final=False)
            await listener.until(lambda _: bool(seen))
            track.caption("s1", "the final", is_final=True)
            await listener.until(lambda _: len(seen) == 2)
            assert seen == [("anna", "s1", "the", False, track.sid), ("anna", "s1", "the final", True, track.sid)]
