"""Alerts seen firing: the shipped expressions, over what live gateways expose while something is wrong with them."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import ExitStack
from pathlib import Path

from alerts_scene import crowd, database, fires, mute_and_full, provider, world
from support.gateway import Process
from support.postgres import PostgresServer
from support.prometheus import RULES
from support.tools import needs

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbook.md"
NOT_PROVOKED = set(
    re.findall(r"`(Gateway\w+)`", RUNBOOK.read_text().split("## Not seen firing\n")[1].split("\n## ")[0])
)
"""The runbook says why; promtool checks them with series written by hand (deploy/prometheus/tests.yaml)."""

AT_ONCE = {"GatewayDown", "GatewayCanaryDown", "GatewayCanaryFails", "GatewayWebhooksLate", "GatewayAnalysesWait"}
"""What is so when the gateways start: nobody at two addresses, a backlog in a database."""


async def test_alerts_fire(tmp_path: Path, postgres_server: PostgresServer) -> None:
    needs("prometheus")
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    assert NOT_PROVOKED.issubset(alerts)
    wanted = alerts - NOT_PROVOKED
    with ExitStack() as databases:
        urls = {name: databases.enter_context(postgres_server.database()) for name in "abc"}
        async with world(tmp_path, urls) as made:
            assert await made.seen.fired() <= AT_ONCE, "nothing else is wrong yet"
            async with asyncio.TaskGroup() as troubles:
                for trouble in (mute_and_full, database, provider):
                    troubles.create_task(trouble(made))
            await crowd(made)
            for alert in sorted(wanted):
                await fires(made, alert)
            told = [await panels(made.seen.url, *name) for name in ((), ("overview",), ("session",))]
    assert re.search(r"firing +page +GatewayDown ", told[0])
    assert re.search(r"Replicas that answer +up +3 ", told[1])
    assert re.search(r"Words that come back +\S+ +50.0% ", told[2])


async def panels(url: str, *arguments: str) -> str:
    """What operators without Grafana see."""
    command = [str(RULES.with_name("panels.py")), *arguments, "--prometheus", url]
    process = await Process.start(sys.executable, *command)
    assert await process.wait() == 0, process.output
    return process.output
