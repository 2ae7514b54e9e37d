"""Who watches what: one channel a session, one bounded mailbox a watcher.

Each event is encoded and framed once per session; the fan-out writes that frame to every socket and never waits.
A watcher that falls behind keeps its finals in order and only the newest partial of each utterance, until its bound.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from gateway.live import protocol
from gateway.live.protocol import CloseCode, ResumePoint
from gateway.sessions.domain.captions import Caption
from gateway.sessions.domain.transcription import Numbering

# Above this many bytes in user space a watcher counts as behind; the kernel holds about 40 kB more of its own,
# because the endpoint sets TCP_NOTSENT_LOWAT.
BEHIND_BYTES: Final = 16 * 1024
SWEEP_S: Final = 0.05
PAGE: Final = 500


class Crowded(Exception):
    """No place for another watcher now. `code` says when to come back."""

    def __init__(self, code: CloseCode, text: str) -> None:
        self.code = code
        super().__init__(text)


class Transport(Protocol):
    def write(self, data: bytes) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def is_closing(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Bounds per watcher and per session.

    `mailbox_bytes`: finals held for a watcher that does not read; more than that closes it with 4008.
    `recent_finals`: finals a session keeps in memory for resumes; older ones are read from the database.
    """

    mailbox_bytes: int = 512 * 1024
    recent_finals: int = 500


@dataclass(slots=True)
class HubCounts:
    watchers: int = 0
    connected: int = 0
    delivered: int = 0
    coalesced: int = 0
    closed_too_slow: int = 0
    resumed: int = 0


class Watcher:
    """One reader of one session. `close` is how the hub asks the endpoint to end the connection."""

    def __init__(
        self, transport: Transport, close: Callable[[CloseCode], None], options: HubOptions, counts: HubCounts
    ) -> None:
        self._transport = transport
        self._close = close
        self._options = options
        self._counts = counts
        self._ordered: deque[bytes] = deque()  # finals and events: every one counts, in order
        self._partials: dict[str, bytes] = {}  # by utterance: only the newest counts
        self._held = 0
        self._catching_up: deque[tuple[int, bytes]] | None = deque()
        self._next_seq = 1
        self._closed = False

    @property
    def behind(self) -> bool:
        return bool(self._ordered or self._partials)

    @property
    def buffered(self) -> int:
        """Bytes that have not left this process."""
        return self._transport.get_write_buffer_size()

    def final(self, seq: int, frame: bytes) -> None:
        if self._catching_up is not None:
            self._catching_up.append((seq, frame))
            self._grow(len(frame))
        elif seq >= self._next_seq:
            self._next_seq = seq + 1
            self._put(frame)

    def event(self, frame: bytes) -> None:
        if self._catching_up is None:
            self._put(frame)

    def partial(self, utterance_id: str, frame: bytes) -> None:
        if self._catching_up is not None:
            return
        if not self.behind and self._transport.get_write_buffer_size() < BEHIND_BYTES:
            self._transport.write(frame)
            self._counts.delivered += 1
            return
        self._counts.coalesced += utterance_id in self._partials
        self._partials[utterance_id] = frame

    def settle(self, utterance_id: str) -> None:
        """The final is out: its partials are worth nothing any more."""
        self._partials.pop(utterance_id, None)

    def write_past(self, frames: list[bytes], next_seq: int) -> None:
        """History, in one write. Only while catching up; the caller waits for `buffered` to fall."""
        self._next_seq = next_seq
        self._transport.write(b"".join(frames))
        self._counts.delivered += len(frames)

    def go_live(self, after: list[bytes]) -> None:
        """History is out: send what came meanwhile, then `after` (the partials on screen now)."""
        waiting, self._catching_up = self._catching_up or deque(), None
        self._held = 0
        for seq, frame in waiting:
            self.final(seq, frame)
        for frame in after:
            self._put(frame)

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        while self._ordered and self._transport.get_write_buffer_size() < BEHIND_BYTES:
            frame = self._ordered.popleft()
            self._held -= len(frame)
            self._transport.write(frame)
            self._counts.delivered += 1
        while self._partials and not self._ordered and self._transport.get_write_buffer_size() < BEHIND_BYTES:
            self._transport.write(self._partials.pop(next(iter(self._partials))))
            self._counts.delivered += 1

    def close(self, code: CloseCode) -> None:
        if not self._closed:
            self._closed = True
            self._close(code)

    def _put(self, frame: bytes) -> None:
        if not self._ordered and self._transport.get_write_buffer_size() < BEHIND_BYTES:
            self._transport.write(frame)
            self._counts.delivered += 1
        else:
            self._ordered.append(frame)
            self._grow(len(frame))

    def _grow(self, size: int) -> None:
        self._held += size
        if self._held > self._options.mailbox_bytes and not self._closed:
            self._counts.closed_too_slow += 1
            self._ordered.clear()
            self._partials.clear()
            self.close(CloseCode.TOO_SLOW)


