"""The spool on a real folder: what survives which end, what is removed when."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.spool.errors import SpoolFailed, SpoolFull, SpoolInUse
from storage.spool.frames import OVERHEAD
from storage.spool.segments import Segments
from storage.spool.spool import Spool, open_spool

LIMIT = 1_000_000


@asynccontextmanager
async def opened(folder: Path, limit: int = LIMIT, segment: int = 300) -> AsyncIterator[Spool]:
    async with open_spool(folder, limit, segment_bytes=segment, lock_wait_s=0) as spool:
        yield spool


async def held(spool: Spool) -> list[bytes]:
    return [data for _, data in await spool.peek(10_000)]


def segments_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.segment"))


async def test_records_come_back_in_order_after_reopening(tmp_path: Path) -> None:
    """Across several segments and a restart, what was appended is there, once, in order."""
    wanted = [b"record %d" % number for number in range(100)]
    async with opened(tmp_path) as spool:
        for record in wanted[:50]:
            await spool.append([record])
        await spool.append(wanted[50:])
        assert await held(spool) == wanted
    assert len(segments_in(tmp_path)) == 5
    async with opened(tmp_path) as spool:
        assert len(spool) == 100
        assert await held(spool) == wanted
        assert (spool.torn_bytes, spool.damaged_bytes) == (0, 0)


async def test_what_is_forgotten_stays_forgotten(tmp_path: Path) -> None:
    """Also when the segment still holds others; and its file goes with its last record."""
    async with opened(tmp_path) as spool:
        await spool.append([b"%d" % number for number in range(40)])
        await spool.append([b"later"])
        peeked = await spool.peek(10)
        await spool.forget(peeked[-1][0])
        assert await held(spool) == [b"%d" % number for number in range(10, 40)] + [b"later"]
    async with opened(tmp_path) as spool:
        assert len(spool) == 31
        await spool.forget((await spool.peek(30))[-1][0])
        assert len(segments_in(tmp_path)) == 1
        await spool.forget((await spool.peek(1))[-1][0])
        assert (len(spool), spool.size, segments_in(tmp_path)) == (0, 0, [])
        await spool.append([b"again"])
        assert await held(spool) == [b"again"]


async def test_positions_never_repeat(tmp_path: Path) -> None:
    """Not after everything was forgotten, nor after a restart: an old position must not forget a new record."""
    seen: list[int] = []
    for _ in range(3):
        async with opened(tmp_path) as spool:
            for _ in range(3):
                [place] = await spool.append([b"x"])
                seen.append(place.position)
                await spool.forget(place.position)
    assert seen == sorted(set(seen))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=4), min_size=1, max_size=8), st.data()
)
def test_a_write_cut_off_anywhere_loses_nothing_older(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[bytes]], data: st.DataObject
) -> None:
    """The last segment ends at a random byte, followed by zeros or junk: all records before it are read."""
    folder = tmp_path_factory.mktemp("spool")

    async def story() -> None:
        ends: list[tuple[int, bytes]] = []
        async with opened(folder, segment=120) as spool:
            for batch in batches:
                places = await spool.append(batch)
                ends += [(place.end, record) for place, record in zip(places, batch, strict=True)]
        last = segments_in(folder)[-1]
        whole = last.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        junk = data.draw(st.sampled_from([b"", bytes(64), b"junk"]))
        found = whole[:cut] + junk
        last.write_bytes(found)
        # Junk may happen to be what was cut off.
        left = next((at for at in range(cut, len(whole)) if found[at : at + 1] != whole[at : at + 1]), len(whole))
        expected = [record for end, record in ends if end <= int(last.stem) + left]
        for _ in range(2):  # the second opening finds a clean folder
            async with opened(folder, segment=120) as spool:
                assert await held(spool) == expected
                assert spool.damaged_bytes == 0
        async with opened(folder, segment=120) as spool:
            await spool.append([b"new"])
            assert await held(spool) == [*expected, b"new"]

    asyncio.run(story())


async def test_damage_in_the_middle_is_told_and_costs_one_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Unlike a torn end, which nobody was promised, it is an error."""
    async with opened(tmp_path, segment=10_000) as spool:
        await spool.append([b"first", b"second", b"third"])
    [segment] = segments_in(tmp_path)
    kept = bytearray(segment.read_bytes())
    kept[kept.index(b"second")] ^= 0xFF
    segment.write_bytes(kept)
    async with opened(tmp_path) as spool:
        assert await held(spool) == [b"first", b"third"]
        assert spool.damaged_bytes == OVERHEAD + len(b"second")
    assert "the disk has changed" in caplog.text


