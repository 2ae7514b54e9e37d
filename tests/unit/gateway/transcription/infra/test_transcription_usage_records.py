"""Meter readings of many transcriptions that come at once are few statements, and each fails for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from support.waiting import until

from gateway.transcription.infra.usage_records import BATCH, Gathering
from storage.postgres.errors import StorageUnavailable
from storage.postgres.usage import UsageRow

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)


def row(name: str) -> UsageRow:
    return UsageRow(
        name, "t", name, "s", None, None, NOW, None, *([0] * 6), cost_per_minute=0.01, total_cost=0.0, errors_count=0,
        created_at=NOW, updated_at=NOW,
    )  # fmt: skip


class Database:
    """`bad`: a row that it refuses."""

    def __init__(self) -> None:
        self.statements: list[list[str]] = []
        self.bad = ""
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def write(self, rows: Sequence[UsageRow]) -> None:
        names = [one.id for one in rows]
        self.statements.append(names)
        await self.answers.wait()
        await asyncio.sleep(0)
        if self.away:
            raise StorageUnavailable("away")
        if self.bad in names:
            raise ValueError("no number")


async def all_of(gathering: Gathering, names: Sequence[str]) -> list[BaseException | None]:
    return list(await asyncio.gather(*(gathering.save([row(name)]) for name in names), return_exceptions=True))


async def test_what_comes_at_once_is_one_statement_of_no_more_rows_than_a_batch() -> None:
    database = Database()
    names = [f"r{number}" for number in range(BATCH + 2)]
    assert await all_of(Gathering(database.write), names) == [None] * len(names)
    assert [len(statement) for statement in database.statements] == [BATCH, 2]
    assert [name for statement in database.statements for name in statement] == names


async def test_a_row_that_is_refused_takes_no_other_with_it() -> None:
    database = Database()
    database.bad = "c"
    found = await all_of(Gathering(database.write), "abcd")
    assert [type(one) for one in found] == [type(None), type(None), ValueError, type(None)]
    assert database.statements == [["a", "b", "c", "d"], ["a"], ["b"], ["c"], ["d"]]


async def test_everybody_is_told_that_the_database_is_away() -> None:
    database = Database()
    database.away = True
    found = await all_of(Gathering(database.write), "abc")
    assert [type(one) for one in found] == [StorageUnavailable] * 3
    assert len(database.statements) == 1


@pytest.mark.parametrize("stopped", range(4))
async def test_whoever_is_stopped_keeps_nobody_from_being_written(stopped: int) -> None:
    database = Database()
    database.answers.clear()
    gathering = Gathering(database.write)
    saving = [asyncio.create_task(gathering.save([row(name)])) for name in "abcd"]
    await until(lambda: bool(database.statements))
    saving[stopped].cancel()
    await asyncio.sleep(0)
    database.answers.set()
    await asyncio.gather(*saving, return_exceptions=True)
    assert [task.cancelled() for task in saving] == [number == stopped for number in range(4)]
    written = {name for statement in database.statements for name in statement}
    assert written >= {name for number, name in enumerate("abcd") if number != stopped}
