"""Staged incidents: a small deployment with traffic, and after a quiet minute something goes wrong with it.

make incident ARGS='--incident a'    for somebody who finds out what it is, with docs/runbook.md alone
make incident ARGS=--list            for whoever takes the time: what each letter is
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import traceback
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from staging.incidents import INCIDENTS, Incident
from staging.people import traffic
from staging.world import ROOT, World, staging
from support.gateway import TOKEN
from support.postgres import running_postgres

from gateway.cli.signals import stop_signals


def facts(world: World) -> dict[str, object]:
    """What an operator has at hand."""
    return {
        "alerts": f"{world.seen.url}/alerts",
        "prometheus": world.seen.url,
        "token": TOKEN,
        "replicas": {
            replica.name: {
                "pages": f"{replica.url}/operator",
                "metrics": f"{replica.metrics}/metrics",
                "debug": f"{replica.metrics}/debug/",
                "pid": replica.process.pid,
                "environment": str(replica.folder / "env"),
                "log": str(world.folder / "journal" / f"{replica.name}.log"),
            }
            for replica in world.replicas
        },
        "canary": str(world.folder / "journal" / "canary.log"),
        "providerAccount": str(world.account),
        "dashboards": str(ROOT / "deploy" / "grafana"),
        "runbook": str(ROOT / "docs" / "runbook.md"),
    }


def show(told: dict[str, object], scale: float) -> None:
    print(json.dumps(told, indent=1))
    print(f"""
commands as on a replica's machine:   cd {ROOT}; . ENVIRONMENT; {sys.executable} -m gateway check
a dashboard without Grafana:          {ROOT}/deploy/prometheus/panels.py overview --prometheus {told["prometheus"]}
alerts without a browser:             {ROOT}/deploy/prometheus/panels.py --prometheus {told["prometheus"]}
What the alerts and the canary wait for is {scale:g} times as short as in production. Ready; now it is quiet.""")
    sys.stdout.flush()


async def play(world: World, incident: Incident, asked: argparse.Namespace) -> None:
    """Until it is cancelled."""
    told = facts(world)

    def note() -> None:
        if asked.port_file:
            asked.port_file.write_text(json.dumps(told, indent=1) + "\n")

    async def happens() -> None:
        await asyncio.sleep(asked.quiet)
        told["began"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        note()
        await incident.happens(world)

    note()
    show(told, asked.scale)
    async with asyncio.TaskGroup() as running:
        running.create_task(traffic(world))
        running.create_task(happens())


async def run(folder: Path, database_url: str, asked: argparse.Namespace) -> int:
    """Until a signal, or its time is over. Returns: the exit status, 1 where the staging itself fails."""

    async def staged() -> None:
        async with staging(folder, database_url, asked.replicas, asked.scale) as world:
            await play(world, INCIDENTS[asked.incident], asked)

    async with stop_signals() as stop:
        playing = asyncio.create_task(staged())
        stopping = asyncio.create_task(stop.wait())
        both = {playing, stopping}
        await asyncio.wait(both, timeout=asked.minutes * 60, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        outcome, _ = await asyncio.gather(*(playing, stopping), return_exceptions=True)
    if isinstance(outcome, Exception):
        traceback.print_exception(outcome)
    return isinstance(outcome, Exception)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--incident", choices=sorted(INCIDENTS), help="which one; --list says what they are")
    parser.add_argument("--list", action="store_true", help="what each letter is, and which alert shows it")
    parser.add_argument("--minutes", type=float, default=20.0, help="everything ends after so many (default: 20)")
    parser.add_argument("--quiet", type=float, default=60.0, help="seconds before it happens (default: 60)")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--scale", type=float, default=10.0, help="how many times as quick alerts are (default: 10)")
    parser.add_argument("--port-file", type=Path, help="URLs as JSON, and `began` as soon as it has happened")
    asked = parser.parse_args()
    if asked.list or not asked.incident:
        for letter, incident in INCIDENTS.items():
            print(f"{letter}  {incident.alert:34} {incident.happens.__doc__}")
        return 0
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-staging-"))
        url = stack.enter_context(stack.enter_context(running_postgres()).database())
        return asyncio.run(run(Path(folder), url, asked))


if __name__ == "__main__":
    sys.exit(main())
