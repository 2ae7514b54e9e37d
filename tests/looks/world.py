"""What stands on the pages when they are looked at: meetings in many scripts, and a gateway that is busy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
from integration.gateway_api.test_gateway_api_report import rows as usage_of_january
from integration.gateway_webhooks.receiver import Receiver, receiving
from support.browser import TOKEN
from support.console import api
from support.meetings import BEGAN, Said, held
from support.waiting import until

from gateway.app.root import Gateway, open_gateway
from gateway.settings import Settings
from gateway.webhooks.addresses import Allowed
from stt.local.server import LocalOptions, LocalServer

SPEAKERS = {
    "anna": "Anna Berg",
    "omar": "عمر خالد الحسيني",
    "noa": "נועה בן־דוד",
    "yuki": "山田 雪",
    "zoe": "Zoë 👩🏽‍💻 Lindqvist",
    "max": "Maximilian Freiherr von Hohenstein-Oberndorf (Customer Success, Vienna)",
}
# Who, in which language, what, and the same in German.
LINES: list[list[str]] = json.loads(Path(__file__).with_name("meeting.json").read_text())
TITLE = "Release review: what ships in autumn, who does what, and what it costs"
NAMES = (
    "Weekly of the platform team", "Supervisory board, third quarter", "Interview 14", "תכנון רבעוני", "مراجعة العقود",
    "採用面接（二次）", "Town hall", "Lecture: Introduction to distributed systems, part 7 of 12, with exercises",
    "Support escalation #48213", "🎙️ Podcast, episode 112", "Design critique", "Sprint planning", "1:1 Anna / Max",
)  # fmt: skip


def meeting(minutes: int) -> list[tuple[Said, str]]:
    """Lines for so long, with what each is in German."""
    found: list[tuple[Said, str]] = []
    at_ms = 2_000
    while at_ms < minutes * 60_000:
        who, language, text, german = LINES[len(found) % len(LINES)]
        took_ms = 600 + 45 * len(text.encode()) // (2 if language in ("he", "ar") else 3 if language == "ja" else 1)
        found.append((Said(who, SPEAKERS[who], text, at_ms, at_ms + took_ms, language), german))
        at_ms += took_ms + (9_500 if len(found) % 9 == 0 else 700)
    return found


@dataclass
class World:
    gateway: Gateway
    receiver: Receiver
    slugs: dict[str, str]
    webhook: str = ""

    async def session(self, name: str, title: str | None, source: str = "") -> str:
        slug: str = (await api(self.gateway, "POST", "/api/sessions", {"title": title}))["slug"]
        self.slugs[name] = slug
        for identity in SPEAKERS if name in ("review", "over") else ("anna", "noa"):
            body = {"identity": identity, "name": SPEAKERS[identity], "role": "HOST" if identity == "anna" else "GUEST"}
            await api(self.gateway, "POST", f"/api/sessions/{slug}/participants/join", body)
        if source:
            await self.start(slug, source)
        return slug

    async def start(self, slug: str, source: str) -> None:
        await api(self.gateway, "POST", "/api/transcription/start", {"sessionSlug": slug, "source": source})

    async def fill(self, *, minutes: int = 120) -> None:
        """Sessions in every state, and what operators and accountants see. `minutes`: of the longest meeting."""
        url = self.gateway.database_url
        review = await self.session("review", TITLE)
        lines = meeting(minutes)
        await held(url, review, [said for said, _ in lines], [german for _, german in lines])
        await self.start(review, "rtmp")
        over = await self.session("over", "תכנון רבעוני עם משרד חיפה")
        await held(url, over, [said for said, _ in meeting(9)])
        await self.start(over, "rtmp")
        for slug in (review, over):
            await self._was(slug, "startedAt", timedelta())
        await api(self.gateway, "POST", f"/api/sessions/{over}/end")
        await self._was(over, "endedAt", timedelta(minutes=9))
        await self.session("spoken", "Stand-up", "websocket")
        await self.session("idle", None)
        await self._others()

    async def _was(self, slug: str, column: str, after: timedelta) -> None:
        """A meeting began and ended when its words were said, not when they were put here."""
        connection = await asyncpg.connect(self.gateway.database_url)
        moment = (BEGAN + after).replace(tzinfo=None)
        await connection.execute(f'UPDATE "VideoSession" SET "{column}" = $2 WHERE slug = $1', slug, moment)
        if column == "startedAt":
            began = "UPDATE gateway.transcription SET started_at = $2 WHERE session_slug = $1"
            await connection.execute(began, slug, BEGAN)
        await connection.close()

    async def _others(self) -> None:
        for number, title in enumerate(NAMES):
            await self.session(f"other{number}", title, "rtmp" if number % 3 else "websocket")
        await usage_of_january(SimpleNamespace(database_url=self.gateway.database_url), 400)  # type: ignore[arg-type]
        for about in ("A service with a long description, which archives what was said", "", "Customer portal"):
            hook = {"url": self.receiver.url, "description": about or None}
            self.webhook = (await api(self.gateway, "POST", "/api/webhooks", hook))["id"]
            if not about:
                await api(self.gateway, "PATCH", f"/api/webhooks/{self.webhook}", {"enabled": False})
        for how in ("well", "gone", "500"):  # which is the last one, as it is sent again
            await api(self.gateway, "PATCH", f"/api/webhooks/{self.webhook}", {"enabled": True})
            self.receiver.behaviours = [how]
            self.receiver.seen.clear()
            await api(self.gateway, "POST", f"/api/webhooks/{self.webhook}/test", {})
            await until(lambda: self.receiver.seen)

    @asynccontextmanager
    async def database_stands_still(self) -> AsyncIterator[None]:
        blocker = await asyncpg.connect(self.gateway.database_url)
        async with blocker.transaction():
            await blocker.execute('LOCK TABLE "VideoSession", gateway.transcription')
            yield
        await blocker.close()


@asynccontextmanager
async def open_world(database_url: str, folder: Path, **more: Any) -> AsyncIterator[World]:
    values: dict[str, Any] = {
        "database_url": database_url, "data_dir": folder, "api_tokens": (TOKEN,), "gladia_api_key": "any",
        "http_host": "127.0.0.1", "http_port": 0, "rtmp_host": "127.0.0.1", "rtmp_port": -1, "drain_s": 1.0,
        "join_starts": "nothing", "webhook_allow": Allowed(http=True, private=True),
    }  # fmt: skip
    async with LocalServer(LocalOptions(engine="scripted")) as provider, receiving() as receiver:
        settings = replace(Settings(**values, gladia_api_url=provider.url), **more)
        async with open_gateway(settings) as gateway:
            yield World(gateway, receiver, {})
