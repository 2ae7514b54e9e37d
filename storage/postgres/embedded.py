"""A PostgreSQL of our own, as a child process: for a first try, for one machine, for tests.

    async with EmbeddedPostgres(Path("data")) as postgres:
        options = parse_database_url(postgres.url)

It speaks a Unix socket in a private folder only. It is stopped with us: cleanly on exit, and on Linux also when we are
killed, by the kernel's signal (`launch.py`). One process at a time may use a data directory; the lock is held by the
server as well, so a successor waits until a dying one has really gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.parse import quote

from storage.postgres.placement import (
    PYTHON,
    SHARED,
    EmbeddedFailed,
    Placement,
    leave_signpost,
    major_version,
    place,
    socket_folder,
)

__all__ = ["EmbeddedFailed", "EmbeddedPostgres"]

log = logging.getLogger(__name__)

_READY: Final = "database system is ready to accept connections"
_PORT: Final = 5432  # only names the socket
_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",  # _READY is looked for in the log
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "",
    "log_error_verbosity": "terse",  # the details of an error can hold words of a transcript
    "log_min_error_statement": "panic",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
# Commits still wait for the kernel (synchronous_commit): a server that is killed keeps what it said it has.
# Shared memory in the cluster's folder: a server that a test kills leaves nothing behind elsewhere.
_FORGETFUL: Final = {"fsync": "off", "full_page_writes": "off", "dynamic_shared_memory_type": "mmap"}


class EmbeddedPostgres:
    """Runs from `async with` to its end.

    `durable=False` loses rows when the machine (not the process) dies: for tests.
    `binaries` is a folder with bin/postgres and bin/initdb, instead of the pip package's;
    `shared` is where `placement.py` puts things as root when it must.
    Raises on entry: EmbeddedFailed.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        durable: bool = True,
        binaries: Path | None = None,
        shared: Path = SHARED,
        start_timeout_s: float = 60.0,
        lock_wait_s: float = 5.0,
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._durable = durable
        self._binaries = binaries
        self._shared = shared
        self._start_timeout_s = start_timeout_s
        self._lock_wait_s = lock_wait_s
        self._stack = contextlib.AsyncExitStack()
        self._server: _Server | None = None
        self._folder = Path()

    @property
    def url(self) -> str:
        """For asyncpg, psql and Prisma alike."""
        return f"postgresql://postgres@/postgres?host={quote(str(self._folder), safe='/')}&port={_PORT}"

    @property
    def pid(self) -> int:
        """Of the server's first process. Raises: RuntimeError before the start."""
        return self._running().pid

    async def wait_failed(self) -> None:
        """Wait until the server ends. Raises: EmbeddedFailed when it was not stopped by us; else just returns."""
        await self._running().wait_failed()

    async def __aenter__(self) -> EmbeddedPostgres:
        async with contextlib.AsyncExitStack() as stack:
            _make_folder(self._data_dir)
            lock = await stack.enter_async_context(_locked(self._data_dir / "postgres.lock", self._lock_wait_s))
            placement = await asyncio.to_thread(place, self._data_dir, self._binaries, self._shared)
            major = await asyncio.to_thread(major_version, placement.binaries)
            self._folder = socket_folder(placement.cluster, placement.account)
            stack.callback(_remove_if_empty, self._folder)
            if not (placement.cluster / "PG_VERSION").exists():
                await _make_cluster(placement, major, durable=self._durable)
                leave_signpost(self._data_dir, placement)
            _refuse_other_version(placement.cluster, major)
            settings = _SETTINGS if self._durable else _SETTINGS | _FORGETFUL
            options = [f"-c{name}={value}" for name, value in settings.items()]
            command = ["postgres", "-D", str(placement.cluster), "-k", str(self._folder), "-p", str(_PORT), *options]
            self._server = await _Server.start(placement, command, keep_open=lock)
            stack.push_async_callback(self._server.stop)
            await self._server.wait_ready(self._start_timeout_s)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _running(self) -> _Server:
        if self._server is None:
            raise RuntimeError("the embedded PostgreSQL was not started; use `async with`")
        return self._server


