"""A real Prometheus with the shipped rules, whose times may be made shorter."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from support.ports import free_port
from support.waiting import until

RULES: Final = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules.yaml"
_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SECONDS: Final = re.compile(r"(?m)((?:gateway_\w+_seconds\)?|\[1d\]\)\)) > )(\d{2,})\b")
_LEAST_S: Final = 3.0
"""That a gauge of seconds is compared with: between two scrapes it is above less even in good times."""


def quicker(rules: str, by: float) -> str:
    """The rules, waiting `by` times as short: `for`, windows of rates, and seconds that are compared with a number."""

    def shorter(found: re.Match[str]) -> str:
        return f"{found[1]}{max(1, round(int(found[2]) * _UNITS[found[3]] / by))}ms{found[4]}"

    rules = _SECONDS.sub(lambda found: f"{found[1]}{max(_LEAST_S, int(found[2]) / by):g}", rules)
    rules = re.sub(r"(?m)^( +for: )(\d+)([smhd])()$", shorter, rules)
    return re.sub(r"(\[)(\d+)([smhd])(\])", shorter, rules)


@dataclass
class Prometheus:
    """One that runs."""

    url: str
    http: aiohttp.ClientSession

    async def ask(self, query: str) -> list[dict[str, Any]]:
        async with self.http.get(f"{self.url}/api/v1/query", params={"query": query}) as answer:
            told = await answer.json()
        assert told["status"] == "success", told
        found: list[dict[str, Any]] = told["data"]["result"]
        return found

    async def fired(self) -> set[str]:
        """Names of all alerts that fire, or have fired."""
        found = await self.ask('last_over_time(ALERTS{alertstate="firing"}[10m])')
        return {one["metric"]["alertname"] for one in found}


def _start(
    folder: Path, jobs: Mapping[str, Sequence[str]], rules: str, every: str, token: str, port: int
) -> subprocess.Popen[bytes]:
    folder.mkdir()
    (folder / "rules.yaml").write_text(rules)
    scraped = "".join(
        f"  - job_name: {job}\n    authorization: {{credentials: {token}}}\n"
        f"    static_configs: [{{targets: {list(targets)}}}]\n"
        for job, targets in jobs.items()
    )
    (folder / "prometheus.yaml").write_text(
        f"global: {{scrape_interval: {every}, scrape_timeout: {every}, evaluation_interval: {every}}}\n"
        f"rule_files: [rules.yaml]\nscrape_configs:\n{scraped}"
    )
    places = [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        command = ["prometheus", *places, f"--web.listen-address=127.0.0.1:{port}"]
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


@asynccontextmanager
async def running_prometheus(
    folder: Path, jobs: Mapping[str, Sequence[str]], rules: str, *, every: str, token: str, http: aiohttp.ClientSession
) -> AsyncIterator[Prometheus]:
    """Scrapes the targets of each job, and evaluates, `every` so often. Yields after three scrapes of all."""
    port = free_port()
    process = _start(folder, jobs, rules, every, token, port)
    made = Prometheus(f"http://127.0.0.1:{port}", http)
    targets = sum(len(each) for each in jobs.values())
    try:

        async def is_ready() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            with suppress(aiohttp.ClientError):
                return len(await made.ask("count_over_time(up[1m]) > 2")) == targets
            return False

        await until(is_ready, "three scrapes of every target", within_s=120, every_s=0.2)
        yield made
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)
