"""Ports for programs that are told where to listen, and have to be told before they do."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_chance: Final = random.SystemRandom()  # other generators are seeded alike in several processes
_held: list[socket.socket] = []


def free_port() -> int:
    """A port, for TCP and UDP, that nobody listens on, and that no other test on this machine is given meanwhile.

    Not one that the kernel gives away: it would number an outgoing connection with it before the program listens.
    """
    for _ in range(10_000):
        port = _chance.randrange(10_000, max(lowest_given_away(), 20_000))
        if _nobody_listens(port) and _hold(port):
            return port
    raise RuntimeError("no port is free")


def lowest_given_away() -> int:
    """The first port that the kernel chooses itself."""
    return int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 32_768


def _nobody_listens(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:  # connections that are long over are no hindrance
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True


def _hold(port: int) -> bool:
    """Until this process ends. By a name that leaves no file behind, which Linux alone has."""
    name = socket.socket(socket.AF_UNIX)
    with suppress(FileNotFoundError):
        try:
            name.bind(f"\0gateway-test-port-{port}")
        except OSError:
            name.close()
            return False
    _held.append(name)
    return True
