"""What a page needs before anything is seen stands in the page itself: one round trip less before the first words.

That is its sheets and the scripts whose name ends with `-first`. A policy names what stands in a page by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Final

from gateway.console.whole import whole

_SHEET: Final = re.compile(r'<link rel="stylesheet" href="([\w-]+\.css)">')
_FIRST: Final = re.compile(r'<script src="([\w-]+-first\.js)"></script>')
# It imports others, and runs where it stands all the same: as a module it would come after the page's scripts where
# those are in the browser's cache, and open a second time what they have opened.
_FIRST_MODULE: Final = re.compile(r'<script type="module" src="([\w-]+-first\.js)"></script>')
_STANDS: Final = {
    "script-src": re.compile(r"<script[^>]*>((?:(?!</script>).)+)</script>", re.DOTALL),
    "style-src": re.compile(r"<style>((?:(?!</style>).)+)</style>", re.DOTALL),
}


def inlined(html: str, read: Callable[[str], str]) -> str:
    """The page with what it needs first in its place. `read`: the text of a file. Raises: NotBundled."""
    html = _SHEET.sub(lambda named: f"<style>\n{read(named[1])}</style>", html)
    html = _FIRST.sub(lambda named: f"<script>\n{read(named[1])}</script>", html)
    return _FIRST_MODULE.sub(lambda named: f"<script>\n'use strict';\n{{\n{whole(named[1], read)}}}\n</script>", html)


def policy(html: str) -> str:
    """The Content-Security-Policy of a page: nothing from elsewhere, in no frame, and inside it what is there now."""
    own = {
        kind: " ".join(["'self'", *(_hash(text) for text in stands.findall(html))]) for kind, stands in _STANDS.items()
    }
    return (
        f"default-src 'none'; script-src {own['script-src']}; style-src {own['style-src']}; "
        "connect-src 'self' ws: wss:; img-src 'self' data:; "
        "base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
