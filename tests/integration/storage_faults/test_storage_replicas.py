"""Two gateways on one database that goes away; one of them dies meanwhile. Nothing is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from faults_world import Database, Viewer, World, open_world
from support.waiting import until

Said = tuple[str, str]
"""Utterance id and text."""


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


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


async def segments(database: Database, slug: str) -> list[tuple[int | None, Said]]:
    """All that is kept of a session, each with its number, if it has one."""
    async with database.connection() as connection:
        rows = await connection.fetch(
            'SELECT e.seq, s."utteranceId" AS utterance_id, s.text FROM "TranscriptSegment" s '
            'JOIN "VideoSession" v ON v.id = s."videoSessionId" '
            'LEFT JOIN gateway.transcript_event e ON e.session_id = v.id AND e.utterance_id = s."utteranceId" '
            "WHERE v.slug = $1 ORDER BY e.seq",
            slug,
        )
    return [(row["seq"], (row["utterance_id"], row["text"])) for row in rows]


@pytest.mark.timeout(240)
async def test_two_gateways_live_through_an_outage_and_the_death_of_one(database: Database, tmp_path: Path) -> None:
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
    async with (
        open_world(database, folders[0], sessions=1, GATEWAY_LEASE_S="5") as one,
        open_world(database, folders[1], sessions=1, GATEWAY_LEASE_S="5") as two,
        AsyncExitStack() as stack,
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
        slug, before = viewer.slug, dict(viewer.seen)
        viewer.epochs = 2  # it comes back when the first gateway does

        # Somebody who saw all of it goes on at the second gateway, which does not know the last of it.
        mover = Viewer(slug, dict(before), epoch=viewer.epoch, last=viewer.last, epochs=2)
        moved = asyncio.create_task(two.view(mover), name="move")
        stack.push_async_callback(ended, moved)
        await two.more_captions(1)
        await until(lambda: held_by(two, slug), "the second gateway takes over what the first held", every_s=0.2)
        async with database.connection() as connection:
            key = await connection.fetchval(
                "SELECT stream_key FROM gateway.transcription WHERE session_slug = $1", slug
            )
        speaking = asyncio.create_task(two.speak(f"rtmp://127.0.0.1:{two.rtmp_port}/live/{key}"), name="speak on")
        stack.push_async_callback(ended, speaking)
        await two.until(lambda: mover.epochs == 1 and mover.last > len(before), "as many finals as there were")
        assert any(mover.seen[seq] != said for seq, said in before.items()), "the outage was too short to prove it"

        await one.start_gateway()  # and its spool drains, while the second one numbers
        kept = await segments(database, slug)
        assert not set(before.values()) - {said for _, said in kept}, "what a viewer saw is missing"
        assert None in {seq for seq, _ in kept}, "a number that only the second gateway may give"

        await ended(speaking)
        await two.call("POST", "/api/transcription/stop", {"sessionSlug": slug})
        kept = await segments(database, slug)
        assert [seq for seq, _ in kept] == list(range(1, len(kept) + 1))
        assert set(Counter(said for _, said in kept).values()) == {1}
        await two.until(lambda: mover.last == len(kept), "the words that were numbered last")
        assert mover.seen == dict(kept)
        await two.more_captions(1)
        await two.all_seen_is_stored("at the end")
