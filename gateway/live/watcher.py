"""One reader of one session: what it still has to be sent, in order and within its bounds. Pure.

A watcher whose connection takes what it is sent holds nothing here. One that falls behind keeps its finals in order and
of every utterance only the newest partial, until its bound; then it is closed and may come back where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.live.audience import BUFFERED, NO_DESCRIPTOR, Audience
from gateway.live.protocol import CloseCode, Framing, Message
from gateway.live.websocket import in_frame

# Above this many bytes in user space a watcher counts as behind; the kernel holds about 40 kB more of its own,
# because `lines.transport_of` sets TCP_NOTSENT_LOWAT.
BEHIND_BYTES: Final = 16 * 1024
MAX_PARTIALS: Final = 256
"""Utterances without a final whose partials are kept, of a session and for a watcher; the oldest is dropped."""


class Transport(Protocol):
    """What a watcher needs of its connection; every `asyncio.Transport` has it."""

    def write(self, data: bytes) -> None:
        """Send in order, buffering what the socket does not take now. Never waits.

        Raises: RuntimeError (uvloop) when the connection is lost already.
        """

    def get_write_buffer_size(self) -> int:
        """Bytes written that the kernel has not taken yet. Asked before each write, so it must be cheap."""

    def is_closing(self) -> bool:
        """Whether what is written now would arrive nowhere. Once true it stays true."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be held in memory.

    `mailbox_bytes`: finals for a watcher that does not read; more than that closes it with 4008.
    `recent_finals`: finals of a session for resumes; older ones are read from the database.
    """

    mailbox_bytes: int = 512 * 1024
    recent_finals: int = 500


@dataclass(slots=True)
class WatchCounts:
    """`watchers`: connected now; the others since the process began.

    `delivered`: messages given to a connection. `coalesced`: partials replaced by newer ones before they were sent.
    """

    watchers: int = 0
    connected: int = 0
    delivered: int = 0
    coalesced: int = 0
    closed_too_slow: int = 0


class Update:
    """A message on its way to every watcher. `seq`: of a final. `utterance_id`: of a final or a partial, else empty.

    `language`: of a translation, and `number`: its own, once it is stored.
    """

    __slots__ = ("language", "message", "number", "seq", "utterance_id")

    def __init__(
        self,
        message: Message,
        utterance_id: str = "",
        seq: int | None = None,
        language: str | None = None,
        number: int | None = None,
    ) -> None:
        self.language = language
        self.number = number
        self.message = message
        self.utterance_id = utterance_id
        self.seq = seq


class Reading:
    """Which language of translations a watcher reads, and how far. `has`: the number of the last one."""

    __slots__ = ("has", "has_all", "language", "point")

    def __init__(self, language: str, has: int = 0) -> None:
        self.language = language
        self.has = has
        self.has_all = False
        """None is missing, as far as is known here."""
        self.point = ""
        """EPOCH:SEQ of the last final."""

    def wants(self, language: str, number: int | None) -> bool:
        """Whether it is to be sent now; a number beyond the next one shows that there are some to be read."""
        if language != self.language:
            return False
        if number is None:
            return True
        if number != self.has + 1:
            self.has_all = self.has_all and number <= self.has
            return False
        self.has = number
        return True


class Watcher:
    """Begins in its history; `go_live` ends that. The frames it is given have gone through `framing` already.

    `close` is how the endpoint is asked, at most once, to end the connection with a code. `crosses_epochs`: its program
    understands that the numbering goes on under another epoch. `takes_voids`: and that finals it has seen are void.
    """

    __slots__ = (
        "_audience",
        "_close",
        "_closed",
        "_counts",
        "_finals_meanwhile",
        "_held",
        "_ordered",
        "_partials",
        "_transport",
        "bounds",
        "crosses_epochs",
        "descriptor",
        "fast_index",
        "framing",
        "is_current",
        "next_seq",
        "reads",
        "send",
        "takes_voids",
        "unsent",
    )

    def __init__(
        self,
        transport: Transport,
        close: Callable[[CloseCode], None],
        bounds: Bounds,
        counts: WatchCounts,
        audience: Audience[Watcher],
        framing: Framing = in_frame,
        descriptor: int = NO_DESCRIPTOR,
        *,
        crosses_epochs: bool = False,
        takes_voids: bool = False,
        reads: Reading | None = None,
    ) -> None:
        """`reads`: only that language of translations, each number of it once; None: all that are said."""
        self.reads = reads
        self.framing = framing
        self.crosses_epochs = crosses_epochs
        self.takes_voids = takes_voids
        self.fast_index = BUFFERED
        self.descriptor = descriptor
        self.bounds = bounds
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
        self._held = 0  # bytes in `_ordered`, or in `_finals_meanwhile`
        self._finals_meanwhile: list[tuple[int, bytes]] | None = []  # published while it reads history; None: live
        self._closed = False

    @property
    def behind(self) -> bool:
        """Whether something waits here for `flush`."""
        return bool(self._ordered or self._partials)

    @property
    def is_live(self) -> bool:
        """Whether its history is out, so that what is published goes to it."""
        return self._finals_meanwhile is None and not self._closed

    @property
    def has_all(self) -> bool:
        """Whether everything published so far has been given to the connection."""
        is_read = self.reads is None or self.reads.has_all
        return self._finals_meanwhile is None and not self.behind and is_read

    @property
    def gone(self) -> bool:
        """Whether nothing that is written now would arrive. Once true it stays true."""
        return self._closed or self._transport.is_closing()

    def keeps_up(self, first_seq: int) -> bool:
        """See `audience.Member`."""
        return (
            self.descriptor != NO_DESCRIPTOR
            and self.is_current
            and self.next_seq <= first_seq
            and not self.unsent()
            and not self.gone
        )

    def leave_fast_path(self) -> None:
        """To be called before anything but the hub's frames is written to its transport: a ping, a pong, a close."""
        self._audience.leave_fast_path(self)

    def deliver(self, update: Update, frame: bytes) -> None:
        """Send it or hold it, where it cannot go straight to `send`. `frame`: the update in this watcher's framing."""
        if self.reads is not None:
            if update.language is not None and not self._is_wanted(update.language, update.number):
                return
            frame = self.framed(update.message)
        if self._closed:
            return  # after a dropped final nothing may follow: the resume point would lie behind the hole
        if update.seq is not None:
            self._partials.pop(update.utterance_id, None)  # the final replaces it
            self._final(update.seq, frame)
        elif self._finals_meanwhile is not None:
            pass  # `go_live` is given the partials and the state of that moment
        elif update.utterance_id:
            self._partial(update.utterance_id, frame)
        else:
            self._put(frame)
        self.is_current = self.is_live and not self.behind

    def framed(self, message: Message) -> bytes:
        """For this watcher: with the translation that it has, where messages carry the point to resume from."""
        reads = self.reads
        if reads is None or self.framing is in_frame:
            return message.framed(self.framing)
        reads.point = message.point or reads.point
        return self.framing(message.at(f"{reads.point}:{reads.has}" if reads.point else None))

    def catch_up_translation(self, number: int, message: Message) -> None:
        """One that was read for it; it is left out unless it is the next."""
        if self.is_live and self.reads is not None and self.reads.wants(self.reads.language, number):
            self._put(self.framed(message))
            self.is_current = self.is_live and not self.behind

    def _is_wanted(self, language: str, number: int | None) -> bool:
        if self.reads is None or not self.is_live:
            return False  # what was stored meanwhile is read behind the history
        return self.reads.wants(language, number)

    def write_history(self, frames: list[bytes], next_seq: int) -> None:
        """Send a page of history in one write; the caller waits for `unsent` to fall before the next.

        `next_seq`: one after the last final that is known then.
        """
        self.next_seq = next_seq
        if not self.gone:
            self.write(b"".join(frames), len(frames))

    def go_live(self, after: list[bytes]) -> None:
        """History is out: send the finals published meanwhile, then `after`, the partials that hold now."""
        waiting, self._finals_meanwhile = self._finals_meanwhile or [], None
        self._held = 0
        if self.gone:
            return
        for seq, frame in waiting:
            self._final(seq, frame)
        for frame in after:
            self._put(frame)
        self.is_current = self.is_live and not self.behind

    def flush(self) -> None:
        """Send what is held, as far as the connection takes it: first what is ordered, then partials."""
        sent = 0
        while sent < len(self._ordered) and self._has_room:
            self._held -= len(self._ordered[sent])
            self.write(self._ordered[sent])
            sent += 1
        del self._ordered[:sent]
        while self._partials and not self._ordered and self._has_room:
            self.write(self._partials.pop(next(iter(self._partials))))
        self.is_current = self.is_live and not self.behind

    def write(self, data: bytes, messages: int = 1) -> None:
        """To the transport, unless it is closing. `messages`: how many of them end in `data`."""
        # Between the loss of a connection and its `leave`; uvloop raises on a write to a closed transport.
        if not self._transport.is_closing():
            self.send(data)
            self._counts.delivered += messages

    def close(self, code: CloseCode) -> None:
        """Drop what is held and have the connection ended. The first code stands."""
        if not self._closed:
            self.stop()
            self._close(code)

    def stop(self) -> None:
        """Drop what is held and take nothing more; the connection is left as it is. May be repeated."""
        self.leave_fast_path()
        self._closed, self.is_current = True, False
        self._ordered.clear()
        self._partials.clear()
        self._finals_meanwhile = None

    def _final(self, seq: int, frame: bytes) -> None:
        if self._finals_meanwhile is not None:
            self._finals_meanwhile.append((seq, frame))
            self._hold(len(frame))
        elif seq >= self.next_seq and not self._closed:
            self.next_seq = seq + 1
            self._put(frame)

    def _partial(self, utterance_id: str, frame: bytes) -> None:
        if not self.behind and self._has_room:
            self.write(frame)
            return
        self._counts.coalesced += utterance_id in self._partials
        self._partials[utterance_id] = frame
        if len(self._partials) > MAX_PARTIALS:
            del self._partials[next(iter(self._partials))]

    def _put(self, frame: bytes) -> None:
        if not self._ordered and self._has_room:
            self.write(frame)
        else:
            self._ordered.append(frame)
            self._hold(len(frame))

    @property
    def _has_room(self) -> bool:
        return self.gone or self.unsent() < BEHIND_BYTES

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > self.bounds.mailbox_bytes and not self._closed:
            self._counts.closed_too_slow += 1
            self.close(CloseCode.TOO_SLOW)