# Reads finals after a number from the database: [(seq, data)], in order, at most the given count.
ReadPast = Callable[[int, int], Awaitable[list[tuple[int, bytes]]]]


@dataclass(slots=True)
class Channel:
    """The live stream of one session."""

    slug: str
    options: HubOptions
    now: Callable[[], datetime]
    epoch: str = protocol.NO_EPOCH
    last_seq: int = 0
    state: str = "idle"
    reason: str | None = None
    watchers: set[Watcher] = field(default_factory=set)
    lagging: set[Watcher] = field(default_factory=set)
    recent: deque[tuple[int, bytes]] = field(default_factory=deque)
    partials: dict[str, bytes] = field(default_factory=dict)
    health: bytes | None = None

    # --- publishing: never waits ------------------------------------------------------------------------

    def final(self, seq: int, utterance_id: str, data: bytes) -> None:
        frame = self._frame("transcript.final", data, seq)
        self.last_seq = seq
        self.recent.append((seq, frame))
        if len(self.recent) > self.options.recent_finals:
            self.recent.popleft()
        self.partials.pop(utterance_id, None)
        for watcher in self.watchers:
            watcher.settle(utterance_id)
            watcher.final(seq, frame)
            if watcher.behind:
                self.lagging.add(watcher)

    def partial(self, utterance_id: str, data: bytes) -> None:
        frame = self._frame("transcript.partial", data)
        self.partials[utterance_id] = frame
        if len(self.partials) > 256:
            del self.partials[next(iter(self.partials))]
        for watcher in self.watchers:
            watcher.partial(utterance_id, frame)
            if watcher.behind:
                self.lagging.add(watcher)

    def say(self, kind: str, data: bytes) -> None:
        frame = self._frame(kind, data)
        if kind == "health":
            self.health = frame
        for watcher in self.watchers:
            watcher.event(frame)
            if watcher.behind:
                self.lagging.add(watcher)

    def set_state(self, state: str, reason: str | None) -> None:
        self.state, self.reason = state, reason
        if state == "stopped":
            self.partials.clear()
            self.health = None
        self.say("session.state", protocol.encode({"state": state} | ({"reason": reason} if reason else {})))

    def begin(self, numbering: Numbering) -> None:
        """Say where the numbering stands. A watcher that came before the first run learns the epoch from frames."""
        if numbering.epoch != self.epoch:
            self.recent.clear()
        self.epoch = numbering.epoch
        self.last_seq = max(numbering.last_seq, self.last_seq if self.recent else 0)

    # --- watching ---------------------------------------------------------------------------------------

    async def catch_up(self, watcher: Watcher, since: ResumePoint | None, read_past: ReadPast) -> None:
        """hello, then the finals after `since`, then live. The watcher is subscribed already.

        What is published meanwhile waits in the watcher's mailbox; the overlap is dropped by number.
        """
        resumed = since is not None and since.epoch == self.epoch and since.seq <= self.last_seq
        at = since.seq if since is not None and resumed else 0
        hello = {"state": self.state, "epoch": self.epoch, "seq": self.last_seq, "resumed": resumed}
        watcher.write_past([self._frame("hello", protocol.encode(hello), self.last_seq)], at + 1)
        while at < self.last_seq:
            page = self._from_memory(at)
            if page is None:
                rows = await read_past(at, PAGE)
                page = [(seq, self._frame("transcript.final", data, seq)) for seq, data in rows]
            frames = []
            for seq, frame in page:
                if seq > at + 1:
                    frames.append(self._gap(at + 1, seq - 1))
                frames.append(frame)
                at = seq
            if not page:  # the rest of the history is gone, and that is said
                last = self.recent[0][0] - 1 if self.recent else self.last_seq
                frames.append(self._gap(at + 1, last))
                at = last
            watcher.write_past(frames, at + 1)
            while watcher.buffered > BEHIND_BYTES:
                await asyncio.sleep(0.01)
        shown = list(self.partials.values())
        watcher.go_live(([self.health] if self.health else []) + shown)

    def _from_memory(self, after: int) -> list[tuple[int, bytes]] | None:
        """The finals after a number, when memory has them without a hole."""
        if not self.recent or self.recent[0][0] > after + 1:
            return None
        return [(seq, frame) for seq, frame in self.recent if seq > after]

    def _gap(self, first: int, last: int) -> bytes:
        return self._frame("gap", protocol.encode({"fromSeq": first, "toSeq": last}))

    def _frame(self, kind: str, data: bytes, seq: int | None = None) -> bytes:
        return protocol.text_frame(protocol.message(kind, self.slug, self.epoch, seq, self.now(), data))


