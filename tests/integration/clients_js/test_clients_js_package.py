"""The npm package of the JavaScript client: ready to be published, and whole."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[3] / "clients" / "js"

ATTW = (
    "@arethetypeswrong/cli/dist/index.js --pack . --profile esm-only --exclude-entrypoints captions.css pcm-worklet.js"
)


@pytest.mark.parametrize(
    "command",
    ["typescript/bin/tsc --project test", "publint/src/cli.js --strict --pack npm", ATTW],
    ids=["types", "publint", "attw"],
)
def test_the_package_is_ready_to_be_published(node: str, packages: Path, command: str) -> None:
    program, *arguments = command.split()
    done = subprocess.run(
        [node, str(packages / program), *arguments],
        check=False,
        cwd=CLIENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_licence_is_the_houses() -> None:
    assert (CLIENT / "LICENSE").read_text() == (CLIENT.parents[1] / "LICENSE").read_text()


def test_the_package_holds_what_its_modules_and_types_import() -> None:
    packed = set(json.loads((CLIENT / "package.json").read_text())["files"])
    package = json.loads((CLIENT / "package.json").read_text())["exports"]
    assert {path[2:] for entry in package.values() if isinstance(entry, dict) for path in entry.values()} <= packed
    for name in packed - {"captions.css"}:
        imported = re.findall(r"from '\./([\w-]+)\.js'", (CLIENT / name).read_text())
        kind = "d.ts" if name.endswith(".d.ts") else "js"
        assert {f"{module}.{kind}" for module in imported} <= packed, name
