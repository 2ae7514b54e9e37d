"""One account at the speech provider: its REST calls, and the ends of sessions that no link holds any more.

It knows nothing of tracks and audio; those are the links' (`client`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urljoin

import aiohttp
import msgspec

from stt.errors import MalformedMessage, ProviderFull, ProviderRefused, ProviderUnavailable, SttError
from stt.gladia import messages as wire
from stt.gladia.breaker import Breaker
from stt.gladia.options import LinkOptions
from stt.gladia.places import NoLimit, Place, Places
from stt.gladia.socket import NoConnection, Socket, UpgradeRefused, connect
from stt.reading import MALFORMED
from stt.tasks import TaskOwner

log = logging.getLogger(__name__)

DEFAULT_URL: Final = "https://api.gladia.io"
_OK: Final = 1000
_END_S: Final = 10.0  # for ending a session that no link holds, all attempts together
_END_PAUSE_S: Final = 0.3
_PAGE: Final = 50  # sessions in one answer of the list
_MAX_PAGES: Final = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ProviderOptions:
    """Where the provider is and who we are to it."""

    api_key: str = field(repr=False)
    url: str = DEFAULT_URL
    request_timeout_s: float = 10.0
    link: LinkOptions = field(default_factory=LinkOptions)
    key_now: Callable[[], str] | None = field(default=None, repr=False)
    """Where keys are rotated: the one in force, asked for at each request."""
    headers: Callable[[], Mapping[str, str]] = dict
    """Further headers of a request, asked for where it is made: by these its sender finds it again."""


class _Ending:
    """Tells a session to stop, and listens whether that was heard."""

    def __init__(self) -> None:
        self.is_noted = False
        self._socket: Socket | None = None

    def opened(self, socket: Socket) -> None:
        self._socket = socket
        socket.send(wire.STOP)

    def received(self, message: str | bytes) -> None:
        with suppress(MalformedMessage):
            if isinstance(wire.parse(message), wire.StopAcknowledged | wire.SessionEnded) and self._socket is not None:
                self.is_noted = True
                self._socket.leave()

    def writable(self) -> None:
        pass


class Account:
    """One provider account: what its links share. `places` says how many sessions it may have open.

    Use it inside `async with`; leaving it waits for sessions that are being ended, 10 s for each at most.
    """

    def __init__(self, options: ProviderOptions, places: Places | None = None) -> None:
        self.options = options
        self._base = options.url.rstrip("/") + "/"
        self.places: Places = places or NoLimit()
        self.breaker = Breaker(random.random)
        self.mine: set[str] = set()
        """Ids of sessions that this process opened and that may still run at the provider."""
        self.complaints: Counter[str] = Counter()
        """Errors that the provider has reported, by `complaints.kind_of`."""
        self.connections_lost = 0
        """Those over which audio was streamed, and that ended before their session."""
        self.given_up_s: dict[str, float] = {}
        """Seconds of audio that no final will cover, by why, as `events.AudioGivenUp` has it."""
        self.unusable: Counter[str] = Counter()
        """Its messages that could not be used, by type, as `events.Unusable` has it."""
        self._answered = asyncio.Event()  # pulses when the provider has answered, or a probe of it has failed
        self._http: aiohttp.ClientSession | None = None
        self._background = TaskOwner()

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            base_url=self._base,
            timeout=aiohttp.ClientTimeout(total=self.options.request_timeout_s),
            # One live socket per track: the pool must not be the limit.
            connector=aiohttp.TCPConnector(limit=0),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._background.drain()
        if self._http is not None:
            await self._http.close()

    @property
    def http(self) -> aiohttp.ClientSession:
        """The account's connection pool. Raises: RuntimeError outside `async with`."""
        if self._http is None:
            raise RuntimeError("Provider is used inside `async with`")
        return self._http

    async def create(self, config: wire.LiveConfig, place: Place | None = None) -> wire.SessionCreated:
        """POST /v2/live. When this is cancelled on the way, the session that may come of it is ended.

        While no request of this account is answered, callers wait their turn: one at a time tries for all.
        Raises: ProviderRefused, ProviderFull, ProviderUnavailable.
        """
        await self._turn()
        posting = asyncio.create_task(self._post(config), name="stt-post")
        try:
            return await asyncio.shield(posting)
        except asyncio.CancelledError:
            self._background.start(self._end_unwanted(posting, place.share() if place else None), "stt-unwanted")
            raise

    async def _turn(self) -> None:
        """Wait until the circuit breaker lets this caller try."""
        clock = asyncio.get_running_loop().time
        while (pause := self.breaker.ask(clock())) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause if pause < inf else None):
                    await self._answered.wait()

    async def _post(self, config: wire.LiveConfig) -> wire.SessionCreated:
        params = {"region": config.region} if config.region else {}
        body = wire.session_request(config)
        try:
            created = await self._call("POST", "v2/live", wire.parse_created, params=params, json=body)
        except ProviderUnavailable:
            was_open = self.breaker.is_open
            self.breaker.failed(asyncio.get_running_loop().time())
            if self.breaker.is_open and not was_open:
                log.error("the speech provider answers nobody: from now on one attempt at a time is made")
            raise
        except SttError:
            self._mended()
            raise
        else:
            self._mended()
        finally:
            self._answered.set()
            self._answered = asyncio.Event()
        self.mine.add(created.id)
        return created

    def _mended(self) -> None:
        if self.breaker.is_open:
            log.info("the speech provider answers again")
        self.breaker.answered()

    @property
    def trouble(self) -> str | None:
        """Why no session can be opened, when requests of all tracks fail; None otherwise."""
        if not self.breaker.is_open:
            return None
        return (
            f"the speech provider has not answered {self.breaker.failures} times in a row; it is asked again and again"
        )

    def end_in_background(self, created: wire.SessionCreated, place: Place | None = None) -> None:
        """End a session that no link holds any more, in the background: left alone it may cost money for hours.

        `place` is given back when that is done.
        """
        self._background.start(self._end_and_give_back(created, place.share() if place else None), "stt-end")

    async def _end_and_give_back(self, created: wire.SessionCreated, place: Place | None) -> None:
        try:
            await self.end(created.url)
        finally:
            self.mine.discard(created.id)
            if place is not None:
                place.give_back()

    async def running(self) -> list[wire.ListedSession]:
        """GET /v2/live: every session of the account that has not ended, oldest last. Raises as `create`."""
        found: list[wire.ListedSession] = []
        for page in range(_MAX_PAGES):
            query = [
                ("status", "queued"),
                ("status", "processing"),
                ("limit", str(_PAGE)),
                ("offset", str(page * _PAGE)),
            ]
            listed = await self._call("GET", "v2/live", wire.parse_list, params=query)
            found += listed.items
            if listed.next is None:
                break
        return found

    async def result(self, session_id: str) -> wire.SessionResult:
        """GET /v2/live/{id}: status, and once it is `done` the whole transcript. Raises as `create`."""
        return await self._call("GET", f"v2/live/{session_id}", wire.parse_result)

    @property
    def key(self) -> str:
        """The account's key that is in force."""
        return (self.options.key_now or (lambda: self.options.api_key))()

    async def check(self) -> None:
        """Ask for the list of sessions, which costs nothing, to see whether the key works. Raises as `create`."""
        await self._call("GET", "v2/live", msgspec.json.decode, params={"limit": "1"})

    async def reaches(self, within_s: float) -> bool:
        """Whether it answers now, be it with a refusal. Asks as `check` does, and opens no session."""
        try:
            async with asyncio.timeout(within_s):
                await self.check()
        except (ProviderUnavailable, TimeoutError):
            return False
        except SttError:
            return True
        return True

    async def _end_unwanted(self, posting: asyncio.Task[wire.SessionCreated], place: Place | None) -> None:
        try:
            created = await posting
        except SttError:
            if place is not None:
                place.give_back()
        else:
            await self._end_and_give_back(created, place)

    async def end(self, url: str) -> bool:
        """Tell a session to stop, on its socket's URL, until it takes note or is gone. False after 10 s in vain."""
        refusals = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                while True:
                    try:
                        if await self._say_stop(url):
                            return True
                    except UpgradeRefused as error:
                        # 403 is the answer for an ended session, and perhaps while our old connection lingers.
                        refusals += error.status < 500
                        if error.status in (404, 410) or refusals == 3:
                            return True
                    except NoConnection:
                        pass
                    await asyncio.sleep(_END_PAUSE_S)
        log.warning("a provider session could not be ended in order; the provider ends it at its maximum duration")
        return False

    async def delete(self, session_id: str) -> None:
        """DELETE /v2/live/{id}: audio, transcript and result go. 403 while it runs. Raises as `create`."""
        await self._call("DELETE", f"v2/live/{session_id}", bytes)

    async def end_by_id(self, session_id: str) -> bool:
        """End a session whose URL was lost with the answer to its POST. False: not this time.

        No route for that is documented. DELETE may be refused while it runs; then its id is tried for its token, which
        one of the provider's own examples shows to be equal.
        """
        try:
            await self.delete(session_id)
            return True
        except ProviderRefused as error:
            if error.status == 404:
                return True
        except SttError:
            return False
        try:
            async with asyncio.timeout(_END_S):
                return await self._say_stop(f"v2/live?token={quote(session_id, safe='')}")
        except (UpgradeRefused, NoConnection, TimeoutError):
            return False

    async def _say_stop(self, url: str) -> bool:
        """Whether the provider has taken note. Raises: UpgradeRefused, NoConnection."""
        ending = _Ending()
        socket = await connect(urljoin(self._base, url), ending)
        try:
            code = await socket.over()
            return ending.is_noted or code == _OK
        finally:
            await socket.close()

    async def _call(self, method: str, path: str, read: Callable[[bytes], T], **request: Any) -> T:
        try:
            headers = {**self.options.headers(), "x-gladia-key": self.key}
            async with self.http.request(method, path, headers=headers, allow_redirects=False, **request) as response:
                body = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ProviderUnavailable(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        if status == 429:
            raise ProviderFull(wire.error_text(body))
        if (
            status == 408 or status >= 500 or 300 <= status < 400
        ):  # a redirect is not followed: the key goes nowhere else
            raise ProviderUnavailable(f"HTTP {status}: {wire.error_text(body)}")
        if status >= 400:
            raise ProviderRefused(status, wire.error_text(body))
        try:
            return read(body)
        except MALFORMED as error:
            raise ProviderUnavailable(f"HTTP {status} with an unreadable body: {error}") from error
