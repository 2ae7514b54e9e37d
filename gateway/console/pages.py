"""The pages people see: live at `/`, a session at `/s/SLUG`, `/join` for guests, `/sessions`, `/operator`, `/docs`.

What several pages have stands once, in a part whose name begins with an underscore; `<!-- _part.html -->` is its place.
Pages name their scripts and sheets under an address that holds a hash of all of them, so browsers keep those for good;
a page itself is asked for again each time, and answered with 304 while it is the same. All is made once a process, and
each file packed when it is first asked for.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import Final, NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.console.inline import inlined, policy
from gateway.console.whole import whole

PAGES: Final = {
    "/": "index.html",
    "/s/{slug}": "reader.html",
    "/sessions": "sessions.html",
    "/webhooks": "webhooks.html",
    "/join": "join.html",
    "/usage": "usage.html",
    "/docs": "docs.html",
    "/operator": "operator.html",
    "/audit": "audit.html",
}
WHOLE: Final = {"reader.js": "reader.whole.js", "join.js": "join.whole.js"}
"""Scripts that come as one file with all they import. A first visit asks for 25 files less, each six a round trip.
What their pages need first stands in these."""
_KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Those of clients/js are symbolic links: the pages are that client's first user.
ASSETS: Final = sorted(
    file.name for file in files(__package__).iterdir() if file.name.endswith((".css", ".js", ".svg"))
)
_PART: Final = re.compile(r"<!-- (_\w+\.html) -->")
_NAMED: Final = re.compile(r'(?<=(?:src|ref)=")([\w.-]+\.(?:css|js|svg))(?=")')
_SCRIPT: Final = re.compile(r'( *)<script type="module" src="([\w-]+\.js)"></script>')
_IMPORT: Final = re.compile(r"^(?:import|export) [^;]*?from '\./([\w.-]+)'", re.MULTILINE)
_HEADERS: Final = {
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
}
_ASK_AGAIN: Final = "no-cache"
_FOR_GOOD: Final = "public, max-age=31536000, immutable"


@dataclass(slots=True)
class Content:
    """A file as it goes out."""

    plain: bytes
    kind: str
    tag: str
    policy: str
    _packed: bytes | None = None

    @classmethod
    def of(cls, name: str, plain: bytes) -> Content:
        kind = _KINDS[PurePath(name).suffix]
        stands = plain.decode() if kind == "text/html" else ""
        return cls(plain, kind, hashlib.sha256(plain).hexdigest()[:16], policy(stands))

    @property
    def packed(self) -> bytes:
        """By gzip."""
        if self._packed is None:
            self._packed = gzip.compress(self.plain, 9, mtime=0)
        return self._packed

    def answer(self, request: web.Request, keep: str) -> web.Response:
        """200, or 304 for a browser that has this very content."""
        headers = {**_HEADERS, "Content-Security-Policy": self.policy, "Cache-Control": keep, "ETag": f'W/"{self.tag}"'}
        if any(known.value in (self.tag, "*") for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return web.Response(body=self.packed, content_type=self.kind, charset="utf-8", headers=headers)
        return web.Response(body=self.plain, content_type=self.kind, charset="utf-8", headers=headers)


class _Made(NamedTuple):
    """`pages`: by path. `version`: of all `assets`."""

    pages: dict[str, Content]
    assets: dict[str, Content]
    bundles: dict[str, Content]
    version: str


def register(app: web.Application) -> None:
    """Route every page and file."""
    made = _made()
    for path, page in made.pages.items():
        app.router.add_get(path, _shown(page))
    for name, asset in made.assets.items():
        app.router.add_get(f"/{name}", _shown(asset))  # as it was called before, and by other programs
    app.router.add_get("/assets/{version}/{name}", _kept(made.assets | made.bundles, made.version))


@cache
def _made() -> _Made:
    assets = {name: Content.of(name, content(name).encode()) for name in ASSETS}
    version = version_of(assets)
    bundles = {bundle: Content.of(bundle, whole(name, content).encode()) for name, bundle in WHOLE.items()}
    pages = {path: Content.of(name, page(name, version).encode()) for path, name in PAGES.items()}
    content.cache_clear()  # as they go out they are held anyway
    return _Made(pages, assets, bundles, version)


def version_of(assets: dict[str, Content]) -> str:
    """Another one as soon as a byte of any is. Modules name each other without it: they lie in one folder."""
    return hashlib.sha256("".join(f"{name} {assets[name].tag}\n" for name in sorted(assets)).encode()).hexdigest()[:12]


def page(name: str, version: str) -> str:
    """A page as it is served: what it loads by the address that browsers keep, modules with it or told ahead."""

    def with_modules(script: re.Match[str]) -> str:
        if script[2] in WHOLE:
            return script[0].replace(script[2], WHOLE[script[2]])
        ahead = (f'{script[1]}<link rel="modulepreload" href="{one}">' for one in sorted(modules(script[2])))
        return "\n".join((*ahead, script[0]))

    text = content(name)
    if any(script[2] in WHOLE for script in _SCRIPT.finditer(text)):
        text = inlined(text, content)
    text = _SCRIPT.sub(with_modules, text)
    return _NAMED.sub(rf"assets/{version}/\1", text)


def modules(name: str) -> set[str]:
    """What a script imports from the beginning, and these in turn."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = set(_IMPORT.findall(content(waiting.pop()))) - found
        found |= new
        waiting += new
    return found - {name}


@cache
def content(name: str) -> str:
    """A file with its parts in their places. The link of a page to itself says so."""
    text = _PART.sub(lambda part: content(part[1]).rstrip(), files(__package__).joinpath(name).read_text("utf-8"))
    own = "./" if name == "index.html" else name.removesuffix(".html")
    return text.replace(f'<a href="{own}">', f'<a href="{own}" aria-current="page">')


def _shown(what: Content) -> Handler:
    async def show(request: web.Request) -> web.Response:
        return what.answer(request, _ASK_AGAIN)

    return show


def _kept(assets: dict[str, Content], version: str) -> Handler:
    async def show(request: web.Request) -> web.Response:
        asset = assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound(text="there is no such file")
        # While gateways of two versions serve one address, a page of one may ask the other: it gets what there is.
        return asset.answer(request, _FOR_GOOD if request.match_info["version"] == version else _ASK_AGAIN)

    return show
