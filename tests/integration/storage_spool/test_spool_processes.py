"""The spool under real processes: killed at any moment, out of disk, two at once."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.spool.errors import SpoolFull, SpoolInUse
from storage.spool.frames import OVERHEAD
from storage.spool.spool import open_spool

CHILD = Path(__file__).with_name("spool_child.py")
ROUNDS = int(os.environ.get("SPOOL_KILLS", "50"))
SEED = int(os.environ.get("SPOOL_SEED", "1"))


def start(folder: Path, first: int, seed: int) -> subprocess.Popen[bytes]:
    """Without site-packages, which the spool does not need: that halves the time to start."""
    command = [sys.executable, "-S", str(CHILD), str(folder), str(first), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={"PYTHONPATH": str(CHILD.parents[3])})


def live(folder: Path, first: int, seed: int, lines: int) -> list[tuple[str, int]]:
    """Let a child work until it has said `lines` lines, kill it, and tell all it said."""
    with start(folder, first, seed) as child:
        assert child.stdout is not None
        try:
            heard = [child.stdout.readline() for _ in range(lines)]
        finally:
            child.kill()
        heard += child.stdout.read().splitlines(keepends=True)
    whole = [line.decode().split() for line in heard if line.endswith(b"\n")]
    return [(word, int(number)) for word, number in whole]


async def held(folder: Path) -> list[int]:
    async with open_spool(folder, 10_000_000) as spool:
        return [int(data.partition(b":")[0]) for _, data in await spool.peek(1_000_000)]


async def test_a_killed_process_loses_nothing_it_was_promised(tmp_path: Path) -> None:
    """After each kill -9: every acknowledged record is there once and in order, nothing forgotten comes back."""
    dice = random.Random(SEED)
    begun, acknowledged, asked, forgotten = set[int](), set[int](), set[int](), set[int]()
    books = {"a": begun, "A": acknowledged, "f": asked, "F": forgotten}
    for number in range(ROUNDS):
        lines = round(dice.expovariate(1 / 60))
        said = await asyncio.to_thread(live, tmp_path, max(begun, default=0) + 1, dice.randrange(2**32), lines)
        for word, record in said:
            books[word].add(record)
        kept = await held(tmp_path)
        context = f"round {number} of seed {SEED}"
        assert kept == sorted(set(kept)), context
        assert acknowledged - asked <= set(kept), context
        assert not forgotten & set(kept), context
        assert set(kept) <= begun, context
    assert len(acknowledged) > ROUNDS * 5
    assert len(forgotten) > ROUNDS


async def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    """The lock goes with its holder, also when that is killed."""
    with start(tmp_path, 1, 1) as child:
        assert child.stdout is not None
        try:
            child.stdout.readline()
            with pytest.raises(SpoolInUse):
                async with open_spool(tmp_path, 10_000_000, lock_wait_s=0):
                    pass
        finally:
            child.kill()
    await held(tmp_path)  # opens; it may have died before its first record was on the disk


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file may become larger than this: the kernel cuts writes off in the middle, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield 10_000
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_write_that_the_kernel_cuts_off_leaves_nothing(tmp_path: Path, small_files: int) -> None:
    """Told as full; what was there stays, what fits is taken afterwards."""
    record = bytes(3_000 - OVERHEAD)
    async with open_spool(tmp_path, 1_000_000, segment_bytes=1_000_000) as spool:
        for _ in range(3):
            await spool.append([record])
        with pytest.raises(SpoolFull, match="too large"):
            await spool.append([record])
        assert len(spool) == 3
        await spool.append([record])
        assert len(await spool.peek(10)) == 4
    async with open_spool(tmp_path, 1_000_000) as spool:
        assert (len(spool), spool.torn_bytes, spool.damaged_bytes) == (4, 0, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_a_full_disk_is_told_and_recovers(small_disk: Path) -> None:
    """Every record that was acknowledged is there; when there is room again, appending goes on by itself."""
    taken = 0
    async with open_spool(small_disk / "spool", 10_000_000, segment_bytes=20_000) as spool:
        with pytest.raises(SpoolFull, match="No space left"):
            while True:
                await spool.append([b"%d:" % taken + bytes(4_000)])
                taken += 1
        with pytest.raises(SpoolFull):
            await spool.append([b"%d:" % taken + bytes(4_000)])
        assert taken > 40
        peeked = await spool.peek(10)
        await spool.forget(peeked[-1][0])
        await spool.append([b"%d:" % taken + bytes(4_000)])
        numbers = [int(data.partition(b":")[0]) for _, data in await spool.peek(1_000)]
        assert numbers == list(range(10, taken + 1))
