"""Pictures of every page in every state, at four sizes, light, dark and in contrast: to be looked at one by one.

make looks                                    all of them, in build/looks, with an index.html that shows them
make looks ARGS='--only reader --size phone'  those whose name holds the word, at one size
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

from looks.scenes import EMPTY, FULL, OUTAGE, Scene
from looks.world import World, open_world
from support.browser import open_page, resize, running_chromium
from support.postgres import running_postgres

from gateway.app import database

SIZES = {"phone": (390, 844), "side": (844, 390), "laptop": (1280, 800), "room": (1920, 1080)}
SCHEMES = {
    "light": {"prefers-color-scheme": "light", "prefers-contrast": "no-preference"},
    "dark": {"prefers-color-scheme": "dark", "prefers-contrast": "no-preference"},
    "contrast": {"prefers-color-scheme": "dark", "prefers-contrast": "more"},
}


class Album:
    """The pictures so far. `wanted`: words that names must hold."""

    def __init__(self, folder: Path, devtools: str, only: str, sizes: Iterable[str], schemes: Iterable[str]) -> None:
        self._folder, self._devtools, self._only = folder, devtools, only
        self._sizes, self._schemes = [*sizes], [*schemes]
        self._names: list[str] = []
        self.missing: list[str] = []

    async def take(self, world: World, scenes: Iterable[Scene]) -> None:
        """A page is opened for each size, as its scripts may look at it, and shown in every scheme."""
        for scene in scenes:
            if self._only not in scene.name:
                continue
            for size in self._sizes:
                try:
                    await self._picture(world, scene, size)
                except AssertionError as error:
                    self.missing.append(f"{scene.name} at {size}: {error}")

    async def _picture(self, world: World, scene: Scene, size: str) -> None:
        width, height = (round(length / scene.scale) for length in SIZES[size])
        async with open_page(self._devtools, width=width, height=height) as page:
            await resize(page, width, height, scale=scene.scale, mobile=size in ("phone", "side"))
            await scene.play(page, world.gateway.http_url, world.slugs | {"webhook": world.webhook})
            for scheme in self._schemes:
                features = [{"name": name, "value": value} for name, value in SCHEMES[scheme].items()]
                await page.call("Emulation.setEmulatedMedia", features=features)
                await page.run("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 400)))")
                name = f"{scene.name}.{size}.{scheme}.png"
                (self._folder / name).write_bytes(await page.screenshot())
                self._names.append(name)

    def bind(self) -> None:
        shown = "".join(
            f'<figure><img src="{escape(name)}" alt="" loading="lazy"><figcaption>{escape(name)}</figcaption></figure>'
            for name in self._names
        )
        (self._folder / "index.html").write_text(f"<!doctype html><meta charset=utf-8><title>Pages</title>{shown}")


async def _take_all(album: Album, server_url: str, empty_url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_world(empty_url, Path(folder)) as world:
            await album.take(world, EMPTY)
    with tempfile.TemporaryDirectory() as folder:
        async with open_world(server_url, Path(folder)) as world:
            await world.fill()
            await album.take(world, FULL)
            async with world.database_stands_still():
                await album.take(world, OUTAGE)
    album.bind()


@contextmanager
def _impatient() -> Iterator[None]:
    """A database that stands still is given up soon."""
    before, database.STATEMENT_S = database.STATEMENT_S, 2.0
    try:
        yield
    finally:
        database.STATEMENT_S = before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=Path("build/looks"))
    parser.add_argument("--only", default="", help="only scenes whose name holds this")
    parser.add_argument("--size", choices=SIZES, action="append")
    parser.add_argument("--scheme", choices=SCHEMES, action="append")
    asked = parser.parse_args()
    asked.to.mkdir(parents=True, exist_ok=True)
    with (
        _impatient(), running_postgres() as server, server.database() as empty, server.database() as full,
        tempfile.TemporaryDirectory() as profile,
        running_chromium(Path(profile), "--hide-scrollbars", "--use-fake-ui-for-media-stream") as devtools,
    ):  # fmt: skip
        album = Album(asked.to, devtools, asked.only, asked.size or SIZES, asked.scheme or SCHEMES)
        asyncio.run(_take_all(album, full, empty))
    for one in album.missing:
        print(one.split("\n")[0])
    print(f"{asked.to}/index.html")


if __name__ == "__main__":
    main()
