"""What the replica that runs a session tells those that only show it: messages, counters, decisions. Pure.

The data of a browser's message travels as it is. Partials overtake each other on the wire, so the counter counts only
what does not: a follower that finds it further on than expected has missed something, and asks for a snapshot. `seq`
shows a missing final, which PostgreSQL has.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import Any, Final, Protocol

import msgspec

from gateway.live.refusals import MOST, Refusal
from gateway.transcription.domain.transcription import Lease

VERSION: Final = 1
FINAL: Final = "transcript.final"
PARTIAL: Final = "transcript.partial"
STATE: Final = "session.state"
SNAPSHOT: Final = "~snapshot"
MARK: Final = "~mark"
ASK: Final = "~ask"
CROWD: Final = "~crowd"
REFUSED: Final = "~refused"
OVER: Final = "~over"
"""Kinds with a tilde are for replicas; any other is the type of a browser's message."""
_UNCOUNTED: Final = frozenset({PARTIAL, SNAPSHOT, MARK})
CROWD_S: Final = 5.0
"""A replica says so often how many watchers it has, besides when that changes."""
CROWD_LASTS_S: Final = 12.0
HELD_FINALS: Final = 500
HELD_BYTES: Final = 512 * 1024


class Confirming(Protocol):
    """A channel that is wanted."""

    def confirmed(self) -> Coroutine[Any, Any, bool]:
        """Wait until it is heard; False when it was given up first."""


class Wire(Protocol):
    """Carries messages between replicas, and may lose any of them. No method waits."""

    @property
    def is_up(self) -> bool:
        """Whether messages go both ways now, as far as is known."""

    def publish(self, channel: str, data: bytes, overtakes: str | None = None) -> None:
        """Send it soon. With `overtakes`: instead of what still waits in the channel under the same key."""

    def subscribe(self, channel: str) -> Confirming:
        """Want the channel until `unsubscribe`."""

    def unsubscribe(self, channel: str) -> None:
        """From here on nothing is told about it."""


class News(msgspec.Struct, array_like=True, frozen=True):
    """One message between replicas. `number`: how many counted ones the sender has sent, this one included.

    `seq`: the session's last final, of a final its own. `data`: JSON.
    """

    version: int
    kind: str
    run: str
    fence: int
    number: int
    epoch: str
    seq: int
    utterance: str
    data: msgspec.Raw


class Snapshot(msgspec.Struct):
    """What a watcher would be shown now besides finals: `data` of messages, by kind and by utterance."""

    state: str
    reason: str | None = None
    retained: dict[str, msgspec.Raw] = {}
    partials: dict[str, msgspec.Raw] = {}


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(News)


def session_channel(slug: str) -> str:
    """Where a session's news go; in braces is what places it in a Cluster."""
    return f"gw:{{{slug}}}"


def owner_channel(owner: str) -> str:
    """Where a replica is asked for snapshots."""
    return f"gw:r:{{{owner}}}"


def ask(slug: str) -> bytes:
    """The question to a session's owner: tell me where it stands, and go on telling."""
    return _encoder.encode(News(VERSION, ASK, "", 0, 0, "", 0, slug, msgspec.Raw(b"null")))


def crowd(slug: str, replica: str, watchers: int) -> bytes:
    """To a session's owner: so many watch it on that replica."""
    data = _encoder.encode((replica, watchers))
    return _encoder.encode(News(VERSION, CROWD, "", 0, 0, "", 0, slug, msgspec.Raw(data)))


def refused(refusals: Sequence[Refusal]) -> bytes:
    """To another replica: these senders were refused here, and their sessions may run there."""
    return _encoder.encode(News(VERSION, REFUSED, "", 0, 0, "", 0, "", msgspec.Raw(_encoder.encode(refusals))))


def over() -> bytes:
    """On a session's channel, by whoever has ended or deleted it: the tables have it."""
    return _encoder.encode(News(VERSION, OVER, "", 0, 0, "", 0, "", msgspec.Raw(b"null")))


def refusals(news: News) -> Sequence[Refusal]:
    """What `refused` has put in. What cannot be read is none."""
    try:
        return msgspec.json.decode(bytes(news.data), type=list[tuple[str, str | None, str]])[:MOST]
    except msgspec.MsgspecError:
        return ()


