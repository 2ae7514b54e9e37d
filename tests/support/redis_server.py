"""Real Redis servers for tests, on free ports of loopback: alone, watched by Sentinels, or as a Cluster."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.ports import free_port
from support.tools import needs


class RedisServer:
    """May be stopped and started again on the same port; it forgets everything then."""

    def __init__(self, folder: Path, *settings: str, port: int | None = None) -> None:
        """`settings`: further ones, `("--name", "value", …)`."""
        self.port = free_port() if port is None else port
        self.folder = folder
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        settings = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder))
        return ["redis-server", *settings, *self._settings]

    def start(self) -> None:
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log)
        self.until(lambda: self.ask("PING").startswith(("+PONG", "-NOAUTH")))

    def stop(self) -> None:
        """Killed: nobody is told."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None

    def freeze(self) -> None:
        """It says nothing any more, and its kernel goes on accepting connections for it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> str:
        """One command over a connection of its own. Returns: the reply as it stands on the wire."""
        command = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
            probe.sendall(command.encode())
            reply = probe.recv(65_536)
            if reply.startswith(b"$"):
                size, _, _ = reply[1:].partition(b"\r\n")
                while len(reply) < int(size):
                    reply += probe.recv(65_536)
            return reply.decode()

    def clients(self, kind: str) -> int:
        """Connections of others: `normal` or `pubsub`."""
        lines = self.ask("CLIENT", "LIST", "TYPE", kind).splitlines()
        return sum(line.startswith("id=") and "cmd=client|list" not in line for line in lines)

    def until(self, condition: object) -> None:
        """Wait until `condition()` holds; a server that is not there yet is no answer."""
        assert callable(condition)
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                if condition():
                    return
            assert self._process is None or self._process.poll() is None, (self.folder / "redis.log").read_text()
            if time.monotonic() > deadline:
                raise AssertionError(f"redis-server on port {self.port} did not get there in 60 s")
            time.sleep(0.02)


class Sentinel(RedisServer):
    """Watches one master under the name `main`, alone, and gives it up after half a second."""

    def __init__(self, folder: Path, master: RedisServer) -> None:
        super().__init__(folder)
        (folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
        )

    @property
    def command(self) -> list[str]:
        return ["redis-server", str(self.folder / "sentinel.conf"), "--sentinel"]


class RedisCluster:
    """Masters without replicas."""

    def __init__(self, nodes: Sequence[RedisServer]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        return self.nodes[0].url

    def join(self) -> None:
        """Share the slots out, and wait until every server knows it."""
        hosts = [f"127.0.0.1:{node.port}" for node in self.nodes]
        command = ["redis-cli", "--cluster", "create", *hosts, "--cluster-yes"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
        for node in self.nodes:
            node.until(lambda node=node: "cluster_state:ok" in node.ask("CLUSTER", "INFO"))

    def move(self, slot: int, to: RedisServer) -> None:
        """An empty slot: every master is told at once."""
        name = to.ask("CLUSTER", "MYID").split("\r\n")[1]
        for node in (to, *(node for node in self.nodes if node is not to)):
            assert node.ask("CLUSTER", "SETSLOT", str(slot), "NODE", name) == "+OK\r\n"


@contextlib.contextmanager
def running_redis(folder: Path, *settings: str) -> Iterator[RedisServer]:
    """One server."""
    needs("redis-server")
    with _running(RedisServer(folder, *settings)) as server:
        yield server


@contextlib.contextmanager
def running_sentinel(folder: Path) -> Iterator[tuple[Sentinel, RedisServer, RedisServer]]:
    """A Sentinel, a master, and a replica that the Sentinel knows."""
    needs("redis-server")
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(
            _running(RedisServer(_folder(folder, "master"), "--repl-diskless-sync-delay", "0"))
        )
        replica = stack.enter_context(
            _running(RedisServer(_folder(folder, "replica"), "--replicaof", f"127.0.0.1 {master.port}"))
        )
        replica.until(lambda: "master_link_status:up" in replica.ask("INFO", "replication"))
        sentinel = stack.enter_context(_running(Sentinel(_folder(folder, "sentinel"), master)))
        sentinel.until(lambda: str(replica.port) in sentinel.ask("SENTINEL", "REPLICAS", "main"))
        yield sentinel, master, replica


@contextlib.contextmanager
def running_cluster(folder: Path) -> Iterator[RedisCluster]:
    """Three masters."""
    needs("redis-server")
    needs("redis-cli")
    settings = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no")
    with contextlib.ExitStack() as stack:
        nodes = []
        for number in range(3):
            node = RedisServer(_folder(folder, f"node-{number}"), *settings, "--cluster-port", str(free_port()))
            nodes.append(stack.enter_context(_running(node)))
        cluster = RedisCluster(nodes)
        cluster.join()
        yield cluster


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


@contextlib.contextmanager
def _running(server: RedisServer) -> Iterator[RedisServer]:
    try:
        server.start()
        yield server
    finally:
        server.stop()
