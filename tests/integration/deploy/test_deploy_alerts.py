"""Alerts seen firing: the shipped expressions, over what live gateways expose while something is wrong with them."""

from __future__ import annotations

import asyncio
import re
from contextlib import ExitStack
from pathlib import Path

from alerts_scene import RULES, database, fires, mute_and_full, provider, world
from support.postgres import PostgresServer
from support.tools import needs

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbook.md"
NOT_PROVOKED = set(
    re.findall(r"`(Gateway\w+)`", RUNBOOK.read_text().split("## Not seen firing\n")[1].split("\n## ")[0])
)
"""The runbook says why; promtool checks them with series written by hand (deploy/prometheus/tests.yaml)."""


async def test_alerts_fire(tmp_path: Path, postgres_server: PostgresServer) -> None:
    needs("prometheus")
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    assert NOT_PROVOKED.issubset(alerts)
    wanted = alerts - NOT_PROVOKED
    with ExitStack() as databases:
        urls = {name: databases.enter_context(postgres_server.database()) for name in "abc"}
        async with world(tmp_path, urls) as made:
            assert await made.seen.fired() <= {"GatewayDown", "GatewayCanaryDown"}, "nothing is wrong yet"
            async with asyncio.TaskGroup() as troubles:
                for trouble in (mute_and_full, database, provider):
                    troubles.create_task(trouble(made))
            for alert in sorted(wanted):
                await fires(made, alert)