class Crowd:
    """Watchers of one session on other replicas, as these have said. An owner's."""

    __slots__ = ("_said",)

    def __init__(self) -> None:
        self._said: dict[str, tuple[int, float]] = {}  # by replica: how many, and when

    def note(self, news: News, now: float) -> None:
        """A replica says how many it has. What cannot be read is ignored."""
        with suppress(msgspec.MsgspecError):
            replica, watchers = msgspec.json.decode(bytes(news.data), type=tuple[str, int])
            self._said[replica] = watchers, now

    def count(self, now: float) -> int:
        """Over all that have said it lately."""
        self._said = {replica: said for replica, said in self._said.items() if now - said[1] < CROWD_LASTS_S}
        return sum(watchers for watchers, _ in self._said.values())


def decode(data: bytes) -> News | None:
    """None for what another version says, or a kind of message between replicas that is not known here."""
    try:
        news = _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    is_known = not news.kind.startswith("~") or news.kind in (SNAPSHOT, MARK, ASK, CROWD, REFUSED, OVER)
    return news if news.version == VERSION and is_known else None


class Speaker:
    """The owner's side of one run: numbers what it says."""

    __slots__ = ("_lease", "_number")

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._number = 0

    def news(self, kind: str, epoch: str, seq: int, utterance: str = "", data: bytes = b"null") -> bytes:
        """The next message, encoded."""
        self._number += kind not in _UNCOUNTED
        run, fence = self._lease.transcription_id, self._lease.fence
        return _encoder.encode(News(VERSION, kind, run, fence, self._number, epoch, seq, utterance, msgspec.Raw(data)))


class Heard(Enum):
    """What a message is to a follower."""

    NEW = auto()
    AFTER_LOSS = auto()
    """New, but something before it never came: a snapshot is needed."""
    OLD = auto()
    """Said before, or by an owner that has lost the session."""
    STRANGE = auto()
    """By an owner that is not known yet; PostgreSQL says whether it is the right one."""


class Follower:
    """The other side: who may speak, what was missed, and finals that wait for those before them."""

    __slots__ = ("_held", "_held_bytes", "is_in_step", "lease", "number", "wanted")

    def __init__(self) -> None:
        self.lease: Lease | None = None
        """Whose words count, by PostgreSQL."""
        self.number = 0
        self.is_in_step = False
        """`number` is the counter of the last message; else a snapshot has to say where it stands."""
        self.wanted = 0
        """The highest number of a final that is known to exist."""
        self._held: dict[int, tuple[str, bytes]] = {}
        self._held_bytes = 0

    def obey(self, lease: Lease) -> None:
        """PostgreSQL names the owner. Another one counts from the beginning."""
        if lease != self.lease:
            self.lease, self.is_in_step = lease, False

    def is_from_owner(self, news: News) -> bool:
        """Whether the one who says it has the session, as far as is known here."""
        return self.lease is not None and (news.run, news.fence) == (self.lease.transcription_id, self.lease.fence)

    def judge(self, news: News) -> Heard:
        """To be called once for each message, in the order of their coming."""
        lease = self.lease
        if lease is None or not self.is_from_owner(news):
            is_former = lease is not None and news.run == lease.transcription_id and news.fence < lease.fence
            return Heard.OLD if is_former else Heard.STRANGE
        if news.kind == SNAPSHOT:
            if self.is_in_step and news.number <= self.number:
                return Heard.OLD
            self.number, self.is_in_step = news.number, True
            return Heard.NEW
        if not self.is_in_step:
            return Heard.NEW
        expected = self.number + (news.kind not in _UNCOUNTED)
        if news.number < expected:
            return Heard.OLD
        self.is_in_step = news.number == expected
        self.number = news.number
        return Heard.NEW if self.is_in_step else Heard.AFTER_LOSS

    def hold(self, seq: int, utterance: str, data: bytes, last_seq: int) -> None:
        """A final has come; `last_seq` was shown last. When too much waits it is given up: PostgreSQL has it."""
        self.wanted = max(self.wanted, seq)
        if seq <= last_seq or seq in self._held:
            return
        if len(self._held) >= HELD_FINALS or self._held_bytes + len(data) > HELD_BYTES:
            self._held.clear()
            self._held_bytes = 0
        self._held[seq] = (utterance, data)
        self._held_bytes += len(data)

    def take(self, last_seq: int) -> Iterator[tuple[int, str, bytes]]:
        """The finals that come next, without a hole: number, utterance, data."""
        while (found := self._held.pop(last_seq + 1, None)) is not None:
            last_seq += 1
            self._held_bytes -= len(found[1])
            yield last_seq, *found
        for seq in [seq for seq in self._held if seq <= last_seq]:
            self._held_bytes -= len(self._held.pop(seq)[1])

    def restart(self, last_seq: int) -> None:
        """The numbering goes on from here; what is held belongs to another one."""
        self.wanted = last_seq
        self._held.clear()
        self._held_bytes = 0
