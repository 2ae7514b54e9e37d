"""Reads from `pg_catalog` what `ownership.py` judges."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from storage.postgres.ownership import TABLES, Column, Facts
from storage.postgres.sql import Queries, quoted

if TYPE_CHECKING:
    import asyncpg


async def read_facts(connection: asyncpg.Connection, sql: Queries, schema: str, *, own_history: bool) -> Facts:
    """Five small queries, a few milliseconds. None of them needs a right on the tables."""
    place = quoted(schema)  # to_regnamespace reads its argument as an identifier
    columns: dict[str, dict[str, Column]] = defaultdict(dict)
    for record in await connection.fetch(sql["catalogue_columns"], place, TABLES):
        columns[record["table"]][record["column"]] = Column(record["type"], record["not_null"], record["has_default"])
    unique = await connection.fetch(sql["catalogue_unique"], place)
    labels: dict[str, set[str]] = defaultdict(set)
    for record in await connection.fetch(sql["catalogue_labels"], place):
        labels[record["enum"]].add(record["label"])
    privileges = await connection.fetch(sql["catalogue_privileges"], place, TABLES)
    prisma = await connection.fetchval(sql["catalogue_table_exists"], place, "_prisma_migrations")
    return Facts(
        columns=dict(columns),
        prisma_history=prisma,
        own_history=own_history,
        unique=frozenset((record["table"], tuple(record["columns"])) for record in unique),
        labels={enum: frozenset(found) for enum, found in labels.items()},
        privileges=frozenset((record["table"], record["right"]) for record in privileges),
    )
