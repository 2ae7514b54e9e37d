"""Sessions the server remembers: their records, their list, their recorded audio."""

from __future__ import annotations

import json
import struct
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from stt.local.live import Live
from stt.local.messages import iso
from stt.local.request import SessionConfig
from stt.local.session import STATUS
from stt.reading import read_json

_STATUSES: Final = tuple(dict.fromkeys(STATUS.values()))
_WAV_FORMAT: Final = {"wav/pcm": 1, "wav/alaw": 6, "wav/ulaw": 7}


class Recorder:
    """Recorded audio of all sessions in memory. When it is full, the recordings begun first go first."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit, self._used = limit_bytes, 0
        self._tapes: OrderedDict[str, bytearray] = OrderedDict()
        self._dropped: set[str] = set()

    def write(self, session_id: str, audio: bytes) -> None:
        """Append audio in the session's own encoding; ignored once the recording was dropped."""
        if session_id in self._dropped:
            return  # a recording without its beginning would not fit the transcript
        self._tapes.setdefault(session_id, bytearray()).extend(audio)
        self._used += len(audio)
        while self._used > self._limit:
            oldest, tape = self._tapes.popitem(last=False)
            self._used -= len(tape)
            self._dropped.add(oldest)

    def read(self, session_id: str) -> bytes | None:
        """The whole recording without a header; None when there is none, or it was dropped."""
        tape = self._tapes.get(session_id)
        return None if tape is None else bytes(tape)

    def forget(self, session_id: str) -> None:
        """Drop the recording, if there is one: its session is deleted."""
        self._used -= len(self._tapes.pop(session_id, b""))
        self._dropped.discard(session_id)


class Archive:
    """Sessions by id and by token; the oldest finished ones are forgotten above `keep_done`."""

    def __init__(self, keep_done: int, recorder: Recorder | None) -> None:
        self.sessions: dict[str, Live] = {}
        self.recorder = recorder
        self._tokens: dict[str, Live] = {}
        self._keep_done = keep_done

    def add(self, live: Live) -> None:
        """Remember a session; the oldest finished ones beyond the bound go."""
        finished = [old for old in self.sessions.values() if not old.open]
        for old in finished[: max(len(finished) - self._keep_done, 0)]:
            self.remove(old)
        self.sessions[live.id] = live
        self._tokens[live.token] = live

    def remove(self, live: Live) -> None:
        """Forget a session and its recording. Raises: KeyError when it was not added."""
        del self.sessions[live.id]
        del self._tokens[live.token]
        if self.recorder is not None:
            self.recorder.forget(live.id)

    def by_token(self, token: str) -> Live | None:
        """The session whose socket's URL carries this token."""
        return self._tokens.get(token)

    def count_open(self) -> int:
        """Sessions that have not ended."""
        return sum(live.open for live in self.sessions.values())

    def record(self, live: Live) -> dict[str, Any]:
        """The `StreamingResponse` of one session."""
        recorded = self.recorder is not None and self.recorder.read(live.id) is not None
        file = {
            "id": live.id,
            "filename": f"{live.id}.wav",
            "source": None,
            "audio_duration": round(live.session.duration, 3),
            "number_of_channels": live.config.channels,
        }
        is_told = live.completed_at is None or datetime.now(UTC) >= live.completed_at + timedelta(
            seconds=live.faults.result_delay_s
        )
        return {
            "id": live.id,
            "request_id": request_id(live.id),
            "version": 2,
            "status": live.status if is_told else "processing",
            "created_at": iso(live.created_at),
            "kind": "live",
            "completed_at": iso(live.completed_at) if live.completed_at else None,
            "custom_metadata": live.config.metadata,
            "error_code": live.error_code,
            "post_session_metadata": live.debug,
            "file": file if recorded else None,
            "request_params": live.config.params,
            "result": {**live.result, "messages": live.delivery.recorded} if live.result and is_told else None,
        }

    def wav(self, live: Live) -> bytes | None:
        """The recorded audio of a session with a WAV header, None when there is no recording."""
        audio = self.recorder.read(live.id) if self.recorder is not None else None
        return None if audio is None else wav_header(live.config, len(audio)) + audio


def request_id(session_id: str) -> str:
    """The provider's second name of a session, `G-` and eight characters."""
    return f"G-{session_id[:8]}"


def wav_header(config: SessionConfig, size: int) -> bytes:
    """The 44 bytes before `size` bytes of audio in the session's encoding."""
    frame = config.channels * config.sample_bytes
    layout = struct.pack(
        "<HHIIHH",
        _WAV_FORMAT[config.encoding],
        config.channels,
        config.sample_rate,
        config.byte_rate,
        frame,
        config.sample_bytes * 8,
    )
    return (
        b"RIFF"
        + struct.pack("<I", 36 + size)
        + b"WAVEfmt \x10\x00\x00\x00"
        + layout
        + b"data"
        + struct.pack("<I", size)
    )


@dataclass(frozen=True, slots=True)
class Query:
    """Which sessions a list shows. `before` and `after` are exclusive; `day` is a UTC day."""

    offset: int = 0
    limit: int = 20
    status: tuple[str, ...] = ()
    metadata: Mapping[str, Any] | None = None
    day: datetime | None = None
    before: datetime | None = None
    after: datetime | None = None

    def matches(self, live: Live) -> bool:
        """Whether the list shows this session; `offset` and `limit` are the caller's."""
        made = live.created_at
        return (
            (not self.status or live.status in self.status)
            and (self.day is None or self.day <= made < self.day + timedelta(days=1))
            and (self.before is None or made < self.before)
            and (self.after is None or made > self.after)
            and all(_same(live.config.metadata.get(key), value) for key, value in (self.metadata or {}).items())
        )


def _same(stored: Any, asked: Any) -> bool:
    """A value from `custom_metadata[key]=value` is always text; compare it with the stored value's text."""
    if stored == asked:
        return True
    return isinstance(asked, str) and not isinstance(stored, str) and json.dumps(stored) == asked


def parse_query(pairs: Sequence[tuple[str, str]]) -> Query:
    """Read the query string of a list, where `custom_metadata` is a JSON text or comes as `custom_metadata[key]`.

    Raises: ValueError with one problem per line.
    """
    problems: list[str] = []
    numbers = {"offset": 0, "limit": 20}
    dates: dict[str, datetime] = {}
    statuses: list[str] = []
    metadata: dict[str, Any] = {}
    for key, value in pairs:
        if key in numbers:
            least = 0 if key == "offset" else 1
            if value.isdecimal() and int(value) >= least:
                numbers[key] = int(value)
            else:
                problems.append(f"{key} must be an integer not less than {least}")
        elif key in ("date", "before_date", "after_date"):
            try:
                moment = datetime.fromisoformat(value)
                dates[key] = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            except ValueError:
                problems.append(f"{key} must be an ISO 8601 date")
        elif key == "status":
            if value in _STATUSES:
                statuses.append(value)
            else:
                problems.append(f"status must be one of the following values: {', '.join(_STATUSES)}")
        elif key == "custom_metadata":
            try:
                metadata.update(read_json(value))
            except (ValueError, TypeError):
                problems.append("custom_metadata must be a JSON object")
        elif key.startswith("custom_metadata[") and key.endswith("]"):
            metadata[key[len("custom_metadata[") : -1]] = value
    if problems:
        raise ValueError("\n".join(problems))
    day = dates.get("date")
    return Query(
        offset=numbers["offset"],
        limit=numbers["limit"],
        status=tuple(statuses),
        metadata=metadata or None,
        day=day.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) if day else None,
        before=dates.get("before_date"),
        after=dates.get("after_date"),
    )
