"""Two gateways on one database that goes away; one of them dies meanwhile. Nothing is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from faults_world import WITHIN_S, Database, World, open_world


async def both_are_stored(one: World, two: World, context: str) -> None:
    await one.all_seen_is_stored(f"{context}, first gateway")
    await two.all_seen_is_stored(f"{context}, second gateway")


async def held_by(world: World, slug: str) -> bool:
    """Whether a transcription runs in this gateway."""
    shown = await world.call("GET", f"/api/transcription/{slug}")
    async with world.database.connection() as connection:
        owner = await connection.fetchval("SELECT owner FROM gateway.transcription WHERE session_slug = $1", slug)
    name = await asyncio.to_thread((world.folder / "data" / "instance").read_text)
    return shown["state"] != "stopped" and owner == name.strip()


@pytest.mark.timeout(240)
async def test_two_gateways_live_through_an_outage_and_the_death_of_one(database: Database, tmp_path: Path) -> None:
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
    async with (
        open_world(database, folders[0], sessions=1, GATEWAY_LEASE_S="5") as one,
        open_world(database, folders[1], sessions=1, GATEWAY_LEASE_S="5") as two,
    ):
        await one.more_captions(2)
        await two.more_captions(2)
        await both_are_stored(one, two, "before")

        await database.crash()
        await asyncio.gather(one.more_captions(2), two.more_captions(2))
        await database.start()
        await both_are_stored(one, two, "after the database was stopped and started")

        with database.frozen():
            await asyncio.gather(one.more_captions(3), two.more_captions(2))
            await one.kill_gateway()
        [viewer] = one.viewers
        seen = Counter(viewer.seen.values())
        await two.more_captions(1)
        async with asyncio.timeout(WITHIN_S):  # the second gateway takes over what the first held
            while not await held_by(two, viewer.slug):
                await asyncio.sleep(0.2)
        await one.start_gateway()
        async with database.connection() as connection:
            rows = await connection.fetch(
                'SELECT s."utteranceId" AS utterance_id, s.text, e.seq FROM "TranscriptSegment" s '
                'JOIN "VideoSession" v ON v.id = s."videoSessionId" '
                'LEFT JOIN gateway.transcript_event e ON e.session_id = v.id AND e.utterance_id = s."utteranceId" '
                "WHERE v.slug = $1",
                viewer.slug,
            )
        stored = Counter((row["utterance_id"], row["text"]) for row in rows)
        assert not seen - stored, "what a viewer saw is missing"
        assert set(stored.values()) == {1}
        numbers = sorted(row["seq"] for row in rows if row["seq"] is not None)
        assert numbers == list(range(1, len(numbers) + 1))
        strays = len(rows) - len(numbers)
        assert strays, "the outage was too short to prove anything"
        one.strays = two.strays = strays
        await two.more_captions(1)
        await two.all_seen_is_stored("at the end")
