"""What the pages' files promise without a browser: whole, self-contained, nothing that the policy would refuse."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.console import pages
from gateway.console.inline import inlined, policy
from gateway.console.pages import ASSETS, PAGES, content
from gateway.console.whole import NotBundled, whole

NAMES = sorted({*PAGES.values(), *ASSETS})
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
        ("sessions.html", ("sessions.js", "everywhere.js", "remains.js", "people.js", "invite.js", "keys.js", *LISTED)),
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


# --- how they are served -------------------------------------------------------------------------------------

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application()
    pages.register(app)
    async with TestClient(TestServer(app), auto_decompress=False) as opened:
        yield opened


def named(html: str) -> list[str]:
    return re.findall(r"(?:src|href)=\"([^\"#]+\.(?:js|css|svg))\"", html)


@pytest.mark.parametrize("path", sorted(PAGES))
async def test_a_page_is_small_and_all_it_loads_is_kept_for_good(client: Client, path: str) -> None:
    """With what its scripts import: 60 kB packed for the first screen, nothing found only when a module is read."""
    answer = await client.get(path.replace("{slug}", "abc"), headers={"Accept-Encoding": "gzip"})
    html = pages.page(
        PAGES[path], pages.version_of({name: pages.Content.of(name, content(name).encode()) for name in ASSETS})
    )
    size = int(answer.headers["Content-Length"])
    loaded = named(html)
    assert loaded and all(re.fullmatch(r"assets/[0-9a-f]{12}/[\w.-]+", one) for one in loaded)
    for one in loaded:
        asset = await client.get(f"/{one}", headers={"Accept-Encoding": "gzip"})
        assert asset.status == 200
        assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        size += int(asset.headers["Content-Length"])
    assert size < 60_000
    scripts = {one.rpartition("/")[2] for one in loaded if one.endswith(".js")} - {*pages.WHOLE.values()}
    imported = {name for script in scripts for name in re.findall(r"from '\./([\w.-]+)'", content(script))}
    assert imported <= scripts, "a module is only found when another one is read"


@pytest.mark.parametrize("path", ["/s/{slug}", "/join"])
async def test_what_a_reader_needs_first_stands_in_the_page(client: Client, path: str) -> None:
    """Then nothing else has to come before something is seen; the policy lets that in, and no other text."""
    answer = await client.get(path.replace("{slug}", "abc"), headers={"Accept-Encoding": "identity"})
    html = await answer.text()
    assert {name.rpartition("/")[2] for name in named(html)} <= {*pages.WHOLE.values(), "icon.svg"}
    own = answer.headers["Content-Security-Policy"]
    assert own.count("'sha256-") == len(re.findall(r"<style>|<script>", html)) >= 3
    assert "unsafe" not in own and own == policy(html) != policy(html.replace("const theme", "const another"))
    assert html.count("<script") == html.count("</script>"), "a script ends in the middle"


def test_only_what_stands_in_a_page_has_a_hash() -> None:
    files = {"a.css": "p { }\n", "a-first.js": "one();\n", "b-first.js": "// two\ntwo();\n"}
    page = inlined(
        '<link rel="stylesheet" href="a.css"><script src="a-first.js"></script>'
        '<script type="module" src="b-first.js"></script><script type="module" src="c.js"></script>',
        files.__getitem__,
    )
    assert "<style>\np { }\n</style>" in page and "<script>\none();\n</script>" in page and "// two" not in page
    assert policy(page).count("sha256-") == 3
    assert "script-src 'self'; style-src 'self';" in policy(
        '<script src="c.js"></script>\n<script src="d.js"></script>'
    )


def test_modules_become_one_with_names_of_their_own() -> None:
    modules = {
        "a.js": "import { two, Three as Four } from './b.js';\nconst one = 1;\n"
        "window.told = one + two() + new Four().one;\n",
        "b.js": "export { Three } from './c.js';\nconst one = 2;\nexport function two() {\n  return one;\n}\n",
        "c.js": "// Three\n/** Of\n * three. */\nconst one = 3;\nclass Three {\n  one = one;\n}\n\nexport { Three };\n",
    }
    text = whole("a.js", modules.__getitem__)
    assert [text.index(f"const ${name} = {{}};") for name in "cba"] == sorted(
        text.index(f"const ${n} = {{}};") for n in "cba"
    )
    assert not re.search(r"Three$|/\*\*", text, re.M), "comments are for those who read the files"
    node = shutil.which("node")
    if node:
        script = f"globalThis.window = {{}};\n{text}\nconsole.log(window.told);"
        ran = subprocess.run([node, "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == "6"


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        ("import x from './b.js';\n", "", "import x"),
        ("import { x } from './b.js';\n", "const x = 1;\n", "b.js exports no x"),
        ("import { x } from './b.js';\n", "export let x = 1;\n", "export let x"),
        ("import { x } from './b.js';\n", "import { y } from './a.js';\nexport const x = 1;\n", "import each other"),
    ],
)
def test_a_module_that_cannot_be_one_of_them_is_refused(a: str, b: str, why: str) -> None:
    with pytest.raises(NotBundled, match=re.escape(why)):
        whole("a.js", {"a.js": a, "b.js": b}.__getitem__)


async def test_a_page_that_is_the_same_is_not_sent_again(client: Client) -> None:
    first = await client.get("/", headers={"Accept-Encoding": "identity"})
    assert first.headers["Cache-Control"] == "no-cache"
    assert "Content-Encoding" not in first.headers, "nobody asked for it"
    again = await client.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    other = await client.get("/", headers={"If-None-Match": 'W/"another"'})
    assert other.status == 200


async def test_a_file_of_another_version_is_there_but_not_kept(client: Client) -> None:
    """While two versions serve one address, a page of one may ask the other for its scripts."""
    asset = await client.get("/assets/0123456789ab/dom.js")
    assert (asset.status, asset.headers["Cache-Control"]) == (200, "no-cache")
    assert (await client.get("/assets/0123456789ab/nothing.js")).status == 404
    assert (await client.get("/dom.js")).status == 200, "the address from before"


def test_another_byte_is_another_address() -> None:
    one = {"a.js": pages.Content.of("a.js", b"1"), "b.js": pages.Content.of("b.js", b"2")}
    assert pages.version_of(one) == pages.version_of(dict(reversed(one.items())))
    assert pages.version_of(one) != pages.version_of(one | {"b.js": pages.Content.of("b.js", b"3")})
