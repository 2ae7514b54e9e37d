"""The pages people see, static: live at `/`, `/join` for guests; `/sessions`, `/operator`, `/docs` and more.

What several pages have stands once, in a part whose name begins with an underscore; `<!-- _part.html -->` is its place.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

FILES: Final = {
    "/": ("index.html", "text/html"),
    "/sessions": ("sessions.html", "text/html"),
    "/webhooks": ("webhooks.html", "text/html"),
    "/join": ("join.html", "text/html"),
    "/usage": ("usage.html", "text/html"),
    "/docs": ("docs.html", "text/html"),
    "/operator": ("operator.html", "text/html"),
    "/audit": ("audit.html", "text/html"),
    "/console.css": ("console.css", "text/css"),
    "/console.js": ("console.js", "text/javascript"),
    "/sessions.js": ("sessions.js", "text/javascript"),
    "/webhooks.js": ("webhooks.js", "text/javascript"),
    "/usage.js": ("usage.js", "text/javascript"),
    "/remains.js": ("remains.js", "text/javascript"),
    "/join.js": ("join.js", "text/javascript"),
    "/session.js": ("session.js", "text/javascript"),
    "/speak.js": ("speak.js", "text/javascript"),
    "/replicas.js": ("replicas.js", "text/javascript"),
    "/keys.js": ("keys.js", "text/javascript"),
    "/gate.js": ("gate.js", "text/javascript"),
    "/items.js": ("items.js", "text/javascript"),
    "/operator.js": ("operator.js", "text/javascript"),
    "/audit.js": ("audit.js", "text/javascript"),
    "/try.js": ("try.js", "text/javascript"),
    "/inherit.js": ("inherit.js", "text/javascript"),
    "/titles.js": ("titles.js", "text/javascript"),
    "/words.js": ("words.js", "text/javascript"),
    "/people.js": ("people.js", "text/javascript"),
    "/invite.js": ("invite.js", "text/javascript"),
    "/ingest.js": ("ingest.js", "text/javascript"),
    "/figures.js": ("figures.js", "text/javascript"),
    "/confirm.js": ("confirm.js", "text/javascript"),
    # The JavaScript client of clients/js, by symbolic links: the console is its first user.
    "/transcript-stream.js": ("transcript-stream.js", "text/javascript"),
    "/line.js": ("line.js", "text/javascript"),
    "/microphone.js": ("microphone.js", "text/javascript"),
    "/audio-sender.js": ("audio-sender.js", "text/javascript"),
    "/pcm-worklet.js": ("pcm-worklet.js", "text/javascript"),
    "/captions.js": ("captions.js", "text/javascript"),
    "/api.js": ("api.js", "text/javascript"),
    "/dom.js": ("dom.js", "text/javascript"),
    "/docs.js": ("docs.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_PART: Final = re.compile(r"<!-- (_\w+\.html) -->")
# Pages load nothing from elsewhere and are shown in no frame.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def register(app: web.Application) -> None:
    """Route every page and file. They are read once, here."""
    for path, (name, kind) in FILES.items():
        app.router.add_get(path, _page(content(name).encode(), kind))


def content(name: str) -> str:
    """A file as it is served, its parts in their places. The link of a page to itself says so."""
    text = _PART.sub(lambda part: content(part[1]).rstrip(), files(__package__).joinpath(name).read_text("utf-8"))
    own = "./" if name == "index.html" else name.removesuffix(".html")
    return text.replace(f'<a href="{own}">', f'<a href="{own}" aria-current="page">')


def _page(body: bytes, kind: str) -> Handler:
    async def show(request: web.Request) -> web.Response:
        headers = {
            "Content-Security-Policy": _POLICY,
            "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        }
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)

    return show
