"""Packages of npm that a browser test loads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from support.tools import needs


def installed(folder: Path) -> Path:
    """What the lock file of `folder` pins, in its `node_modules`; fetched when that is missing or older."""
    modules = folder / "node_modules"
    done = modules / ".package-lock.json"  # npm writes it last
    if not done.exists() or done.stat().st_mtime < (folder / "package-lock.json").stat().st_mtime:
        needs("npm")
        subprocess.run([shutil.which("npm") or "npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True)
        done.touch()
    return modules
