"""Asking other replicas: HTTP with deadlines, and a WebSocket for audio. Every request goes to one named replica."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import urlencode

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from gateway import correlation, tracing
from gateway.reading import NotJson, read_json
from gateway.replicas.replica import Replica

log = logging.getLogger(__name__)

HOP: Final = "Gateway-Hop"
"""Always 1: what one replica has asked of another is never passed on."""
TO: Final = "Gateway-To"
"""Id of the replica that is meant: an address may lead to another one, or to a balancer in front of all."""
FROM: Final = "Gateway-From"
"""Id of the replica that answers; what has none is no answer of a replica."""
CALLER: Final = "Gateway-Caller"
"""On whose behalf; for the log. Their credential stays where it was shown."""

CONNECT_S: Final = 1.0
SILENCE_S: Final = 5.0
"""An owner says each second how much audio it has; after so much silence it is taken for frozen or cut off."""
_PAGE_BYTES: Final = 64 * 1024

asked_by: ContextVar[str] = ContextVar("asked_by", default="gateway")
"""Who has asked this replica, as the audit log names them."""


def header_text(text: str) -> str:
    """A stranger's header, fit to be passed on and logged; empty when it is not."""
    return text if len(text) <= 100 and text.isascii() and text.isprintable() else ""


class Unreached(Exception):
    """No answer, or none of that replica's. The text says why; whether the request has had an effect is unknown."""


class Misdirected(Exception):
    """That replica does not have what was asked for. `owner`: who does, as far as it knows."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        super().__init__(f"it is run by {owner or 'another replica'}")


class SocketOver(Exception):
    """The owner's end of a WebSocket has closed. `code`: one that may be passed on."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code} {reason}")


@dataclass(frozen=True, slots=True)
class Answer:
    """Whatever the status. `sender`: id of the replica that has answered. `retry_after_s`: as the header says."""

    status: int
    body: bytes
    sender: str
    retry_after_s: float | None = None

    @property
    def owner(self) -> str:
        """Of an answer 421: who should have been asked; empty where it does not say."""
        try:
            told = read_json(self.body)
        except NotJson:
            return ""
        owner = told.get("owner") if isinstance(told, dict) else None
        return owner if isinstance(owner, str) else ""


def key_for(replica: str, service_token: str) -> str:
    """With which replicas that share a service token ask the one of that id.

    The token itself goes nowhere: an address that leads to somebody else teaches him nothing that is good anywhere.
    """
    return hmac.new(service_token.encode(errors="surrogatepass"), f"replica {replica}".encode(), sha256).hexdigest()


