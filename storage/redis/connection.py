"""One connection to a Redis server: commands out, replies in, in the order of the commands.

redis-py connects, packs and reads; one task reads, another writes, both end with the connection. A caller waits for a
plain future, so that its cancellation cannot get lost, and the reply that it did not wait for is counted all the same
and never taken for the next one's. A connection is never opened anew behind its holder's back.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from storage.redis.errors import RedisAway, ServerError
from storage.redis.url import Address, BadRedisUrl, Login, Tls

if TYPE_CHECKING:
    from storage.redis.wire import Wire

CONNECT_S: Final = 0.9
"""Until a server has accepted the connection, the password, and answered a ping."""
MOST_WAITING: Final = 10_000
"""Pipelines that may be unanswered at once; a connection that is watched is cut long before."""

Command: TypeAlias = tuple[bytes | str | int, ...]
Reply: TypeAlias = Any
"""bytes, int, None, a list of replies, or a ServerError as a value."""


class _Pipeline:
    """Commands that were written together, and the replies so far."""

    __slots__ = ("expected", "replies", "result")

    def __init__(self, expected: int, result: asyncio.Future[list[Reply] | None] | None) -> None:
        self.expected = expected
        self.replies: list[Reply] = []
        self.result = result


class Connection:
    """Made by `connect`. Ended by `cut`, by the server, or by the first thing that makes no sense; then for good."""

    def __init__(self, wire: Wire) -> None:
        """`wire` is connected."""
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        """Done when the connection has ended."""
        self.why = ""
        """Why it ended."""
        self.received = 0
        """Replies."""
        self.sent = 0
        """Bytes, encryption not included."""
        self._wire = wire
        self._outgoing: list[bytes] = []
        self._to_write = asyncio.Event()
        self._waiting: deque[_Pipeline] = deque()
        self._take: Callable[[Reply], None] = self._answer
        self._listens = False
        self._tasks = [
            self._loop.create_task(self._read(), name="redis reader"),
            self._loop.create_task(self._write(), name="redis writer"),
        ]

    # --- for the holder -------------------------------------------------------------------------------------

    def send(self, *commands: Command) -> asyncio.Future[list[Reply] | None]:
        """Write all in one go. The future brings one reply a command, in order; None when the connection ended first.

        A caller that stops waiting, by a deadline or cancelled, takes nothing back: the server may carry all of it out.
        """
        result: asyncio.Future[list[Reply] | None] = self._loop.create_future()
        if self.over.done() or len(self._waiting) >= MOST_WAITING:
            result.set_result(None)
            return result
        self._waiting.append(_Pipeline(len(commands), result))
        self.post(*commands)
        return result

    async def call(self, *command: bytes | str | int, timeout: float) -> Reply:
        """One command. Raises: RedisAway, also when `timeout` (seconds) is over; ServerError: the server's own."""
        try:
            async with asyncio.timeout(timeout):
                replies = await self.send(command)
        except TimeoutError:
            raise RedisAway(f"no answer in {timeout:g} s") from None
        if replies is None:
            raise RedisAway(self.why or "too many commands wait for an answer")
        if isinstance(replies[0], ServerError):
            raise replies[0]
        return replies[0]

    def listen(self, take: Callable[[Reply], None]) -> None:
        """From here on every reply goes to `take`, which must not raise; only `post` and `ping` are for use then."""
        self._take = take
        self._listens = True

    def post(self, *commands: Command) -> None:
        """Write without waiting, in one go with all that is posted in this turn of the loop.

        What the server does not read yet waits in memory: callers bound what they write.
        """
        if self.over.done():
            return
        packed = self._wire.pack_commands(commands)
        self._outgoing += packed
        self.sent += sum(map(len, packed))
        self._to_write.set()

    def ping(self) -> None:
        """Its answer shows as `received`."""
        if not self._listens:
            self._waiting.append(_Pipeline(1, None))
        self.post(("PING",))

    def cut(self, why: str) -> None:
        """End it at once. Every caller that waits is told in the same moment."""
        if self.over.done():
            return
        self.why = why
        self.over.set_result(None)
        self._wire.abort()
        for task in self._tasks:
            task.cancel()
        while self._waiting:
            _tell(self._waiting.popleft().result, None)

    async def closed(self) -> None:
        """After `cut`: wait until nothing of it runs any more."""
        await asyncio.wait(self._tasks)

    # --- the two tasks --------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while not self.over.done():
                reply = await self._wire.read()
                self.received += 1
                self._take(reply)
        except RedisAway as error:
            self.cut(str(error))

    async def _write(self) -> None:
        try:
            while await self._to_write.wait() and not self.over.done():
                self._to_write.clear()
                outgoing, self._outgoing = self._outgoing, []
                await self._wire.write(outgoing)
        except RedisAway as error:
            self.cut(str(error))

    def _answer(self, reply: Reply) -> None:
        if not self._waiting:
            self.cut(f"an answer to nothing: {str(reply)[:80]}")  # NOAUTH and the like before a server hangs up
            return
        pipeline = self._waiting[0]
        pipeline.replies.append(reply)
        if len(pipeline.replies) == pipeline.expected:
            self._waiting.popleft()
            _tell(pipeline.result, pipeline.replies)


