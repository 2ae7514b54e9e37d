"""A Vercel Blob service on this machine: the protocol of the official client, with the same refusals.

What it keeps can be seen in `blobs`; `faults` are answered first, one a request: an HTTP status with an error code.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TOKEN = "vercel_blob_rw_StandInStore_0123456789abcdef"
STORE = "StandInStore"


@dataclass
class Kept:
    data: bytes
    content_type: str
    access: str


@dataclass
class StandIn:
    access: str = "private"
    url: str = ""
    blobs: dict[str, Kept] = field(default_factory=dict)
    faults: list[tuple[int, str]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    async def put(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        pathname = request.query.get("pathname", "")
        if not pathname or "//" in pathname or len(pathname) > 950:
            return _error(400, "bad_request", "pathname")
        access = request.headers.get("x-vercel-blob-access")
        if access != self.access:
            return _error(400, "bad_request", f"this store is {self.access}")
        if request.headers.get("x-add-random-suffix") == "1":
            pathname += "-Xr4nD0m"
        if pathname in self.blobs and request.headers.get("x-allow-overwrite") != "1":
            return _error(400, "bad_request", "This blob already exists, use `allowOverwrite: true`")
        kind = request.headers.get("x-content-type", "application/octet-stream")
        self.blobs[pathname] = Kept(await request.read(), kind, access)
        return web.json_response(self._facts(pathname))

    async def head(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        pathname = self._pathname(request.query.get("url", ""))
        if pathname not in self.blobs:
            return _error(404, "not_found", "The requested blob does not exist")
        facts = {"size": len(self.blobs[pathname].data), "uploadedAt": "2026-01-05T10:00:00.000Z"}
        return web.json_response(self._facts(pathname) | facts | {"cacheControl": "public, max-age=60"})

    async def delete(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        if request.content_type != "application/json":
            return _error(400, "bad_request", "content-type")
        for url in (await request.json())["urls"]:
            self.blobs.pop(self._pathname(url), None)
        return web.json_response(None)

    async def read(self, request: web.Request) -> web.Response:
        kept = self.blobs.get(request.match_info["pathname"])
        allowed = self.access == "public" or request.headers.get("authorization") == f"Bearer {TOKEN}"
        if not allowed:
            return web.Response(status=403)
        if kept is None:
            return web.Response(status=404)
        return web.Response(body=kept.data, headers={"Content-Type": kept.content_type})

    def _refused(self, request: web.Request) -> web.Response | None:
        self.requests.append((request.method, dict(request.headers)))
        if self.faults:
            status, code = self.faults.pop(0)
            if status == 0:
                assert request.transport is not None
                request.transport.close()
            headers = {"Retry-After": "0"} if status == 429 else None
            return _error(status or 500, code, "as asked", headers)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _error(403, "forbidden", "Access denied")
        if request.headers.get("x-api-version") != "12":
            return _error(400, "bad_request", "x-api-version")
        if request.headers.get("x-vercel-blob-store-id", STORE) != STORE:
            return _error(404, "store_not_found", "This store does not exist")
        return None

    def _facts(self, pathname: str) -> dict[str, Any]:
        url = f"{self.url}/stored/{pathname}"
        kind = self.blobs[pathname].content_type
        shown = f'inline; filename="{pathname.rpartition("/")[2]}"'
        return {
            "url": url,
            "downloadUrl": f"{url}?download=1",
            "pathname": pathname,
            "contentType": kind,
            "contentDisposition": shown,
            "etag": '"1"',
        }

    def _pathname(self, url_or_pathname: str) -> str:
        return url_or_pathname.removeprefix(f"{self.url}/stored/")


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status, headers=headers)


@asynccontextmanager
async def vercel_stand_in(access: str = "private") -> AsyncIterator[StandIn]:
    stand_in = StandIn(access)
    app = web.Application(client_max_size=2**28)
    app.router.add_put("/api/blob/", stand_in.put)
    app.router.add_get("/api/blob", stand_in.head)
    app.router.add_post("/api/blob/delete", stand_in.delete)
    app.router.add_get("/stored/{pathname:.+}", stand_in.read)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        stand_in.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield stand_in
    finally:
        await runner.cleanup()
