"""Brings a database to what this build needs, or says completely why that cannot be.

Two sets of files `migrations/<set>/NNNN_name.sql`, forward only: `app` makes the app's tables where Prisma does not,
`gateway` makes what is ours. They only add, so an older build may be started behind newer ones; a name says where that
is not so (`history.BREAKING`). Each file runs in one transaction with its row in `gateway.migration`, under an advisory
lock of that transaction: any number of processes may start at once, also through a transaction pooler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import asyncpg

from storage.postgres.catalogue import read_facts
from storage.postgres.errors import SchemaMismatch
from storage.postgres.history import Applied, Migration, newer, next_pending, unfit_history
from storage.postgres.ownership import Facts, Mode, Ownership, Refusal, check, decide
from storage.postgres.pool import connect
from storage.postgres.sql import Queries, quoted
from storage.postgres.url import ConnectOptions

_FOLDER: Final = Path(__file__).with_name("migrations")
_LOCK: Final = 7_305_412_118  # any constant but Prisma Migrate's 72707369
_LOCK_WAIT: Final = "60s"  # for another process that is migrating
_TABLE_LOCK_WAIT: Final = "5s"  # for a table in use: better to fail than to queue every reader behind us

_BOOTSTRAP: Final = """
CREATE SCHEMA IF NOT EXISTS gateway;
CREATE TABLE gateway.migration (
    set        text        NOT NULL,
    version    integer     NOT NULL,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (set, version)
)
"""


@dataclass(frozen=True, slots=True)
class Prepared:
    ownership: Ownership
    applied: list[str]
    """Labels of what this call applied, in order; empty when there was nothing to do."""
    warnings: list[str]


async def prepare(
    options: ConnectOptions,
    mode: Mode = "auto",
    allow_gateway_ddl: bool = True,
    *,
    migrations: Sequence[Migration] | None = None,
    connect_timeout_s: float = 8.0,
) -> Prepared:
    """Decide whose the app's tables are, apply what is pending, check the rest.

    With `allow_gateway_ddl` false nothing is created or changed at all; what is pending is then a problem.
    Raises: SchemaMismatch with every problem; StorageUnavailable, StorageRefused as `connect`.
    """
    build = bundled() if migrations is None else tuple(migrations)
    sql = Queries(options.schema)
    connection = await connect(options, timeout_s=connect_timeout_s)
    try:
        applied: list[str] = []
        while True:
            async with connection.transaction():
                history = await _locked_history(connection, options, sql)
                ownership, facts, step = await _next_step(connection, options, sql, mode, build, history)
                complete = step is None or ownership is Ownership.EXTERNAL  # else the tables are still being made
                problems, warnings = check(facts) if complete else ([], [])
                if step is not None and not allow_gateway_ddl:
                    problems.append(f"migration {step.label} and what follows it is pending; run `gateway migrate`")
                if problems:
                    raise SchemaMismatch(options.place, problems)
                if step is None:
                    warnings += [
                        f"migration {row.label} is a newer gateway's; this version goes on beside it"
                        for row in newer(history, build)
                    ]
                    return Prepared(ownership, applied, warnings)
                await _apply(connection, options, sql, step)
            applied.append(step.label)
    finally:
        await connection.close()


async def _next_step(
    connection: asyncpg.Connection,
    options: ConnectOptions,
    sql: Queries,
    mode: Mode,
    build: Sequence[Migration],
    history: Sequence[Applied],
) -> tuple[Ownership, Facts, Migration | None]:
    """Whose the tables are, and what is to be applied next."""
    if problems := unfit_history(history, build):
        raise SchemaMismatch(options.place, problems)
    made = any(row.set == "app" for row in history)
    facts = await read_facts(connection, sql, options.schema, own_history=made)
    decision = decide(mode, facts)
    if isinstance(decision, Refusal):
        raise SchemaMismatch(options.place, [decision.reason])
    return decision, facts, next_pending(history, build, decision)


async def _locked_history(connection: asyncpg.Connection, options: ConnectOptions, sql: Queries) -> list[Applied]:
    """Under the lock, which the surrounding transaction keeps."""
    await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'")
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    await connection.execute(f"SET LOCAL lock_timeout = '{_TABLE_LOCK_WAIT}'")
    if not await connection.fetchval(sql["catalogue_table_exists"], "gateway", "migration"):
        return []
    if closed := await _closed_tables(connection, options, sql):
        raise SchemaMismatch(options.place, closed)
    rows = await connection.fetch("SELECT set, version, name, checksum FROM gateway.migration ORDER BY set, version")
    return [Applied(**row) for row in rows]


async def _closed_tables(connection: asyncpg.Connection, options: ConnectOptions, sql: Queries) -> list[str]:
    closed = [record["table"] for record in await connection.fetch(sql["catalogue_gateway_closed"])]
    if not closed:
        return []
    role = quoted(options.place.partition("@")[0])
    return [
        f"the role may not use gateway.{', gateway.'.join(closed)}, which another role made; GRANT USAGE ON SCHEMA "
        f"gateway TO {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA gateway TO {role}"
    ]


async def _apply(connection: asyncpg.Connection, options: ConnectOptions, sql: Queries, step: Migration) -> None:
    try:
        if not await connection.fetchval(sql["catalogue_table_exists"], "gateway", "migration"):
            await _bootstrap(connection)
        path = f"{quoted(options.schema)}" if step.set == "app" else "gateway"
        await connection.execute(f"SET LOCAL search_path = {path}")
        await connection.execute(step.text)
        await connection.execute("SET LOCAL search_path = pg_catalog")
        await connection.execute(
            "INSERT INTO gateway.migration (set, version, name, checksum) VALUES ($1, $2, $3, $4)",
            step.set,
            step.version,
            step.name,
            step.checksum,
        )
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidSchemaNameError) as error:
        # "no schema has been selected to create in" is what a role without any right on the schema is told
        raise SchemaMismatch(options.place, [_no_right(step, options, str(error))]) from error


async def _bootstrap(connection: asyncpg.Connection) -> None:
    # CREATE SCHEMA IF NOT EXISTS wants the right to create even where the schema exists; an operator may have made it.
    exists = await connection.fetchval("SELECT to_regnamespace('gateway') IS NOT NULL")
    text = _BOOTSTRAP.partition(";")[2] if exists else _BOOTSTRAP
    await connection.execute(text)


def _no_right(step: Migration, options: ConnectOptions, reason: str) -> str:
    role = options.place.partition("@")[0]
    if step.set == "app":
        return (
            f"migration {step.label} may not be applied ({reason}); "
            f'GRANT CREATE, USAGE ON SCHEMA "{options.schema}" TO "{role}", '
            "or run `gateway migrate` with a role that may"
        )
    return (
        f"migration {step.label} may not be applied ({reason}); as an owner of the database run "
        f'CREATE SCHEMA gateway AUTHORIZATION "{role}", or run `gateway migrate` with a role that may create it'
    )


@cache
def bundled() -> tuple[Migration, ...]:
    """The files of this build. Raises: ValueError for a name that is not `NNNN_name.sql` or a number used twice."""
    found: dict[tuple[str, int], Migration] = {}
    for path in sorted(_FOLDER.glob("*/*.sql")):
        number, _, name = path.stem.partition("_")
        if not (len(number) == 4 and number.isdecimal() and name):
            raise ValueError(f"{path.name} is not named NNNN_name.sql")
        migration = Migration(path.parent.name, int(number), name, path.read_text("utf-8"))
        if found.setdefault((migration.set, migration.version), migration) is not migration:
            raise ValueError(f"{migration.label} has a number that is taken")
    return tuple(found.values())
