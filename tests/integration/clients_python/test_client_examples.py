"""docs/python-client.md: its examples are typed, and do what they say, cut off from a real gateway now and then."""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from support.cutter import cutting
from support.gateway import TOKEN
from support.scripted_gateway import scripted_gateway
from support.tools import said

ROOT = Path(__file__).parents[3]
SECRET = "a-secret-of-the-test-that-is-long-enough"


def examples(folder: Path) -> None:
    page = (ROOT / "docs" / "python-client.md").read_text()
    for name, text in re.findall(r"^```python file=(\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        (folder / name).write_text(text)


async def run(folder: Path, name: str, *arguments: str, **env: str) -> list[str]:
    """Returns: the lines that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        name,
        *arguments,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env},
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await said(process, 60)
    assert process.returncode == 0
    return told.decode().splitlines()


def budgets(seed: int) -> Iterator[int]:
    """Bytes of each connection: inside the handshake, or inside messages."""
    chance = random.Random(seed)
    return (chance.choice((chance.randrange(1, 300), chance.randrange(300, 3000))) for _ in range(3))


def test_the_examples_are_typed(tmp_path: Path) -> None:
    examples(tmp_path)
    mypy = [sys.executable, "-m", "mypy", *map(str, tmp_path.glob("*.py"))]  # with the rules and the cache of the house
    done = subprocess.run(mypy, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


async def test_the_examples_hear_every_final_once_and_in_order(database_url: str, tmp_path: Path) -> None:
    examples(tmp_path)
    seed = random.SystemRandom().randrange(2**32)
    async with scripted_gateway(database_url, tmp_path, jwt_secret=SECRET) as world:
        slug = await world.new_session()
        [session] = (await world.call("GET", "/api/sessions"))["sessions"]
        async with cutting(world.url, budgets(seed)) as cutter, cutting(world.url, budgets(seed + 1)) as other:
            env = {"GATEWAY_TOKEN": TOKEN, "SESSION": slug, "SPACE": session["spaceId"], "GATEWAY_JWT_SECRET": SECRET}
            follow = asyncio.create_task(run(tmp_path, "follow.py", GATEWAY_URL=cutter.url, **env))
            many = asyncio.create_task(run(tmp_path, "many.py", slug, "nowhere1", GATEWAY_URL=other.url, **env))
            said = await world.say(await world.start(slug), 3)
            await world.end_session(slug)  # which is noticed when the transcription stops
            await world.stop(slug)
            assert await follow == [f"{seq} rtmp: {text}" for seq, text in enumerate(said, 1)], f"seed {seed}"
            counted = sorted(await many)
        for _ in range(2):  # the second time there is nothing new
            await run(tmp_path, "minutes.py", GATEWAY_URL=world.url, **env)
            assert (tmp_path / "minutes.txt").read_text().splitlines() == said
    assert f"{slug}: 6 words" in counted
    assert any(line.startswith("nowhere1: ") and "nowhere1" in line[10:] for line in counted), counted
