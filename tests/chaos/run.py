"""Seeded rounds of chaos over three real gateways, as many as asked; ends with 1 when the oracle finds anything wrong.

make chaos MINUTES=10
PYTHONPATH=tests:. python tests/chaos/run.py --seed 17                          one round again
PYTHONPATH=tests:. python tests/chaos/run.py --faults 'owner killed' --rounds 5 --keep FOLDER
PYTHONPATH=tests:. python tests/chaos/run.py --faults 'owner frozen' --lasts 60 --rounds 2     thawed a minute later
PYTHONPATH=tests:. python tests/chaos/run.py --skew 5 --minutes 2    their clocks are 5 s behind, right, and 5 s ahead
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from chaos.billing import Bills
from chaos.neighbours import neighbours
from chaos.oracle import Verdict, judge, table
from chaos.plan import BY_NAME, KINDS, Plan, draw
from chaos.play import Round
from chaos.world import World, open_world
from support.livekit import LivekitServer
from support.redis_server import RedisServer


@dataclass(slots=True)
class Played:
    """Every round so far, and the bills of all."""

    bills: Bills
    verdicts: dict[int, tuple[str, Verdict]] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)
    """Of the machine, at the end of each."""
    took_s: float = 0.0
    """All rounds, without the start before and the bills after them."""

    @property
    def wrong(self) -> list[int]:
        return [seed for seed, (_, verdict) in sorted(self.verdicts.items()) if verdict.problems]


async def _finish(one: Round, played: Played) -> None:
    plan = one.plan
    try:
        verdict = judge(await one.finish())
        played.bills.add(plan, [session.slug for session in one.sessions])
    except Exception as error:
        one.close()
        verdict = Verdict(problems=[f"{type(error).__name__}: {error}"])
        traceback.print_exc()
    played.verdicts[plan.seed] = (plan.fault, verdict)
    recovered = "–" if verdict.recover_s is None else f"{verdict.recover_s:.1f} s"
    played.loads.append(os.getloadavg()[0])
    print(f"seed {plan.seed}, {plan.fault}: {one.clock():.0f} s, recovered {recovered}, {len(verdict.problems)} wrong")
    sys.stdout.flush()
    if verdict.problems:
        print(f"  {plan}", *verdict.problems[:12], sep="\n  ", flush=True)


async def _play(plans: Iterable[Plan], until: float, world: World) -> Played:
    played, began = Played(Bills(world)), time.monotonic()
    finishing: set[asyncio.Task[None]] = set()
    for plan in plans:
        if time.monotonic() > until:
            break
        one = Round(plan, world)
        try:
            await world.ready()
            await one.play()
        except Exception as error:
            one.close()
            traceback.print_exc()
            played.verdicts[plan.seed] = (plan.fault, Verdict(problems=[f"{type(error).__name__}: {error}"]))
            print(f"seed {plan.seed}, {plan.fault}: {type(error).__name__}: {error}", flush=True)
            continue
        task = asyncio.create_task(_finish(one, played))
        finishing.add(task)
        task.add_done_callback(finishing.discard)
    await asyncio.gather(*finishing)
    played.took_s = time.monotonic() - began
    await world.ready()
    for seed, problem in await played.bills.check():
        played.verdicts.setdefault(seed, ("nothing", Verdict()))[1].problems.append(problem)
        print(f"seed {seed}: {problem}", flush=True)
    return played


async def _all(
    asked: argparse.Namespace, url: str, redis: RedisServer, livekit: LivekitServer | None, to: Path
) -> Played:
    faults = tuple(asked.faults) or tuple(kind.name for kind in KINDS if livekit is not None or not kind.room)
    seeds = asked.seed or range(asked.first, asked.first + asked.rounds)
    async with open_world(url, redis, to, livekit=livekit, skew_s=asked.skew) as world:
        try:
            plans = (draw(seed, faults, asked.lasts) for seed in seeds)
            return await _play(plans, time.monotonic() + asked.minutes * 60, world)
        finally:
            for replica in world.replicas:
                (to / f"replica-{replica.number}.log").write_text("\n".join(replica.written))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="no round begins later")
    parser.add_argument("--rounds", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, nargs="*", help="only these")
    parser.add_argument("--faults", nargs="*", default=[], help="to choose from")
    parser.add_argument("--lasts", type=float, help="how long each fault lasts, seconds, if not as drawn")
    parser.add_argument(
        "--skew", type=int, default=0, help="seconds between the wall clocks of one replica and the next"
    )
    parser.add_argument("--keep", help="a folder for the gateways' logs")
    asked = parser.parse_args()
    if unknown := [name for name in asked.faults if name not in BY_NAME]:
        parser.error(f"no such fault: {', '.join(unknown)}; there are: {', '.join(BY_NAME)}")
    began = time.monotonic()
    with neighbours("chaos", asked.keep) as around:
        played = asyncio.run(_all(asked, *around))
    load = f"{statistics.median(played.loads):.0f}, at most {max(played.loads):.0f}" if played.loads else "?"
    all_s = time.monotonic() - began
    print(
        f"\n{len(played.verdicts)} rounds in {played.took_s:.0f} s ({all_s:.0f} s with start and bills), load {load}\n"
    )
    print(table(played.verdicts[seed] for seed in sorted(played.verdicts)))
    if played.wrong:
        print(f"\nwrong: seeds {played.wrong}")
    return 1 if played.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
