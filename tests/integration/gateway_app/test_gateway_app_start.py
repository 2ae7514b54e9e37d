"""A start that fails, whatever runs by then; and the order in which a gateway that runs is drained."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from integration.gateway_api.in_process import running, speech_server

from gateway.app import root, transcription
from gateway.app import running as run_order
from gateway.errors import StartFailed
from gateway.transcription.infra.instance import own_instance
from gateway.transcription.infra.provider_slots import SharedSlots
from gateway.transcription.usecases.transcriptions import Transcriptions
from stt.local.server import LocalServer


@pytest.fixture
async def provider() -> AsyncIterator[LocalServer]:
    async with speech_server() as server:
        yield server


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


# Slots are a task group, as is what runs before the listeners: an error that passed through one would be wrapped.
@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("http_port", "GATEWAY_HTTP_PORT"),
        ("metrics_port", "GATEWAY_METRICS_PORT"),
        ("rtmp_port", "GATEWAY_RTMP_PORT"),
    ],
)
async def test_a_port_in_use_is_said_in_one_line_and_nothing_stays_open(
    setting: str, name: str, database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    with taken_port() as port, pytest.raises(StartFailed, match=f"127.0.0.1:{port}: .* another one with {name}$"):
        async with running(database_url, provider, tmp_path, stt_max_sessions=2, **{setting: port}):
            raise AssertionError("it has started")
    with own_instance(tmp_path):
        pass  # the lock on the data folder is free


async def test_an_engine_that_cannot_start_is_said_in_one_line(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    with pytest.raises(StartFailed, match="no-such-engine"):
        async with running(database_url, provider, tmp_path, stt_max_sessions=2, stt_engine="no-such-engine"):
            raise AssertionError("it has started")


async def test_a_gateway_is_drained_from_its_doors_to_its_database(
    database_url: str, provider: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def noting(owner: Any, name: str, label: Callable[..., str]) -> None:
        opening: Callable[..., AbstractAsyncContextManager[Any]] = getattr(owner, name)

        @asynccontextmanager
        async def noted(*args: Any, **more: Any) -> AsyncIterator[Any]:
            async with opening(*args, **more) as opened:
                order.append(f"+{label(more)}")
                yield opened
            order.append(f"-{label(more)}")

        monkeypatch.setattr(owner, name, noted)

    noting(root, "open_replica", lambda _: "replica")
    noting(SharedSlots, "serving", lambda _: "slots")
    noting(root, "open_provider", lambda _: "provider")
    noting(transcription, "open_journal", lambda _: "spool")
    noting(root, "open_sessions", lambda _: "sessions")
    noting(run_order, "background", lambda jobs: "+".join(jobs)[:8])
    noting(Transcriptions, "serving", lambda _: "runs")
    noting(run_order, "open_http", lambda _: "http")
    async with running(database_url, provider, tmp_path, stt_max_sessions=2):
        opened = list(order)
    assert opened == [
        *("+replica", "+slots", "+provider", "+spool", "+sessions"),
        *("+recorder", "+runs", "+upkeep+o", "+sweeper", "+erasure", "+http", "+cut_off"),
    ]
    assert order[len(opened) :] == [one.replace("+", "-", 1) for one in reversed(opened)]
