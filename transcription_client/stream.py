"""The stream on asyncio."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import Final, Self

from websockets.asyncio.client import ClientConnection, connect

from transcription_client.connection import ENDS, OPTIONS, delay_after, headers
from transcription_client.following import Following, Until
from transcription_client.messages import Message

Token = str | Callable[[], str | Awaitable[str]]

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
    """The live transcript of `session` (its slug) at the gateway of `url`.

    `token`: a service, user or LiveKit token; or a function, also a coroutine function, that is asked at each connect.
    The rest is explained at `Following`. Raises: ValueError, with the argument's name.
    """
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
    """An asynchronous iterator of messages. A cancelled wait for the next message loses none.

    Leave it with `aclose` or use it as a context manager; it ends by itself when the session has ended. Nothing is
    connected before the first message is asked for, and only a few are read ahead of the loop: who is too slow is cut
    off by the gateway and comes back. Raises: Refused, Unavailable, and what the token function raises.
    """

    def __init__(self, following: Following, token: Token) -> None:
        self._following = following
        self._token = token
        self._socket: ClientConnection | None = None
        self._ready: deque[Message] = deque()
        self._due = -inf  # of the next try

    @property
    def position(self) -> str:
        """`EPOCH:SEQ` of the newest final received: keep it, and pass it as `since` to go on later. Empty before it."""
        return self._following.position

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while not self._ready:
            if self._following.is_over:
                await self.aclose()
                raise StopAsyncIteration
            await self._advance()
        return self._ready.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End it; a loop over it ends, too. May be repeated."""
        self._following.is_over = True
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    def __del__(self) -> None:
        """A loop was left in the middle and nobody closed the stream."""
        if self._socket is not None:
            with suppress(RuntimeError):  # its event loop is gone, and the connection with it
                self._socket.transport.abort()

    async def _advance(self) -> None:
        """One step: connect when the next try is due, or read a message."""
        shown = None if self._socket else await self._credential()
        try:
            if self._socket is None:
                self._socket = await connect(self._following.address(), additional_headers=shown, **OPTIONS)
            text = await self._socket.recv()
            if isinstance(text, str):
                self._ready.extend(self._following.heard(text, time.monotonic()))
        except ENDS as error:
            socket, self._socket = self._socket, None
            if socket is not None:
                await socket.close()
            delay_s = delay_after(error, self._following)
            self._due = time.monotonic() + delay_s
            _log.info("the stream was cut; next try in %.1f s", delay_s)

    async def _credential(self) -> dict[str, str]:
        """Of the next try, when it is due."""
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))
        token = self._token() if callable(self._token) else self._token
        return headers(await token if inspect.isawaitable(token) else token)
