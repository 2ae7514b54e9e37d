"""The sessions that run here, told to replicas that show them. Nothing is encoded while none does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from gateway.live import relay
from gateway.live.hub import Hub
from gateway.live.relay import MARK, PARTIAL, SNAPSHOT, Crowd, Snapshot, Speaker, Wire, session_channel
from gateway.transcription.domain.transcription import Lease
from gateway.transcription.usecases.feed import TurnedAway

MARK_S: Final = 0.5
"""A session that is shown elsewhere says something so often, so that its silence means something."""


@dataclass(slots=True)
class _Run:
    slug: str
    wire_channel: str
    speaker: Speaker
    said_at: float = 0.0
    crowd: Crowd = field(default_factory=Crowd)
    told_watchers: int = 0


class _Payload(msgspec.Struct):
    data: msgspec.Raw


class Owned:
    """Implements the hub's `Runs`. `begins_here(slug)` is told first when a run begins.

    While it is not certain that what runs here is ours (`may_speak`), nothing goes out.
    """

    def __init__(
        self,
        hub: Hub,
        wire: Wire,
        begins_here: Callable[[str], None],
        may_speak: Callable[[], bool] = lambda: True,
    ) -> None:
        self.turned_away: TurnedAway = lambda slug, who, why: None
        """Another replica has refused a sender of a session that may run here."""
        self._hub = hub
        self._may_speak = may_speak
        self._wire = wire
        self._begins_here = begins_here
        self._clock = asyncio.get_running_loop().time
        self._runs: dict[str, _Run] = {}
        self._told: dict[str, _Run] = {}  # those that are shown elsewhere
        self._slugs: dict[str, str] = {}  # by channel of the wire

    # --- the hub's runs -------------------------------------------------------------------------------------

    def began(self, session_slug: str, lease: Lease) -> None:
        """A first mark: from the number of its receivers we learn whether anybody listens."""
        self._begins_here(session_slug)
        self.ended(session_slug)
        run = _Run(session_slug, session_channel(session_slug), Speaker(lease))
        self._runs[session_slug] = run
        self._slugs[run.wire_channel] = session_slug
        self._mark(run)

    def ended(self, session_slug: str) -> None:
        """See `Runs`."""
        run = self._runs.pop(session_slug, None)
        if run is not None:
            self._be_quiet(run)
            del self._slugs[run.wire_channel]

    def over(self, session_slug: str) -> None:
        """See `Runs`."""
        self._wire.publish(session_channel(session_slug), relay.over(), relay.OVER)

    # --- the wire -------------------------------------------------------------------------------------------

    @property
    def channels(self) -> Iterable[str]:
        """Of the wire: one for each session that runs here."""
        return tuple(self._slugs)

    @property
    def told(self) -> int:
        """How many sessions are told to others now."""
        return len(self._told)

    def message(self, data: bytes) -> None:
        """On the channel of this replica: another one wants to show a session, says how many watch it there, or whom it
        has refused."""
        news = relay.decode(data)
        if news is not None and news.kind == relay.REFUSED:
            for refusal in relay.refusals(news):
                self.turned_away(*refusal)
            return
        run = self._runs.get(news.utterance) if news is not None else None
        if news is None or run is None:
            return
        if news.kind == relay.ASK:
            self._tell(run)
        elif news.kind == relay.CROWD:
            run.crowd.note(news, self._clock())

    def receivers(self, channel: str, number: int) -> None:
        """So many other replicas hear a session's channel."""
        run = self._runs.get(self._slugs.get(channel, ""))
        if run is None:
            return
        if not number:
            self._be_quiet(run)
        elif run.slug not in self._told:
            self._tell(run)

    def elsewhere(self, session_slug: str) -> int:
        """See `Runs`."""
        run = self._runs.get(session_slug)
        return run.crowd.count(self._clock()) if run is not None else 0

    async def run(self) -> None:
        """Marks. Runs until cancelled."""
        while True:
            await asyncio.sleep(MARK_S / 2)
            due = self._clock() - MARK_S / 2
            for run in self._told.values():
                if run.said_at <= due or run.told_watchers != self._watchers(run):
                    self._mark(run)

    # --- telling --------------------------------------------------------------------------------------------

    def _tell(self, run: _Run) -> None:
        """A snapshot, and everything from here on."""
        self._told[run.slug] = run
        channel = self._hub.channel(run.slug)
        channel.forward = partial(self._forward, run)
        now = Snapshot(
            channel.state,
            channel.reason,
            {kind: _data(message.payload) for kind, message in channel.retained.items()},
            {utterance: _data(message.payload) for utterance, message in channel.partials.items()},
        )
        self._forward(run, SNAPSHOT, "", msgspec.json.encode(now))

    def _be_quiet(self, run: _Run) -> None:
        if self._told.pop(run.slug, None) is not None:
            self._hub.channel(run.slug).forward = None

    def _mark(self, run: _Run) -> None:
        """Its data is how many watch the session on all replicas."""
        run.told_watchers = self._watchers(run)
        self._forward(run, MARK, "", msgspec.json.encode(run.told_watchers))

    def _watchers(self, run: _Run) -> int:
        return self._hub.watching(run.slug) + run.crowd.count(self._clock())

    def _forward(self, run: _Run, kind: str, utterance: str, data: bytes) -> None:
        if not self._may_speak():
            return
        channel = self._hub.channel(run.slug)
        overtakes = utterance if kind == PARTIAL else kind if kind in (SNAPSHOT, MARK) else None
        news = run.speaker.news(kind, channel.epoch, channel.last_seq, utterance, data)
        run.said_at = self._clock()
        self._wire.publish(run.wire_channel, news, overtakes)


def _data(payload: bytes) -> msgspec.Raw:
    return msgspec.json.decode(payload, type=_Payload).data
