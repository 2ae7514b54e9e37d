"""Who did what is kept, whoever it was, and read by services only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from integration.gateway_api.in_process import TOKEN, InProcess, running
from security.test_security_identities import ROOMS, call, created, user
from support.session_memory import HandClock

from gateway.api.audit import fingerprint
from gateway.archive.audit import Audit, Deed, Entry
from gateway.outage import RecordsUnavailable
from stt.local.server import LocalServer


@pytest.fixture
async def gateway(database_url: str, provider: LocalServer, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with running(database_url, provider, tmp_path / "one", join_starts="nothing", **ROOMS) as found:
        yield found


async def test_every_deed_has_a_row(gateway: InProcess) -> None:
    owner = user("owner", "team")
    slug = await created(gateway)
    assert (await call(gateway, "POST", f"/{slug}/participants/join", owner)).status == 200
    guest = (await call(gateway, "GET", f"/{slug}/token?identity=gus", None)).json["token"]
    assert (await call(gateway, "POST", f"/{slug}/participants/join", guest)).status == 200
    await gateway.start(slug)
    assert (await call(gateway, "POST", f"/{slug}/transcription/start", guest)).status == 200  # runs already
    assert (await call(gateway, "GET", f"/{slug}/transcript", guest)).status == 200
    assert (await call(gateway, "DELETE", f"/{slug}", guest)).status == 403
    assert (await call(gateway, "POST", f"/{slug}/join-token", owner)).status == 200
    await gateway.ok("PUT", "/api/spaces/team/limits", {"sessionMinutes": 5})
    await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
    assert (await call(gateway, "POST", f"/{slug}/end", owner)).status == 200
    assert (await call(gateway, "DELETE", f"/{slug}", owner)).status == 200
    page = await gateway.ok("GET", "/api/audit")
    service = "service", fingerprint(TOKEN)
    assert [((one["kind"], one["who"]), one["what"]) for one in reversed(page["entries"])] == [
        (service, "start"),
        (service, "key read"),
        (("guest", "gus"), "export"),
        (("user", "owner"), "join token"),
        (service, "limits"),
        (service, "stop"),
        (("user", "owner"), "end"),
        (("user", "owner"), "delete"),
    ]
    assert page["nextCursor"] is None
    assert {one["address"] for one in page["entries"]} == {"127.0.0.1"}
    assert [one["subject"] for one in page["entries"] if one["what"] == "limits"] == ["team"]
    assert all(one["at"].endswith("Z") for one in page["entries"])
    of_session = (await gateway.ok("GET", f"/api/audit?session={slug}&from=2020-01-01"))["entries"]
    assert len(of_session) == 7
    older = (await gateway.ok("GET", f"/api/audit?cursor={page['entries'][3]['id']}"))["entries"]
    assert older == page["entries"][4:]
    assert (await gateway.ok("GET", "/api/audit?to=2020-01-01T00:00:00Z"))["entries"] == []
    assert TOKEN not in str(page)


async def test_only_services_read_it_and_a_strange_query_is_refused(gateway: InProcess) -> None:
    for token in (None, user("owner", "team"), "wrong"):
        assert (await gateway.call("GET", "/api/audit", token=token)).status == 401
    for query in ("from=yesterday", "to=2026-13-01", "cursor=x", "cursor=" + "9" * 30):
        assert (await gateway.call("GET", f"/api/audit?{query}")).status == 400


class Shelf:
    def __init__(self) -> None:
        self.rows: list[Deed] = []
        self.is_away = False

    async def add(self, deed: Deed) -> None:
        if self.is_away:
            raise RecordsUnavailable("away")
        self.rows.append(deed)

    async def listed(self, *_: object) -> list[Entry]:
        return []

    async def prune(self, before: object, limit: int) -> int:
        old = [one for one in self.rows if one.at < before][:limit]  # type: ignore[operator]
        self.rows = [one for one in self.rows if one not in old]
        return len(old)


async def test_rows_wait_for_the_database_in_order_and_are_deleted_in_time() -> None:
    shelf, clock = Shelf(), HandClock()
    audit = Audit(shelf, clock, days=30)
    shelf.is_away = True
    for n in range(1_002):
        await audit.note("service", "x", str(n), None, None, "::1")
    assert (audit.lost, shelf.rows) == (2, [])
    shelf.is_away = False
    await audit.sweep()
    assert [one.what for one in shelf.rows] == [str(n) for n in range(1_000)]
    clock.go_on(minutes=31 * 24 * 60)
    await audit.note("service", "x", "new", None, None, "::1")
    await audit.sweep()
    assert [one.what for one in shelf.rows] == ["new"]
