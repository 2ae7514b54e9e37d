"""How long transcriptions are without an owner when theirs is killed, frozen or cut off from PostgreSQL.

Two real gateways on an embedded PostgreSQL and the scripted provider; the one that owns all transcriptions reaches the
database through a proxy. Times count from the fault to the commit of the adoption, one value for each transcription.

    python bench/failover.py --rounds 2 --sessions 30
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import signal
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import asyncpg

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.gateway import Running, gateway_process
from support.postgres import PostgresServer, running_postgres

from stt.local.server import LocalOptions, LocalServer

FAULTS: Final = ("killed", "frozen", "cut off")


class Proxy:
    """Between a gateway and the database's socket. `cut`: nothing goes through, and nothing is said."""

    def __init__(self, database_url: str) -> None:
        query = parse_qs(urlsplit(database_url).query)
        self._socket = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
        self._name = urlsplit(database_url).path
        self.cut = False
        self.url = ""

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{port}{self._name}?sslmode=disable"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above, below = await asyncio.open_unix_connection(self._socket)
        try:
            await asyncio.gather(self._carry(reader, below), self._carry(above, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, below):
                one.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            while self.cut:
                await asyncio.sleep(0.05)
            writer.write(data)
            await writer.drain()
        writer.close()


async def adopted(database_url: str, fault: str, a: Running, proxy: Proxy, count: int) -> list[float]:
    """Seconds, one for each transcription."""
    connection = await asyncpg.connect(database_url)
    group = a.process.process.pid
    try:
        began = time.monotonic()
        if fault == "killed":
            await a.kill()
        elif fault == "frozen":
            os.killpg(group, signal.SIGSTOP)
        else:
            proxy.cut = True
        found: dict[str, float] = {}
        async with asyncio.timeout(60):
            while len(found) < count:
                rows = await connection.fetch(
                    "SELECT id FROM gateway.transcription WHERE fence > 1 AND state <> 'STOPPED'"
                )
                for row in rows:
                    found.setdefault(row["id"], time.monotonic() - began)
                await asyncio.sleep(0.05)
        return list(found.values())
    finally:
        proxy.cut = False
        if fault == "frozen":
            os.killpg(group, signal.SIGCONT)
        await connection.close()


async def one_round(database_url: str, provider_url: str, fault: str, sessions: int) -> list[float]:
    async with AsyncExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))  # the logs of the gateways
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        proxy = await stack.enter_async_context(Proxy(database_url))
        env = {"GLADIA_API_KEY": "k", "GLADIA_API_URL": provider_url, "GATEWAY_DRAIN_S": "1"}
        a = await stack.enter_async_context(gateway_process(folder / "a", DATABASE_URL=proxy.url, **env))
        for _ in range(sessions):
            await a.start(await a.new_session(), source="websocket")
        # The other one comes later: sessions are placed where there is room.
        await stack.enter_async_context(gateway_process(folder / "b", DATABASE_URL=database_url, **env))
        await asyncio.sleep(2.5)  # a beat
        return await adopted(database_url, fault, a, proxy, sessions)


async def measure(server: PostgresServer, options: argparse.Namespace) -> None:
    async with LocalServer(LocalOptions(engine="scripted", api_key="k")) as provider:
        for fault in options.fault or FAULTS:
            times: list[float] = []
            for _ in range(options.rounds):
                with server.database() as url:
                    times += await one_round(url, provider.url, fault, options.sessions)
            print(
                f"{fault}: {len(times)} transcriptions, p50 {statistics.median(times):.1f} s, "
                f"max {max(times):.1f} s; load {os.getloadavg()[0]:.0f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--fault", choices=FAULTS, action="append")
    options = parser.parse_args()
    with running_postgres() as server:
        asyncio.run(measure(server, options))


if __name__ == "__main__":
    main()
