"""One stream without its I/O: what was delivered, what follows from each message and each end of a connection."""

from __future__ import annotations

import json
import re
from math import inf
from typing import Any, Final, Literal, cast
from urllib.parse import urlencode, urlsplit, urlunsplit

from transcription_client.errors import Refused, Unavailable
from transcription_client.messages import Message

Until = Literal["ended", "stopped"]

PATH: Final = "/api/realtime/transcribe"
FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 15.0
CROWDED_DELAY_S: Final = 5.0
LONGEST_ASKED_S: Final = 120.0
STEADY_S: Final = 10.0  # a connection that lasted so long was a good one: delays begin anew
CUT: Final = 1006  # gone without a word
_TOO_MANY: Final = 4029
_SESSION_ENDED: Final = 4510
# What an HTTP status means instead of a close code: docs/stream.md. Other refusals are about the address.
_CODES: Final = {400: 4500, 401: 4501, 403: 4501, 404: 4504}
_WORTH_ANOTHER_TRY: Final = frozenset({408, 425, 429})


class Following:
    """Tell it everything that happens, with the time (seconds of any clock that only grows).

    `since`: EPOCH:SEQ of the last final that is there already. `lang`: only translations into this language, each once;
    the third part of `since` is the last one's number. `until`: go on until the session has ended, or until its
    transcription has stopped. `first_patience_s`, `patience_s`: how long a gateway that does not answer is waited
    for, before it has answered for the first time and afterwards. Raises: ValueError, with the argument's name.
    """

    def __init__(
        self,
        url: str,
        session: str,
        *,
        since: str | None = None,
        lang: str | None = None,
        until: Until = "ended",
        first_patience_s: float = inf,
        patience_s: float = inf,
    ) -> None:
        self.url = url
        self._base = _websocket_url(url)
        if not session:
            raise ValueError("session: the slug of the session is needed")
        if until not in ("ended", "stopped"):
            raise ValueError(f"until: ended or stopped, not {until!r}")
        self._session = session
        self._until = until
        if lang is not None and not lang:
            raise ValueError("lang: a language is needed, such as de, or None")
        self._lang = lang
        self._epoch, self._seq, self._translation = _point(since, lang is not None) if since else ("", 0, 0)
        self._patience_s, self._waits_s = patience_s, first_patience_s
        self._absent_since: float | None = None
        self._greeted_at: float | None = None
        self._tries = 0
        self._ends_at: int | None = None  # with the final of this number, when the transcription has stopped
        self.is_over = False

    @property
    def position(self) -> str:
        """`EPOCH:SEQ` of the last final delivered, with `lang` also the last translation's number; empty before the
        first final."""
        translation = f":{self._translation}" if self._lang is not None else ""
        return f"{self._epoch}:{self._seq}{translation}" if self._seq else ""

    def address(self) -> str:
        """Where to connect next."""
        # epochs: a hello may say that the numbers go on under another epoch.
        asked = {"session": self._session, "epochs": "1"} | ({"since": self.position} if self._seq else {})
        if self._lang is not None:
            asked["lang"] = self._lang
        return f"{self._base}{PATH}?{urlencode(asked)}"

    # --- messages ---------------------------------------------------------------------------------------------

    def heard(self, text: str, now: float) -> list[Message]:
        """What the caller gets of it. Raises: ValueError for what is no message; then tell `unreadable`."""
        try:
            told = json.loads(text)
            match told["type"]:
                case "hello":
                    found = [self._greeted(told, now)]
                case "transcript.final":
                    found = self._final(told)
                case "translation":
                    found = self._translated(told)
                case "gap":
                    found = self._gap(told, told["data"]["fromSeq"], told["data"]["toSeq"])
                case "session.state":
                    if told["data"]["state"] == "stopped":
                        self._ends_at = self._seq  # all finals go out before it
                    found = [told]
                case str():
                    found = [told]
                case _:
                    raise ValueError("a message without a type")
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        self.is_over = self._until == "stopped" and self._ends_at is not None and self._seq >= self._ends_at
        return cast(list[Message], found)

    def _greeted(self, told: dict[str, Any], now: float) -> dict[str, Any]:
        data = told["data"]
        had = self._seq
        if data["resumed"]:
            self._epoch = told["epoch"]  # a new one may go on with the numbers of the old
        elif told["epoch"] != self._epoch or data["seq"] < self._seq:
            self._restart(told["epoch"])
        self._greeted_at, self._absent_since = now, None
        self._waits_s = self._patience_s
        self._ends_at = data["seq"] if data["state"] == "stopped" else None
        return told | {"data": data | {"restarted": had > 0 and self._seq == 0}}

    def _restart(self, epoch: str) -> None:
        self._epoch, self._seq, self._translation = epoch, 0, 0

    def _final(self, told: dict[str, Any]) -> list[dict[str, Any]]:
        seq, found = told["seq"], []
        if told["epoch"] != self._epoch:  # it has begun since the hello
            self._restart(told["epoch"])
        if seq <= self._seq:
            return []
        if seq > self._seq + 1:
            found = self._gap(told, self._seq + 1, seq - 1)
        self._seq = seq
        return [*found, told]

    def _translated(self, told: dict[str, Any]) -> list[dict[str, Any]]:
        """In one language each number once; one without a number is not stored yet, and comes again with it."""
        if self._lang is not None and (number := told["data"].get("seq")) is not None:
            if number <= self._translation:
                return []
            self._translation = number
        return [told]

    def _gap(self, told: dict[str, Any], from_seq: int, to_seq: int) -> list[dict[str, Any]]:
        if told["epoch"] != self._epoch:
            self._restart(told["epoch"])
        if to_seq <= self._seq:
            return []
        data = {"fromSeq": max(from_seq, self._seq + 1), "toSeq": to_seq}
        self._seq = to_seq
        envelope = {name: told[name] for name in ("v", "sessionSlug", "epoch", "ts")}
        return [envelope | {"type": "gap", "data": data}]

    # --- ends of connections ----------------------------------------------------------------------------------

    def closed(self, code: int, reason: str, now: float, chance: float) -> float:
        """A connection is over. Returns: seconds until the next try, unless `is_over`. Raises: Refused, Unavailable."""
        if code == _SESSION_ENDED:
            self.is_over = True
            return 0.0
        if 4500 <= code <= 4999:
            raise Refused(code, f"the stream was closed for good ({code}): {reason or 'no reason given'}")
        asked = asked_delay(reason) + (CROWDED_DELAY_S if code == _TOO_MANY else 0.0)
        return asked + self._again(reason or f"code {code}", now, chance)

    def answered(self, status: int, body: str, now: float, chance: float) -> float:
        """A handshake was answered with an HTTP status. Returns and raises: as `closed`."""
        told = _problem(status, body)
        if status >= 500 or status in _WORTH_ANOTHER_TRY:
            return (CROWDED_DELAY_S if status == 429 else 0.0) + self._again(told, now, chance)
        if 300 <= status < 400:
            told += "; a token is not carried to another address, so name the gateway's own"
        raise Refused(_CODES.get(status, 4500), told)

    def unanswered(self, why: str, now: float, chance: float) -> float:
        """No connection. Returns: seconds until the next try. Raises: Unavailable."""
        return self._again(why, now, chance)

    def unreadable(self, why: str, now: float, chance: float) -> float:
        """A message could not be read and is asked for again. Returns: as `closed`. Raises: Unavailable."""
        return self._again(f"a message could not be read: {why}", now, chance)

    def _again(self, why: str, now: float, chance: float) -> float:
        if self._greeted_at is not None and now - self._greeted_at >= STEADY_S:
            self._tries = 0
        self._greeted_at = None
        self._absent_since = now if self._absent_since is None else self._absent_since
        if now - self._absent_since >= self._waits_s:
            raise Unavailable(f"no gateway answers at {self.url} ({why})")
        self._tries += 1
        return delay_before(self._tries - 1, chance)


