"""The types of the JavaScript client's `./server` are those of the gateway that serves it."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from integration.gateway_api.in_process import InProcess

ROOT = Path(__file__).parents[3]
TYPES = ROOT / "clients" / "js" / "api.d.ts"
_spec = importlib.util.spec_from_file_location("js_api", ROOT / "tools" / "js_api.py")
assert _spec is not None and _spec.loader is not None
js_api = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(js_api)


async def test_the_types_are_fresh(gateway: InProcess) -> None:
    """`UPDATE=1 python -m pytest` with this file writes them anew."""
    made = js_api.declarations((await gateway.call("GET", "/openapi.json", token=None)).json)
    if os.environ.get("UPDATE"):
        TYPES.write_text(made)
    assert TYPES.read_text() == made, f"the API has changed: UPDATE=1 python -m pytest {__file__} writes api.d.ts anew"