class Hub:
    """All channels of this process. Implements the use cases' `Live`."""

    def __init__(self, now: Callable[[], datetime], options: HubOptions | None = None) -> None:
        self.options = options or HubOptions()
        self.counts = HubCounts()
        self._now = now
        self._channels: dict[str, Channel] = {}
        self._held: set[str] = set()  # slugs with a run here

    def channel(self, session_slug: str) -> Channel:
        found = self._channels.get(session_slug)
        if found is None:
            found = self._channels[session_slug] = Channel(session_slug, self.options, self._now)
        return found

    def begin(self, session_slug: str, numbering: Numbering) -> None:
        self._held.add(session_slug)
        self.channel(session_slug).begin(numbering)

    def set_state(self, session_slug: str, state: str, reason: str | None) -> None:
        self.channel(session_slug).set_state(state, reason)
        if state == "stopped":
            self._held.discard(session_slug)
            self._forget(session_slug)

    def refresh(self, session_slug: str, numbering: Numbering | None, state: str) -> None:
        """Where a session stands that does not run here, as the database says."""
        channel = self.channel(session_slug)
        channel.state = state
        if numbering is not None:
            channel.begin(numbering)

    def encode(self, caption: Caption) -> bytes:
        return protocol.encode_caption(caption)

    def runs_here(self, session_slug: str) -> bool:
        """Whether a transcription of this session runs in this process, so that its channel is up to date."""
        return session_slug in self._held

    def join(self, session_slug: str, transport: Transport, close: Callable[[CloseCode], None]) -> Watcher:
        """Subscribe: from now on nothing is missed. `leave` must follow."""
        watcher = Watcher(transport, close, self.options, self.counts)
        self.channel(session_slug).watchers.add(watcher)
        self.counts.watchers += 1
        self.counts.connected += 1
        return watcher

    def leave(self, session_slug: str, watcher: Watcher) -> None:
        channel = self.channel(session_slug)
        channel.watchers.discard(watcher)
        channel.lagging.discard(watcher)
        self.counts.watchers -= 1
        self._forget(session_slug)

    def watching(self, session_slug: str) -> int:
        found = self._channels.get(session_slug)
        return len(found.watchers) if found else 0

    def close_all(self, code: CloseCode) -> None:
        for channel in self._channels.values():
            for watcher in list(channel.watchers):
                watcher.close(code)

    async def sweep(self) -> None:
        """Every SWEEP_S, send on what lagging watchers can take. Runs until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            for channel in self._channels.values():
                for watcher in list(channel.lagging):
                    watcher.flush()
                    if not watcher.behind:
                        channel.lagging.discard(watcher)

    def _forget(self, session_slug: str) -> None:
        """A channel lives as long as it has a run or a watcher; the past is in the database."""
        channel = self._channels.get(session_slug)
        if channel is not None and not channel.watchers and session_slug not in self._held:
            del self._channels[session_slug]
