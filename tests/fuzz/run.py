"""`make fuzz MINUTES=10`: every parser in turn under atheris, guided by what its code covers.

    python tests/fuzz/run.py --minutes 10            in all
    python tests/fuzz/run.py --inputs 10000000       of each parser
    python tests/fuzz/run.py --minutes 1 --only rtmp --only amf
    python tests/fuzz/run.py --inputs 10000000 --unguided      by chance, several times as many a second

Prints a row for each parser. An input that breaks one is written to `tests/fuzz/found` and the parser goes on until
it is done, or has broken MOST times; then the exit status is 1. Inputs that reach new code are kept in
`tests/fuzz/grown/PARSER` for the next time; the best of them belong in `tests/fuzz/corpus`.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))  # this checkout, whatever is installed
LONGEST: Final = 4_096  # bytes of an input; most parsers here are several times as fast with a tenth of it
SLOW_S: Final = 30  # for one input, also where others use the machine
MOST: Final = 20  # findings of one parser


WORDS: Final = (
    b"",
    b"\0",
    b"\xff",
    b"\xff\xfe",
    b"\x7f\xff\xff\xff",
    b'"',
    b"{",
    b"[",
    b"]",
    b"}",
    b",",
    b"-1",
    b"1e999",
    b"null",
)


class Share(NamedTuple):
    """What one parser gets: so many inputs, or seconds (None: no bound), of at most so many bytes."""

    inputs: int | None
    seconds: int | None
    longest: int


class Row(NamedTuple):
    inputs: int
    seconds: float
    cpu_s: float
    findings: int


def one(name: str, share: Share) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["gateway", "ingest", "stt"]):
        from targets import TARGETS

    corpus, grown, found = HERE / "corpus" / name, HERE / "grown" / name, HERE / "found"
    for folder in (corpus, grown, found):
        folder.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_len={share.longest}", f"-timeout={SLOW_S}", "-rss_limit_mb=2048", "-print_final_stats=1"]
    if share.inputs is not None:
        limits.append(f"-runs={share.inputs}")
    if share.seconds is not None:
        limits.append(f"-max_total_time={share.seconds}")
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={found}/{name}-", str(grown), str(corpus)], TARGETS[name])
    atheris.Fuzz()


def unguided(name: str, share: Share) -> Row:
    """What was kept, changed by chance and without a look at what the code covers: for numbers of inputs."""
    from targets import TARGETS

    kept = [path.read_bytes() for folder in ("corpus", "grown") for path in (HERE / folder / name).glob("*")]
    seed = int.from_bytes(os.urandom(4))
    chance, target = random.Random(seed), TARGETS[name]
    (HERE / "found").mkdir(exist_ok=True)
    began, cpu_s, inputs, findings = time.monotonic(), time.process_time(), 0, 0
    while (share.inputs is None or inputs < share.inputs) and findings < MOST:
        if share.seconds is not None and time.monotonic() - began > share.seconds:
            break
        data = changed(kept, chance)[: share.longest]
        inputs += 1
        try:
            target(data)
        except Exception:
            findings += 1
            (HERE / "found" / f"{name}-{seed}-{inputs}").write_bytes(data)
            traceback.print_exc()
    return Row(inputs, time.monotonic() - began, time.process_time() - cpu_s, findings)


def changed(kept: list[bytes], chance: random.Random) -> bytes:
    """One of them with one to eight changes: bytes, words and pieces put in, left out, doubled, taken from another."""
    data = bytearray(chance.choice(kept))
    for _ in range(1 << chance.randrange(4)):
        at, end = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
        match chance.randrange(6):
            case 0 if data:
                data[at - 1] = chance.randrange(256)
            case 1 if data:
                data[at - 1] ^= 1 << chance.randrange(8)
            case 2:
                data[at:at] = chance.choice(WORDS)
            case 3:
                del data[at : min(end, at + 32)]
            case 4:
                data[at:at] = data[at : min(end, at + 32)]
            case 5:
                other = chance.choice(kept)
                start = chance.randrange(len(other) + 1)
                data[at : at + chance.randrange(32)] = other[start : start + 32]
    return bytes(data)


def feed(name: str, share: Share) -> Row:
    """One parser until its share is used up, past what breaks it. Its output is in `found/NAME.log`."""
    (HERE / "found").mkdir(exist_ok=True)
    log = HERE / "found" / f"{name}.log"
    began, cpu_s, inputs, findings = time.monotonic(), _cpu_s(), 0, 0
    while findings < MOST:
        passed = time.monotonic() - began
        left = Share(
            None if share.inputs is None else share.inputs - inputs,
            None if share.seconds is None else round(share.seconds - passed),
            share.longest,
        )
        if any(bound is not None and bound <= 0 for bound in left):
            break
        bounds = [f"--{kind}={bound}" for kind, bound in left._asdict().items() if bound is not None]
        command = [sys.executable, __file__, "--one", name, *bounds]
        with log.open("wb") as file:
            ended = subprocess.run(command, stderr=file, stdout=file, check=False)
        told = log.read_text(errors="replace")
        done = re.findall(r"stat::number_of_executed_units: (\d+)", told) or re.findall(r"^#(\d+)", told, re.MULTILINE)
        inputs += int(done[-1]) if done else 0
        if ended.returncode:
            findings += 1
            log.replace(log.with_name(f"{name}.{findings}.log"))
            print(told[-1_500:], file=sys.stderr, flush=True)
        if not done:
            break
    return Row(inputs, time.monotonic() - began, _cpu_s() - cpu_s, findings)


def _cpu_s() -> float:
    """Of all parsers so far: a machine that others use has little to say with its clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="for all parsers together; without --inputs")
    parser.add_argument("--inputs", type=int, default=None, help="for each parser, however long it takes")
    parser.add_argument("--longest", type=int, default=LONGEST, help="bytes of an input")
    parser.add_argument("--only", action="append", default=[], metavar="PARSER")
    parser.add_argument("--unguided", action="store_true", help="by chance alone, without atheris")
    parser.add_argument("--one", default=None, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.one, Share(args.inputs, args.seconds, args.longest))
    try:
        if not args.unguided:
            import atheris  # noqa: F401
    except ImportError:
        print("atheris is not here; it has wheels for Linux: pip install atheris", file=sys.stderr)
        return 2
    from targets import TARGETS

    names = args.only or list(TARGETS)
    seconds = None if args.inputs else max(round(args.minutes * 60 / len(names)), 1)
    share = Share(args.inputs, seconds, args.longest)
    print(f"{'parser':16} {'inputs':>12} {'seconds':>8} {'of CPU':>8} {'a CPU second':>12} {'findings':>8}", flush=True)
    broken = False
    for name in names:
        row = (unguided if args.unguided else feed)(name, share)
        broken = broken or row.findings > 0 or not row.inputs
        rate = row.inputs / max(row.cpu_s, 1)
        times = f"{row.seconds:8.0f} {row.cpu_s:8.0f} {rate:12,.0f}"
        print(f"{name:16} {row.inputs:12,} {times} {row.findings:8}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
