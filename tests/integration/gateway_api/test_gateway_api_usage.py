"""What docs/usage.md says of the bill, on one transcription: a reconnect, a restart with another price, a stop."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import asyncpg
from support.gateway import write_wav
from support.scripted_gateway import World, scripted_gateway

from stt.local.scripted import speak
from stt.local.server import LocalOptions, LocalServer

PAGE = Path(__file__).parents[3] / "docs" / "usage.md"


async def publish(world: World, url: str) -> None:
    """About five seconds, two of them silence that is not sent."""
    pcm, _ = speak("alpha bravo charlie delta", lead_s=0.5, tail_s=1.0, pauses=[0.0, 2.5, 0.0])
    sound = write_wav(world.folder / "speech.wav", pcm)
    publisher = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway.cli.publish", str(sound), url)
    assert await publisher.wait() == 0


async def sign_in(world: World) -> None:
    """As the app does it, in its own table."""
    connection = await asyncpg.connect(world.gateway.database_url)
    await connection.execute("""INSERT INTO "User" (id) VALUES ('anna-1')""")
    await connection.execute("""UPDATE "Participant" SET "userId" = 'anna-1'""")
    await connection.close()


async def usage(world: World, slug: str) -> Any:
    return await world.call("GET", f"/api/transcription/{slug}/usage")


async def billed(world: World, slug: str) -> Any:
    """Once the provider has told what it bills."""
    async with asyncio.timeout(60):
        while True:
            seen = await usage(world, slug)
            if not seen["billing"]["open"] and not seen["billing"]["unbilled"]:
                return seen
            await asyncio.sleep(0.2)


async def test_the_bill_adds_up_as_the_page_says(database_url: str, tmp_path: Path) -> None:
    async with LocalServer(LocalOptions(engine="scripted")) as provider:
        async with scripted_gateway(database_url, tmp_path, gladia_api_url=provider.url, cost_per_minute=0.6) as world:
            slug = await world.new_session()
            body = {"sessionSlug": slug, "source": "rtmp", "participantName": "Anna", "tags": ["acme"]}
            url = (await world.call("POST", "/api/transcription/start", body))["ingest"]["rtmpUrl"]
            await publish(world, url)
            await sign_in(world)
            await publish(world, url)  # the encoder comes back: the same row goes on
            [first] = (await usage(world, slug))["rows"]
            assert first["endedAt"] is None
            assert (first["participantName"], first["userId"], first["tags"]) == ("Anna", "anna-1", ["acme"])
        async with scripted_gateway(database_url, tmp_path, gladia_api_url=provider.url, cost_per_minute=60.0) as world:
            await publish(world, await world.start(slug))
            await world.stop(slug)
            seen = await billed(world, slug)
    [row] = seen["rows"]
    totals, receipt, billing = seen["totals"], seen["receipt"], seen["billing"]
    assert (row["startedAt"], row["costPerMinute"]) == (first["startedAt"], 0.6)  # a row has one price
    assert row["endedAt"] is not None
    assert (row["participantName"], row["userId"], row["tags"]) == ("Anna", "anna-1", ["acme"])
    assert row["durationSeconds"] > first["durationSeconds"] > 0
    assert row["durationMinutes"] == -(-row["durationSeconds"] // 60)
    assert row["totalCost"] == round(row["durationMinutes"] * row["costPerMinute"], 6)
    assert row["transcriptsReceived"] == row["finalTranscripts"] + row["partialTranscripts"]
    assert totals == {name: row[name] for name in totals}  # of one row

    assert receipt["secondsSent"] == totals["durationSeconds"]
    assert receipt["secondsSaved"] == receipt["secondsSaveable"] > 4
    assert (
        abs(receipt["secondsHeard"] - receipt["secondsSent"] - receipt["secondsSaved"]) <= 2
    )  # durationSeconds is rounded
    assert receipt["costSaved"] == round(receipt["costSaved"], 6)
    assert abs(receipt["costSaved"] - receipt["secondsSaved"] / 60 * 0.6) < 0.002

    sessions = billing["providerSessions"]
    assert {one["outcome"] for one in sessions} == {"closed"} and len(sessions) == 3  # one a publish
    assert billing["sentSeconds"] == round(sum(one["sentSeconds"] for one in sessions), 3)
    assert billing["billedSeconds"] == round(sum(one["billedSeconds"] for one in sessions), 3)
    assert abs(billing["sentSeconds"] - totals["durationSeconds"]) <= 1  # rounded at the restart, and when it is read
    assert all(one["difference"] == round(one["billedSeconds"] - one["sentSeconds"], 3) for one in sessions)

    page = PAGE.read_text()
    assert not {name for name in names(seen) if f"`{name}`" not in page}
    [query] = re.findall(r"```sql\n(.*?);\n```", page, re.DOTALL)
    connection = await asyncpg.connect(database_url)
    try:
        [stored] = await connection.fetch(query.replace("Xb2pntNi", slug))
    finally:
        await connection.close()
    assert {name: stored[name] for name in totals} == totals
    assert stored["transcription_id"] == seen["transcriptionId"]


def names(shape: object) -> set[str]:
    if isinstance(shape, dict):
        return set(shape) | {name for value in shape.values() for name in names(value)}
    return {name for value in shape for name in names(value)} if isinstance(shape, list) else set()
