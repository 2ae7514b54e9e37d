"""Plans of faults that the server shall make, and how far one session has come in its own.

Byte offsets count the audio of the session as the server receives it, over all connections. Ordinals start at 1.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from stt.errors import SttError
from stt.reading import MALFORMED

Seconds: TypeAlias = Annotated[float, Meta(ge=0)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Ordinal: TypeAlias = Annotated[int, Meta(ge=1)]
HttpError: TypeAlias = Annotated[int, Meta(ge=400, le=599)]
CloseCode: TypeAlias = Annotated[int, Meta(ge=1000, le=4999)]


class BadPlan(SttError):
    """The fault plan is not one; the message names the place."""


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Attempts answered with an HTTP error: those after the first `after`, `count` of them (None: all)."""

    status: HttpError
    count: Count | None = None
    after: Count = 0
    retry_after_s: Count | None = None

    def covers(self, attempt: int) -> bool:
        """`attempt` counts from 1."""
        return attempt > self.after and (self.count is None or attempt <= self.after + self.count)


class Post(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v2/live`, over all sessions since the plan was set."""

    refusals: tuple[Refusal, ...] = ()
    delay_s: Seconds = 0.0
    lost_answers: Count = 0  # this many first ones create their session, but the connection closes unanswered


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One lost connection. Exactly one of `at_byte`, `at_final` and `at_stop` says where.

    `at_byte`: as soon as this many bytes of audio came in (0: on connecting), `ack` the last of them first or not.
    `at_final`: while the n-th final is on its way, after `message_bytes` bytes of its frame (None: all of it).
    `at_stop`: on receiving `stop_recording`, before or after its acknowledgement.
    `code`: close the WebSocket with it; None: abort the TCP connection. `times`: also on the next passes.
    `after_s`: the connection goes on for this long, and then ends; with `at_byte` only.
    """

    at_byte: Count | None = None
    at_final: Ordinal | None = None
    at_stop: bool = False
    ack: Literal["before", "after"] = "before"
    message_bytes: Count | None = None
    code: CloseCode | None = None
    times: Ordinal = 1
    after_s: Seconds = 0.0

    def __post_init__(self) -> None:
        if (self.at_byte is not None) + (self.at_final is not None) + self.at_stop != 1:
            raise ValueError("a cut needs exactly one of at_byte, at_final and at_stop")
        if self.message_bytes is not None and (self.at_final is None or self.code is not None):
            raise ValueError("message_bytes needs at_final, and no code")
        if self.after_s and self.at_byte is None:
            raise ValueError("after_s needs at_byte")


class Poison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Audio that ends every connection: a message that contains the bytes `sound` (hexadecimal), acknowledged or not.

    `code`: close the WebSocket with it; None: abort the TCP connection. `after_s`: so much later.
    """

    sound: Annotated[str, Meta(pattern="^([0-9a-f]{2})+$")]
    ack: Literal["before", "after"] = "before"
    code: CloseCode | None = 1011
    after_s: Seconds = 0.0


class Acks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Acknowledgements of audio.

    Held back (`delay_s`, `lag_bytes`): the audio waits with them and is heard when they go out. Lost (`lose`: which
    ones; `lose_after_byte`: all that end behind it): never sent, but the server counts the audio as acknowledged.
    """

    delay_s: Seconds = 0.0
    lag_bytes: Count = 0
    lose: tuple[Ordinal, ...] = ()
    lose_after_byte: Count | None = None


class Finals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Final transcripts on the wire, by ordinal. A missing one still stands in the session's result.

    `moved_s`, `words`: their times and words differ from those in the result.
    """

    missing: tuple[Ordinal, ...] = ()
    repeated: tuple[Ordinal, ...] = ()
    delay_s: Seconds = 0.0
    stale_partials: bool = False  # each final is followed by a partial of the same id
    moved_s: Annotated[float, Meta(ge=-1, le=1)] = 0.0
    words: Literal["exact", "no_length", "end_first", "none", "untimed"] = "exact"


class Inject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message out of place, sent when the byte `at_byte` was acknowledged (0: on connecting).

    `kind`: a message of unknown type, a `type: error` message with `code`, text that is no JSON, a message of a known
    type without its data, `start_session`, or `text` as it stands.
    """

    kind: Literal["unknown", "error", "malformed", "incomplete", "start_session", "raw"]
    at_byte: Count = 0
    code: str = "internal_error"
    text: str = ""


class SessionFaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes wrong in one session."""

    upgrade: tuple[Refusal, ...] = ()  # by connection attempt of this session
    upgrade_delay_s: Seconds = 0.0
    cuts: tuple[Cut, ...] = ()
    poison: Poison | None = None
    acks: Acks = Acks()
    finals: Finals = Finals()
    inject: tuple[Inject, ...] = ()
    unacknowledged: Literal["forget", "keep"] = "forget"  # what a reconnect finds of bytes without an ack
    undelivered: Literal["replay", "lose"] = "replay"  # messages made while no client was connected
    second_connection: Literal["replace", "refuse"] = "replace"
    token_is_id: bool = False  # the URL's token equals the session's id, as in one of the provider's examples
    delete_open: Literal["refuse", "end"] = "refuse"  # DELETE of a session that runs: 403, or its end
    restart_ids: bool = False  # utterance ids start again at 0 after a reconnect
    utterance_id: Literal["full", "counter"] = "full"  # in add-on messages
    self_translation: bool = False
    ignore_pings: bool = False
    deaf: bool = False  # audio is acknowledged, and heard as silence
    mute: bool = False  # no transcript goes over the socket; the result has them
    ignore_stop: bool = False  # stop_recording is acknowledged, but nothing ends
    stop_reading_at_byte: Count | None = None
    end_delay_s: Seconds = 0.0  # between the last final and end_recording
    result_delay_s: Seconds = 0.0  # after its end the record is "processing", without a result, for this long
    frame_limit_bytes: Ordinal | None = None
    idle_s: Seconds | None = None
    idle_code: CloseCode | None = None  # None: TCP abort
    max_duration_s: Seconds | None = None
    max_duration_code: CloseCode | None = None  # None: as if stop_recording had come


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A server's faults. `sessions` counts sessions in the order of their POST; an entry replaces `every` wholly."""

    post: Post = Post()
    max_sessions: Count | None = None
    every: SessionFaults = SessionFaults()
    sessions: dict[Ordinal, SessionFaults] = {}

    def of(self, number: int) -> SessionFaults:
        """Those of the session with this number, which counts POSTs from 1."""
        return self.sessions.get(number, self.every)


def parse_plan(plan: Plan | dict[str, Any] | bytes | str | None) -> Plan:
    """Read a plan from JSON text or from decoded JSON.

    Raises: BadPlan for an unknown switch or a value out of range.
    """
    if isinstance(plan, Plan):
        return plan
    try:
        if isinstance(plan, bytes | str):
            return msgspec.json.decode(plan, type=Plan)
        # Through JSON, so that a dict and a file mean the same (tuples, keys that are numbers).
        return msgspec.json.decode(msgspec.json.encode(plan or {}), type=Plan)
    except (*MALFORMED, TypeError) as error:
        raise BadPlan(f"the fault plan is not valid: {error}; see docs/local-stt.md") from error


class Script:
    """One session's faults and how far they have come. Pure: it decides, the connection does."""

    def __init__(self, faults: SessionFaults) -> None:
        self.faults = faults
        self._left = {i: cut.times for i, cut in enumerate(faults.cuts)}
        self._injected: set[int] = set()
        self._attempts = 0
        self._acks = 0
        self._finals = 0

    def refuse_upgrade(self) -> Refusal | None:
        """Count one connection attempt; the refusal it meets, if any."""
        self._attempts += 1
        return next((r for r in self.faults.upgrade if r.covers(self._attempts)), None)

    def cut_at_byte(self, start: int, end: int) -> Cut | None:
        """The first cut with `start < at_byte <= end`; it counts as done. A connect is `(-1, 0)`."""
        due = [
            (cut.at_byte, i)
            for i, cut in enumerate(self.faults.cuts)
            if cut.at_byte is not None and start < cut.at_byte <= end and self._left[i]
        ]
        return self._spend(min(due)[1]) if due else None

    def poisoned(self, chunk: bytes, end: int) -> Cut | None:
        """The end of the connection if `chunk`, whose last byte is `end`, is what it cannot bear."""
        poison = self.faults.poison
        if poison is None or bytes.fromhex(poison.sound) not in chunk:
            return None
        return Cut(at_byte=end, ack=poison.ack, code=poison.code, after_s=poison.after_s)

    def cut_at_stop(self) -> Cut | None:
        """The cut that is due at `stop_recording`, if any; it counts as done."""
        due = [i for i, cut in enumerate(self.faults.cuts) if cut.at_stop and self._left[i]]
        return self._spend(due[0]) if due else None

    def cut_at_final(self, ordinal: int) -> Cut | None:
        """The cut that is due while this final (from 1) is on its way, if any; it counts as done."""
        due = [i for i, cut in enumerate(self.faults.cuts) if cut.at_final == ordinal and self._left[i]]
        return self._spend(due[0]) if due else None

    def loses_ack(self, end: int) -> bool:
        """Count one acknowledgement that ends at byte `end`; does it get lost?"""
        self._acks += 1
        after = self.faults.acks.lose_after_byte
        return self._acks in self.faults.acks.lose or (after is not None and end > after)

    def next_final(self) -> int:
        """Count one final; its ordinal."""
        self._finals += 1
        return self._finals

    def injections(self, upto: int) -> list[Inject]:
        """Those due at byte `upto` and not yet sent."""
        due = [i for i, item in enumerate(self.faults.inject) if item.at_byte <= upto]
        fresh = [i for i in due if i not in self._injected]
        self._injected.update(fresh)
        return [self.faults.inject[i] for i in fresh]

    def _spend(self, index: int) -> Cut:
        self._left[index] -= 1
        return self.faults.cuts[index]
