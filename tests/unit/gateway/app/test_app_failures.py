"""What an operator reads of a port that cannot be bound."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gateway.app.failures import binding
from gateway.errors import StartFailed


@pytest.mark.parametrize(
    ("host", "setting", "what_to_do"),
    [
        ("127.0.0.1", "GATEWAY_RTMP_PORT", "Address already in use; stop what uses it, or choose another one with"),
        ("192.0.2.7", "GATEWAY_RTMP_PORT", "choose an address of this machine with GATEWAY_RTMP_HOST"),
        ("no-such-host.invalid", "--port", "choose an address of this machine with --host"),
        ("192.0.2.7", "GATEWAY_METRICS_PORT", "choose an address of this machine with GATEWAY_HTTP_HOST"),
    ],
)
async def test_it_says_which_setting_is_wrong(host: str, setting: str, what_to_do: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port: int = other.getsockname()[1]
        with pytest.raises(StartFailed) as failed, binding(host, port, setting):
            await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port)
    assert f"cannot listen on {host}:{port}: " in str(failed.value) and what_to_do in str(failed.value)
    assert "Unknown error" not in str(failed.value)


def test_a_port_of_the_system_is_said_to_be_one() -> None:
    wanted = "choose a port above 1023 with GATEWAY_HTTP_PORT"
    with pytest.raises(StartFailed, match=wanted), binding("127.0.0.1", 80, "GATEWAY_HTTP_PORT"):
        raise PermissionError(13, "Permission denied")
