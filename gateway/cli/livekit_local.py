"""A livekit-server of one's own on this machine, where one is at hand: for the demo. Nothing is downloaded or built."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_READY_S: Final = 15.0


class NoLivekit(Exception):
    """There is no LiveKit to run; the text says why."""


@dataclass(frozen=True, slots=True)
class LocalLivekit:
    """A server that answers. `key` and `secret` sign its tokens."""

    url: str
    key: str
    secret: str = field(repr=False)


def find() -> Path:
    """`livekit-server` of the path, or the one that the tests have built. Raises: NoLivekit."""
    if found := shutil.which("livekit-server"):
        return Path(found)
    # A build under way ends with .part
    built = [one for one in (Path(sys.prefix) / "share").glob("livekit-server-*") if not one.suffix]
    if not built:
        raise NoLivekit("no livekit-server on the path; `tools/build.sh livekit-server DIR/livekit-server` builds one")
    return max(built, key=lambda one: one.stat().st_mtime)


def own_address() -> str:
    """An address of this machine that is not loopback; nothing is sent. Raises: NoLivekit."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError as error:
            raise NoLivekit("LiveKit's SDK needs a network interface besides loopback, and there is none") from error
        address: str = probe.getsockname()[0]
        return address


def config(port: int, udp_port: int, key: str, secret: str) -> dict[str, Any]:
    """Signalling on loopback. Media on our own address, which the kernel loops back: libwebrtc leaves loopback out."""
    address = own_address()
    return {
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "rtc": {
            "udp_port": udp_port,
            "tcp_port": 0,
            "use_external_ip": False,
            "node_ip": address,
            "ips": {"includes": [f"{address}/32"]},
            "stun_servers": [f"127.0.0.1:{udp_port}"],  # else clients are told to ask public ones
        },
        "keys": {key: secret},
        "logging": {"level": "info"},
    }


@asynccontextmanager
async def running(log: Path) -> AsyncIterator[LocalLivekit]:
    """A server on free ports until the end of the block; its output goes to `log`. Raises: NoLivekit."""
    program = find()
    port, udp_port = _free_port(socket.SOCK_STREAM), _free_port(socket.SOCK_DGRAM)
    server = LocalLivekit(f"ws://127.0.0.1:{port}", "demo", secrets.token_urlsafe(32))
    body = json.dumps(config(port, udp_port, server.key, server.secret))  # JSON is YAML
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        # By its environment, because every user of the machine can read a command line.
        process = await asyncio.create_subprocess_exec(
            str(program), env={"LIVEKIT_CONFIG": body}, stdout=out, stderr=out, start_new_session=True
        )
    try:
        await _answers(process, port, log)
        yield server
    finally:
        if process.returncode is None:
            process.kill()  # SIGTERM waits for all participants to leave
        await process.wait()


async def _answers(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_READY_S):
            while process.returncode is None:
                if await asyncio.to_thread(_is_ready, port):
                    return
                await asyncio.sleep(0.05)
    raise NoLivekit(f"livekit-server does not answer; see {log}")


def _is_ready(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=1) as answer:
        return bool(answer.status == 200)
    return False


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
