"""Blobs in a Vercel Blob store, over the HTTP API that the official client (`@vercel/blob` 2.8.0) speaks.

    PUT  {api}/?pathname=KEY     the body is the document; `x-…` headers say how to keep it → {"url", "pathname", …}
    GET  {api}?url=KEY           what is known of it → {"url", "size", …}
    POST {api}/delete            {"urls": [KEY]}

The store is the one that the token belongs to: `vercel_blob_rw_STORE_SECRET`. An error is
{"error": {"code", "message"}}. Reads go
to the blob's own URL, with the token when the store is private; `cache=0` passes by the network's caches.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import aiohttp
import msgspec
from yarl import URL

from storage.blob.store import BlobError, check_key

API_URL: Final = "https://vercel.com/api/blob"
_API_VERSION: Final = "12"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=60, connect=5)
# A document is replaced in place, so caches must let go of it soon; the service allows no less.
_CACHE_S: Final = "60"
_RETRIED: Final = ("unknown_error", "service_unavailable", "internal_server_error", "rate_limited")
_LONGEST_PAUSE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class VercelOptions:
    """`access` is the store's; in a public one, the URL is all that is needed to read a document. `delays`: seconds."""

    token: str = field(repr=False)
    access: Literal["private", "public"] = "private"
    api_url: str = API_URL
    delays: tuple[float, ...] = (0.5, 2.0)

    @property
    def store(self) -> str:
        """Raises: ValueError when the token is none."""
        parts = self.token.split("_")
        if len(parts) < 5 or parts[:3] != ["vercel", "blob", "rw"] or not parts[3].isalnum():
            raise ValueError("not a read-write token of a Vercel Blob store")
        return parts[3]


class VercelBlobs:
    """Use `open_vercel`."""

    def __init__(self, options: VercelOptions, http: aiohttp.ClientSession) -> None:
        self._options = options
        self._http = http

    @property
    def place(self) -> str:
        return f"Vercel Blob store {self._options.store}"

    async def put(self, key: str, data: bytes, content_type: str) -> str:
        headers = {
            "x-vercel-blob-access": self._options.access,
            "x-content-type": content_type,
            "x-add-random-suffix": "0",
            "x-allow-overwrite": "1",
            "x-cache-control-max-age": _CACHE_S,
        }
        answer = await self._ask("PUT", "/", {"pathname": check_key(key)}, headers, data)
        return self._url(answer)

    async def get(self, key: str) -> bytes | None:
        try:
            known = await self._ask("GET", "", {"url": check_key(key)})
        except _NotThere:
            return None
        url = URL(self._url(known))
        private = self._options.access == "private"
        headers = {"authorization": f"Bearer {self._options.token}"} if private else {}
        try:
            async with self._http.get(url.update_query(cache="0") if private else url, headers=headers) as answer:
                if answer.status == 404:
                    return None
                if answer.status != 200:
                    raise self._trouble(f"answered {answer.status} to a read", retryable=answer.status >= 500)
                return await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._trouble(f"cannot be read ({type(error).__name__})", retryable=True) from error

    async def delete(self, key: str) -> None:
        body = msgspec.json.encode({"urls": [check_key(key)]})
        try:
            await self._ask("POST", "/delete", {}, {"content-type": "application/json"}, body)
        except _NotThere:
            return

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Any:
        """The JSON of a good answer, after at most one attempt more than there are delays. Raises: BlobError."""
        url = URL(self._options.api_url + path).with_query(query)
        request_id = f"{self._options.store}:{secrets.token_hex(8)}"
        attempt = 0
        while True:
            told = {
                "authorization": f"Bearer {self._options.token}",
                "x-api-version": _API_VERSION,
                "x-vercel-blob-store-id": self._options.store,
                "x-api-blob-request-id": request_id,
                "x-api-blob-request-attempt": str(attempt),
                **(headers or {}),
            }
            pause = None
            try:
                async with self._http.request(method, url, headers=told, data=body) as answer:
                    if answer.ok:
                        return _json(await answer.read())
                    trouble = self._refusal(answer.status, await answer.read())
                    pause = _seconds(answer.headers.get("Retry-After"))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                trouble = self._trouble(f"does not answer ({type(error).__name__})", retryable=True)
            if not trouble.retryable or attempt >= len(self._options.delays):
                raise trouble
            await asyncio.sleep(self._options.delays[attempt] if pause is None else min(pause, _LONGEST_PAUSE_S))
            attempt += 1

    def _refusal(self, status: int, body: bytes) -> BlobError:
        """What an error answer means. Its message may quote what we sent, so only the code is passed on."""
        answer = _json(body)
        error = answer.get("error") if isinstance(answer, dict) else None
        code = str(error.get("code")) if isinstance(error, dict) else "unknown_error"
        match code:
            case "not_found":
                return _NotThere(f"{self.place} has no such blob", retryable=False)
            case "forbidden":
                return self._trouble("refuses the token; check BLOB_READ_WRITE_TOKEN", retryable=False)
            case "store_not_found" | "store_suspended":
                return self._trouble("does not exist or is suspended; look at it in Vercel", retryable=False)
            case _:
                known = code[:40] if code.replace("_", "").isalnum() else "unknown_error"
                return self._trouble(f"answered {status} ({known})", retryable=known in _RETRIED or status >= 500)

    def _trouble(self, what: str, *, retryable: bool) -> BlobError:
        return BlobError(f"{self.place} {what}", retryable=retryable)

    def _url(self, answer: Any) -> str:
        url = answer.get("url") if isinstance(answer, dict) else None
        if not isinstance(url, str):
            raise self._trouble("gave no URL", retryable=True)
        return url


class _NotThere(BlobError):
    """No blob of that key."""


@asynccontextmanager
async def open_vercel(options: VercelOptions) -> AsyncIterator[VercelBlobs]:
    """Requests are made inside the block. Nothing is asked of the service yet."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as http:
        yield VercelBlobs(options, http)


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isascii() and header.isdecimal() else None
