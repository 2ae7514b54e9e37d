"""The pages people see: the console at `/` and the readable API document at `/docs`. Static files, no build step."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

_FILES: Final = {
    "/": ("index.html", "text/html"),
    "/docs": ("docs.html", "text/html"),
    "/console.js": ("console.js", "text/javascript"),
    "/docs.js": ("docs.js", "text/javascript"),
    "/console.css": ("console.css", "text/css"),
}
# Pages load nothing from elsewhere and are shown in no frame.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def register(app: web.Application) -> None:
    for path, (name, kind) in _FILES.items():
        app.router.add_get(path, _page(files(__package__).joinpath(name).read_bytes(), kind))


def _page(body: bytes, kind: str) -> Handler:
    async def show(request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)

    return show
