"""The documentation as a site: every link leads somewhere, nothing is asked for elsewhere, and capacity is computed."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.tools import needs

ROOT = Path(__file__).parents[3]
MODEL = ROOT / "docs" / "assets" / "capacity-model.js"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Built strictly: an unknown page, link, file or heading ends it."""
    folder = tmp_path_factory.mktemp("site")
    # Not --quiet: that drops the warnings before --strict counts them.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    yield folder


def test_every_page_is_there_and_found(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in site.glob("*.html")}
    index = json.loads((site / "search" / "search_index.json").read_text())
    found = {entry["location"].split("#")[0] for entry in index["docs"] if "spool" in entry["text"].lower()}
    assert {"architecture.html", "settings.html"} <= found


def test_it_asks_for_nothing_elsewhere(site: Path) -> None:
    """Scripts, styles, fonts and pictures are its own; it works where there is no network."""
    for page in site.rglob("*.html"):
        asked = re.findall(
            r"<(?:script|img|link|iframe)[^>]+(?:src|href)=\"?((?:https?:)?//[^\" >]+)", page.read_text()
        )
        assert not [url for url in asked if "rel=canonical" not in url], page
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\(\"?(?:https?:)?//|@import", style.read_text()), style


def scaling() -> Any:
    spec = importlib.util.spec_from_file_location("scaling", ROOT / "bench" / "scaling.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scaling"] = module  # dataclasses look for it
    spec.loader.exec_module(module)
    return module


def computed(asked: list[dict[str, float]]) -> list[dict[str, float]]:
    """What the page says."""
    program = (
        f"import {{ need }} from {json.dumps(MODEL.as_uri())};"
        f"console.log(JSON.stringify({json.dumps(asked)}.map((one) => need(one))))"
    )
    needs("node")
    done = subprocess.run(["node", "--input-type=module", "-e", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said: list[dict[str, float]] = json.loads(done.stdout)
    return said


ROOM = {"rooms": 1000, "speakers": 1, "talk": 1, "watchers": 10, "hashed": 0, "hours": 100, "price": 0.01}


def test_capacity_is_that_of_the_simulation() -> None:
    """One speaker who never stops is the session of bench/scaling.py."""
    bench, chance = scaling(), random.Random(5)
    cases = [(rooms, watchers, hashed) for rooms in (200, 3_000) for watchers in (1, 10) for hashed in (0.0, 0.9)]
    said = computed([{**ROOM, "rooms": rooms, "watchers": w, "hashed": hashed} for rooms, w, hashed in cases])
    for (rooms, watchers, hashed), page in zip(cases, said, strict=True):
        simulated = bench.need(rooms, watchers, hashed, chance)
        for ours, theirs in (
            ("replicas", simulated.replicas),
            ("elsewhere", simulated.elsewhere),
            ("statements", simulated.statements),
            ("databaseCores", simulated.database_cores),
            ("redisCores", simulated.redis_cores),
        ):
            assert page[ours] == pytest.approx(theirs, rel=0.12, abs=0.05), (rooms, watchers, hashed, ours)


def test_more_of_anything_never_needs_less() -> None:
    chance = random.Random(6)
    fewer = [
        {
            "rooms": chance.randrange(1, 5_000),
            "speakers": chance.randrange(1, 30),
            "talk": chance.random(),
            "watchers": chance.randrange(0, 50),
            "hashed": 0,
            "hours": 1,
            "price": 0.01,
        }
        for _ in range(200)
    ]
    grown = [{**one, (key := chance.choice(("rooms", "speakers", "talk"))): one[key] * 1.5} for one in fewer]
    for one in grown:
        one["talk"] = min(one["talk"], 1)
    for less, more in zip(computed(fewer), computed(grown), strict=True):
        for key in ("replicas", "places", "statements", "databaseCores", "moneyAMonth"):
            assert more[key] >= less[key] - 1e-9
        assert more["places"] <= more["tracks"]


def test_nobody_who_speaks_costs_nothing() -> None:
    [quiet] = computed([{**ROOM, "talk": 0}])
    assert (quiet["places"], quiet["moneyAMonth"], quiet["gigabytesAMonth"]) == (0, 0, 0)
