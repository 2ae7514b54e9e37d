"""The stream for scripts, without asyncio: the same promises, a plain `for`."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from math import inf
from typing import Final, Self

from websockets.sync.client import ClientConnection, connect

from transcription_client.connection import ENDS, OPTIONS, delay_after, headers
from transcription_client.following import Following, Until
from transcription_client.messages import Message

Token = str | Callable[[], str]

_log: Final = logging.getLogger(__name__)


def transcript(
    url: str,
    session: str,
    token: Token,
    *,
    since: str | None = None,
    lang: str | None = None,
    until: Until = "ended",
    first_patience_s: float = inf,
    patience_s: float = inf,
) -> Transcript:
    """As `transcription_client.transcript`; `token` may be a plain function. Raises: ValueError."""
    following = Following(
        url,
        session,
        since=since,
        lang=lang,
        until=until,
        first_patience_s=first_patience_s,
        patience_s=patience_s,
    )
    return Transcript(following, token)


class Transcript:
    """An iterator of messages, for one thread. Close it, or use it as a context manager; otherwise as its twin.

    While the loop is busy, a thread of the library answers the gateway's pings.
    """

    def __init__(self, following: Following, token: Token) -> None:
        self._following = following
        self._token = token
        self._socket: ClientConnection | None = None
        self._connection = ExitStack()  # which the socket is open in
        self._ready: deque[Message] = deque()
        self._due = -inf  # of the next try

    @property
    def position(self) -> str:
        """As the twin's."""
        return self._following.position

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message:
        while not self._ready:
            if self._following.is_over:
                self.close()
                raise StopIteration
            self._advance()
        return self._ready.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; a loop over it ends, too. May be repeated."""
        self._following.is_over = True
        self._hang_up()

    def _advance(self) -> None:
        """One step: connect when the next try is due, or read a message."""
        shown = None if self._socket else self._credential()
        try:
            if self._socket is None:
                connecting = connect(self._following.address(), additional_headers=shown, **OPTIONS)
                self._socket = self._connection.enter_context(connecting)
            text = self._socket.recv()
            if isinstance(text, str):
                self._ready.extend(self._following.heard(text, time.monotonic()))
        except ENDS as error:
            self._hang_up()
            delay_s = delay_after(error, self._following)
            self._due = time.monotonic() + delay_s
            _log.info("the stream was cut; next try in %.1f s", delay_s)

    def _hang_up(self) -> None:
        self._socket = None
        self._connection.close()

    def _credential(self) -> dict[str, str]:
        """Of the next try, when it is due."""
        time.sleep(max(0.0, self._due - time.monotonic()))
        return headers(self._token() if callable(self._token) else self._token)
