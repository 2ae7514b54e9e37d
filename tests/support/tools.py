"""Programs that some tests need."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import NoReturn

import pytest


def needs(tool: str) -> str:
    """Where the tool is. Skip loudly where it is missing; CI has everything, so there it is a failure."""
    found = shutil.which(tool)
    if found is None:
        missing(f"{tool} is not installed")
    return found


def missing(what: str) -> NoReturn:
    """Skip loudly; in CI, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what, allow_module_level=True)


async def said(process: asyncio.subprocess.Process, within_s: float) -> tuple[bytes, bytes]:
    """All that a program prints, on both its outputs, until it ends. Raises: TimeoutError; it is killed then."""
    try:
        async with asyncio.timeout(within_s):
            return await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