class _Server:
    """One `postgres` process and the task that reads what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._said: deque[str] = deque(maxlen=30)  # the last lines, for the message of a failure
        self._ready = asyncio.Event()
        self._stopping = False
        self._reading = asyncio.create_task(self._read(), name="embedded-postgres-log")

    @classmethod
    async def start(cls, placement: Placement, command: list[str], keep_open: int) -> _Server:
        return cls(await _launch(placement, command, pass_fds=(keep_open,)))

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait_ready(self, timeout_s: float) -> None:
        ready = asyncio.create_task(self._ready.wait(), name="embedded-postgres-ready")
        ended = asyncio.create_task(self._process.wait(), name="embedded-postgres-start")
        try:
            await asyncio.wait((ready, ended), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if self._ready.is_set():
                return
            if ended.done():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await asyncio.shield(self._reading)  # its last words
                raise EmbeddedFailed(f"the embedded PostgreSQL did not start:\n{self._last_words()}")
            raise EmbeddedFailed(f"the embedded PostgreSQL was not ready after {timeout_s:g} s:\n{self._last_words()}")
        finally:
            ready.cancel()
            ended.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)

    async def wait_failed(self) -> None:
        code = await self._process.wait()
        if not self._stopping:
            log.error("embedded postgres: its last words were:\n%s", self._last_words())
            todo = "start the gateway again; what was stored is kept"
            raise EmbeddedFailed(f"the embedded PostgreSQL ended by itself (exit {code}): {todo}")

    async def stop(self) -> None:
        """Ask for a fast shutdown (open transactions are rolled back); insist if that takes too long."""
        self._stopping = True
        for ask, patience_s in ((signal.SIGINT, 30), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
            if self._process.returncode is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(ask)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._process.wait()
            if self._process.returncode is None:
                log.warning("the embedded PostgreSQL did not stop within %d s of %s", patience_s, ask.name)
        # A backend that survived its postmaster could hold the pipe open.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self._reading

    async def _read(self) -> None:
        stream = self._process.stderr
        assert stream is not None  # noqa: S101 - `_launch` asked for a pipe
        while line := await _line(stream):
            text = line.decode("utf-8", "replace").rstrip()
            self._said.append(text)
            if _READY in text:
                self._ready.set()
            serious = text.startswith(("PANIC", "FATAL")) and not self._stopping
            log.log(logging.WARNING if serious else logging.DEBUG, "embedded postgres: %s", text)

    def _last_words(self) -> str:
        return "\n".join(self._said) or "(it said nothing)"


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:  # longer than the reader's limit; what was buffered is dropped
        return b"(a very long line)\n"


async def _launch(
    placement: Placement, command: list[str], pass_fds: tuple[int, ...] = ()
) -> asyncio.subprocess.Process:
    program = str(placement.binaries / "bin" / command[0])
    account = placement.account
    return await asyncio.create_subprocess_exec(
        *PYTHON,
        "run",
        str(os.getpid()),
        str(account.uid),
        str(account.gid),
        program,
        *command[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # ^C in a terminal is for us; we stop the server in our order
        cwd="/",
        env=_environment(),
        pass_fds=pass_fds,
    )


def _environment() -> dict[str, str]:
    """No PG… variable may reach the server; a Python built with a shared library may need to be told where that is."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C"}


async def _make_cluster(placement: Placement, major: int, *, durable: bool) -> None:
    """initdb beside the final place, then one rename: a start that was cut off leaves nothing half-made."""
    fresh = placement.cluster.with_name(placement.cluster.name + ".new")
    if fresh.exists():
        await asyncio.to_thread(shutil.rmtree, fresh)
    try:
        fresh.mkdir(mode=0o700)
        placement.account.give(fresh)
    except OSError as error:
        raise EmbeddedFailed(f"{fresh} cannot be made ({error}); correct GATEWAY_DATA_DIR or its rights") from error
    # Code point order and Unicode case on every platform, independent of the C library.
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if major >= 17 else []
    command = ["initdb", "-D", str(fresh), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", *locale]
    process = await _launch(placement, [*command, "--no-instructions", *([] if durable else ["--no-sync"])])
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise EmbeddedFailed(f"initdb failed in {fresh}:\n{said.decode('utf-8', 'replace').strip()}")
    fresh.rename(placement.cluster)


def _refuse_other_version(cluster: Path, major: int) -> None:
    kept = (cluster / "PG_VERSION").read_text("ascii").strip()
    if kept != str(major):
        raise EmbeddedFailed(
            f"{cluster} was written by PostgreSQL {kept}, but the embedded one is {major}: install the gateway version "
            "that wrote it, dump the rows with pg_dump, and restore them into a new data directory"
        )


def _make_folder(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedFailed(f"the data directory {data_dir} cannot be made ({error}); set GATEWAY_DATA_DIR") from error


@contextlib.asynccontextmanager
async def _locked(file: Path, wait_s: float) -> AsyncIterator[int]:
    """Hold the lock; yields its descriptor: a child process that inherits it holds the lock as well.

    Raises: EmbeddedFailed when another process keeps it for longer than `wait_s`.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EmbeddedFailed(f"{file} cannot be written ({error}); set GATEWAY_DATA_DIR") from error
    try:
        deadline = asyncio.get_running_loop().time() + wait_s
        while not _try_lock(descriptor):
            if asyncio.get_running_loop().time() >= deadline:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                raise EmbeddedFailed(
                    f"another process (pid {holder}) uses the data directory {file.parent}; stop it, give this gateway "
                    "another GATEWAY_DATA_DIR, or set DATABASE_URL so that both share one PostgreSQL"
                )
            await asyncio.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