async def test_damage_while_open_is_skipped_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A record that cannot be read any more does not hold up those behind it."""
    async with opened(tmp_path, segment=10_000) as spool:
        await spool.append([b"first", b"second", b"third"])
        [segment] = segments_in(tmp_path)
        segment.write_bytes(segment.read_bytes().replace(b"first", b"tsrif"))
        assert await held(spool) == [b"second", b"third"]
        assert len(spool) == 2
    assert "cannot be read any more" in caplog.text


async def test_an_unreadable_mark_makes_work_be_done_again(tmp_path: Path) -> None:
    """Doing it twice changes nothing; losing it would."""
    async with opened(tmp_path) as spool:
        await spool.append([b"a", b"b"])
        await spool.forget((await spool.peek(1))[0][0])
    (tmp_path / "done").write_bytes(b"\xff" * 12)
    async with opened(tmp_path) as spool:
        assert await held(spool) == [b"a", b"b"]


async def test_the_limit_is_kept_and_room_comes_back(tmp_path: Path) -> None:
    """A batch that does not fit is refused whole, and nothing of it is there; forgetting makes room again."""
    async with opened(tmp_path, limit=1_000, segment=200) as spool:
        record = bytes(100 - OVERHEAD)
        for _ in range(9):
            await spool.append([record])
        with pytest.raises(SpoolFull, match="1,000 bytes"):
            await spool.append([record, record])
        assert (len(spool), spool.size) == (9, 900)
        await spool.append([record])
        await spool.forget((await spool.peek(4))[-1][0])
        await spool.append([record, record])
        assert len(spool) == 8


async def test_one_append_that_finds_no_room_does_not_refuse_its_neighbours(tmp_path: Path) -> None:
    """Appends that share a write share no fate."""
    async with opened(tmp_path, limit=1_000) as spool:
        sizes = (100, 2_000, 100)
        answers = await asyncio.gather(*(spool.append([bytes(size)]) for size in sizes), return_exceptions=True)
        assert [isinstance(answer, SpoolFull) for answer in answers] == [False, True, False]
        assert [len(data) for data in await held(spool)] == [100, 100]


async def test_appends_that_wait_share_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred at once need a few syncs, not a hundred."""
    syncs = 0
    sync = os.fdatasync

    def counted(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    async with opened(tmp_path, segment=100_000) as spool:
        await asyncio.gather(*(spool.append([b"%d" % number]) for number in range(100)))
        assert await held(spool) == [b"%d" % number for number in range(100)]
    assert 1 <= syncs <= 3


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, SpoolFull), (errno.EDQUOT, SpoolFull), (errno.EIO, SpoolFailed)]
)
@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
async def test_a_failing_disk_is_told_and_nothing_partial_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], call: str
) -> None:
    """The write may have left half a record, or a sync that cannot be trusted: the file goes on elsewhere."""
    async with opened(tmp_path, segment=100_000) as spool:
        await spool.append([b"before"])
        write = os.pwrite

        def fail(descriptor: int, *rest: object) -> int:
            if call == "pwrite":
                write(descriptor, bytes(rest[0])[:10], rest[1])  # type: ignore[call-overload]
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            with pytest.raises(kind, match=os.strerror(number)):
                await spool.append([b"lost", b"lost too"])
        assert await held(spool) == [b"before"]
        await spool.append([b"after"])
        assert await held(spool) == [b"before", b"after"]
    async with opened(tmp_path) as spool:
        assert await held(spool) == [b"before", b"after"]
        assert (spool.torn_bytes, spool.damaged_bytes) == (0, 0)