def _tell(result: asyncio.Future[list[Reply] | None] | None, replies: list[Reply] | None) -> None:
    if result is not None and not result.done():
        result.set_result(replies)


@asynccontextmanager
async def _opened(address: Address, login: Login, database: int, tls: ssl.SSLContext | None) -> AsyncIterator[Wire]:
    """Its server has answered a ping. Within CONNECT_S, the block included; dropped when that fails.

    Raises: RedisAway, also for a server that refuses us; with what to do.
    """
    from storage.redis.wire import wire_to  # 0.1 s and 8 MB that a gateway without Redis does without

    wire = wire_to(address, login=login, database=database, tls=tls)
    try:
        async with asyncio.timeout(CONNECT_S):
            await wire.open()
            if isinstance(pong := await wire.ask("PING"), ServerError):
                raise pong
            yield wire
    except BaseException as error:
        wire.abort()
        match error:
            case TimeoutError():
                raise RedisAway(f"Redis at {address} did not answer within {CONNECT_S:g} s") from None
            case RedisAway():
                raise RedisAway(f"Redis at {address} cannot be reached: {error}") from error
            case ServerError():
                raise RedisAway(f"Redis at {address}: {_what_to_do(error)}") from error
        raise


async def connect(
    address: Address, *, login: Login, database: int = 0, tls: ssl.SSLContext | None = None
) -> Connection:
    """A connection whose server has answered. Raises: RedisAway, saying what to do where something can be done."""
    async with _opened(address, login, database, tls) as wire:
        return Connection(wire)


async def ask(address: Address, *command: str, login: Login, tls: ssl.SSLContext | None = None) -> Reply:
    """One command over a connection of its own, as `connect` makes them; an error in answer to it is a value.

    Raises: RedisAway.
    """
    async with _opened(address, login, 0, tls) as wire:
        reply = await wire.ask(*command)
    wire.abort()
    return reply


def _what_to_do(refused: ServerError) -> str:
    match refused.code:
        case "WRONGPASS" | "NOAUTH":
            return f"{str(refused).rstrip('.')}; correct user and password in REDIS_URL"
        case "LOADING":
            return "it is still reading its data from disk"
    return str(refused)


def tls_context(tls: Tls | None) -> ssl.SSLContext | None:
    """Reads the files. Raises: BadRedisUrl when they cannot be used."""
    if tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca_file or None, capath=tls.ca_folder or None)
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key or None)
    except OSError as error:  # ssl.SSLError is one
        raise BadRedisUrl(f"the certificate files that REDIS_URL names cannot be used: {error}") from error
    context.check_hostname = tls.verify and tls.check_hostname
    if not tls.verify:
        context.verify_mode = ssl.CERT_NONE
    return context
