"""What comes after a hand-over is brought to the replica that numbers now: finals, and audio that nobody has heard.

Finals are kept as strays when it is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from gateway.clock import Clock
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.captions import Caption, Speaker
from gateway.transcription.domain.errors import NoAnswer
from gateway.transcription.domain.handover import Counted, Heir, Late, Unheard
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.usecases.context import RunContext
from gateway.transcription.usecases.journal import FinalToStore
from gateway.transcription.usecases.track import SAMPLE_RATE

log = logging.getLogger(__name__)

MOST: Final = 5_000
"""Finals that wait here; more become strays at once."""
BATCH: Final = 15
"""Finals told at once: what an API takes is 64 KiB."""
PATIENCE_S: Final = 6.0
"""How long the heir may not answer before it counts as gone. It may still be starting the run."""
AGAIN_S: Final = 0.1


Tell = Callable[[str, str, Late], Awaitable[None]]
"""Tells a replica, of a session by its slug, what came late. Raises: NoAnswer, also when it does not have it."""


class Former:
    """The former owner of a transcription, while it may still tell what it has heard."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = 0.0
        self._done = asyncio.Event()
        self._done.set()

    @property
    def is_done(self) -> bool:
        """It has told everything, or there is none."""
        return self._done.is_set()

    def expect(self, until: float) -> None:
        """It may tell something until then, monotonic."""
        self._until = until
        self._done.clear()

    def end(self) -> None:
        """It has nothing more to tell, or no way to us."""
        self._done.set()

    async def wait(self) -> None:
        """Until it is done, or its time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._until - self._clock.monotonic())):
                await self._done.wait()


class LateFinals:
    """Of one transcription that was handed over. `run` ends when everything is delivered, after `close`."""

    def __init__(self, claimed: Claimed, heir: Heir, context: RunContext, tell: Tell) -> None:
        self.claimed = claimed
        self._heir = heir
        self._context = context
        self._tell = tell
        self._waiting: list[Caption] = []
        self._unheard: deque[Unheard] = deque()  # what the tracks' links have held
        self._counted: tuple[Counted, ...] = ()
        self._news = asyncio.Event()
        self._lost_audio_s = 0.0
        self._is_last = False
        self._is_complete = True

    def put(self, caption: Caption) -> None:
        """Never waits."""
        if len(self._waiting) < MOST:
            self._waiting.append(caption)
            self._news.set()
        else:
            self._is_complete = False

    def carry(self, speaker: Speaker, anchor: datetime, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Audio of one track, to be heard by the heir: offsets since `anchor`, and s16le. Never waits."""
        last = len(pieces) - 1
        for number, (offset, pcm) in enumerate(pieces):
            self._unheard.append(Unheard(speaker.identity, speaker.name, anchor, offset, pcm, is_last=number == last))
        self._news.set()

    def close(self, counted: tuple[Counted, ...], *, is_complete: bool, lost_audio_s: float) -> None:
        """Nothing more comes: meters and lost audio as they stand at the end, whether no final can be missing."""
        self._counted, self._lost_audio_s, self._is_last = counted, lost_audio_s, True
        self._is_complete = self._is_complete and is_complete
        self._news.set()

    async def run(self) -> None:
        """Deliver, in order. Raises nothing but CancelledError."""
        try:
            await self._run()
        except asyncio.CancelledError:
            log.error("what came late may be lost: this gateway ends", extra={"session": self.claimed.slug})
            raise

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            batch, self._waiting = tuple(self._waiting[:BATCH]), self._waiting[BATCH:]
            # A second of audio fills most of a message.
            audio = (self._unheard.popleft(),) if self._unheard and not batch else ()
            is_last = self._is_last and not self._waiting and not self._unheard
            if not await self._deliver(batch, audio, is_last=is_last):
                self._give_up(audio)
                await self._keep(batch)
            if is_last:
                return
            if self._waiting or self._unheard:
                self._news.set()

    def _give_up(self, audio: tuple[Unheard, ...]) -> None:
        """The heir is gone, and nobody else can be asked to hear it."""
        lost = [*audio, *self._unheard]
        if lost:
            self._unheard.clear()
            self._is_complete = False
            seconds = sum(one.samples for one in lost) / SAMPLE_RATE
            log.error("%.1f s of audio are lost", seconds, extra={"session": self.claimed.slug})

    async def _deliver(self, captions: tuple[Caption, ...], audio: tuple[Unheard, ...], *, is_last: bool) -> bool:
        lease = self.claimed.lease
        late = Late(
            lease.transcription_id,
            lease.fence + 1,
            captions,
            self._counted,
            is_last,
            self._is_complete,
            self._lost_audio_s,
            audio,
        )
        ends_at = self._context.clock.monotonic() + PATIENCE_S
        while True:
            try:
                await self._tell(self._heir.replica, self.claimed.slug, late)
                return True
            except NoAnswer as error:
                if self._context.clock.monotonic() >= ends_at:
                    extra = {"session": self.claimed.slug, "finals": len(captions)}
                    log.error("the replica that goes on does not take what came late: %s", error, extra=extra)
                    return False
            await asyncio.sleep(AGAIN_S)

    async def _keep(self, captions: Sequence[Caption]) -> None:
        """Without a number: whoever ends the transcription gives them one."""
        claimed, records = self.claimed, self._context.records
        finals = [
            FinalToStore(
                claimed.lease,
                claimed.session_id,
                claimed.numbering.epoch,
                0,
                said,
                None,
                self._context.live.encode(said),
            )
            for said in captions
        ]
        try:
            if finals:
                await records.finals.store_strays(finals)
                await records.finals.number_strays(claimed.session_id)
        except RecordsUnavailable as error:
            log.error("%d late finals are lost: %s", len(finals), error, extra={"session": claimed.slug})
