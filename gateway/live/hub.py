"""Who watches what: one channel a session, one bounded mailbox a watcher.

Each event is encoded once, and framed once for each kind of connection; the fan-out gives that frame to every socket
and never waits for one. Those who keep up are told in one call (audience.py), the others one by one.
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
from gateway.live.audience import APART, Audience
from gateway.live.framing import Framing, Message, in_frame
from gateway.live.protocol import CloseCode, ResumePoint
from gateway.live.sending import SendAll, send_all
from gateway.transcription.domain.captions import Caption
from gateway.transcription.domain.transcription import Numbering

# Above this many bytes in user space a watcher counts as behind; the kernel holds about 40 kB more of its own,
# because the endpoint sets TCP_NOTSENT_LOWAT.
BEHIND_BYTES: Final = 16 * 1024
SWEEP_S: Final = 0.05
# Unsettled utterances kept, of a session and for a watcher that is behind; the oldest is forgotten.
PARTIALS: Final = 256
PAGE: Final = 500
# So many writes take about 2.5 ms; 5,000 in one go would hold up everything else for 60.
AT_ONCE: Final = 250
# News that wait while a crowd is told the ones before. A partial that is overtaken meanwhile is left out.
FRESH: Final = 256
_ANY: Final = 1 << 62
STANDING: Final = frozenset({"health", "host.changed"})
"""Events whose newest one is told to everybody who comes later."""


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
    """One reader of one session. `close` is how the hub asks the endpoint to end the connection.

    Frames are what this watcher's kind of connection carries: messages go through `framing` first.
    """

    __slots__ = (
        "_audience",
        "_catching_up",
        "_close",
        "_closed",
        "_counts",
        "_held",
        "_ordered",
        "_partials",
        "_transport",
        "descriptor",
        "framing",
        "is_current",
        "next_seq",
        "options",
        "place",
        "send",
        "unsent",
    )

    def __init__(
        self,
        transport: Transport,
        close: Callable[[CloseCode], None],
        options: HubOptions,
        counts: HubCounts,
        audience: Audience[Watcher],
        framing: Framing = in_frame,
        descriptor: int = APART,
    ) -> None:
        self.framing = framing
        self.place = APART
        self.descriptor = descriptor
        self.options = options
        # Live, and nothing waits: the next frame may go straight to `send` while `unsent()` is below BEHIND_BYTES.
        self.is_current = False
        self.next_seq = 1  # finals before it are known; of a current watcher it may be any former value
        self.send = transport.write
        self.unsent = transport.get_write_buffer_size
        self._transport = transport
        self._audience = audience
        self._close = close
        self._counts = counts
        # Lists, though they are read from the front: they are mostly empty, and an empty deque takes ten times as much.
        self._ordered: list[bytes] = []  # finals and events: every one counts, in order
        self._partials: dict[str, bytes] = {}  # by utterance: only the newest counts
        self._held = 0
        self._catching_up: list[tuple[int, bytes]] | None = []
        self._closed = False

    @property
    def behind(self) -> bool:
        return bool(self._ordered or self._partials)

    @property
    def is_live(self) -> bool:
        return self._catching_up is None and not self._closed

    @property
    def has_all(self) -> bool:
        """Nothing waits, neither history nor news."""
        return self._catching_up is None and not self.behind

    def keeps_up(self, first_seq: int) -> bool:
        return (
            self.descriptor != APART
            and self.is_current
            and self.next_seq <= first_seq
            and not self.unsent()
            and not self.gone
        )

    def step_out(self) -> None:
        """Before something else is written to its connection than what the hub writes."""
        self._audience.step_out(self)

    @property
    def gone(self) -> bool:
        """Nothing that is written now would arrive."""
        return self._closed or self._transport.is_closing()

    def take(self, news: News, frame: bytes) -> None:
        """What cannot go straight to the socket."""
        if self._closed:
            return  # after a dropped final nothing may follow: the resume point would lie behind the hole
        if news.seq is not None:
            self._partials.pop(news.utterance_id, None)  # they are worth nothing any more
            self._final(news.seq, frame)
        elif self._catching_up is not None:
            pass  # whoever has read the past is shown what is on everybody's screen then
        elif news.utterance_id:
            self._partial(news.utterance_id, frame)
        else:
            self._put(frame)
        self.is_current = self.is_live and not self.behind

    def write_past(self, frames: list[bytes], next_seq: int) -> None:
        """History, in one write. Only while catching up; the caller waits for `unsent` to fall."""
        self.next_seq = next_seq
        if not self.gone:
            self.write(b"".join(frames), len(frames))

    def go_live(self, after: list[bytes]) -> None:
        """History is out: send what came meanwhile, then `after` (the partials on screen now)."""
        waiting, self._catching_up = self._catching_up or [], None
        self._held = 0
        if self.gone:
            return
        for seq, frame in waiting:
            self._final(seq, frame)
        for frame in after:
            self._put(frame)
        self.is_current = self.is_live and not self.behind

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        sent = 0
        while sent < len(self._ordered) and self._has_room:
            self._held -= len(self._ordered[sent])
            self.write(self._ordered[sent])
            sent += 1
        del self._ordered[:sent]
        while self._partials and not self._ordered and self._has_room:
            self.write(self._partials.pop(next(iter(self._partials))))
        self.is_current = self.is_live and not self.behind

    def close(self, code: CloseCode) -> None:
        if not self._closed:
            self.forget()
            self._close(code)

    def forget(self) -> None:
        """Take nothing more."""
        self.step_out()
        self._closed, self.is_current = True, False
        self._ordered.clear()
        self._partials.clear()
        self._catching_up = None

    def _final(self, seq: int, frame: bytes) -> None:
        if self._catching_up is not None:
            self._catching_up.append((seq, frame))
            self._grow(len(frame))
        elif seq >= self.next_seq and not self._closed:
            self.next_seq = seq + 1
            self._put(frame)

    def _partial(self, utterance_id: str, frame: bytes) -> None:
        if not self.behind and self._has_room:
            self.write(frame)
            return
        self._counts.coalesced += utterance_id in self._partials
        self._partials[utterance_id] = frame
        if len(self._partials) > PARTIALS:
            del self._partials[next(iter(self._partials))]

    def _put(self, frame: bytes) -> None:
        if not self._ordered and self._has_room:
            self.write(frame)
        else:
            self._ordered.append(frame)
            self._grow(len(frame))

    @property
    def _has_room(self) -> bool:
        return self.gone or self.unsent() < BEHIND_BYTES

    def write(self, data: bytes, messages: int = 1) -> None:
        """To the transport. `messages`: how many it ends."""
        # Between the loss of a connection and its `leave`; uvloop raises on a write to a closed transport.
        if not self._transport.is_closing():
            self.send(data)
            self._counts.delivered += messages

    def _grow(self, size: int) -> None:
        self._held += size
        if self._held > self.options.mailbox_bytes and not self._closed:
            self._counts.closed_too_slow += 1
            self.close(CloseCode.TOO_SLOW)


class News:
    """What is new, for everybody. `seq` of a final, `utterance_id` of a final or a partial."""

    __slots__ = ("message", "seq", "utterance_id")

    def __init__(self, message: Message, utterance_id: str = "", seq: int | None = None) -> None:
        self.message = message
        self.utterance_id = utterance_id
        self.seq = seq


# Reads finals after a number from the database: [(seq, data)], in order, at most the given count.
ReadPast = Callable[[int, int], Awaitable[list[tuple[int, bytes]]]]


@dataclass(slots=True)
class Channel:
    """The live stream of one session."""

    slug: str
    options: HubOptions
    now: Callable[[], datetime]
    audience: Audience[Watcher]
    epoch: str = protocol.NO_EPOCH
    last_seq: int = 0
    state: str = "idle"
    reason: str | None = None
    counts: HubCounts = field(default_factory=HubCounts)
    lagging: set[Watcher] = field(default_factory=set)
    recent: deque[tuple[int, Message]] = field(default_factory=deque)
    partials: dict[str, Message] = field(default_factory=dict)
    standing: dict[str, Message] = field(default_factory=dict)
    _outdated: set[Watcher] = field(default_factory=set)
    _fresh: list[News] = field(default_factory=list)  # to be told in the next round
    _telling: list[News] = field(default_factory=list)  # in this one
    _is_due: bool = False

    # --- publishing: never waits ------------------------------------------------------------------------

    def final(self, seq: int, utterance_id: str, data: bytes) -> None:
        message = self._final(seq, data)
        self.last_seq = seq
        self.recent.append((seq, message))
        if len(self.recent) > self.options.recent_finals:
            self.recent.popleft()
        self.partials.pop(utterance_id, None)
        self._tell(News(message, utterance_id, seq))

    def partial(self, utterance_id: str, data: bytes) -> None:
        message = self._message("transcript.partial", data)
        self.partials[utterance_id] = message
        if len(self.partials) > PARTIALS:
            del self.partials[next(iter(self.partials))]
        self._tell(News(message, utterance_id))

    def say(self, kind: str, data: bytes) -> None:
        message = self._message(kind, data)
        if kind in STANDING:
            self.standing[kind] = message
        self._tell(News(message))

    def set_state(self, state: str, reason: str | None) -> None:
        self.state, self.reason = state, reason
        if state == "stopped":
            self.partials.clear()
            self.standing.clear()
        self._tell(News(self._state()))

    def begin(self, numbering: Numbering) -> None:
        """Say where the numbering stands. A watcher that came before the first run learns the epoch from frames."""
        if numbering.epoch != self.epoch or (self.recent and numbering.last_seq > self.recent[-1][0]):
            self.recent.clear()  # another owner numbered on: memory would have a hole
        if numbering.last_seq > self.last_seq or self.epoch not in (protocol.NO_EPOCH, numbering.epoch):
            self._outdated |= {watcher for watcher in self.audience if watcher.is_live}
        self.epoch = numbering.epoch
        self.last_seq = max(numbering.last_seq, self.last_seq if self.recent else 0)

    def send_back_outdated(self) -> None:
        """Finals are said here again: whoever lacks some that were said elsewhere has to come back for them first."""
        for watcher in self._outdated:
            watcher.close(CloseCode.DRAINING)
        self._outdated.clear()

    # --- watching ---------------------------------------------------------------------------------------

    async def catch_up(self, watcher: Watcher, since: ResumePoint | None, read_past: ReadPast) -> None:
        """hello, then the finals after `since`, then live. The watcher is subscribed already.

        What is published meanwhile waits in the watcher's mailbox; the overlap is dropped by number.
        """
        resumed = since is not None and since.epoch == self.epoch and since.seq <= self.last_seq
        at = since.seq if since is not None and resumed else 0
        said, epoch = (self.state, self.reason), self.epoch
        hello = {"state": self.state, "epoch": self.epoch, "seq": self.last_seq, "resumed": resumed}
        greeting = self._message("hello", protocol.encode(hello), self.last_seq, has=at)
        watcher.write_past([greeting.framed(watcher.framing)], at + 1)
        while at < self.last_seq and not watcher.gone:
            page = self._from_memory(at)
            if page is None:
                rows = await read_past(at, PAGE)
                page = [(seq, self._final(seq, data)) for seq, data in rows]
            if self.epoch != epoch:  # another replica numbers on: these are not the finals that hello spoke of
                watcher.close(CloseCode.DRAINING)
                return
            messages = []
            for seq, message in page:
                if seq > at + 1:
                    messages.append(self._gap(at + 1, seq - 1))
                messages.append(message)
                at = seq
            if not page:  # the rest of the history is gone, and that is said
                last = self.recent[0][0] - 1 if self.recent else self.last_seq
                messages.append(self._gap(at + 1, last))
                at = last
            watcher.write_past([message.framed(watcher.framing) for message in messages], at + 1)
            while watcher.unsent() > BEHIND_BYTES and not watcher.gone:
                await asyncio.sleep(0.01)
        now = [self._state()] if (self.state, self.reason) != said else []
        shown = now + list(self.standing.values()) + list(self.partials.values())
        watcher.go_live([message.framed(watcher.framing) for message in shown])
        if watcher.behind:
            self.lagging.add(watcher)

    def goodbye(self, code: CloseCode, reason: str) -> Message:
        """For connections that have no close code."""
        return self._message("end", protocol.encode({"code": code, "reason": reason}))

    # --- the fan-out ------------------------------------------------------------------------------------

    @property
    def has_told_all(self) -> bool:
        return not self._fresh and not self._telling

    def remove(self, watcher: Watcher) -> None:
        self.audience.remove(watcher)
        self.lagging.discard(watcher)
        self._outdated.discard(watcher)

    def tell(self) -> None:
        """Everybody, now."""
        while not self.has_told_all:
            self._turn()

    def _tell(self, news: News) -> None:
        """With the next turn of the event loop: what is published until then goes out in one write."""
        if not len(self.audience):
            return
        if len(self._fresh) >= FRESH:
            self._fresh = [one for one in self._fresh if not self._is_overtaken(one)]
        if len(self._fresh) >= FRESH:
            self.tell()  # the loop does not keep up: then who speaks has to wait
        self._fresh.append(news)
        self._go_on_soon()

    def _go_on_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_due = False
        self._turn()
        if not self.has_told_all:
            self._go_on_soon()

    def _turn(self) -> None:
        """AT_ONCE watchers, so that a crowd does not hold up everything else."""
        if not self._telling:
            self._telling, self._fresh = self._fresh, []
            self.audience.begin(_first_seq(self._telling))
        self._telling = [one for one in self._telling if not self._is_overtaken(one)]
        if self._telling:
            self._write(self._telling)
            if not self.audience.is_told:
                return
        self._telling = []
        self.audience.end()

    def _is_overtaken(self, news: News) -> bool:
        """A partial whose utterance has gone on."""
        if news.seq is not None or not news.utterance_id:
            return False
        return self.partials.get(news.utterance_id) is not news.message

    def _write(self, news: list[News]) -> None:
        joined = b"".join([one.message.framed(in_frame) for one in news])
        told, short = self.audience.tell_row(joined, AT_ONCE)
        for watcher, sent in short:
            watcher.write(joined[sent:], len(news))
        self.counts.delivered += (told - len(short)) * len(news)
        if apart := self.audience.next_apart(AT_ONCE - told):
            self._write_apart(news, apart)

    def _write_apart(self, news: list[News], watchers: list[Watcher]) -> None:
        first_seq = _first_seq(news)
        framing, frames, joined, direct = None, [], b"", 0
        for watcher in watchers:
            if watcher.framing is not framing:
                framing = watcher.framing
                frames = [one.message.framed(framing) for one in news]
                joined = b"".join(frames)
            try:
                if watcher.is_current and watcher.next_seq <= first_seq and watcher.unsent() < BEHIND_BYTES:
                    watcher.send(joined)
                    direct += 1
                    continue
            except RuntimeError:  # uvloop, between the loss of a connection and its `leave`
                watcher.forget()
                continue
            for one, frame in zip(news, frames, strict=True):
                watcher.take(one, frame)
            if watcher.behind:
                self.lagging.add(watcher)
        self.counts.delivered += direct * len(news)

    def _from_memory(self, after: int) -> list[tuple[int, Message]] | None:
        """The finals after a number, when memory has them without a hole."""
        if not self.recent or self.recent[0][0] > after + 1:
            return None
        return [(seq, message) for seq, message in self.recent if seq > after]

    def _final(self, seq: int, data: bytes) -> Message:
        return self._message("transcript.final", data, seq, has=seq)

    def _state(self) -> Message:
        told = {"state": self.state} | ({"reason": self.reason} if self.reason else {})
        return self._message("session.state", protocol.encode(told))

    def _gap(self, first: int, last: int) -> Message:
        return self._message("gap", protocol.encode({"fromSeq": first, "toSeq": last}), has=last)

    def _message(self, kind: str, data: bytes, seq: int | None = None, *, has: int | None = None) -> Message:
        """`has`: the last final of a watcher who has this message."""
        payload = protocol.message(kind, self.slug, self.epoch, seq, self.now(), data)
        return Message(kind, payload, None if has is None else f"{self.epoch}:{has}")


def _first_seq(news: list[News]) -> int:
    for one in news:
        if one.seq is not None:
            return one.seq
    return _ANY


class Hub:
    """All channels of this process. Implements the use cases' `Live`."""

    def __init__(
        self, now: Callable[[], datetime], options: HubOptions | None = None, send_all: SendAll = send_all
    ) -> None:
        self.options = options or HubOptions()
        self._send_all = send_all
        self.counts = HubCounts()
        self._now = now
        self._channels: dict[str, Channel] = {}
        self._held: set[str] = set()  # slugs with a run here

    def channel(self, session_slug: str) -> Channel:
        found = self._channels.get(session_slug)
        if found is None:
            audience: Audience[Watcher] = Audience(self._send_all)
            found = Channel(session_slug, self.options, self._now, audience, counts=self.counts)
            self._channels[session_slug] = found
        return found

    def begin(self, session_slug: str, numbering: Numbering) -> None:
        self._held.add(session_slug)
        channel = self.channel(session_slug)
        channel.begin(numbering)
        channel.send_back_outdated()

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
            is_void = channel.epoch not in (protocol.NO_EPOCH, numbering.epoch)
            channel.begin(numbering)
            if is_void:  # what we have shown is not in the numbering that goes on elsewhere
                channel.send_back_outdated()

    def encode(self, caption: Caption) -> bytes:
        return protocol.encode_caption(caption)

    def runs_here(self, session_slug: str) -> bool:
        """Whether a transcription of this session runs in this process, so that its channel is up to date."""
        return session_slug in self._held

    def join(
        self,
        session_slug: str,
        transport: Transport,
        close: Callable[[CloseCode], None],
        framing: Framing = in_frame,
        descriptor: int = APART,
    ) -> Watcher:
        """Subscribe: from now on nothing is missed. `leave` must follow.

        `descriptor`: of the transport's socket, where frames may be written past the transport while that holds nothing
        back. Until the socket is closed `Watcher.forget` must be called, and `step_out` before any other write.
        """
        audience = self.channel(session_slug).audience
        watcher = Watcher(transport, close, self.options, self.counts, audience, framing, descriptor)
        audience.add(watcher)
        self.counts.watchers += 1
        self.counts.connected += 1
        return watcher

    def leave(self, session_slug: str, watcher: Watcher) -> None:
        self.channel(session_slug).remove(watcher)
        watcher.forget()
        self.counts.watchers -= 1
        self._forget(session_slug)

    def watching(self, session_slug: str) -> int:
        found = self._channels.get(session_slug)
        return len(found.audience) if found else 0

    def idle(self) -> list[str]:
        """Sessions that are watched here but do not run here."""
        return [slug for slug in self._channels if slug not in self._held]

    def end(self, session_slug: str, code: CloseCode) -> bool:
        """Close the watchers that have everything. Returns: whether those were all."""
        found = self._channels.get(session_slug)
        if found is None or not found.has_told_all:
            return found is None
        watchers = list(found.audience)
        for watcher in watchers:
            if watcher.has_all:
                watcher.close(code)
        return all(watcher.gone for watcher in watchers)

    def erase(self, session_slug: str) -> None:
        """The session was deleted: nothing of it is shown again, and whoever watches is told so."""
        found = self._channels.get(session_slug)
        if found is None:
            return
        found.recent.clear()
        found.partials.clear()
        for watcher in list(found.audience):
            watcher.close(CloseCode.NO_SUCH_SESSION)

    def close_all(self, code: CloseCode) -> None:
        for channel in self._channels.values():
            channel.tell()
            for watcher in list(channel.audience):
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
        if channel is not None and not len(channel.audience) and session_slug not in self._held:
            del self._channels[session_slug]
