"""The public keys that user tokens are checked with, fetched from where the identity provider keeps them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import jwt

from gateway.live.credentials import key_id
from gateway.live.public_keys import BadKeys, parse_keys

log = logging.getLogger(__name__)

RETRY_S: Final = 30.0
MAX_AGE_S: Final = 600.0
_FETCH_S: Final = 5.0
_MAX_BYTES: Final = 256 * 1024


class KeyRing:
    """Keys by id, as they stood at most MAX_AGE_S ago; an unknown id makes it look again, at most every RETRY_S.

    While the provider of the keys cannot be reached, those known before go on being used.
    """

    def __init__(self, fetch: Callable[[], Awaitable[bytes]], clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._tried_at = float("-inf")
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def keys_for(self, token: str | None) -> Mapping[str, jwt.PyJWK]:
        """What to check a token with. Waits only for a token that claims to be signed by such a key."""
        kid = key_id(token)
        if kid is not None and self._is_wanting(kid):
            async with self._fetching:
                if self._is_wanting(kid):
                    await self._renew()
        return self._keys

    def _is_wanting(self, kid: str) -> bool:
        now = self._clock()
        is_old = kid not in self._keys or now - self._fetched_at > MAX_AGE_S
        return is_old and now - self._tried_at >= RETRY_S

    async def _renew(self) -> None:
        try:
            keys = parse_keys(await self._fetch())
        except (aiohttp.ClientError, TimeoutError, OSError, BadKeys) as error:
            log.warning(
                "GATEWAY_JWKS_URL: no keys: %s", error or type(error).__name__, extra={"known": len(self._keys)}
            )
            return
        finally:
            self._tried_at = self._clock()
        if set(keys) != set(self._keys):
            log.info("public keys of user tokens", extra={"keys": len(keys)})
        self._keys, self._fetched_at = keys, self._clock()


@asynccontextmanager
async def open_key_ring(url: str) -> AsyncIterator[KeyRing]:
    """Keys from a URL; nothing is fetched before a token needs it."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_FETCH_S)) as http:

        async def fetch() -> bytes:
            async with http.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as answer:
                if answer.status != 200:
                    raise BadKeys(f"it answers HTTP {answer.status}")
                body = await answer.content.read(_MAX_BYTES + 1)
                while len(body) <= _MAX_BYTES and (more := await answer.content.read(_MAX_BYTES + 1 - len(body))):
                    body += more
                if len(body) > _MAX_BYTES:
                    raise BadKeys(f"the answer has more than {_MAX_BYTES} bytes")
                return body

        yield KeyRing(fetch, asyncio.get_running_loop().time)
