"""`make fuzz MINUTES=10`: every parser in turn under atheris, guided by what its code covers.

    python tests/fuzz/run.py --minutes 10 [--only rtmp]

Inputs that reach new code are kept in `tests/fuzz/corpus/TARGET` for the next time (commit few of them). What breaks
a parser is written to `tests/fuzz/found`, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))  # this checkout, whatever is installed
SHORT = 4_096  # bytes of an input


def one(name: str, seconds: int) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["gateway", "ingest", "stt"]):
        from targets import TARGETS

    corpus, found = HERE / "corpus" / name, HERE / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-max_len={SHORT}", "-timeout=5", "-rss_limit_mb=1024"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={found}/{name}-", str(corpus)], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--only", default=None)
    parser.add_argument("--one", default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.one, round(args.minutes * 60))
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("atheris is not here; it has wheels for Linux: pip install atheris", file=sys.stderr)
        return 2
    from targets import TARGETS

    names = [args.only] if args.only else list(TARGETS)
    broken = []
    for name in names:
        each = args.minutes / len(names)
        command = [sys.executable, __file__, "--one", name, "--minutes", str(each)]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        done = [line for line in told.stderr.splitlines() if line.startswith("Done ")]
        print(f"{name:16} {done[-1] if done else 'BROKEN'}", flush=True)
        if told.returncode or not done:
            print(told.stderr[-4_000:])
            broken.append(name)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
