"""Rooms through the whole gateway: every participant transcribed, under their own name."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
from livekit.api import UpdateParticipantRequest
from support.gateway import Running, Watcher, words_in_order
from support.livekit import LivekitServer, Person

from stt.local.scripted import speak

ANNA = "alpha bravo charlie delta echo foxtrot golf hotel india juliet"
BOB = "zero one two three four five six seven eight nine"


def heard(watcher: Watcher, identity: str) -> list[str]:
    said = [final["data"] for final in watcher.finals if final["data"]["participantIdentity"] == identity]
    return [word for data in said for word in data["text"].split()]


def check_heard(watcher: Watcher, identity: str, said: str) -> None:
    """Nobody else's words, and in order. The jitter buffer may stretch a tone, which spoils a word now and then."""
    words = heard(watcher, identity)
    assert set(words) <= set(said.split())
    assert words_in_order(said.split(), words) >= 0.8, f"{identity}: {words}"


async def test_everybody_is_transcribed_under_their_own_name(
    gateway: Running, livekit: LivekitServer, database_url: str
) -> None:
    """Somebody who was there before and somebody who comes later, speaking at the same time; rows with participants."""
    slug = await gateway.new_session()
    async with livekit.join(slug, "anna", "Anna") as anna:
        await anna.publish()
        started = await gateway.start(slug, source="livekit")
        assert started["created"] and started["state"] == "starting" and started["source"] == "livekit"
        async with gateway.watch(slug) as watcher:
            async with livekit.join(slug, "bob") as bob:
                await bob.publish()
                await gateway.until(slug, lambda seen: len(seen["tracks"]) == 2)
                await asyncio.gather(anna.say(ANNA), bob.say(BOB))
                await watcher.until(lambda w: len(w.words) >= 18)
            await gateway.until(slug, lambda seen: len(seen["tracks"]) == 1)
            stopped = await gateway.stop(slug)
            assert stopped["finalsComplete"] is True
        assert [final["seq"] for final in watcher.finals] == list(range(1, len(watcher.finals) + 1))
        check_heard(watcher, "anna", ANNA)
        check_heard(watcher, "bob", BOB)
        names = {(f["data"]["participantIdentity"], f["data"]["participantName"]) for f in watcher.finals}
        assert names == {("anna", "Anna"), ("bob", None)}
        assert watcher.of("transcript.partial")
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        'SELECT p.identity, s.text FROM "TranscriptSegment" s JOIN "Participant" p ON p.id = s."participantId"'
    )
    usage = await connection.fetch('SELECT * FROM "TranscriptionUsage"')
    await connection.close()
    assert len(rows) == len(watcher.finals)
    assert {row["identity"] for row in rows} == {"anna", "bob"}
    assert len(usage) == 2 and all(row["durationSeconds"] >= 3 for row in usage)


async def test_words_stay_with_who_says_them_when_people_interrupt_and_swap(
    gateway: Running, livekit: LivekitServer
) -> None:
    """Three at once, the next one before the last has ended, then everybody with the words of another."""
    parts = {
        "anna": "alpha bravo charlie delta echo foxtrot",
        "bob": "zero one two three four five",
        "carol": "red orange yellow green blue violet",
    }
    slug = await gateway.new_session()
    async with AsyncExitStack() as room:
        people = {who: await room.enter_async_context(livekit.join(slug, who)) for who in parts}
        for person in people.values():
            await person.publish()
        await gateway.start(slug, source="livekit")
        await gateway.until(slug, lambda seen: len(seen["tracks"]) == 3)

        async def say(who: Person, words: str, after_s: float) -> None:
            await asyncio.sleep(after_s)
            await who.say(words, tail_s=1.0)

        async with gateway.watch(slug) as watcher:
            said: dict[str, list[str]] = {who: [] for who in parts}
            for shift in range(2):  # in the second round everybody has somebody else's part
                round_ = dict(zip(parts, [*parts.values()][shift:] + [*parts.values()][:shift], strict=True))
                await asyncio.gather(
                    *(say(people[who], words, 0.5 * n) for n, (who, words) in enumerate(round_.items()))
                )
                for who, words in round_.items():
                    said[who].append(words)
            await gateway.stop(slug)
            await watcher.until(lambda w: any(m["data"]["state"] == "stopped" for m in w.of("session.state")))
        for who, words in said.items():
            check_heard(watcher, who, " ".join(words))


