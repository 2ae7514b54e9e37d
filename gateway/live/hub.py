"""The live streams of this process: one channel for each session that is transcribed or watched here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from gateway.live import protocol
from gateway.live.audience import NO_DESCRIPTOR, Audience
from gateway.live.channel import TRANSLATION, Channel
from gateway.live.protocol import CloseCode, Framing, StreamState
from gateway.live.sending import SendAll, send_all
from gateway.live.watcher import Bounds, Reading, Transport, WatchCounts, Watcher
from gateway.live.websocket import in_frame
from gateway.transcription.domain.captions import Caption
from gateway.transcription.domain.timing import Timing
from gateway.transcription.domain.transcription import Lease, Numbering

SWEEP_S: Final = 0.05


class Runs(Protocol):
    """Who is told of the runs of this process."""

    def began(self, session_slug: str, lease: Lease) -> None:
        """Its channel knows where the numbering stands; nothing was said yet. Must not wait or raise."""

    def ended(self, session_slug: str) -> None:
        """The last thing was said: that it has stopped. Must not wait or raise."""

    def elsewhere(self, session_slug: str) -> int:
        """How many watch a session that runs here on other replicas, as these have said."""

    def over(self, session_slug: str) -> None:
        """It was ended or deleted here, whoever runs it. May be repeated. Must not wait or raise."""


class Hub:
    """Implements the use cases' `Live` and `LiveState`. `now` gives the times of messages."""

    def __init__(self, now: Callable[[], datetime], bounds: Bounds | None = None, send_all: SendAll = send_all) -> None:
        self.bounds = bounds or Bounds()
        self.counts = WatchCounts()
        self._send_all = send_all
        self._now = now
        self._channels: dict[str, Channel] = {}
        self._running: set[str] = set()  # slugs with a run here
        self.runs: Runs | None = None
        self.on_idle: Callable[[str], object] = lambda slug: None
        """A session runs here no more, or has ended; it may be watched on."""

    # --- for the transcription that runs here -------------------------------------------------------------

    def channel(self, session_slug: str) -> Channel:
        """The session's channel, made where there is none; it goes when it has neither a run nor a watcher."""
        found = self._channels.get(session_slug)
        if found is None:
            audience: Audience[Watcher] = Audience(self._send_all)
            found = Channel(session_slug, self.bounds, self._now, audience, counts=self.counts)
            self._channels[session_slug] = found
        return found

    def begin(self, session_slug: str, numbering: Numbering, lease: Lease | None = None) -> None:
        """A run of the session begins here. Watchers that lack finals published elsewhere are sent back for them.

        So are those who have seen more than was kept.

        Other replicas can be told of what is said under a `lease` alone.
        """
        self._running.add(session_slug)
        channel = self.channel(session_slug)
        channel.begin(numbering)
        channel.send_back_outdated()
        if self.runs is not None and lease is not None:
            self.runs.began(session_slug, lease)

    def set_state(self, session_slug: str, state: str, reason: str | None) -> None:
        """Publish it; `stopped` ends the run here. Raises: ValueError for a word that no `StreamState` has."""
        channel = self.channel(session_slug)
        channel.set_state(StreamState(state), reason)
        if channel.state is StreamState.STOPPED:
            self._ended(session_slug)

    def lose(self, session_slug: str) -> None:
        """The run here is void: others may have begun where fewer finals were. Its watchers come back (4000)."""
        if session_slug not in self._running:
            return
        self._ended(session_slug)
        if (channel := self._channels.get(session_slug)) is not None:
            channel.partials.clear()
            channel.retained.clear()
            for watcher in list(channel.audience):
                watcher.close(CloseCode.DRAINING)

    def move(self, session_slug: str) -> None:
        """The run goes on elsewhere: the channel is one that is followed from now on."""
        self._ended(session_slug)

    def translation(self, session_slug: str, data: bytes) -> None:
        """To those who watch the session here, and to other replicas that show it."""
        if (found := self._channels.get(session_slug)) is not None:
            found.say(TRANSLATION, data)

    def timing(self, session_slug: str, timing: Timing) -> None:
        """Where the time of the final went that was published just now, to those who asked for it here."""
        found = self._channels.get(session_slug)
        if found is not None and found.timed.watchers:
            found.timed.put(found.message("timing", protocol.encode(timing)))

    def encode(self, caption: Caption, stable_chars: int | None = None) -> bytes:
        """The `data` of its message: what `Channel.final` and `Channel.partial` take, and the database keeps."""
        return protocol.encode_caption(caption, stable_chars)

    # --- what the database says ---------------------------------------------------------------------------

    def runs_here(self, session_slug: str) -> bool:
        """Whether a transcription of this session runs in this process, so that its channel is up to date."""
        return session_slug in self._running

    def refresh(self, session_slug: str, numbering: Numbering | None, state: str) -> None:
        """Where a session stands that does not run here, as the database says; None: never transcribed.

        Raises: ValueError for a word that no `StreamState` has.
        """
        channel = self.channel(session_slug)
        channel.state = StreamState(state)
        if numbering is not None:
            is_another = channel.epoch not in (protocol.NO_EPOCH, numbering.epoch)
            channel.begin(numbering)
            if is_another:
                channel.send_back_outdated()

    # --- for watchers ------------------------------------------------------------------------------------

    def join(
        self,
        session_slug: str,
        transport: Transport,
        close: Callable[[CloseCode], None],
        framing: Framing = in_frame,
        descriptor: int = NO_DESCRIPTOR,
        *,
        crosses_epochs: bool = False,
        takes_voids: bool = False,
        reads: Reading | None = None,
        is_timed: bool = False,
    ) -> Watcher:
        """Subscribe: from now on nothing is missed. `Channel.catch_up` and `leave` must follow.

        `descriptor`: of the transport's socket, where frames may be written past the transport while that buffers
        nothing. `Watcher.stop` must be called before that socket is closed, and `Watcher.leave_fast_path` before
        anything else is written to the transport. `is_timed`: it is told where the time of finals went.
        """
        channel = self.channel(session_slug)
        audience = channel.audience
        watcher = Watcher(
            transport,
            close,
            self.bounds,
            self.counts,
            audience,
            framing,
            NO_DESCRIPTOR if reads is not None or is_timed else descriptor,
            crosses_epochs=crosses_epochs,
            takes_voids=takes_voids,
            reads=reads,
        )
        audience.add(watcher)
        if is_timed:
            channel.timed.watchers.add(watcher)
        self.counts.watchers += 1
        self.counts.connected += 1
        return watcher

    def leave(self, session_slug: str, watcher: Watcher) -> None:
        """End the subscription. To be called exactly once for each `join`."""
        self.channel(session_slug).remove(watcher)
        watcher.stop()
        self.counts.watchers -= 1
        self._drop_unused(session_slug)

    def watching(self, session_slug: str) -> int:
        """How many watchers the session has in this process."""
        found = self._channels.get(session_slug)
        return len(found.audience) if found else 0

    def watching_elsewhere(self, session_slug: str) -> int:
        """How many watch a session that runs here on other replicas."""
        return self.runs.elsewhere(session_slug) if self.runs is not None else 0

    def idle(self) -> list[str]:
        """Slugs of sessions that are watched here but do not run here."""
        return [slug for slug in self._channels if slug not in self._running]

    # --- endings ------------------------------------------------------------------------------------------

    def over(self, session_slug: str) -> None:
        """The session was ended in the tables: its watchers are told as soon as they have everything, here and on other
        replicas."""
        self.look(session_slug)
        if self.runs is not None:
            self.runs.over(session_slug)

    def look(self, session_slug: str) -> None:
        """The tables may say that the session is over. Nothing is done without watchers, or while it runs here."""
        if session_slug in self._channels and session_slug not in self._running:
            self.on_idle(session_slug)

    def end(self, session_slug: str, code: CloseCode) -> bool:
        """Close the watchers that have everything. Returns: whether those were all; else it is to be called again."""
        found = self._channels.get(session_slug)
        if found is None or not found.is_delivered:
            return found is None
        watchers = list(found.audience)
        for watcher in watchers:
            if watcher.has_all:
                watcher.close(code)
        return all(watcher.gone for watcher in watchers)

    def erase(self, session_slug: str) -> None:
        """The session was deleted: its words leave memory, and its watchers are closed with 4504, those on other
        replicas as soon as these have looked. May be repeated."""
        if self.runs is not None:
            self.runs.over(session_slug)
        found = self._channels.get(session_slug)
        if found is None:
            return
        found.recent.clear()
        found.partials.clear()
        for watcher in list(found.audience):
            watcher.close(CloseCode.NO_SUCH_SESSION)

    def close_all(self, code: CloseCode) -> None:
        """Deliver what is pending, then close every watcher. May be repeated."""
        for channel in self._channels.values():
            channel.deliver_now()
            for watcher in list(channel.audience):
                watcher.close(code)

    def flush_lagging(self) -> None:
        """Send on what lagging watchers can take; to be called every SWEEP_S."""
        for channel in self._channels.values():
            for watcher in list(channel.lagging):
                watcher.flush()
                if not watcher.behind:
                    channel.lagging.discard(watcher)

    def _ended(self, session_slug: str) -> None:
        self._running.discard(session_slug)
        if self.runs is not None:
            self.runs.ended(session_slug)
        self._drop_unused(session_slug)
        self.on_idle(session_slug)

    def _drop_unused(self, session_slug: str) -> None:
        """A channel lives as long as it has a run or a watcher; the past is in the database."""
        channel = self._channels.get(session_slug)
        if channel is not None and not len(channel.audience) and session_slug not in self._running:
            del self._channels[session_slug]
