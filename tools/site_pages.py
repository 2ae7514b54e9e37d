"""Hooks of mkdocs: pages that stand outside docs/ are pages of the site, and links between them lead where they should.

A link in a page is read as it is in the repository. What it names becomes a page (`PAGES`), a file beside them, or for
a folder the list of its files: the site asks for nothing elsewhere, and `mkdocs build --strict` finds what is gone.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "clients/js/README.md": "clients-js.md",
    "examples/nextjs/README.md": "examples-nextjs.md",
}
_FROM: Final = {page: path for path, page in PAGES.items()}
_LINK: Final = re.compile(r"(?<=\]\()(?!#|[a-z]+:)([^)#\s]+)(#[^)\s]*)?(?=\))")
_CODE: Final = re.compile(r"^(`{3,}).*?^\1\s*$|`+[^`\n]*`+", re.MULTILINE | re.DOTALL)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """All pages, and what they link to besides."""
    for path, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    for page in [file for file in files if file.is_documentation_page()]:
        for path in sorted({path for path, _ in _links(page.content_string, page.src_uri)}):
            if files.get_file_from_path(_address(path)) is None and (ROOT / path).exists():
                files.append(_beside(path, config))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Its links, from the repository's paths to those of the site."""
    here = posixpath.dirname(page.file.src_uri) or "."

    def moved(found: re.Match[str]) -> str:
        path = _target(found[1], page.file.src_uri)
        return posixpath.relpath(_address(path), here) + (found[2] or "")

    parts, at = [], 0
    for code in _CODE.finditer(markdown):
        parts += [_LINK.sub(moved, markdown[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*parts, _LINK.sub(moved, markdown[at:])])


def _links(markdown: str, page: str) -> list[tuple[str, str]]:
    """Path in the repository and fragment of each link that leads to a file of it."""
    return [(_target(found[1], page), found[2] or "") for found in _LINK.finditer(_CODE.sub("", markdown))]


def _target(link: str, page: str) -> str:
    """What a link in this page of the site names, as a path in the repository."""
    path = _FROM.get(page, f"docs/{page}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _address(path: str) -> str:
    """Where a path of the repository is in the site."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"files/{path}.md" if (ROOT / path).is_dir() else f"files/{path}"


def _beside(path: str, config: MkDocsConfig) -> File:
    source = ROOT / path
    if not source.is_dir():
        return File.generated(config, _address(path), content=source.read_bytes())
    names = sorted(str(file.relative_to(source)) for file in source.rglob("*") if file.is_file())
    return File.generated(
        config, _address(path), content="\n".join([f"# {path}\n", *(f"- `{name}`" for name in names)])
    )
