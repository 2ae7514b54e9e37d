"""The version is said once, in gateway/version.py; what must say it again says the same."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from gateway.cli.parser import parser
from gateway.version import VERSION

ROOT = Path(__file__).parents[2]


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
