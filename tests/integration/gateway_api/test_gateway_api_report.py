"""The accountant's report over all sessions: JSON by pages, CSV, the command line."""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import asyncpg
import pytest
from integration.gateway_api.in_process import TOKEN, InProcess

from gateway.archive.report import PAGE
from gateway.cli.remote import usage

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
SUMS = ("usageRows", "durationSeconds", "durationMinutes", "totalCost", "costSaved")


async def rows(gateway: InProcess, count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Usage of January in 20 sessions, of 3 spaces and 5 users, as the recorder stores it."""
    drawn = random.Random(seed)
    made = []
    connection = await asyncpg.connect(gateway.database_url)
    try:
        for number in range(20):
            space, slug = f"space-{number % 3}", f"slug-{seed}-{number}"
            await connection.execute('INSERT INTO "Space" (id) VALUES ($1) ON CONFLICT DO NOTHING', space)
            await connection.execute(
                'INSERT INTO "VideoSession" (id, slug, title, status, "spaceId") VALUES ($1, $1, $2, \'ENDED\', $3)',
                slug, f"=Meeting {number}", space,
            )  # fmt: skip
            options = f'{{"tags": ["customer-{number % 2}", "all"]}}'
            await connection.execute(
                "INSERT INTO gateway.transcription (id, session_id, session_slug, source, state, options, started_at,"
                " owner, fence, lease_until) VALUES ($1, $2, $2, 'rtmp', 'STOPPED', $3, $4, 'me', 1, $4)",
                f"t-{slug}", slug, options, JANUARY,
            )  # fmt: skip
        for user in range(5):
            await connection.execute('INSERT INTO "User" (id) VALUES ($1) ON CONFLICT DO NOTHING', f"user-{user}")
        for number in range(count):
            at = (JANUARY + timedelta(seconds=drawn.randrange(31 * 86_400))).replace(tzinfo=None)
            which, seconds = drawn.randrange(20), drawn.randrange(1, 4_000)
            minutes = -(-seconds // 60)
            row = {
                "id": f"usage-{seed}-{number}", "session": f"slug-{seed}-{which}", "space": f"space-{which % 3}",
                "at": at, "user": drawn.choice([None, *(f"user-{user}" for user in range(5))]),
                "tag": f"customer-{which % 2}", "seconds": seconds, "minutes": minutes,
                "cost": round(minutes * 0.01, 6), "saved": drawn.randrange(100),
            }  # fmt: skip
            made.append(row)
        await connection.executemany(
            'INSERT INTO "TranscriptionUsage" (id, "videoSessionId", "userId", "startedAt", "createdAt", "updatedAt",'
            ' "durationSeconds", "durationMinutes", "costPerMinute", "totalCost")'
            " VALUES ($1, $2, $3, $4, $4, $4, $5, $6, 0.01, $7)",
            [(r["id"], r["session"], r["user"], r["at"], r["seconds"], r["minutes"], r["cost"]) for r in made],
        )
        await connection.executemany(
            "INSERT INTO gateway.transcription_usage"
            " (usage_id, transcription_id, identity, gate, heard_seconds, kept_seconds)"
            " VALUES ($1, $2, $1, 'on', $3, $4)",
            [(r["id"], f"t-{r['session']}", r["seconds"] + r["saved"], r["saved"]) for r in made],
        )
        await connection.executemany(
            "INSERT INTO gateway.provider_session (id, transcription_id, session_id, identity, opened_at, closed_at,"
            " seconds_sent, billing_seconds) VALUES ($1, $2, $3, $1, $4, $4, $5, $5)",
            [
                (r["id"], f"t-{r['session']}", r["session"], r["at"].replace(tzinfo=UTC), float(r["seconds"]))
                for r in made
            ],
        )
    finally:
        await connection.close()
    return made


async def report(gateway: InProcess, **asked: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All pages. The totals must be the same on each."""
    query = {"from": "2026-01-01", "to": "2026-02-01", **asked}
    page = await gateway.ok("GET", f"/api/usage?{urlencode(query)}")
    found, totals = page["rows"], page["totals"]
    while page["nextCursor"] is not None:
        page = await gateway.ok("GET", f"/api/usage?{urlencode({**query, 'cursor': page['nextCursor']})}")
        found += page["rows"]
        assert page["totals"] == totals
    return found, totals


def cents(usd: float) -> int:
    return round(usd * 100)


async def test_every_grouping_sums_to_what_the_tables_hold(gateway: InProcess) -> None:
    made = await rows(gateway, 2 * PAGE + 7)
    expected = {
        "day": lambda row: row["at"].strftime("%Y-%m-%d"), "month": lambda row: row["at"].strftime("%Y-%m"),
        "space": lambda row: row["space"], "user": lambda row: row["user"], "session": lambda row: row["session"],
    }  # fmt: skip
    keys = {"day": "day", "month": "month", "space": "spaceId", "user": "userId", "session": "sessionSlug"}
    for group, key_of in expected.items():
        sums: defaultdict[str | None, list[float]] = defaultdict(lambda: [0, 0, 0, 0, 0])
        for row in made:
            for at, value in enumerate((1, row["seconds"], row["minutes"], row["cost"], row["saved"] / 60 * 0.01)):
                sums[key_of(row)][at] += value
        found, totals = await report(gateway, groupBy=group)
        told = {row[keys[group]]: [row[name] for name in SUMS] for row in found}
        assert told.keys() == sums.keys()
        for key, values in sums.items():
            assert told[key] == pytest.approx(values, abs=1e-4), (group, key)
        assert cents(totals["totalCost"]) == cents(sum(row["cost"] for row in made))
        assert totals["billedSeconds"] == totals["durationSeconds"] == sum(row["seconds"] for row in made)
    found, _ = await report(gateway)
    assert len(found) == len(made) == len({(row["startedAt"], row["participantIdentity"]) for row in found})
    assert [row["startedAt"] for row in found] == sorted(row["startedAt"] for row in found)


async def test_filters_choose(gateway: InProcess) -> None:
    made = await rows(gateway, 300)
    for asked, holds in (
        ({"spaceId": "space-1"}, lambda row: row["space"] == "space-1"),
        ({"userId": "user-2"}, lambda row: row["user"] == "user-2"),
        ({"tag": "customer-1"}, lambda row: row["tag"] == "customer-1"),
        ({"from": "2026-01-10T12:00:00Z", "to": "2026-01-11"},
         lambda row: datetime(2026, 1, 10, 12) <= row["at"] < datetime(2026, 1, 11)),
    ):  # fmt: skip
        _, totals = await report(gateway, **asked)
        assert totals["durationSeconds"] == sum(row["seconds"] for row in made if holds(row)), asked


async def test_a_deleted_session_stays_on_the_bill_without_its_names(gateway: InProcess) -> None:
    made = await rows(gateway, 200)
    before = (await report(gateway, groupBy="month"))[1]
    assert (await gateway.call("DELETE", "/api/sessions/slug-0-4")).status in (200, 204)
    found, after = await report(gateway, groupBy="session")
    assert after == before
    [gone] = [row for row in found if row["sessionSlug"] == "slug-0-4"]
    assert (gone["deleted"], gone["title"]) == (True, None)
    _, tagged = await report(gateway, tag="customer-0")
    assert tagged["durationSeconds"] == sum(row["seconds"] for row in made if row["tag"] == "customer-0")


async def test_csv_is_everything_and_no_formula(gateway: InProcess) -> None:
    made = await rows(gateway, PAGE + 11)
    assert (await gateway.call("GET", "/api/usage", token=None)).status == 401
    answer = await gateway.call("GET", "/api/usage?from=2026-01-01&to=2026-02-01&format=csv")
    assert answer.kind == "text/csv" and "usage-2026-01-01" in answer.headers["Content-Disposition"]
    read = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert len(read) == len(made)
    assert cents(sum(float(row["totalCost"]) for row in read)) == cents(sum(row["cost"] for row in made))
    assert all(row["title"].startswith("'=Meeting") for row in read)


def harmless(value: Any) -> Any:
    """A field of a page as the CSV has it."""
    text = " ".join(value) if isinstance(value, list) else value
    return f"'{text}" if isinstance(text, str) and text.startswith(tuple("=+-@\t\r")) else text


async def test_csv_is_to_the_byte_what_the_pages_say(gateway: InProcess) -> None:
    """Whatever names, titles and tags hold and figures are, grouped or not."""
    made = await rows(gateway, PAGE + 11)
    drawn = random.Random(7)
    odd = ("=1+1", '"quoted", and', "two\nlines", "+1", "\tx", "@x", "'=x", "-", "", "会議, 😀", "\r", " =x")
    connection = await asyncpg.connect(gateway.database_url)
    try:
        for number, text in enumerate(odd):
            await connection.execute('UPDATE "VideoSession" SET title = $2 WHERE id = $1', f"slug-0-{number}", text)
            await connection.execute(
                "UPDATE gateway.transcription SET"
                " options = jsonb_build_object('tags', jsonb_build_array($2::text, 'b'))"
                " WHERE session_id = $1", f"slug-0-{number}", text,
            )  # fmt: skip
        texts = ["".join(drawn.choices(",;\"'\n\r=+-@\t a\u00e9\u2028😀", k=drawn.randrange(6))) for _ in made]
        await connection.executemany(
            'INSERT INTO "Participant" (id, "videoSessionId", identity, name) VALUES ($1, $2, $1, $3)',
            [(row["id"], row["session"], text) for row, text in zip(made, texts, strict=True)],
        )
        await connection.executemany(
            'UPDATE "TranscriptionUsage" SET "participantId" = id, "totalCost" = $2 WHERE id = $1',
            [(row["id"], drawn.random() * 10.0 ** drawn.randrange(-7, 9)) for row in made],
        )
    finally:
        await connection.close()
    for group in (None, "day", "month", "space", "user", "session"):
        chosen = {"groupBy": group} if group else {}
        found, _ = await report(gateway, **chosen)
        written = io.StringIO()
        csv.writer(written, lineterminator="\r\n").writerows(
            [list(found[0]), *([harmless(value) for value in row.values()] for row in found)]
        )
        query = urlencode({"from": "2026-01-01", "to": "2026-02-01", "format": "csv", **chosen})
        assert (await gateway.call("GET", f"/api/usage?{query}")).body == written.getvalue().encode(), group


async def test_a_table_of_a_time_without_any_has_its_head(gateway: InProcess) -> None:
    for group in ("", "&groupBy=day", "&groupBy=user"):
        answer = await gateway.call("GET", f"/api/usage?from=2020-01-01&to=2020-02-01&format=csv{group}")
        assert answer.status == 200
        assert list(csv.DictReader(io.StringIO(answer.body.decode()))) == [] and "totalCost" in answer.body.decode()


async def test_tags_of_a_start_are_kept(gateway: InProcess) -> None:
    slug = await gateway.session()
    await gateway.start(slug, tags=["acme", "  acme ", "project-7"])
    connection = await asyncpg.connect(gateway.database_url)
    try:
        kept = await connection.fetchval(
            "SELECT options -> 'tags' FROM gateway.transcription WHERE session_slug = $1", slug
        )
    finally:
        await connection.close()
    assert kept == '["acme", "project-7"]'


async def test_what_cannot_be_reported_or_tagged_is_refused(gateway: InProcess) -> None:
    slug = await gateway.session()
    for query in (
        *("from=yesterday", "from=2026-02-01&to=2026-01-01", "from=2026-01-01&to=2026-01-01"),
        *("from=0001-01-01&to=9999-12-31", "groupBy=hour", "format=xlsx", "cursor=" + "x" * 600),
        "from=2026-01-01T00:00:00%2B99:00",
    ):
        answer = await gateway.call("GET", f"/api/usage?{query}")
        assert (answer.status, answer.kind) == (400, "application/problem+json"), query
    for tags in (["x" * 65], [str(number) for number in range(21)], "acme", [""], ["a\nb"], ["x" * 1_000_000]):
        body = {"sessionSlug": slug, "source": "rtmp", "tags": tags}
        assert (await gateway.call("POST", "/api/transcription/start", body)).status in (400, 413), tags


async def test_the_command_line_prints_a_table(gateway: InProcess, capsys: pytest.CaptureFixture[str]) -> None:
    made = await rows(gateway, 50)
    asked = argparse.Namespace(
        since="2026-01-01", until="2026-02-01", by="space", space=None, user=None, tag=None, format="table",
        url=gateway.url, token=TOKEN,
    )  # fmt: skip
    assert await asyncio.to_thread(lambda: asyncio.run(usage(asked))) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["space", "space-0", "space-1", "space-2", "in"]
    assert printed[-1].split()[2] == str(sum(row["minutes"] for row in made))
