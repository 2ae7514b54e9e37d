"""How far any number of replicas goes: what each part would have to do for so many sessions, and which ends first.

    python bench/scaling.py [--sessions 1000 10000 100000] [--watchers 10] [--hashed 0.9]

Two things are simulated, since no formula is trusted with them: on how many replicas a session is watched when
balancers place its watchers by chance or by a hash of the session, and how evenly power of two choices on loads that
are two seconds old fills replicas, also when one dies and the others adopt its sessions. The rest is arithmetic on
measured figures: `Figures` names where each comes from.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Figures:
    """Measured. CPU in ms a session-second unless it says otherwise; bytes a session-second."""

    session_ms: float = 3.9  # docs/fan-out.md: whole gateway, one stream over TLS, ten watchers (whole_gateway.py)
    share: float = 0.6  # of a core that a replica is filled to
    finals: float = 0.33  # assumed, a session-second; one statement each while they come one by one
    statements: float = 0.27  # besides: meters each 5 s, last activity each 15 s (bench/replicas.py)
    replica_statements: float = 3.5  # heartbeat, members, looks, hosts, limits, queues (bench/replicas.py)
    final_ms: float = 1.1  # PostgreSQL's CPU for each (bench/replicas.py: 1.3 a session-second with 1.0 finals)
    database_ms: float = 0.25  # its CPU besides
    wal_final: float = 1_900
    wal: float = 350
    replica_ms: float = 1.5  # PostgreSQL's CPU a second for a replica without sessions
    publish_us: float = 6.0  # Redis' CPU in pipelines of a dozen: 51 for a publish to nine at 4,000 a second
    deliver_us: float = 5.0
    news: float = 3.1  # messages a session-second that is watched elsewhere, joined partials included (replicas.py)
    news_bytes: float = 590
    receive_ms: float = 0.75  # of the replica that shows it
    tell_ms: float = 0.9  # of the owner, once, for any number of those


FIGURES: Final = Figures()
DATABASE_CORES: Final = 16
REDIS_CORES: Final = 1
NET_BYTES: Final = 1.25e9 / 2  # 10 Gbit/s, half full
CONNECTIONS: Final = 9  # of the pool and the heartbeat's own, a replica; a pooler makes them few


def watched_on(replicas: int, watchers: int, hashed: float, chance: random.Random, sessions: int = 2_000) -> float:
    """Replicas, besides the owner, that show a session, on average. `hashed`: share of watchers that a hash places."""
    total = 0
    for _ in range(sessions):
        owner, home = chance.randrange(replicas), chance.randrange(replicas)
        shown = {home if chance.random() < hashed else chance.randrange(replicas) for _ in range(watchers)}
        total += len(shown - {owner})
    return total / sessions


def fill(sessions: int, replicas: int, chance: random.Random, beat: int = 2, per_s: float = 50.0) -> list[int]:
    """Sessions start, `per_s` a second over all; each goes to the less loaded of two, by loads of the last beat plus
    what the chooser itself has given since: the choosers do not know of each other."""
    load = [0] * replicas
    told = load[:]
    given: list[Counter[int]] = [Counter() for _ in range(replicas)]
    for number in range(sessions):
        if number % max(int(per_s * beat), 1) == 0:
            told = load[:]
            given = [Counter() for _ in range(replicas)]
        chooser = given[chance.randrange(replicas)]
        one, other = chance.sample(range(replicas), 2) if replicas > 1 else (0, 0)
        best = min((one, other), key=lambda at: told[at] + chooser[at])
        load[best] += 1
        chooser[best] += 1
    return load


def adopt(load: list[int], chance: random.Random, look_s: float = 1.0, most: int = 20) -> tuple[float, int]:
    """The first replica dies; the others look each second ± 30 % and take at most 20, of two random survivors the less
    loaded one its share, anybody after two looks. Returns: seconds until all are adopted, the fullest replica then."""
    left, load = load[0], load[1:]
    waiting = [0] * left  # looks that each has been left for
    due = [(chance.uniform(0, look_s), at) for at in range(len(load))]
    now = 0.0
    while waiting:
        now, at = min(due)
        due[at] = (now + look_s * chance.uniform(0.7, 1.3), at)
        stay, taken = [], 0
        for looks in waiting:
            rival = chance.randrange(len(load))
            if taken < most and (load[at] <= load[rival] or looks >= 2 * len(load)):
                load[at] += 1
                taken += 1
            else:
                stay.append(looks + 1)
        waiting = stay
    return now, max(load)


@dataclass(frozen=True)
class Need:
    """What so many sessions need. `limits`: share of what there is, by part."""

    sessions: int
    replicas: int
    elsewhere: float
    statements: float
    database_cores: float
    wal: float
    redis_cores: float
    redis_bytes: float
    connections: int
    limits: dict[str, float]


def need(sessions: int, watchers: int, hashed: float, chance: random.Random) -> Need:
    f = FIGURES
    a_replica = f.share * 1000 / (f.session_ms + f.tell_ms)
    replicas = max(math.ceil(sessions / a_replica), 2)
    elsewhere = watched_on(replicas, watchers, hashed, chance)
    # The showing of others' sessions takes its part of each core, too.
    for _ in range(3):
        a_replica = f.share * 1000 / (f.session_ms + f.tell_ms + elsewhere * f.receive_ms)
        replicas = max(math.ceil(sessions / a_replica), 2)
        elsewhere = watched_on(replicas, watchers, hashed, chance)
    told = min(elsewhere, 1.0)
    statements = sessions * (f.finals + f.statements) + replicas * f.replica_statements
    database_cores = (sessions * (f.finals * f.final_ms + f.database_ms) + replicas * f.replica_ms) / 1000
    publishes = sessions * f.news * told
    redis_cores = publishes * (f.publish_us + f.deliver_us * elsewhere) / 1e6
    redis_bytes = publishes * f.news_bytes * elsewhere
    connections = replicas * CONNECTIONS
    limits = {
        "PostgreSQL's CPU": database_cores / DATABASE_CORES,
        "Redis' one thread": redis_cores / REDIS_CORES,
        "Redis' network": redis_bytes / NET_BYTES,
    }
    return Need(
        sessions,
        replicas,
        elsewhere,
        statements,
        database_cores,
        sessions * (f.finals * f.wal_final + f.wal),
        redis_cores,
        redis_bytes,
        connections,
        limits,
    )


def show(needs: list[Need]) -> None:
    def line(what: str, cells: list[str]) -> None:
        print("| " + " | ".join([what, *cells]) + " |")

    line("sessions at once", [f"{one.sessions:,}" for one in needs])
    line("---", ["---"] * len(needs))
    line("replicas of one core", [f"{one.replicas:,}" for one in needs])
    line("other replicas that show a session", [f"{one.elsewhere:.1f}" for one in needs])
    line("PostgreSQL: statements/s", [f"{one.statements:,.0f}" for one in needs])
    line("cores", [f"{one.database_cores:.1f}" for one in needs])
    line("WAL, MB/s", [f"{one.wal / 1e6:.1f}" for one in needs])
    line("connections", [f"{one.connections:,}" for one in needs])
    line("Redis: cores", [f"{one.redis_cores:.2f}" for one in needs])
    line("Gbit/s out", [f"{one.redis_bytes * 8 / 1e9:.2f}" for one in needs])
    worst = [max(one.limits.items(), key=lambda item: item[1]) for one in needs]
    line(
        f"fullest part of {DATABASE_CORES} cores, one thread, 5 Gbit/s",
        [f"{name}, {share:.0%}" for name, share in worst],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--watchers", type=int, default=10)
    parser.add_argument("--hashed", type=float, default=0.9, help="share of watchers that a hash of the session places")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    for name, hashed in (("by chance", 0.0), (f"{asked.hashed:.0%} by a hash of the session", asked.hashed)):
        print(f"\nwatchers placed {name}\n")
        show([need(sessions, asked.watchers, hashed, chance) for sessions in asked.sessions])
    print("\nplacing by power of two choices on loads of the last beat, and one replica dying\n")
    print("| replicas | sessions each: mean | fullest | all adopted after, s | fullest then |\n" + "| --- " * 5 + "|")
    for replicas in (3, 7, 67):
        loads = [fill(120 * replicas, replicas, chance) for _ in range(5)]
        after = [adopt(load, chance) for load in loads]
        print(
            f"| {replicas} | 120 | {max(max(load) for load in loads)} | {statistics.median(s for s, _ in after):.1f} "
            f"| {max(most for _, most in after)} |"
        )


if __name__ == "__main__":
    main()
