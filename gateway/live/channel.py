"""The live stream of one session: what is published goes to every watcher, and newcomers are brought up to it.

Each message is encoded once, and framed once for each kind of connection; publishing never waits for a watcher.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from gateway.live import protocol
from gateway.live.audience import Audience
from gateway.live.protocol import CloseCode, Message, ResumePoint, StreamState
from gateway.live.recent import Recent
from gateway.live.timed import Timed
from gateway.live.watcher import BEHIND_BYTES, MAX_PARTIALS, Bounds, Update, WatchCounts, Watcher
from gateway.live.websocket import in_frame
from gateway.transcription.domain.transcription import Numbering
from gateway.transcription.domain.translations import told

# Writing to so many takes about 2.5 ms; to 5,000 in one go it would keep everything else from running for 60.
WATCHERS_PER_SLICE: Final = 250
# Updates that wait while the ones before them are delivered. Superseded partials are dropped first.
MAX_PENDING: Final = 256
PIECE_BYTES: Final = 64 * 1024
"""About so much of the history is written at once: what waits for one who does not read, and there may be thousands."""
PATIENCE_S: Final = 2.0
"""For so long what comes next is kept for one who does not take it; then it is read again when he does."""
RETAINED: Final = frozenset({"health", "host.changed", "session.pause"})
"""Kinds of event whose newest one is also sent to every later watcher."""
TRANSLATION: Final = "translation"
_NO_FINAL: Final = 1 << 62

ReadPast = Callable[[int, int], Awaitable[list[tuple[int, bytes]]]]
"""Reads finals after a number from the database: [(seq, data)], in order, at most the given count."""
Forward = Callable[[str, str, bytes], None]
"""Is told what watchers are: kind, utterance ("" where there is none), data."""


@dataclass(slots=True)
class Channel:
    """`now` gives the `ts` of messages. `lagging`: watchers that hold something back and need `Watcher.flush`."""

    slug: str
    bounds: Bounds
    now: Callable[[], datetime]
    audience: Audience[Watcher]
    epoch: str = protocol.NO_EPOCH
    last_seq: int = 0
    former: Mapping[str, int] = field(default_factory=dict)
    """Earlier epochs, each with the number up to which it is this one."""
    state: StreamState = StreamState.IDLE
    reason: str | None = None
    counts: WatchCounts = field(default_factory=WatchCounts)
    lagging: set[Watcher] = field(default_factory=set)
    recent: Recent = field(init=False)
    partials: dict[str, Message] = field(default_factory=dict)  # of utterances without a final, the newest
    retained: dict[str, Message] = field(default_factory=dict)  # by kind
    forward: Forward | None = None  # while other replicas show this session, too
    timed: Timed = field(default_factory=Timed)
    _outdated: set[Watcher] = field(default_factory=set)
    _pending: list[Update] = field(default_factory=list)  # to be delivered in the next round
    _current: list[Update] = field(default_factory=list)  # in the round under way
    _is_scheduled: bool = False

    def __post_init__(self) -> None:
        self.recent = Recent(self.bounds.recent_finals)

    # --- publishing: never waits ------------------------------------------------------------------------

    def final(self, seq: int, utterance_id: str, data: bytes) -> None:
        """Publish a final. `seq`: one more than the last; `data`: JSON of `Hub.encode`. It replaces the partial."""
        message = self._final(seq, data)
        self.last_seq = seq
        self.recent.add(seq, message)
        self.partials.pop(utterance_id, None)
        self._publish(Update(message, utterance_id, seq))
        if self.forward is not None:
            self.forward("transcript.final", utterance_id, data)

    def partial(self, utterance_id: str, data: bytes) -> None:
        """Publish a partial; it replaces the former one, also where that has not been sent yet."""
        message = self.message("transcript.partial", data)
        self.partials[utterance_id] = message
        if len(self.partials) > MAX_PARTIALS:
            del self.partials[next(iter(self.partials))]
        self._publish(Update(message, utterance_id))
        if self.forward is not None:
            self.forward("transcript.partial", utterance_id, data)

    def say(self, kind: str, data: bytes) -> None:
        """Publish an event: every watcher that is live gets it, and later ones if its kind is RETAINED.

        Who reads one language of translations gets those alone, and each number of them once.
        """
        message = self.message(kind, data)
        if kind in RETAINED:
            self.retained[kind] = message
        of = told(data) if kind == TRANSLATION else None
        self._publish(Update(message) if of is None else Update(message, language=of.target_language, number=of.seq))
        if self.forward is not None:
            self.forward(kind, "", data)

    def set_state(self, state: StreamState, reason: str | None) -> None:
        """Publish how the transcription stands; once it has stopped, partials and retained events are void."""
        self.state, self.reason = state, reason
        if state is StreamState.STOPPED:
            self.partials.clear()
            self.retained.clear()
        self._publish(Update(self._state()))
        if self.forward is not None:
            self.forward("session.state", "", self._told())

    def begin(self, numbering: Numbering) -> None:
        """Say where the numbering stands. A watcher that came before the first run learns the epoch from messages."""
        is_another = self.epoch not in (protocol.NO_EPOCH, numbering.epoch)
        live = {watcher for watcher in self.audience if watcher.is_live}
        if numbering.last_seq > self.last_seq or (is_another and numbering.former.get(self.epoch, -1) < self.last_seq):
            self._outdated |= live
        elif is_another:
            self._outdated |= {watcher for watcher in live if not watcher.crosses_epochs}
        if is_another or (self.recent and numbering.last_seq > self.recent.last):
            self.recent.clear()  # another owner numbered on: memory would have a hole, or messages of another epoch
        self.epoch, self.former = numbering.epoch, numbering.former
        self.last_seq = max(numbering.last_seq, self.last_seq if self.recent else 0)
        if is_another:  # those who stay are told, and what the former owner had on screen goes
            self._publish(Update(self._hello(resumed=True, has=self.last_seq)))
            for utterance_id, message in list(self.partials.items()):
                self.partial(utterance_id, protocol.without_words(message.payload))

    def send_back_outdated(self) -> None:
        """Close watchers that lack finals which another replica published, or have seen some that are void: they have
        to resume before new ones come."""
        for watcher in self._outdated:
            watcher.close(CloseCode.DRAINING)
        self._outdated.clear()

    # --- watching ---------------------------------------------------------------------------------------

    async def catch_up(
        self,
        watcher: Watcher,
        since: ResumePoint | None,
        read_past: ReadPast,
        newest: int | None = None,
        *,
        ended: bool = False,
    ) -> None:
        """Send hello, then the finals after `since`, then let it go live. The watcher is subscribed already.

        `newest`: without a good `since` only so many of the last ones; hello then says where they begin. `ended`: the
        session is over, which hello says.

        What is published meanwhile waits in the watcher; the overlap is dropped by number.
        Raises: what `read_past` raises.
        """
        is_known = since is not None and (since.epoch == self.epoch or watcher.crosses_epochs)
        resumed = (
            since is not None and is_known and is_good(self, since.epoch, since.seq) and since.seq <= self.last_seq
        )
        at = since.seq if since is not None and resumed else 0 if newest is None else max(0, self.last_seq - newest)
        void_from = None
        if since is not None and not resumed and watcher.takes_voids and since.epoch in self.former:
            resumed, at = True, self.former[since.epoch]
            void_from = at + 1
        if watcher.reads is not None and not resumed:
            watcher.reads.has = 0  # all finals follow, and so do all translations
        said, epoch = (self.state, self.reason), self.epoch

        async def read(after: int, limit: int) -> list[tuple[int, Message]]:
            return [(seq, self._final(seq, data)) for seq, data in await read_past(after, limit) if self.epoch == epoch]

        greeting = self._hello(resumed=resumed, has=at, says_where=newest is not None, ended=ended, void_from=void_from)
        watcher.write_history([watcher.framed(greeting)], at + 1)
        while at < self.last_seq and not watcher.gone:
            page = await self.recent.page(at, lambda: self.last_seq, read)
            if self.epoch != epoch:  # another replica numbers on: these are not the finals that hello spoke of
                watcher.close(CloseCode.DRAINING)
                return
            if page:
                at = await _send_page(self, watcher, page, at)
            else:  # the rest of the history is gone, and that is said
                last = self.recent.first - 1 if self.recent else self.last_seq
                watcher.write_history([watcher.framed(self._gap(at + 1, last))], last + 1)
                at = last
            del page  # not held for one who does not read
            while watcher.unsent() > BEHIND_BYTES and not watcher.gone:
                await asyncio.sleep(0.01)
            if self.epoch != epoch:
                watcher.close(CloseCode.DRAINING)
                return
        now = [self._state()] if (self.state, self.reason) != said else []
        shown = now + list(self.retained.values()) + list(self.partials.values())
        watcher.go_live([watcher.framed(message) for message in shown])
        if watcher.behind:
            self.lagging.add(watcher)

    def goodbye(self, code: CloseCode, reason: str) -> Message:
        """The last message for a connection that has no close code, such as server-sent events."""
        return self.message("end", protocol.encode({"code": code, "reason": reason}))

    def remove(self, watcher: Watcher) -> None:
        """It is sent nothing more. May be repeated."""
        self.audience.remove(watcher)
        self.lagging.discard(watcher)
        self.timed.watchers.discard(watcher)
        self._outdated.discard(watcher)

    # --- the fan-out ------------------------------------------------------------------------------------

    @property
    def is_delivered(self) -> bool:
        """Whether every update has been given to every watcher, which may still hold it back."""
        return not self._pending and not self._current

    def deliver_now(self) -> None:
        """Everything pending to every watcher, without giving way to the event loop."""
        while not self.is_delivered:
            self._deliver_slice()

    def _publish(self, update: Update) -> None:
        """With the next turn of the event loop: what is published until then goes out in one write."""
        if not len(self.audience):
            return
        if len(self._pending) >= MAX_PENDING:
            self._pending = [one for one in self._pending if not self._is_superseded(one)]
        if len(self._pending) >= MAX_PENDING:
            self.deliver_now()  # the loop does not keep up: then the publisher has to wait
        self._pending.append(update)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._is_scheduled = False
        self._deliver_slice()
        if not self.is_delivered:
            self._schedule()

    def _deliver_slice(self) -> None:
        """To the next WATCHERS_PER_SLICE; a round begins where none is under way."""
        if not self._current:
            self._current, self._pending = self._pending, []
            self.timed.begin()
            self.audience.begin(_first_seq(self._current))
        self._current = [one for one in self._current if not self._is_superseded(one)]
        if self._current:
            self._write(self._current)
            if not self.audience.is_served:
                return
        self._current = []
        self.audience.end()
        self.lagging |= self.timed.end()

    def _is_superseded(self, update: Update) -> bool:
        """Whether it is a partial whose utterance has a newer one, or its final."""
        if update.seq is not None or not update.utterance_id:
            return False
        return self.partials.get(update.utterance_id) is not update.message

    def _write(self, updates: list[Update]) -> None:
        joined = b"".join([one.message.framed(in_frame) for one in updates])
        reached, short = self.audience.send_fast(joined, WATCHERS_PER_SLICE)
        for watcher, sent in short:
            watcher.write(joined[sent:], len(updates))
        self.counts.delivered += (reached - len(short)) * len(updates)
        if buffered := self.audience.next_buffered(WATCHERS_PER_SLICE - reached):
            self._write_buffered(updates, buffered)

    def _write_buffered(self, updates: list[Update], watchers: list[Watcher]) -> None:
        first_seq = _first_seq(updates)
        framing, frames, joined, direct = None, [], b"", 0
        for watcher in watchers:
            if watcher.framing is not framing:
                framing = watcher.framing
                frames = [one.message.framed(framing) for one in updates]
                joined = b"".join(frames)
            try:
                if (
                    watcher.reads is None
                    and watcher.is_current
                    and watcher.next_seq <= first_seq
                    and watcher.unsent() < BEHIND_BYTES
                ):
                    watcher.send(joined)
                    direct += 1
                    continue
            except RuntimeError:  # uvloop, between the loss of a connection and its `leave`
                watcher.stop()
                continue
            for one, frame in zip(updates, frames, strict=True):
                watcher.deliver(one, frame)
            if watcher.behind:
                self.lagging.add(watcher)
        self.counts.delivered += direct * len(updates)

    # --- messages ---------------------------------------------------------------------------------------

    def _hello(
        self,
        *,
        resumed: bool,
        has: int,
        says_where: bool = False,
        ended: bool = False,
        void_from: int | None = None,
    ) -> Message:
        hello = {"state": self.state, "epoch": self.epoch, "seq": self.last_seq, "resumed": resumed}
        if says_where:
            hello["from"] = has + 1
        if ended:
            hello["ended"] = True
        if void_from is not None:
            hello["voidFrom"] = void_from
        return self.message("hello", protocol.encode(hello), self.last_seq, has=has)

    def _final(self, seq: int, data: bytes) -> Message:
        return self.message("transcript.final", data, seq, has=seq)

    def _state(self) -> Message:
        return self.message("session.state", self._told())

    def _told(self) -> bytes:
        return protocol.encode({"state": self.state} | ({"reason": self.reason} if self.reason else {}))

    def _gap(self, first: int, last: int) -> Message:
        return self.message("gap", protocol.encode({"fromSeq": first, "toSeq": last}), has=last)

    def message(self, kind: str, data: bytes, seq: int | None = None, *, has: int | None = None) -> Message:
        """Made now. `has`: the last final of a watcher who has this message."""
        payload = protocol.message(kind, self.slug, self.epoch, seq, self.now(), data)
        return Message(kind, payload, None if has is None else f"{self.epoch}:{has}")


async def _send_page(channel: Channel, watcher: Watcher, page: list[tuple[int, Message]], at: int) -> int:
    """Finals after the one numbered `at`, with the gaps between them: a piece whenever the last one is taken.

    Returns: the number of the last one sent, which is not the page's where the watcher does not read for PATIENCE_S
    or the numbering changes.
    """
    clock, epoch = asyncio.get_running_loop().time, channel.epoch
    frames, size = [], 0
    for seq, message in page:
        if seq > at + 1:
            frames.append(watcher.framed(channel._gap(at + 1, seq - 1)))
        frames.append(watcher.framed(message))
        size += len(message.payload)
        at = seq
        if size < PIECE_BYTES and seq != page[-1][0]:
            continue
        watcher.write_history(frames, at + 1)
        frames, size, until = [], 0, clock() + PATIENCE_S
        while watcher.unsent() > BEHIND_BYTES and not watcher.gone and clock() < until:
            await asyncio.sleep(0.01)
        if watcher.gone or clock() >= until or channel.epoch != epoch:
            break
    return at


def is_good(channel: Channel, epoch: str, seq: int) -> bool:
    """Whether a final of that epoch is one of the channel's numbering."""
    return epoch == channel.epoch or seq <= channel.former.get(epoch, -1)


def _first_seq(updates: list[Update]) -> int:
    for one in updates:
        if one.seq is not None:
            return one.seq
    return _NO_FINAL
