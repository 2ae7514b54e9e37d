"""/debug/ on the page of several workers: a question goes to the worker it names, which checks the token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp import web

from gateway.api.debug import PREFIX
from gateway.api.errors import problem
from gateway.cpu_profile import LONGEST_S

_PATIENCE_S: Final = LONGEST_S + 10.0


@dataclass(frozen=True, slots=True)
class DebugRelay:
    """`port`: of a worker by its number, on the loopback interface; of any for None; None: it is not ready."""

    port: Callable[[int | None], int | None]

    def register(self, app: web.Application) -> None:
        """Whatever a worker answers below PREFIX."""
        for method in ("GET", "PUT"):
            app.router.add_route(method, PREFIX + "/{what:.+}", self.relay)

    async def relay(self, request: web.Request) -> web.Response:
        """`?worker=N`: which one; without it any, and of a session each can tell. 404 for one that is not ready."""
        query = dict(request.query)
        worker = query.pop("worker", None)
        port = self.port(None if worker is None else int(worker) if worker.isascii() and worker.isdecimal() else 0)
        if port is None:
            return problem(404, "No such worker", "there is none of this number, or it is not ready")
        url = f"http://127.0.0.1:{port}{request.rel_url.raw_path}"
        headers = {"Authorization": request.headers.get("Authorization", "")}
        timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
        body = await request.read()
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as client,
                client.request(request.method, url, params=query, data=body, headers=headers) as answer,
            ):
                told = {"Content-Type": answer.headers.get("Content-Type", "text/plain")}
                return web.Response(body=await answer.read(), status=answer.status, headers=told)
        except (aiohttp.ClientError, TimeoutError):
            return problem(503, "No answer", "the worker does not answer", "SIGUSR2 shows where its process stands")
