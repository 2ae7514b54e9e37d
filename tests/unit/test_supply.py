"""What the lock file brings along is told as it is."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("supply", ROOT / "tools" / "supply.py")
assert _spec is not None and _spec.loader is not None
supply = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(supply)


def locked() -> set[tuple[str, str]]:
    return set(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\\\]+)", (ROOT / "requirements.lock").read_text(), re.M))


def test_the_page_of_licences_is_current() -> None:
    assert supply.PAGE.read_text() == supply.page(), "run: python tools/supply.py licences"


def test_every_locked_package_is_on_the_page_and_in_the_bill_of_materials() -> None:
    bill = supply.sbom()
    assert {(each["name"], each["version"]) for each in bill["components"]} == locked()
    assert all(each["properties"] for each in bill["components"])
    assert supply.sbom() == bill
    for name, version in locked():
        assert f"| {name} | {version} |" in supply.PAGE.read_text()


WHERE = [
    {"python_version": python.rpartition(".")[0], "python_full_version": python, "sys_platform": system,
     "platform_system": {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[system],
     "os_name": "nt" if system == "win32" else "posix", "implementation_name": "cpython",
     "platform_python_implementation": "CPython", "platform_machine": "x86_64"}
    for python in ("3.11.0", "3.11.3", "3.12.0", "3.13.0", "3.14.0", "3.15.0")
    for system in ("linux", "darwin", "win32")
]  # fmt: skip


def pinned(file: str) -> list[tuple[Requirement, int]]:
    """What a lock file names, each with the number of its hashes."""
    blocks = re.findall(r"^(\S.*?)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", (ROOT / file).read_text(), re.M)
    return [(Requirement(line), found.count("--hash")) for line, found in blocks if not line.startswith("#")]


@cache
def requires(name: str) -> list[Requirement]:
    try:
        return [Requirement(line) for line in metadata.requires(name) or []]
    except metadata.PackageNotFoundError:  # needed on another Python or system only
        return []


def needed(extras: set[str], where: dict[str, str]) -> dict[str, list[Requirement]]:
    """All that the project needs there, by what the installed packages say of themselves; only mypy's, to compile."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if extras == {"compile"}:
        waiting = [(Requirement(line), "") for line in project["dependency-groups"]["compile"]]
    else:
        optional = project["project"]["optional-dependencies"]
        lines = [*project["project"]["dependencies"], *(line for extra in extras for line in optional[extra])]
        waiting = [(Requirement(line), "") for line in lines]
    found: dict[str, list[Requirement]] = {}
    known = set()
    while waiting:
        one, extra = waiting.pop()
        if one.marker is not None and not one.marker.evaluate({**where, "extra": extra}):
            continue
        name = canonicalize_name(one.name)
        found.setdefault(name, []).append(one)
        for asked in {"", *one.extras} - {each for package, each in known if package == name}:
            known.add((name, asked))
            waiting += [(further, asked) for further in requires(name)]
    return found


@pytest.mark.parametrize(
    ("file", "extras"),
    [
        ("requirements.lock", {"embedded", "otel", "build"}),
        ("requirements-dev.lock", {"embedded", "otel", "build", "dev"}),
        ("requirements-compile.lock", {"compile"}),
    ],
)
def test_a_lock_file_holds_on_every_python_and_system(file: str, extras: set[str]) -> None:
    lines = pinned(file)
    assert len(lines) > 4 and all(hashes for _, hashes in lines)
    for where in WHERE:
        there = {
            canonicalize_name(one.name): str(one.specifier).removeprefix("==")
            for one, _ in lines
            if one.marker is None or one.marker.evaluate(where)
        }
        for name, wanted in needed(extras, where).items():
            assert name in there, f"{name} is missing with Python {where['python_full_version']} on {where['os_name']}"
            assert all(one.specifier.contains(there[name], prereleases=True) for one in wanted), (wanted, there[name])


def test_the_lock_files_name_no_machine_and_no_index_and_agree() -> None:
    files = ("requirements.lock", "requirements-compile.lock", "requirements-dev.lock")
    for file in files:
        text = (ROOT / file).read_text()
        assert not re.search(r"://|file:|--(extra-)?index|--find-links|(^|\s)/\w", text), file
    product, compiler, everything = ({str(one) for one, _ in pinned(file)} for file in files)
    assert product | compiler <= everything