async def test_a_disk_that_does_not_even_truncate_hides_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Junk that could not be taken back lies between records and is stepped over."""
    async with opened(tmp_path, segment=100_000) as spool:
        await spool.append([b"before"])

        def fail(*_: object) -> None:
            raise OSError(errno.EIO, "broken")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            patch.setattr(os, "ftruncate", fail)
            with pytest.raises(SpoolFailed):
                await spool.append([b"unsure"])
        await spool.append([b"after"])
        assert await held(spool) == [b"before", b"after"]
    async with opened(tmp_path) as spool:
        # It was written after all. Nobody was told so, but keeping it harms nobody.
        assert await held(spool) == [b"before", b"unsure", b"after"]


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    """The second is told what to do; after the first has closed, the folder is free."""
    async with opened(tmp_path):
        with pytest.raises(SpoolInUse, match="GATEWAY_DATA_DIR"):
            async with opened(tmp_path):
                pass
    async with opened(tmp_path):
        pass


async def test_only_the_owner_can_read(tmp_path: Path) -> None:
    """Transcripts lie in there."""
    folder = tmp_path / "spool"
    async with opened(folder) as spool:
        await spool.append([b"secret"])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


async def test_age_is_that_of_the_oldest_record_and_outlives_a_restart(tmp_path: Path) -> None:
    """In seconds, by the clock that is handed in."""
    now = 1_000.0
    async with open_spool(tmp_path, LIMIT, now=lambda: now) as spool:
        assert spool.oldest_age == 0
        await spool.append([b"a"])
        now = 1_010.5
        await spool.append([b"b"])
    async with open_spool(tmp_path, LIMIT, now=lambda: now) as spool:
        assert spool.oldest_age == 10.5
        await spool.forget((await spool.peek(1))[0][0])
        assert spool.oldest_age == 0


async def test_single_records_are_read_until_they_are_forgotten(tmp_path: Path) -> None:
    """By the places that `append` told."""
    async with opened(tmp_path, segment=10_000) as spool:
        a, b, c = await spool.append([b"a", b"b", b"c"])
        assert await spool.read([c, a]) == {a.position: b"a", c.position: b"c"}
        await spool.forget(c.position)
        assert await spool.read([a, b]) == {}


def test_an_unusable_folder_is_told(tmp_path: Path) -> None:
    """A file in its place, for one."""
    (tmp_path / "spool").write_text("")
    with pytest.raises(SpoolFailed, match="GATEWAY_DATA_DIR"):
        Segments(tmp_path / "spool", LIMIT, 100).open(0)


async def test_a_closing_spool_leaves_no_caller_waiting(tmp_path: Path) -> None:
    """Appends not yet written are cancelled, not forgotten in the dark."""
    async with opened(tmp_path) as spool:
        waiting = [asyncio.create_task(spool.append([b"x"])) for _ in range(3)]
        await asyncio.sleep(0)
    done, late = await asyncio.wait(waiting, timeout=5)
    assert not late
    assert all(task.cancelled() or task.result() for task in done)


@pytest.mark.parametrize("seed", range(20))
async def test_any_life_keeps_exactly_what_is_not_forgotten(tmp_path: Path, seed: int) -> None:
    """Appends, forgets and restarts in any order, against a list."""
    dice = random.Random(seed)
    model: list[bytes] = []
    number = 0
    for _ in range(4):
        async with opened(tmp_path, segment=dice.choice([100, 1_000])) as spool:
            assert await held(spool) == model
            for _ in range(dice.randrange(12)):
                if dice.random() < 0.6:
                    batch = [b"%d" % (number := number + 1) for _ in range(dice.randrange(1, 5))]
                    await spool.append(batch)
                    model += batch
                elif model:
                    count = dice.randrange(1, len(model) + 1)
                    await spool.forget((await spool.peek(count))[-1][0])
                    del model[:count]
                assert await held(spool) == model
