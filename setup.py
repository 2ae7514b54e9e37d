"""What is compiled; everything else about the package is in pyproject.toml, which has no settled form for this.

GATEWAY_COMPILED=1       also the modules that [tool.gateway] in pyproject.toml names, by mypyc (docs/deploy.md)
GATEWAY_PURE_WHEEL=1     nothing: the wheel for every machine
"""

import os
import tomllib
from pathlib import Path

from setuptools import Extension, setup


def by_mypyc() -> list[Extension]:
    """Raises: SystemExit without mypy, or with what it says of a module that it cannot compile."""
    try:
        from mypyc.build import mypycify
    except ImportError:
        raise SystemExit(
            "GATEWAY_COMPILED needs mypy (requirements-compile.lock) beside the packages of requirements.lock, "
            "and pip's --no-build-isolation to find them"
        ) from None
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    files = [f"{name.replace('.', '/')}.py" for name in project["tool"]["gateway"]["compiled"]]
    # One group: a call between its modules is one of C. The level: docs/performance.md.
    return mypycify(files, opt_level="1", debug_level="0", group_name="gateway")


def extensions() -> list[Extension]:
    if os.environ.get("GATEWAY_PURE_WHEEL"):
        return []
    # Optional: without a C compiler gateway/live/sending.py does the same in Python.
    sending = Extension("gateway.live._sending", ["gateway/live/_sending.c"], optional=True)
    return [sending, *(by_mypyc() if os.environ.get("GATEWAY_COMPILED") else [])]


setup(ext_modules=extensions())
