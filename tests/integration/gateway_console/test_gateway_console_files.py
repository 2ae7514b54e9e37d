"""What the pages' files promise without a browser: whole, self-contained, nothing that the policy would refuse."""

from __future__ import annotations

import re

import pytest

from gateway.console.pages import FILES, content

NAMES = sorted(name for name, _ in FILES.values())
CAPTIONS = ("captions.js", "speak.js", "people.js")
GATED = ("gate.js",)
LISTED = (*GATED, "items.js", "confirm.js")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_there_and_needs_nothing_from_elsewhere(name: str) -> None:
    text = content(name)
    for no_address in ("http://www.w3.org/2000/svg", "https://captions.example.org"):  # a namespace, an example
        text = text.replace(no_address, "")
    assert len(text) > 100
    assert not re.findall(r"(?:https?:)?//[\w.-]+\.\w+", re.sub(r"^\s*//.*$", "", text, flags=re.M))


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".html")])
def test_html_has_no_code_and_no_style_inside(name: str) -> None:
    text = content(name)
    assert not re.findall(r"\son\w+=|\sstyle=|<style|javascript:", text)
    assert all("src=" in opening for opening in re.findall(r"<script[^>]*>", text))


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".js")])
def test_scripts_put_text_in_as_text(name: str) -> None:
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|Function\("
    assert not re.findall(ways, content(name))


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith((".html", ".js"))])
def test_what_a_page_names_is_served(name: str) -> None:
    """Every script, sheet, picture and import is one of the served files."""
    named = re.findall(r"(?:src|href)=\"([\w.-]+\.\w+)\"|(?:from|import) '\./([\w.-]+)'", content(name))
    wanted = {one or other for one, other in named}
    assert wanted <= {*NAMES, "openapi.json"}


@pytest.mark.parametrize(
    ("page", "scripts"),
    [
        (
            "index.html",
            ("console.js", "session.js", "ingest.js", "figures.js", "invite.js", "keys.js", *LISTED, *CAPTIONS),
        ),
        ("sessions.html", ("sessions.js", "remains.js", "people.js", "invite.js", "keys.js", *LISTED)),
        ("operator.html", ("operator.js", "replicas.js", *GATED)),
        ("usage.html", ("usage.js", *GATED)),
        ("audit.html", ("audit.js", *GATED)),
        ("webhooks.html", ("webhooks.js", "keys.js", *LISTED)),
        ("join.html", ("join.js", *CAPTIONS)),
    ],
)
def test_every_element_that_scripts_ask_for_exists(page: str, scripts: tuple[str, ...]) -> None:
    asked = set(re.findall(r"byId\('([\w-]+)'\)", "".join(map(content, scripts))))
    there = re.findall(r'\bid="([\w-]+)"', content(page))
    assert asked and asked <= set(there)
    assert len(there) == len(set(there)), "an id stands for two elements"
    assert "<!--" not in content(page), "a part is not in its place"
