"""`make release`: the same bytes each time, and a wheel that needs no checkout."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from support.builds import CannotBuild, go_program
from support.installed import ROOT, Installed
from support.tools import missing, needs

from gateway.version import VERSION
from stt.local.server import LocalOptions, LocalServer

PACKAGES = ("gateway", "ingest", "stt", "storage", "transcription_client")


def make(folder: Path, **env: str) -> str:
    command = [sys.executable, ROOT / "tools" / "release.py", folder]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs("npm")
    needs("cc")
    try:
        go_program("helm")
    except CannotBuild as error:
        missing(str(error))
    folder = tmp_path_factory.mktemp("release") / "dist"
    told = make(folder)
    assert "SKIPPED: image" in told or f"image transcription-gateway:{VERSION}, in " in told
    return folder


def test_it_holds_everything_under_its_version_and_the_sums_are_right(dist: Path) -> None:
    names = {each.name for each in dist.iterdir()}
    (for_this_machine,) = (name for name in names if name.endswith(".whl") and not name.endswith("-any.whl"))
    assert names == {
        for_this_machine,
        f"transcription_gateway-{VERSION}-py3-none-any.whl",
        f"transcription_gateway-{VERSION}.tar.gz",
        f"transcription-gateway-client-{VERSION}.tgz",
        f"transcription-gateway-{VERSION}.tgz",
        f"transcription-gateway-{VERSION}.cdx.json",
        "requirements.lock",
        "SHA256SUMS",
    }
    sums = dict(reversed(line.split("  ")) for line in (dist / "SHA256SUMS").read_text().splitlines())
    assert sums == {name: hashlib.sha256((dist / name).read_bytes()).hexdigest() for name in names - {"SHA256SUMS"}}
    bill = json.loads((dist / f"transcription-gateway-{VERSION}.cdx.json").read_text())
    assert bill["metadata"]["component"]["version"] == VERSION


def test_made_again_elsewhere_and_by_somebody_else_it_has_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    again = shutil.copytree(dist, tmp_path / "dist")
    for name in ("of a former release", "of somebody else"):
        (again / name).touch()
    (again / "SHA256SUMS").write_text(f"{'0' * 64}  of a former release\n")
    (tmp_path / "tmp").mkdir()
    make(again, TMPDIR=str(tmp_path / "tmp"), TZ="Pacific/Auckland", PYTHONHASHSEED="7", LC_ALL="C")
    assert (again / "SHA256SUMS").read_text() == (dist / "SHA256SUMS").read_text()
    assert {each.name for each in again.iterdir()} - {each.name for each in dist.iterdir()} == {"of somebody else"}


def test_the_wheels_hold_every_file_of_the_packages(dist: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    wanted = {name for name in tracked if (ROOT / name).exists() and not name.endswith(".c")}
    for file in dist.glob("*.whl"):
        with zipfile.ZipFile(file) as wheel:
            packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
            assert all(wheel.read(name) == (ROOT / name).read_bytes() for name in wanted)
        built = {name for name in packed if name.startswith("gateway/live/_sending.") and name.endswith(".so")}
        assert len(built) == (0 if file.stem.endswith("-any") else 1)
        assert packed - built == wanted


def test_the_chart_holds_what_its_links_point_at(dist: Path) -> None:
    with tarfile.open(dist / f"transcription-gateway-{VERSION}.tgz") as chart:
        names = set(chart.getnames())
    assert "transcription-gateway/files/rules.yaml" in names
    assert {
        f"transcription-gateway/files/dashboards/{each.name}" for each in ROOT.glob("deploy/grafana/*.json")
    } <= names


async def test_the_wheel_runs_in_an_empty_environment_without_the_checkout(
    dist: Path, database_url: str, tmp_path: Path
) -> None:
    """`gateway demo` from a wheel is tests/e2e/test_e2e_demo.py."""
    installed = Installed(tmp_path / "venv", dist / f"transcription_gateway-{VERSION}-py3-none-any.whl")

    def gateway(*args: str, **env: str) -> str:
        clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **env}
        done = subprocess.run(
            [installed.gateway, *args], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert gateway("--version") == f"{VERSION}\n"
    async with LocalServer(LocalOptions(engine="scripted", api_key="k")) as provider:
        told = await asyncio.to_thread(
            gateway,
            "check",
            DATABASE_URL=database_url,
            GATEWAY_API_TOKENS="a-token-for-tests-only",
            GATEWAY_DATA_DIR=str(tmp_path / "data"),
            GLADIA_API_KEY="k",
            GLADIA_API_URL=provider.url,
        )
    assert "FAIL" not in told and "database" in told
    assert installed.opened == []
    look = [installed.folder / "bin" / "python", "-c", f"open({str(ROOT / 'setup.py')!r})"]
    await asyncio.to_thread(subprocess.run, look, check=True)
    assert installed.opened == [str(ROOT / "setup.py")]
