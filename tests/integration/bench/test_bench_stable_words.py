"""`bench/stable_words.py` on what the offline recogniser has said once of 20 sentences: no change of the rule may make
shown words flicker more, or wait longer. The figures are those of docs/stream.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PARTIALS = Path(__file__).with_name("partials.json")  # `--record`


def test_of_the_words_shown_as_stable_95_in_a_hundred_stay_at_300_ms_of_delay() -> None:
    command = [sys.executable, ROOT / "bench" / "stable_words.py", "--file", PARTIALS]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    plain, stable = done.stdout.splitlines()
    shown, stayed, in_final, *delays = (float(figure) for figure in re.findall(r"(\d+(?:\.\d+)?)(?:%|\b)", stable))
    assert shown > 330 and stayed >= 95, stable
    assert in_final >= 91.5, "the recogniser's second look changes 4.7 %"
    assert delays[3] <= 300, "mean, with the words that only the final shows"
    assert "38.0% stayed" in plain, "as they come: else this is another recording"
