"""A TCP proxy that cuts connections after so many bytes to one side, wherever in a message that is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Cutter:
    """`budgets`: bytes that each connection in turn may carry to the client, or `upward` to the server.

    None, or no more budgets: all.
    """

    def __init__(self, port: int, budgets: Iterator[int | None], *, upward: bool = False) -> None:
        self._upward = upward
        self._port = port
        self._budgets = budgets
        self.connections = 0
        self.cuts = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        budget = next(self._budgets, None)
        below, above = await asyncio.open_connection("127.0.0.1", self._port)
        counted, other = (reader, above), (below, writer)
        if not self._upward:
            counted, other = other, counted
        free = asyncio.create_task(_carry(*other))
        try:
            if await _carry(*counted, budget):
                self.cuts += 1
        finally:
            free.cancel()
            for one in (writer, above):
                one.transport.abort()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int | None = None) -> bool:
    """Returns: whether the budget was used up before the end."""
    with suppress(ConnectionError):
        while budget is None or budget > 0:
            data = await reader.read(65_536 if budget is None else budget)
            if not data:
                writer.write_eof()
                return False
            writer.write(data)
            await writer.drain()
            budget = None if budget is None else budget - len(data)
        await asyncio.sleep(0.01)  # abort drops what the kernel has not taken yet
        return True
    return False


@asynccontextmanager
async def cutting(url: str, budgets: Iterator[int | None], *, upward: bool = False) -> AsyncIterator[Cutter]:
    """A cutter in front of the server at `url`, at a URL of its own."""
    port = urlsplit(url).port
    assert port is not None
    cutter = Cutter(port, budgets, upward=upward)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        # Only the end of the test cancels; asyncio's own callback cannot bear a cancelled task.
        with suppress(asyncio.CancelledError):
            await cutter.serve(reader, writer)
        serving.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    cutter.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield cutter
    finally:
        server.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
