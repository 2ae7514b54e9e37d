"""Programs that some tests need."""

from __future__ import annotations

import os
import shutil

import pytest


def needs(tool: str) -> None:
    """Skip loudly where a tool is missing; CI has everything, so there it is a failure."""
    if shutil.which(tool) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{tool} is not installed")
        pytest.skip(f"{tool} is not installed")
