"""The other replicas as those that take transcriptions over, and give them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from gateway.api.handover import HandOver, TakeOver
from gateway.app.elsewhere import OtherReplicas, read_answer, refusal
from gateway.errors import SessionError
from gateway.replicas.membership import Membership
from gateway.replicas.peers import Answer, Misdirected
from gateway.transcription.domain.errors import NoAnswer, RunsElsewhere
from gateway.transcription.domain.handover import HandedOver, Heir, Late
from gateway.transcription.domain.lines import Line

BOOKS_S: Final = 4.0
"""Beyond the wait for a pause: the owner's books have half of it, the way there and back the rest."""
LATE_S: Final = 3.0


class Heirs:
    """`Neighbours` over HTTP."""

    def __init__(self, membership: Membership, others: OtherReplicas) -> None:
        self._membership = membership
        self._others = others

    def heir(self) -> Heir:
        """Under the run that this replica has now."""
        return Heir(self._others.me, self._membership.run_id)

    async def with_room(self, among: Collection[str] | None = None) -> Sequence[str]:
        """Two at random, the less loaded first, and so on."""
        return [replica for replica in await self._others.candidates(among) if replica != self._others.me]

    async def reaches(self, replica: str, lines: Collection[Line]) -> bool:
        """Within LINES_S."""
        return await self._others.reaches(replica, lines)

    async def ask_for(self, owner: str, slug: str, fence: int, heir: Heir, pause_s: float) -> HandedOver:
        """Within `pause_s` and BOOKS_S."""
        answer = await self._ask(owner, slug, "hand-over", HandOver(fence, heir, pause_s), pause_s + BOOKS_S)
        return read_answer(answer, HandedOver)

    async def offer(self, replica: str, slug: str, owner: str, fence: int, pause_s: float) -> None:
        """Within `pause_s` and twice BOOKS_S: it has to ask us."""
        await self._ask(replica, slug, "take-over", TakeOver(owner, fence, pause_s), pause_s + 2 * BOOKS_S)
        await self._others.gave(replica)

    async def tell_late(self, replica: str, slug: str, late: Late) -> None:
        """Within LATE_S. Whatever it refuses it may take a moment later: it may not have begun yet."""
        try:
            await self._ask(replica, slug, "late", late, LATE_S)
        except SessionError as error:
            raise NoAnswer(str(error)) from error

    def silent_s(self, replica: str) -> float:
        """As of this replica's last beat."""
        return self._membership.silent_s(replica)

    async def _ask(self, replica: str, slug: str, what: str, body: msgspec.Struct, timeout_s: float) -> Answer:
        path = f"/internal/transcription/{quote(slug, safe='')}/{what}"
        try:
            answer = await self._others.ask(replica, path, body, timeout_s)
        except Misdirected as error:
            raise RunsElsewhere(slug, error.owner) from error
        if answer.status >= 400:
            raise refusal(answer)
        return answer