def delay_before(tries: int, chance: float) -> float:
    """Seconds before try number `tries`, from 0: doubling, half of it by `chance` (0 to 1): a crowd spreads out."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(tries, 20)) * (0.5 + chance / 2)


def asked_delay(reason: str) -> float:
    """Seconds that the reason of a close asks for (`retry=MS`)."""
    found = re.search(r"\bretry=(\d{1,6})\b", reason)
    return min(int(found[1]) / 1000, LONGEST_ASKED_S) if found else 0.0


def _websocket_url(url: str) -> str:
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ValueError(f"url: the gateway's address is needed, http(s)://HOST or ws(s)://HOST, not {url!r}")
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _point(since: str, with_translation: bool) -> tuple[str, int, int]:
    third = r"(?::([0-9]{1,15}))?" if with_translation else "()"
    found = re.fullmatch(rf"(.*?):([0-9]{{1,15}}){third}", since)
    if not found:
        raise ValueError(f"since: it has to be EPOCH:SEQ as `position` gives it, not {since!r}")
    return found[1], int(found[2]), int(found[3] or 0)


def _problem(status: int, body: str) -> str:
    """What an answer of 400 and more says (RFC 9457), in one line."""
    try:
        told = json.loads(body)
        hint = f"; {told['hint']}" if told.get("hint") else ""
        return f"{told['title']} (HTTP {status}): {told['detail']}{hint}"
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return f"HTTP {status}: {body[:300]}"
