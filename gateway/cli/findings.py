"""The commands that look whether all is well: check and doctor. Both return the exit code."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from importlib.resources import as_file, files

from gateway import logs
from gateway.app.checks import check_parts
from gateway.app.doctor import examine
from gateway.app.files import raise_open_files
from gateway.cli.errors import DONE, FAILED
from gateway.cli.plain import plain
from gateway.settings import Settings, doubts


async def check(args: argparse.Namespace) -> int:
    """One line a part on standard output. FAILED when a part has to be mended; notes alone do not count."""
    settings = Settings.from_env(os.environ)
    return await _tell(settings, check_parts(settings))


async def doctor(args: argparse.Namespace) -> int:
    """As `check`, and further: a sentence is spoken to the provider."""
    settings = Settings.from_env(os.environ)
    with as_file(files("gateway.cli").joinpath("sample.flac")) as sample:
        return await _tell(settings, examine(settings, sample))


async def _tell(settings: Settings, findings: AsyncIterator[tuple[str, bool, str]]) -> int:
    logs.configure("text", "error")
    raise_open_files()
    good = True
    async for part, fine, text in findings:
        good = good and fine
        print(f"{'ok  ' if fine else 'FAIL'}  {part}: {plain(text)}")
    for doubt in doubts(settings, os.environ):
        print(f"note  {doubt}")
    return DONE if good else FAILED
