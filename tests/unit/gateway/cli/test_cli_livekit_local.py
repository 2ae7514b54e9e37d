"""Which livekit-server the demo runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.cli.livekit_local import NoLivekit, find


def program(path: Path, age_s: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    os.utime(path, (1_000_000 - age_s, 1_000_000 - age_s))
    return path


def test_the_path_comes_first_and_then_what_the_tests_have_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With neither it says how to get one. A build that has not ended is none."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    program(tmp_path / "share" / "livekit-server-abc.part")
    with pytest.raises(NoLivekit, match=r"tools/build\.sh livekit-server"):
        find()
    program(tmp_path / "share" / "livekit-server-old", age_s=60)
    newest = program(tmp_path / "share" / "livekit-server-new")
    assert find() == newest
    on_the_path = program(tmp_path / "bin" / "livekit-server")
    assert find() == on_the_path
