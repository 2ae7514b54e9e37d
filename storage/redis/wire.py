"""redis-py's connections, as this package uses them: one server, opened once, no timeout and no retry of their own.

A socket timeout of redis-py's loses cancellations on Python 3.11, a lost connection is opened anew by the next command,
and a health check only sends: deadlines, liveness and reconnects are the callers' (docs/replicas.md has the tests).
"""

from __future__ import annotations

import math
import ssl
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import AuthenticationError, InvalidResponse, RedisError, ResponseError

from storage.redis.errors import RedisAway, ServerError
from storage.redis.url import Address, Login


class Wire(AbstractConnection):
    """A connection that is opened once, and can be dropped at any time."""

    async def open(self) -> None:
        """Raises: RedisAway when the server is not reached; ServerError when it refuses us."""
        try:
            await self.connect_check_health(check_health=False)
        except RedisError as error:
            raise _said(error) or RedisAway(_reason(error)) from error

    async def read(self) -> Any:
        """The next reply; a refusal is a ServerError as a value. Raises: RedisAway."""
        try:
            return await self.read_response(timeout=math.inf, disconnect_on_error=False)
        except RedisError as error:
            if (said := _said(error)) is not None:
                return said
            raise RedisAway(_reason(error)) from error

    async def ask(self, *command: bytes | str | int) -> Any:
        """One command, while nobody else reads. Returns and raises: as `read`."""
        await self.write(self.pack_command(*command))
        return await self.read()

    async def write(self, packed: list[bytes]) -> None:
        """Waits while the server does not read. Raises: RedisAway."""
        try:
            await self.send_packed_command(packed, check_health=False)
        except RedisError as error:
            raise RedisAway(_reason(error)) from error

    def abort(self) -> None:
        """Close the socket without waiting for anything. Nothing can be done with the connection afterwards."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


class _Tcp(Wire, Connection):
    """To a host and port."""


class _Tls(Wire, SSLConnection):
    """The same, encrypted."""


class _Unix(Wire, UnixDomainSocketConnection):
    """To a socket file."""


def options(login: Login, database: int = 0) -> dict[str, Any]:
    """For every kind of connection. RESP 2 is the cheaper one to listen to with hiredis."""
    return {
        "db": database,
        "username": (login.user or None) if login.password else None,
        "password": login.password or None,
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": None,
        "driver_info": None,
    }


def wire_to(address: Address, *, login: Login, database: int, tls: ssl.SSLContext | None) -> Wire:
    """Not connected yet."""
    about = options(login, database)
    if address.port == 0:
        return _Unix(path=address.host, **about)
    if tls is None:
        return _Tcp(host=address.host, port=address.port, **about)
    encrypted = _Tls(host=address.host, port=address.port, **about)
    encrypted.ssl_context.context = tls
    return encrypted


def _said(error: RedisError) -> ServerError | None:
    """What the server said, code first; None: it said nothing, the connection is at fault."""
    code = getattr(error, "status_code", None)
    if code:
        return ServerError(f"{code} {error}")
    return ServerError(str(error)) if isinstance(error, ResponseError | AuthenticationError) else None


def _reason(error: RedisError) -> str:
    """Why a connection ended or did not come about."""
    if isinstance(error, InvalidResponse):
        return f"what the server says is not Redis' protocol: {error}"
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message}); name the authority: ?ssl_ca_certs=FILE"
    if isinstance(cause, OSError | UnicodeError):  # the second: a name that cannot be one
        return str(cause) or type(cause).__name__
    return "the server closed the connection"
