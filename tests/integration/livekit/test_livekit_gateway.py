"""Rooms through the whole gateway: every participant transcribed, under their own name."""

from __future__ import annotations

import asyncio

import asyncpg
from support.gateway import Running, Watcher, words_in_order
from support.livekit import LivekitServer

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
