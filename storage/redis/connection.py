"""One connection to a Redis server: commands out, replies in, in the order of the commands.

hiredis packs and reads. There is no task and no timer in here: a caller waits for a plain future, so that its
cancellation cannot get lost (redis-py's can, on Python 3.11), and the reply that it did not wait for is counted all the
same and never taken for the next one's. A connection is never opened anew behind its holder's back.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, cast

import hiredis

from storage.redis.errors import RedisAway, ServerError
from storage.redis.url import Address, BadRedisUrl, Login, Tls

CONNECT_S: Final = 0.9
"""Until a server has accepted the connection, the password, and answered a ping."""
MOST_WAITING: Final = 10_000
"""Pipelines that may be unanswered at once; a connection that is watched is cut long before."""

Command: TypeAlias = tuple[bytes | str | int, ...]
Reply: TypeAlias = Any
"""bytes, int, None, a list of replies, or a ServerError as a value."""

_INCOMPLETE: Final = object()
pack: Final = cast(Callable[[Command], bytes], hiredis.pack_command)
"""One command as it goes over the wire. (The library's own type says that it takes one word.)"""
_PING: Final = pack((b"PING",))


class _Pipeline:
    """Commands that were written together, and the replies so far."""

    __slots__ = ("expected", "replies", "result")

    def __init__(self, expected: int, result: asyncio.Future[list[Reply] | None] | None) -> None:
        self.expected = expected
        self.replies: list[Reply] = []
        self.result = result


class Connection(asyncio.Protocol):
    """Made by `connect`. Ended by `cut`, by the server, or by the first thing that makes no sense; then for good."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        """Done when the connection has ended."""
        self.why = ""
        """Why it ended."""
        self.received = 0
        self.sent = 0
        """Bytes, encryption not included."""
        self._transport: asyncio.Transport | None = None
        self._posted: list[bytes] = []
        self._waiting: deque[_Pipeline] = deque()
        self._take: Callable[[Reply], None] = self._answer
        self._listens = False
        self._parser = hiredis.Reader(
            protocolError=hiredis.ProtocolError, replyError=ServerError, notEnoughData=_INCOMPLETE
        )

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
        self.write(b"".join([pack(command) for command in commands]))
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

    def write(self, packed: bytes) -> None:
        """Whole commands. What the server does not read yet waits in memory: callers bound what they write."""
        if self._transport is not None and not self.over.done():
            self.sent += len(packed)
            self._transport.write(packed)

    def post(self, packed: bytes) -> None:
        """As `write`, in one go with all that is posted in this turn of the loop."""
        self._posted.append(packed)
        if len(self._posted) == 1:
            self._loop.call_soon(self._write_posted)

    def ping(self) -> None:
        """Its answer shows as `received`."""
        if not self._listens:
            self._waiting.append(_Pipeline(1, None))
        self.write(_PING)

    def cut(self, why: str) -> None:
        """End it at once. Every caller that waits is told in the same moment."""
        if self.over.done():
            return
        self.why = why
        self.over.set_result(None)
        if self._transport is not None:
            self._transport.abort()
        while self._waiting:
            _tell(self._waiting.popleft().result, None)

    def _write_posted(self) -> None:
        posted, self._posted = self._posted, []
        self.write(b"".join(posted))

    # --- for the event loop ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.over.done():  # no caller waits for it any more
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._parser.feed(data)
        try:
            while not self.over.done() and (reply := self._parser.gets()) is not _INCOMPLETE:
                self._take(reply)
        except hiredis.HiredisError as error:
            self.cut(f"what the server says is not Redis' protocol: {error}")

    def eof_received(self) -> None:
        self.cut("the server closed the connection")

    def connection_lost(self, error: Exception | None) -> None:
        self.cut(f"the connection broke: {error}" if error else "the server closed the connection")

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


async def connect(
    address: Address, *, login: Login, database: int = 0, tls: ssl.SSLContext | None = None, timeout: float = CONNECT_S
) -> Connection:
    """A connection whose server has answered. Raises: RedisAway, saying what to do where something can be done."""
    connection = Connection()
    try:
        async with asyncio.timeout(timeout):
            await _open(connection, address, tls)
            replies = await connection.send(*_greeting(login, database))
    except TimeoutError:
        connection.cut("not in time")
        raise RedisAway(f"Redis at {address} did not answer within {timeout:g} s") from None
    except (OSError, UnicodeError) as error:  # the second: a name that cannot be one
        connection.cut("not reached")
        raise RedisAway(f"Redis at {address} cannot be reached: {_reason(error)}") from error
    except BaseException:
        connection.cut("given up")
        raise
    refused = next((reply for reply in replies or () if isinstance(reply, ServerError)), None)
    if replies is None or refused is not None:
        connection.cut(str(refused))
        raise RedisAway(f"Redis at {address}: {_what_to_do(refused) if refused else connection.why}")
    return connection


async def _open(connection: Connection, address: Address, tls: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    if address.port == 0:
        await loop.create_unix_connection(lambda: connection, address.host)
    elif tls is None:
        await loop.create_connection(lambda: connection, address.host, address.port)
    else:
        await loop.create_connection(
            lambda: connection,
            address.host,
            address.port,
            ssl=tls,
            ssl_handshake_timeout=CONNECT_S,
            ssl_shutdown_timeout=CONNECT_S,
        )


def _greeting(login: Login, database: int) -> Sequence[Command]:
    """AUTH, SELECT and PING. RESP 2 is what a connection begins with, and with hiredis the cheaper one to listen to."""
    commands: list[Command] = []
    if login.password:
        commands.append(("AUTH", login.user, login.password) if login.user else ("AUTH", login.password))
    if database:
        commands.append(("SELECT", database))
    return [*commands, ("PING",)]


def _what_to_do(refused: ServerError) -> str:
    match refused.code:
        case "WRONGPASS" | "NOAUTH":
            return f"{str(refused).rstrip('.')}; correct user and password in REDIS_URL"
        case "LOADING":
            return "it is still reading its data from disk"
    return str(refused)


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); name the authority: ?ssl_ca_certs=FILE"
    return str(error) or type(error).__name__


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
