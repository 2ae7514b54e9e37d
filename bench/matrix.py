"""The fault matrix for as long as asked: random misfortunes of the provider, words in equal words out.

Real sockets, time that jumps (see tests/integration/stt_gladia). Ends with 1 and the seeds when a scenario fails;
GATEWAY_FAULT_SEEDS=<seed> pytest tests/integration/stt_gladia/test_stt_gladia_fault_matrix.py plays one again.

    python bench/matrix.py --minutes 60 --first 100000
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "integration" / "stt_gladia"))

from stt_gladia_clock import run
from stt_gladia_scenarios import play_all

BATCH = 200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began, seed, wrong = time.monotonic(), asked.first, dict[int, str]()
    while time.monotonic() - began < asked.minutes * 60:
        wrong |= run(play_all(list(range(seed, seed + BATCH))))
        seed += BATCH
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        took = time.monotonic() - began
        print(f"{seed - asked.first} scenarios, {len(wrong)} wrong, {took:.0f} s, at most {memory} MB", flush=True)
    for bad, problem in sorted(wrong.items()):
        print(f"seed {bad}: {problem}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
