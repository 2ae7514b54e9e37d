"""A wheel of this code, installed as others would: into an empty environment, far from the checkout."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import sysconfig
import venv
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Final

ROOT: Final = Path(__file__).parents[2]

# Runs first in every Python of the environment: whoever opens a file of the checkout is written down.
_WATCH: Final = """\
import os, sys
def watch(event, args, into=os.path.join(sys.prefix, "opened")):
    if event == "open" and str(args[0]).startswith({root!r}) and "/.venv/" not in str(args[0]):
        with open(into, "a") as file:
            file.write(f"{{args[0]}}\\n")
sys.addaudithook(watch)
"""


def release_tool() -> ModuleType:
    """tools/release.py as a module."""
    tools = str(ROOT / "tools")
    if tools not in sys.path:
        sys.path.append(tools)
    return importlib.import_module("release")


def pure_wheel(folder: Path) -> Path:
    """The wheel for every machine, made there as `make release` does."""
    tool, tree = release_tool(), folder / "tree"
    tool.stage(tree)
    tool.sources(tree, folder, "1800000000")
    wheel: Path = tool.wheel(folder, "1800000000", pure=True)
    return wheel


class Installed:
    """An environment with that wheel and what requirements.lock pins, as far as this Python has it; no more."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        venv.create(folder, symlinks=True)
        self.folder = folder
        self.gateway = folder / "bin" / "gateway"
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
        for name in re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.M):
            try:
                files = metadata.distribution(name).files or []
            except metadata.PackageNotFoundError:  # another Python or system needs it
                continue
            tops = {each.parts[0] for each in files} - {"..", "__pycache__", "bin"}
            for top in tops:
                link = packages / top
                if not link.exists():
                    link.symlink_to(Path(str(metadata.distribution(name).locate_file(top))))
        uv = Path(sys.prefix) / "bin" / "uv"
        options = ["--offline", "--no-deps", "--quiet", "--python", folder / "bin" / "python"]
        subprocess.run([uv, "pip", "install", *options, wheel], check=True)
        (packages / "sitecustomize.py").write_text(_WATCH.format(root=f"{ROOT}/"))

    @property
    def opened(self) -> list[str]:
        """Files of the checkout that were opened from it."""
        log = self.folder / "opened"
        return log.read_text().splitlines() if log.exists() else []
