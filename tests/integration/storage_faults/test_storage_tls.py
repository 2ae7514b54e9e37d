"""TLS to a real PostgreSQL with a certificate of our own making: what is verified, and what is said when it fails."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.ports import free_port
from support.tools import missing, needs

from storage.postgres.errors import StorageRefused
from storage.postgres.placement import Account, place
from storage.postgres.pool import connect
from storage.postgres.url import parse_database_url


@dataclass(frozen=True)
class TlsServer:
    port: int
    folder: Path

    def url(self, query: str, *, host: str = "localhost", user: str = "app:secret") -> str:
        return f"postgresql://{user}@{host}:{self.port}/postgres?{query}"


@pytest.fixture(scope="module")
def tls_server() -> Iterator[TlsServer]:
    """The system's PostgreSQL, on loopback, for TLS connections only."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        missing("no PostgreSQL under /usr/lib/postgresql: apt-get install postgresql")
    needs("openssl")
    binaries = found[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="gateway-tls-"))
    folder.chmod(0o755)
    try:
        account = _account()
        _make_certificates(folder)
        cluster = folder / "cluster"
        cluster.mkdir(mode=0o700)
        account.give(cluster)
        (folder / "password").write_text("secret")
        (folder / "password").chmod(0o644)
        arguments = ["-D", str(cluster), "-U", "app", "-A", "scram-sha-256", f"--pwfile={folder}/password", "-N"]
        _run(account, binaries / "initdb", *arguments)
        (cluster / "pg_hba.conf").write_text(
            "hostssl all with_certificate 127.0.0.1/32 cert\nhostssl all app 127.0.0.1/32 scram-sha-256\n"
        )
        for name in ("server.crt", "server.key", "ca.crt"):
            shutil.copy(folder / name, cluster / name)
            account.give(cluster / name)
            (cluster / name).chmod(0o600)
        port = free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "ssl": "on",
            "ssl_ca_file": "ca.crt",
            "fsync": "off",
        }
        options = [f"-c{name}={value}" for name, value in settings.items()]
        command = [str(binaries / "postgres"), "-D", str(cluster), "-p", str(port), *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd="/", **_as(account)) as server:
            try:
                assert server.stderr is not None
                said = []
                for line in server.stderr:
                    said.append(line)
                    if "ready to accept connections" in line:
                        break
                else:
                    pytest.fail("".join(said))
                yield TlsServer(port, folder)
            finally:
                server.terminate()
                server.stderr.read()
    finally:
        shutil.rmtree(folder)


def _account() -> Account:
    with tempfile.TemporaryDirectory() as folder:
        return place(Path(folder), None).account


def _as(account: Account) -> dict[str, int]:
    return {"user": account.uid, "group": account.gid} if account.uid >= 0 else {}


def _run(account: Account, program: Path, *args: str) -> None:
    subprocess.run([str(program), *args], check=True, capture_output=True, cwd="/", timeout=60, **_as(account))


def _make_certificates(folder: Path) -> None:
    """An authority, a server called localhost, a client called with_certificate, and a stranger's authority."""

    def openssl(line: str) -> None:
        subprocess.run(["openssl", *line.split()], check=True, capture_output=True, cwd=folder, timeout=30)

    new = "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for name in ("ca", "stranger"):
        openssl(f"{new} -x509 -days 2 -subj /CN={name} -keyout {name}.key -out {name}.crt")
    (folder / "extensions").write_text("subjectAltName=DNS:localhost")
    for name, common in (("server", "localhost"), ("client", "with_certificate")):
        openssl(f"{new} -subj /CN={common} -keyout {name}.key -out {name}.csr")
        signed = "-CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions"
        openssl(f"x509 -req -in {name}.csr {signed} -out {name}.crt")


async def _is_encrypted(url: str) -> bool:
    connection = await connect(parse_database_url(url))
    try:
        found = await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    finally:
        await connection.close()
    return bool(found)


@pytest.mark.parametrize("query", ["", "sslmode=prefer", "sslmode=require", "sslmode=verify-full&sslrootcert={ca}",
                                   "sslmode=verify-ca&sslrootcert={ca}", "sslaccept=strict&sslcert={ca}"])  # fmt: skip
async def test_connections_are_encrypted(tls_server: TlsServer, query: str) -> None:
    """In every mode that allows it; with the authority's certificate given in libpq's words or in Prisma's."""
    assert await _is_encrypted(tls_server.url(query.format(ca=tls_server.folder / "ca.crt")))


async def test_a_certificate_of_another_name_is_refused(tls_server: TlsServer) -> None:
    """verify-full compares the host's name, verify-ca does not."""
    ca = tls_server.folder / "ca.crt"
    with pytest.raises(StorageRefused, match="cannot be verified"):
        await connect(parse_database_url(tls_server.url(f"sslmode=verify-full&sslrootcert={ca}", host="127.0.0.1")))
    assert await _is_encrypted(tls_server.url(f"sslmode=verify-ca&sslrootcert={ca}", host="127.0.0.1"))


@pytest.mark.parametrize("query", ["sslmode=verify-full&sslrootcert={stranger}", "sslaccept=strict&sslmode=require"])
async def test_an_unknown_authority_is_refused_at_once(tls_server: TlsServer, query: str) -> None:
    """Waiting cannot help, so nobody waits; the message names the setting and not the password."""
    began = time.monotonic()
    with pytest.raises(StorageRefused, match="sslrootcert=FILE") as caught:
        await connect(parse_database_url(tls_server.url(query.format(stranger=tls_server.folder / "stranger.crt"))))
    assert time.monotonic() - began < 5
    assert "secret" not in str(caught.value)


async def test_a_server_that_demands_tls_says_so(tls_server: TlsServer) -> None:
    with pytest.raises(StorageRefused, match="try sslmode=require"):
        await connect(parse_database_url(tls_server.url("sslmode=disable")))


async def test_a_wrong_password_is_told_under_tls(tls_server: TlsServer) -> None:
    with pytest.raises(StorageRefused, match="refuses the password"):
        await connect(parse_database_url(tls_server.url("sslmode=require", user="app:wrong")))


async def test_a_client_certificate_stands_for_a_password(tls_server: TlsServer) -> None:
    """`sslcert` with `sslkey` is the client's own, as in libpq. The role exists only for the test's time."""
    folder = tls_server.folder
    admin = await connect(parse_database_url(tls_server.url("sslmode=require")))
    try:
        await admin.execute("CREATE ROLE with_certificate LOGIN")
        query = (
            f"sslmode=verify-full&sslrootcert={folder}/ca.crt&sslcert={folder}/client.crt&sslkey={folder}/client.key"
        )
        assert await _is_encrypted(tls_server.url(query, user="with_certificate"))
    finally:
        await admin.execute("DROP ROLE with_certificate")
        await admin.close()
