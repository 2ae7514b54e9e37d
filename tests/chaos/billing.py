"""The bills of all rounds against the speech server's own count, once its sessions have been ended and billed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.plan import Plan
from chaos.world import World

WAIT_S: Final = 90.0
"""A session without an owner is swept, and a bill that is missing is requested again within half a minute."""
FORGETS_S: Final = 8.0
"""A meter that died with its owner: its last reading is so old at most, a second until it was noticed, half a second of
rounding, which is never charged, and a second of a busy machine included."""


@dataclass(slots=True)
class Bills:
    """Of which sessions, by round."""

    world: World
    _rounds: list[tuple[Plan, Sequence[str]]] = field(default_factory=list)

    def add(self, plan: Plan, slugs: Sequence[str]) -> None:
        self._rounds.append((plan, slugs))

    async def check(self) -> list[tuple[int, str]]:
        """Returns: what is wrong, with the seed of the round."""
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while await self._unsettled():
                    await asyncio.sleep(1)
        wrong: list[tuple[int, str]] = []
        known: set[str] = set()
        for plan, slugs in self._rounds:
            for slug in slugs:
                usage = await self._usage(slug)
                known |= {one["id"] for one in usage["billing"]["providerSessions"]}
                wrong += [(plan.seed, f"{slug}: {problem}") for problem in self._compare(plan, usage)]
        last = self._rounds[-1][0].seed if self._rounds else 0
        left = [live.id for live in self.world.provider.sessions.values() if live.open]
        if left:
            wrong.append((last, f"left open at the provider: {left}"))
        if unknown := [one for one in self.world.provider.sessions if one not in known]:
            wrong.append((last, f"provider sessions that no bill names: {unknown}"))
        return wrong

    async def _unsettled(self) -> bool:
        if any(live.open for live in self.world.provider.sessions.values()):
            return True
        for _, slugs in self._rounds:
            for slug in slugs:
                billing = (await self._usage(slug))["billing"]
                if billing["open"] or billing["unbilled"]:
                    return True
        return False

    async def _usage(self, slug: str) -> dict[str, Any]:
        usage: dict[str, Any] = await self.world.ask("GET", f"/api/transcription/{slug}/usage")
        return usage

    def _compare(self, plan: Plan, usage: dict[str, Any]) -> list[str]:
        wrong = []
        billing = usage["billing"]
        if billing["open"] or billing["unbilled"]:
            wrong.append(f"{billing['open']} provider sessions open, {billing['unbilled']} without a bill")
        ours, theirs = 0.0, 0.0
        for one in billing["providerSessions"]:
            live = self.world.provider.sessions.get(one["id"])
            duration = live.session.duration if live else 0.0
            theirs += duration
            if one["billedSeconds"] is not None and abs(one["billedSeconds"] - duration) > 0.001:
                wrong.append(f"billed {one['billedSeconds']} s, the provider says {duration} s")
        ours = usage["totals"]["durationSeconds"]
        slack = 0.5 * len(usage["rows"]) + 0.01
        forgets_s = FORGETS_S * len(usage["rows"]) if plan.kind.loses_audio else 0.0
        if not -slack - forgets_s <= ours - theirs <= slack:
            parts = [
                f"{one['participantIdentity']} {one['outcome']} {one['sentSeconds']} of {one['billedSeconds']}"
                for one in billing["providerSessions"]
            ]
            wrong.append(f"metered {ours} s, the provider heard {theirs:.2f} s: {parts}")
        return wrong