class Peers:
    """`token`: a service token that all replicas have, asked for at each request; see `key_for`."""

    def __init__(self, http: aiohttp.ClientSession, token: Callable[[], str]) -> None:
        self.asked: Counter[str] = Counter()
        """Requests, by outcome: answered, misdirected, unreached."""
        self._http = http
        self._token = token

    async def ask(
        self,
        replica: Replica,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        timeout_s: float,
        keeps: bool = True,
    ) -> Answer:
        """One request, all of it within `timeout_s`, on a connection that is kept if `keeps`.

        It is made again where a kept connection has turned out to be dead, so what is asked must be repeatable.
        Raises: Unreached; Misdirected (status 421).
        """
        headers = self._headers(replica) | ({"Content-Type": "application/json"} if body is not None else {})
        headers |= {} if keeps else {"Connection": "close"}
        try:
            async with asyncio.timeout(timeout_s):
                try:
                    answer = await self._once(replica, method, path, body, headers)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    answer = await self._once(replica, method, path, body, headers)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise self._unreached(replica, error) from error
        self._check(replica, answer)
        return answer

    @asynccontextmanager
    async def socket(self, replica: Replica, path: str, query: Mapping[str, str]) -> AsyncIterator[PeerSocket]:
        """A WebSocket to a replica until the end of the block. Raises: Unreached, Misdirected."""
        url = f"{self._base(replica).replace('http', 'ws', 1)}{path}?{urlencode(query)}"
        connecting = _Direct(
            url,
            additional_headers=self._headers(replica),
            compression=None,
            open_timeout=CONNECT_S * 2,
            close_timeout=CONNECT_S,
            ping_interval=None,  # it would stand in line behind audio that waits for the owner to take it
            max_size=_PAGE_BYTES,
            proxy=None,
        )
        try:
            line = await connecting
        except InvalidStatus as error:
            response = error.response
            self._check(
                replica, Answer(response.status_code, bytes(response.body or b""), response.headers.get(FROM, ""))
            )
            raise self._unreached(replica, error) from error
        except (OSError, TimeoutError, WebSocketException) as error:
            raise self._unreached(replica, error) from error
        try:
            sender = line.response.headers.get(FROM, "") if line.response is not None else ""
            self._check(replica, Answer(101, b"", sender))
            yield PeerSocket(line)
        finally:
            await line.close()

    async def _once(
        self, replica: Replica, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        timeout = aiohttp.ClientTimeout(connect=CONNECT_S)
        url = self._base(replica) + path
        async with self._http.request(
            method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            after = response.headers.get("Retry-After", "")
            sender = response.headers.get(FROM, "")
            return Answer(response.status, await response.read(), sender, float(after) if after.isdecimal() else None)

    def _check(self, replica: Replica, answer: Answer) -> None:
        """Raises: Unreached when it is not that replica's answer; Misdirected."""
        if not answer.sender:
            why = f"HTTP {answer.status}, not as a replica of this version answers, or it takes other service tokens"
            raise self._unreached(replica, why)
        if answer.sender != replica.id:
            raise self._unreached(replica, f"the address leads to replica {answer.sender}; see GATEWAY_ADVERTISE_URL")
        if answer.status == 421:
            self.asked["misdirected"] += 1
            raise Misdirected(answer.owner)
        self.asked["answered"] += 1

    def _headers(self, replica: Replica) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {key_for(replica.id, self._token())}",
            HOP: "1",
            TO: replica.id,
            CALLER: header_text(asked_by.get()),
            **correlation.headers(),
            **tracing.headers(),
        }

    def _base(self, replica: Replica) -> str:
        """Raises: Unreached."""
        if replica.url is None:
            raise self._unreached(replica, "it has no address; set its GATEWAY_ADVERTISE_URL")
        return replica.url

    def _unreached(self, replica: Replica, error: Exception | str) -> Unreached:
        self.asked["unreached"] += 1
        why = error if isinstance(error, str) else f"{type(error).__name__}: {error}".rstrip(": ")
        return Unreached(f"{replica.id} at {replica.url}: {why}")


class _Direct(connect):
    """Goes nowhere but where it is sent: audio is not for whoever an answer points to."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class PeerSocket:
    """Text and bytes both ways. `send` waits while the other end does not take what was sent before."""

    def __init__(self, line: ClientConnection) -> None:
        self._line = line

    async def send(self, message: str | bytes) -> None:
        """Raises: SocketOver."""
        try:
            await self._line.send(message)
        except ConnectionClosed as error:
            raise _over(error) from error

    async def receive(self) -> str:
        """The next text. Raises: SocketOver, also after SILENCE_S without one."""
        try:
            async with asyncio.timeout(SILENCE_S):
                return str(await self._line.recv())
        except ConnectionClosed as error:
            raise _over(error) from error
        except TimeoutError:
            self._line.transport.abort()
            raise SocketOver(4000, "the replica that transcribes does not answer; come back") from None


def _over(error: ConnectionClosed) -> SocketOver:
    """As the owner has closed it; 4000 where it has just gone."""
    closed = error.rcvd
    if closed is None or closed.code in (1005, 1006, 1015):
        return SocketOver(4000, "the replica that transcribes has gone; come back")
    return SocketOver(closed.code, closed.reason)


@asynccontextmanager
async def open_peers(token: Callable[[], str]) -> AsyncIterator[Peers]:
    """Requests are made inside the block. Connections are kept for a while, fewer seconds than servers keep theirs."""
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=32, keepalive_timeout=15)
    async with aiohttp.ClientSession(connector=connector) as http:
        yield Peers(http, token)
