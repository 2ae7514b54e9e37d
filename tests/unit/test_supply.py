"""What the lock file brings along is told as it is."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

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
