"""`make bench`: the benchmarks start, and their table names what each figure is compared with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from support.tools import needs

ROOT = Path(__file__).parents[3]


def test_the_table_holds_a_ratio_to_each_named_peer() -> None:
    """One part, in miniature; all others are loaded with it."""
    needs("cc")
    command = [sys.executable, ROOT / "bench" / "table.py", "--only", "fan-out", "--seconds", "0.4"]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in done.stdout.splitlines()[2:]]
    assert [row[3] for row in rows] == ["a loop of send() in C", "aiohttp's WebSockets"]
    for _, ours, _, _, theirs, ratio in rows:
        assert abs(float(ours) / float(theirs) - float(ratio)) < 0.05
