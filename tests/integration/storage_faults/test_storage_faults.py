"""Everything that can happen to the database and to us, in random order, while people speak and others watch.

A real gateway process is fed over RTMP and watched by WebSocket. After every round: what anybody saw is in the tables,
once, with its number and words, and no number is missing.

`STORAGE_FAULT_ROUNDS` (default 10: every kind once; `make faults` plays 400) and `STORAGE_FAULT_SEED` choose a run,
`STORAGE_FAULT_LANES` (4, or a fifth of the rounds) how many set-ups share it; a failure names its seed.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

import pytest
from faults_world import World, open_database, open_world

ROUNDS = int(os.environ.get("STORAGE_FAULT_ROUNDS", "10"))
LANES = int(os.environ.get("STORAGE_FAULT_LANES", min(4, max(1, ROUNDS // 5))))
SEED = int(os.environ.get("STORAGE_FAULT_SEED", "1"))


async def frozen(world: World, dice: random.Random) -> None:
    """The server hangs with its connections open; captions go on."""
    with world.database.frozen():
        await world.more_captions(dice.randrange(1, 4))


async def crashed(world: World, dice: random.Random) -> None:
    """The server is killed and stays away for a while; captions go on."""
    await world.database.crash()
    await world.more_captions(dice.randrange(1, 4))
    await world.database.start()


async def failed_over(world: World, dice: random.Random) -> None:
    """Every connection is dropped at once, the next one works."""
    async with world.database.connection() as connection:
        for _ in range(dice.randrange(1, 4)):
            await world.database.disconnect_everybody(connection)
            await asyncio.sleep(dice.random() * 0.2)
    await world.more_captions(1)


async def crowded(world: World, dice: random.Random) -> None:
    """The server has no connection left for us; captions go on."""
    async with world.database.crowded():
        await world.more_captions(dice.randrange(1, 4))


async def slow(world: World, dice: random.Random) -> None:
    """Storing waits for a lock that somebody holds; captions go on, and latecomers get what is only on disk."""
    async with world.database.locked("EXCLUSIVE"):
        await world.more_captions(dice.randrange(1, 3))
        await world.newcomer_sees_everything(dice.choice(world.viewers))
        await world.export_has_everything(dice.choice(world.viewers))


async def unreadable(world: World, dice: random.Random) -> None:
    """Nothing can be read either."""
    async with world.database.locked("ACCESS EXCLUSIVE"):
        await world.more_captions(dice.randrange(1, 3))


async def without_disk(world: World, dice: random.Random) -> None:
    """Neither the database nor our own disk takes anything; captions go on, and it is told."""
    assert await world.metric("gateway_spool_failing") == 0
    with world.database.frozen(), world.disk_full():
        await world.more_captions(dice.randrange(2, 4))
        for _ in range(5):  # the first ones were perhaps on their way before there was no disk
            if await world.metric("gateway_spool_failing"):
                break
            await world.more_captions(1)
        assert await world.metric("gateway_spool_failing") == 1


async def killed(world: World, dice: random.Random) -> None:
    """The gateway is killed in mid-sentence and started again."""
    await asyncio.sleep(dice.random() * 0.3)
    await world.kill_gateway()
    await world.start_gateway()
    await world.more_captions(1)


async def killed_in_an_outage(world: World, dice: random.Random) -> None:
    """The gateway dies while people have seen more than the database has."""
    with world.database.frozen():
        await world.more_captions(dice.randrange(1, 4))
        await world.kill_gateway()
    await world.start_gateway()
    await world.more_captions(1)


async def killed_with_the_database(world: World, dice: random.Random) -> None:
    """Both die; the database is back first."""
    await world.database.crash()
    await world.more_captions(dice.randrange(1, 4))
    await world.kill_gateway()
    await world.database.start()
    await world.start_gateway()
    await world.more_captions(1)


Fault: TypeAlias = Callable[[World, random.Random], Awaitable[None]]

FAULTS: Final[dict[Fault, int]] = {
    frozen: 4,
    crashed: 3,
    failed_over: 3,
    crowded: 3,
    slow: 4,
    unreadable: 2,
    without_disk: 2,
    killed: 1,
    killed_in_an_outage: 2,
    killed_with_the_database: 1,
}


@pytest.mark.timeout(120 + 12 * ROUNDS // LANES)
async def test_whatever_happens_all_that_was_seen_is_stored_once(
    needs_postgres: None, open_folder: Path, tmp_path: Path
) -> None:
    """Rounds of faults on long-lived set-ups, several beside each other: most of a round is waiting."""
    began = asyncio.get_running_loop().time()
    tallies = []
    each_once = random.Random(SEED).sample(list(FAULTS), len(FAULTS))  # in one of the lanes, before chance decides
    async with asyncio.TaskGroup() as lanes:
        for lane in range(LANES):
            folders = open_folder / str(lane), tmp_path / str(lane)
            for folder in folders:
                folder.mkdir(mode=0o755)
            rounds = ROUNDS // LANES + (lane < ROUNDS % LANES)
            playing = _lane(*folders, f"{SEED}:{lane}", each_once[lane::LANES], rounds)
            tallies.append(lanes.create_task(playing, name=f"lane {lane}"))
    took = asyncio.get_running_loop().time() - began
    tally = sum((task.result() for task in tallies), Counter())
    print(f"{ROUNDS} rounds in {took:.0f} s, {tally.pop('compared')} finals compared:", dict(tally))


async def _lane(database_folder: Path, folder: Path, seed: str, each: list[Fault], rounds: int) -> Counter[str]:
    """One database, one gateway. Returns: how many rounds of each kind, and how many finals were compared."""
    dice = random.Random(seed)
    plan = each + dice.choices(list(FAULTS), list(FAULTS.values()), k=max(0, rounds - len(each)))
    done = Counter[str]()
    async with (
        open_database(database_folder) as database,
        open_world(database, folder, sessions=2, GATEWAY_LEASE_S="5") as world,
    ):
        await world.more_captions(2)
        for number, fault in enumerate(plan[:rounds], 1):
            context = f"seed {seed}, round {number}, {fault.__name__}"
            try:
                await fault(world, dice)
                compared = await world.all_seen_is_stored(context)
            except AssertionError as error:
                raise AssertionError(f"{context}: {error}") from error
            done[fault.__name__] += 1
        for viewer in world.viewers:
            await world.newcomer_sees_everything(viewer)
            stopped = await world.call("POST", "/api/transcription/stop", {"sessionSlug": viewer.slug})
            assert stopped["state"] == "stopped"
        compared = await world.all_seen_is_stored(f"seed {seed}, at the end")
        assert await world.metric("gateway_spool_records") == 0
        assert not list((folder / "data" / "spool").glob("*.segment"))
        async with database.connection() as connection:
            rows = await connection.fetch(
                'SELECT "videoSessionId", "durationSeconds", "endedAt" FROM "TranscriptionUsage"'
            )
        assert len(rows) == len(world.viewers)
        assert all(row["durationSeconds"] > 0 and row["endedAt"] is not None for row in rows)
    return done + Counter(compared=compared)
