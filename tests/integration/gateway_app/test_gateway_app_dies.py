"""What an operator reads when a part dies under a running gateway, or cannot be had: a sentence, and no traceback."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.version import VERSION


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "GLADIA_", "DATABASE"))
    }
    return env | {
        "GATEWAY_API_TOKENS": "a-token-for-tests-only",
        "GATEWAY_DATA_DIR": str(tmp_path / "data"),
        "GATEWAY_HTTP_HOST": "127.0.0.1",
        "GATEWAY_HTTP_PORT": "0",
        "GATEWAY_RTMP_PORT": "0",
        "GLADIA_API_KEY": "k",
        "GLADIA_API_URL": "http://127.0.0.1:1",
        **more,
    }


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder that the account of the embedded PostgreSQL may pass through; pytest's own is private."""
    with tempfile.TemporaryDirectory(prefix="gateway-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def child_of(pid: int) -> int:
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


async def gateway(*args: str, env: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *args),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


@pytest.mark.timeout(300)
async def test_an_embedded_postgresql_that_dies_ends_the_gateway_with_one_sentence(open_dir: Path) -> None:
    process = await gateway("serve", env=environment(open_dir, GATEWAY_LOG_FORMAT="text", GATEWAY_DRAIN_S="1"))
    said: list[str] = []
    try:
        assert process.stdout is not None
        async with asyncio.timeout(240):
            while line := (await process.stdout.readline()).decode():
                said.append(line)
                if "gateway ready" in line:
                    os.kill(child_of(process.pid), signal.SIGKILL)
            code = await process.wait()
    except TimeoutError:
        raise AssertionError("".join(said)) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert code == 1, said
    [ready] = [line for line in said if "gateway ready" in line]
    assert VERSION in ready and re.search(r"interpreted|compiled \(\d+ modules\)", ready)
    assert said[-1].startswith("gateway: the embedded PostgreSQL ended by itself"), said
    assert "start the gateway again" in said[-1]
    first = next(n for n, line in enumerate(said) if "start the gateway again" in line)
    assert first < next(n for n, line in enumerate(said) if "gateway stopping" in line), "before it drains"
    assert not [line for line in said if "Traceback" in line]


async def test_a_provider_that_cannot_be_reached_is_said_with_what_to_do(tmp_path: Path, database_url: str) -> None:
    process = await gateway("check", env=environment(tmp_path, DATABASE_URL=database_url))
    out = (await process.communicate())[0].decode()
    assert process.returncode == 1
    [line] = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert "check GLADIA_API_URL (http://127.0.0.1:1)" in line
    assert "Traceback" not in out


async def test_a_speech_server_whose_port_is_taken_says_so(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        process = await gateway("stt", "--engine", "scripted", "--port", port, env=environment(tmp_path))
        out = (await process.communicate())[0].decode()
    assert process.returncode == 2
    assert out.splitlines()[-1].endswith("stop what uses it, or choose another one with --port")
    assert "Traceback" not in out
