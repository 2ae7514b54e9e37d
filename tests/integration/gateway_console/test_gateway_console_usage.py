"""The usage page in a real browser: chart, table and CSV of a month that is known."""

from __future__ import annotations

from pathlib import Path

import asyncpg
from integration.gateway_api.test_gateway_api_report import rows
from support.browser import TOKEN, OpenPage
from support.console import saved

from gateway.app.root import Gateway

TABLE = "[...document.querySelectorAll('#rows tbody tr')].map((row) => [...row.children].map((one) => one.textContent))"


async def test_the_report_is_a_chart_a_table_and_a_file(gateway: Gateway, browse: OpenPage, tmp_path: Path) -> None:
    made = await rows(gateway, 300)
    connection = await asyncpg.connect(gateway.database_url)
    await connection.execute("UPDATE \"VideoSession\" SET title = NULL WHERE slug = 'slug-0-0'")
    await connection.close()
    async with browse() as page:
        await page.open(f"{gateway.http_url}/usage#token={TOKEN}")
        await page.until("document.querySelector('#chart p')?.textContent.startsWith('Nothing was transcribed')")
        await page.run("document.querySelector('#from').value = '2026-01-01'")
        await page.run("document.querySelector('#to').value = '2026-01-31'")
        show = "document.querySelector('#ask').requestSubmit(document.querySelector('#ask .main'))"
        await page.run(show)
        days = {row["at"].date() for row in made}
        await page.until(f"document.querySelectorAll('#chart rect').length === {len(days)}")
        minutes = sum(row["minutes"] for row in made)
        assert (await page.run("document.querySelector('#totals').textContent")).startswith(
            f"Transcribed{minutes:,} minutesCost$"
        )

        await page.run("document.querySelector('#by').value = 'space'")
        await page.run(show)
        await page.until("document.querySelectorAll('#rows tbody tr').length === 3")
        told = {row[0]: int(row[1].replace(",", "")) for row in await page.run(TABLE)}
        spaces = {row["space"] for row in made}
        assert told == {space: sum(row["minutes"] for row in made if row["space"] == space) for space in spaces}

        await page.run("document.querySelector('#by').value = 'session'")
        await page.run(show)
        first = "document.querySelector('#rows [href=\"s/slug-0-0\"]')?.textContent"
        await page.until(f"/^Meeting of .*:\\d\\d/.test({first})", why="an untitled session is called by its time")
        await page.run("document.querySelector('#by').value = 'space'")
        await page.save_downloads(tmp_path)
        await page.run("document.querySelector('#csv').click()")
        text = await saved(tmp_path, "usage-2026-01-01-space.csv")
        assert len(text.splitlines()) == 1 + 3
        assert page.complaints == []
