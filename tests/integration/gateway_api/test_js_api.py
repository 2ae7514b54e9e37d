"""What is made from the OpenAPI document is fresh: the types of the JavaScript client, and the page on HTTP."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.gateway_api.in_process import InProcess

ROOT = Path(__file__).parents[3]


def maker(tool: str, function: str) -> Callable[[dict[str, Any]], str]:
    """A function of a program in tools/, which is no package."""
    spec = importlib.util.spec_from_file_location(tool, ROOT / "tools" / f"{tool}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Callable[[dict[str, Any]], str] = getattr(module, function)
    return made


@pytest.mark.parametrize(
    ("file", "make"),
    [("clients/js/api.d.ts", maker("js_api", "declarations")), ("docs/http.md", maker("http_page", "page"))],
    ids=["types", "page"],
)
async def test_what_is_made_from_the_document_is_fresh(
    gateway: InProcess, file: str, make: Callable[[dict[str, Any]], str]
) -> None:
    """`UPDATE=1 python -m pytest` with this file writes them anew."""
    made = make((await gateway.call("GET", "/openapi.json", token=None)).json)
    if os.environ.get("UPDATE"):
        (ROOT / file).write_text(made)
    assert (ROOT / file).read_text() == made, f"the API has changed: UPDATE=1 python -m pytest {__file__} makes it anew"
