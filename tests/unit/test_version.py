"""The version is said once, in gateway/version.py; what must say it again says the same."""

from __future__ import annotations

import ast
import json
import os
import re
import sys
import tomllib
import traceback
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

import pytest

from gateway.cli import errands
from gateway.cli.parser import parser
from gateway.version import VERSION, how_it_runs
from ingest.pcm import Chunker

ROOT = Path(__file__).parents[2]
COMPILED: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["gateway"]["compiled"]
IS_COMPILED = os.environ.get("TESTED") == "compiled"  # by tools/compiled.sh


def of_packages(file: str, *names: str) -> list[str]:
    locked = json.loads((ROOT / file).read_text())["packages"]
    return [locked[name]["version"] for name in names]


def test_the_packages_and_the_chart_carry_the_version_of_the_code() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "gateway.version.VERSION"}
    chart = (ROOT / "deploy/helm/transcription-gateway/Chart.yaml").read_text()
    assert re.findall(r'^(version|appVersion): "?([^"\n]+)', chart, re.M) == [
        ("version", VERSION),
        ("appVersion", VERSION),
    ]
    assert json.loads((ROOT / "clients/js/package.json").read_text())["version"] == VERSION
    assert of_packages("clients/js/package-lock.json", "") == [VERSION]
    assert of_packages("examples/nextjs/package-lock.json", "node_modules/@transcription-gateway/client") == [VERSION]


def test_the_changelog_has_its_section_below_what_is_not_released() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(re.escape(VERSION) + r" - \d{4}-\d\d-\d\d", headings[1])


def test_the_command_line_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--version"])
    assert capsys.readouterr().out == f"{VERSION}\n"


def source(name: str) -> ast.Module:
    return ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text())


def test_what_is_compiled_exists_and_nothing_waits_in_it() -> None:
    """A compiled coroutine has no frame: `/debug/tasks` could not say where it stands."""
    assert sorted(set(COMPILED)) == COMPILED
    for name in COMPILED:
        nodes = list(ast.walk(source(name)))
        assert not [one for one in nodes if isinstance(one, (ast.AsyncFunctionDef, ast.Await))], name


def module(name: str, file: str | None) -> ModuleType:
    made = ModuleType(name)
    made.__file__ = file
    return made


def test_how_it_runs_is_told_while_threads_load_modules() -> None:
    """An encoder that was there before its gateway made it load FFmpeg's modules meanwhile, and the gateway died."""

    class Loading(ModuleType):
        @property
        def __file__(self) -> str:  # type: ignore[override]
            loaded["av.codec"] = ModuleType("av.codec")
            return "gateway/x.py"

    loaded: dict[str, ModuleType] = {"gateway.x": Loading("gateway.x"), "gateway.y": ModuleType("gateway.y")}
    assert how_it_runs(loaded) == "interpreted"
    assert "av.codec" in loaded


def test_how_it_runs_is_told_by_the_files_of_our_modules() -> None:
    ending = EXTENSION_SUFFIXES[0]
    loaded = {
        "gateway": module("gateway", "/x/gateway/__init__.py"),
        "stt.gladia": module("stt.gladia", None),
        "gateway.live._sending": module("_sending", f"/x/gateway/live/_sending{ending}"),
        "msgspec._core": module("_core", f"/x/msgspec/_core{ending}"),
        "msgspec.core": module("core", f"/x/msgspec/core{ending}"),
    }
    assert how_it_runs(loaded) == "interpreted"
    loaded["ingest.pcm"] = module("pcm", f"/x/ingest/pcm{ending}")
    loaded["stt.gladia.link"] = module("link", "/x/stt/gladia/link.so")
    assert how_it_runs(loaded) == "compiled (2 modules)"


async def test_one_command_says_how_all_that_is_served_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert await errands.version(parser().parse_args(["version"])) == 0
    runs = f"compiled ({len(COMPILED)} modules)" if IS_COMPILED else "interpreted"
    assert capsys.readouterr().out == f"{VERSION} {runs}\n"
    for name in COMPILED:
        assert name in sys.modules and Path(str(import_module(name).__file__)).is_relative_to(ROOT)


def test_a_traceback_has_file_and_line_also_of_what_is_compiled() -> None:
    with pytest.raises(ValueError) as raised:
        Chunker().push(b"odd")
    last = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert last.filename.endswith("ingest/pcm.py") and last.name == "push"
    assert last.line is not None and last.line.startswith("raise ValueError")
