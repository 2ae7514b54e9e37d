"""Programs that some tests need."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import NoReturn

import pytest


def needs(tool: str) -> None:
    """Skip loudly where a tool is missing; CI has everything, so there it is a failure."""
    if shutil.which(tool) is None:
        missing(f"{tool} is not installed")


def missing(what: str) -> NoReturn:
    """Skip loudly; in CI, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


async def said(process: asyncio.subprocess.Process, within_s: float) -> tuple[bytes, bytes]:
    """All that a program prints, on both its outputs, until it ends. Raises: TimeoutError; it is killed then."""
    try:
        async with asyncio.timeout(within_s):
            return await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
