"""`gateway demo`: what somebody tries first. From a wheel, in an empty environment, away from the checkout."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import pytest
from support.installed import Installed, pure_wheel
from support.livekit import needed_server, no_proxy
from support.ports import free_port

from gateway.cli.demo_room import CAST

pytestmark = pytest.mark.timeout(900)  # the first one may have to build the server


async def test_once_and_json_is_one_object_with_both_legs(tmp_path: Path) -> None:
    """The sample over RTMP, and two people in a room of a real livekit-server, each with finals of their own."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "livekit-server").symlink_to(needed_server())
    installed = Installed(tmp_path / "venv", pure_wheel(tmp_path))
    env = {
        "PATH": str(tmp_path / "bin"),
        "TMPDIR": tempfile.gettempdir(),
        "GATEWAY_DATA_DIR": str(tmp_path / "data"),
        "GATEWAY_HTTP_PORT": str(free_port()),
        "GATEWAY_RTMP_PORT": str(free_port()),
    }
    with no_proxy():
        demo = await asyncio.create_subprocess_exec(
            *(installed.gateway, "demo", "--once", "--json"),
            env=env,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(150):
            out, err = await demo.communicate()
    assert demo.returncode == 0, err.decode()
    report = json.loads(out)
    assert report["finals"] and {final["participantIdentity"] for final in report["finals"]} == {"rtmp"}
    assert "leftOut" not in report["livekit"], report["livekit"]
    spoke = {row["participantIdentity"] for row in report["livekit"]["usage"]["rows"]}
    assert spoke == {part.identity for part in CAST}
    assert {final["participantIdentity"] for final in report["livekit"]["finals"]} == spoke
    assert installed.opened == [], "it needs files that are not in the wheel"