async def test_a_track_that_ends_in_mid_word_gives_its_last_words_as_a_final(
    gateway: Running, livekit: LivekitServer
) -> None:
    """She is cut off while she speaks. Nobody stops anything; what she said before arrives, the half word does not."""
    slug = await gateway.new_session()
    async with livekit.join(slug, "bob"), livekit.join(slug, "anna") as anna:
        await anna.publish()
        await gateway.start(slug, source="livekit")
        await gateway.until(slug, lambda seen: bool(seen["tracks"]))
        async with gateway.watch(slug) as watcher:
            pcm, said = speak(ANNA, lead_s=0.3)
            half = sum(said[-1][1:]) / 2
            await anna.play(pcm[: 2 * int(half * 16_000)])
            await anna.unpublish()
            await watcher.until(lambda w: bool(w.finals))
            await gateway.until(slug, lambda seen: not seen["tracks"] and seen["state"] == "running")
            heard_ = heard(watcher, "anna")
        await gateway.stop(slug)
    assert words_in_order(ANNA.split()[:-1], heard_) >= 0.8 and ANNA.split()[-1] not in heard_


async def test_a_microphone_that_goes_quiet_gets_its_final_and_no_silence_is_paid_for(
    gateway: Running, livekit: LivekitServer
) -> None:
    """Anna mutes right behind her last word; Bob's client sends nothing any more (DTX). Both speak again later."""
    slug = await gateway.new_session()
    turns = ("alpha bravo charlie delta", "echo foxtrot golf hotel")
    async with livekit.join(slug, "anna") as anna, livekit.join(slug, "bob") as bob:
        for one in (anna, bob):
            await one.publish()
        await gateway.start(slug, source="livekit")
        await gateway.until(slug, lambda seen: len(seen["tracks"]) == 2)
        async with gateway.watch(slug) as watcher:
            for n, words in enumerate(turns, 1):
                anna.unmute()
                await asyncio.gather(anna.say(words, tail_s=0.1), bob.say(words, tail_s=0.1))
                anna.mute()
                await watcher.until(
                    lambda w, n=n: all(len(captions(w, one)) == n for one in ("anna", "bob")),
                )
                await asyncio.sleep(1.0)
            stopped = await gateway.stop(slug)
    for one in ("anna", "bob"):
        first, second = captions(watcher, one)
        assert second["startMs"] - first["endMs"] >= 1_000
        assert words_in_order(turns[0].split(), first["text"].split()) >= 0.5
        assert words_in_order(turns[1].split(), second["text"].split()) >= 0.5
    spoken_s = 2 * sum(len(speak(words, lead_s=0.3, tail_s=0.1)[0]) / 32_000 for words in turns)
    assert stopped["usage"]["receipt"]["secondsSent"] <= spoken_s + 4 * 1.2


def captions(watcher: Watcher, identity: str) -> list[dict[str, Any]]:
    return [one["data"] for one in watcher.finals if one["data"]["participantIdentity"] == identity]


async def test_who_opts_out_by_an_attribute_is_not_heard_until_it_is_gone(
    gateway: Running, livekit: LivekitServer
) -> None:
    """The app sets it while Anna is in the room; the watchers are told, and nothing of the time between is metered."""
    slug = await gateway.new_session()
    async with livekit.join(slug, "anna") as anna:
        await anna.publish()
        await gateway.start(slug, source="livekit")
        await gateway.until(slug, lambda seen: len(seen["tracks"]) == 1)
        async with gateway.watch(slug) as watcher:
            for value, words in (("on", "alpha bravo"), ("off", "charlie delta"), ("on", "echo foxtrot")):
                async with livekit.api() as api:
                    attributes = {"transcription": value}
                    await api.room.update_participant(
                        UpdateParticipantRequest(room=slug, identity="anna", attributes=attributes)
                    )
                expected = ["anna"] if value == "off" else []
                await gateway.until(slug, lambda seen, now=expected: seen["paused"]["participants"] == now)
                await anna.say(words, tail_s=1.0)
                if value == "off":
                    assert (await gateway.ok("GET", f"/api/transcription/{slug}"))["tracks"][0]["paused"]
            await gateway.stop(slug)
            told = [one["data"]["participants"] for one in watcher.of("session.pause")]
        assert told == [["anna"], []]
        said = set(heard(watcher, "anna"))
        assert not said & {"charlie", "delta"}
        assert said & {"alpha", "bravo"} and said & {"echo", "foxtrot"}
