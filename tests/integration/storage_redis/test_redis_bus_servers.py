"""The bus over every kind of server that a URL can name."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest
from redis_world import Notes, connected_bus, live, published
from support.ports import free_port
from support.redis_server import RedisCluster, RedisServer, running_redis, running_sentinel
from support.tools import needs
from support.waiting import until

from storage.redis import directory
from storage.redis.bus import Bus, open_bus
from storage.redis.topology import slot_of
from storage.redis.url import BadRedisUrl

CHANNELS = [f"gw:{{session-{number}}}" for number in range(12)]


async def speak_and_hear(speaker: tuple[Bus, Notes], hearer: tuple[Bus, Notes]) -> None:
    """Messages of several channels, in order; how many hear; and what is not subscribed is not heard."""
    (speaking, told), (hearing, notes) = speaker, hearer
    await live(hearing, *CHANNELS)
    for number in range(20):
        for channel in CHANNELS:
            speaking.publish(channel, b"%d" % number)
    await published(speaking, "gw:{nobody}", b"x")
    await until(lambda: all(len(notes.heard(channel)) == 20 for channel in CHANNELS))
    assert all(notes.heard(channel) == [b"%d" % number for number in range(20)] for channel in CHANNELS)
    assert not notes.has("message", "gw:{nobody}")
    assert told.has("receivers", "gw:{nobody}", 0)
    assert {one[2] for one in told.told if one[0] == "receivers" and one[1] in CHANNELS} == {1}
    assert await speaking.numsub([*CHANNELS, "gw:{nobody}"]) == dict.fromkeys(CHANNELS, 1) | {"gw:{nobody}": 0}
    hearing.unsubscribe(CHANNELS[0])
    await until_numsub(speaking, CHANNELS[0], 0)
    await published(speaking, CHANNELS[0], b"unheard")
    await published(speaking, CHANNELS[1], b"heard")
    await until(lambda: notes.heard(CHANNELS[1])[-1] == b"heard")
    assert b"unheard" not in notes.heard(CHANNELS[0])
    assert speaking.counters.published == 20 * len(CHANNELS) + 3
    assert (speaking.counters.dropped, speaking.counters.unconfirmed) == (0, 0)


async def until_numsub(bus: Bus, channel: str, number: int) -> None:
    async def so_many() -> bool:
        return await bus.numsub([channel]) == {channel: number}

    await until(so_many)


async def test_one_server_by_tcp_or_socket_with_and_without_password(tmp_path: Path) -> None:
    settings = (
        "--unixsocket",
        str(tmp_path / "s"),
        "--requirepass",
        "p@ss",
        "--user",
        "app",
        "on",
        ">pw",
        "~*",
        "&*",
        "+@all",
    )
    with running_redis(tmp_path, *settings) as server:
        async with (
            connected_bus(f"redis://:p%40ss@127.0.0.1:{server.port}/2") as one,
            connected_bus(f"unix://app:pw@{tmp_path}/s?db=1") as other,
        ):
            await speak_and_hear(one, other)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """(certificate, its key), signed by itself for localhost."""
    needs("openssl")
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    certificate, key = folder / "cert.pem", folder / "key.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = [*make.split(), "-addext", names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


async def test_tls(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    port = free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")
    with running_redis(tmp_path, "--tls-port", str(port), "--tls-ca-cert-file", str(certificate), *files):
        url = f"rediss://localhost:{port}"
        async with (
            connected_bus(f"{url}?ssl_ca_certs={certificate}") as one,
            connected_bus(f"{url}?ssl_cert_reqs=none") as other,
        ):
            await speak_and_hear(one, other)
        async with open_bus(url, Notes()) as bus:
            await until(lambda: "not trusted" in bus.why)
            assert "ssl_ca_certs" in bus.why
    with pytest.raises(BadRedisUrl, match="certificate files"):
        async with open_bus(f"{url}?ssl_ca_certs={tmp_path}/none", Notes()):
            pass


async def test_a_cluster(cluster: RedisCluster) -> None:
    async with connected_bus(cluster.nodes[1].url) as one, connected_bus(cluster.url) as other:
        await speak_and_hear(one, other)
        assert all(node.ask("PUBSUB", "SHARDCHANNELS") != "*0\r\n" for node in cluster.nodes)  # each has its share


async def test_a_cluster_that_moves_a_channel(cluster: RedisCluster) -> None:
    async with connected_bus(cluster.url) as (bus, notes):
        await live(bus, *CHANNELS)
        channel = CHANNELS[0]
        holders = [node for node in cluster.nodes if f"{channel}\r\n" in node.ask("PUBSUB", "SHARDCHANNELS")]
        assert len(holders) == 1
        to = next(node for node in cluster.nodes if node not in holders)
        cluster.move(slot_of(channel.encode()), to)
        await until(lambda: notes.has("live", channel, True))
        assert notes.has("lost", channel)
        assert f"{channel}\r\n" in to.ask("PUBSUB", "SHARDCHANNELS")
        for number in range(100):  # the first may meet the server that is not in charge any more
            await published(bus, channel, b"%d" % number)
            if notes.heard(channel):
                break
        await published(bus, channel, b"after")
        await until(lambda: notes.heard(channel)[-1] == b"after")
        assert not any(notes.has("lost", other) for other in CHANNELS[1:])  # the rest has noticed nothing
        assert bus.is_up


async def test_who_only_publishes_follows_a_channel_that_moves(
    cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "POLL_S", 3_600)  # only the server's answer tells
    async with connected_bus(cluster.url) as (bus, notes):
        channel = CHANNELS[0]
        await published(bus, channel, b"x")
        numbers = [node.ask("CLUSTER", "KEYSLOT", channel) for node in cluster.nodes]
        assert numbers == [f":{slot_of(channel.encode())}\r\n"] * 3
        for to in cluster.nodes:  # it lay on one of them before
            cluster.move(slot_of(channel.encode()), to)
            before = bus.counters.published
            async with asyncio.timeout(60):
                while bus.counters.published == before:
                    await published(bus, channel, b"y")
        assert bus.counters.dropped >= 2 and not notes.has("down")


async def test_a_cluster_goes_on_without_one_of_its_servers(cluster: RedisCluster) -> None:
    async with connected_bus(cluster.url) as (bus, notes):
        await live(bus, *CHANNELS)
        there = {channel for channel in CHANNELS if f"{channel}\r\n" in cluster.nodes[0].ask("PUBSUB", "SHARDCHANNELS")}
        cluster.nodes[0].stop()
        await until(lambda: all(notes.has("lost", channel) for channel in there))
        assert not bus.is_up
        for number in range(5):
            for channel in CHANNELS:
                bus.publish(channel, b"%d" % number)
        await until(lambda: all(len(notes.heard(channel)) == 5 for channel in set(CHANNELS) - there))
        assert not any(notes.has("lost", channel) for channel in set(CHANNELS) - there)
        cluster.nodes[0].start()
        await until(lambda: all(notes.has("live", channel, True) for channel in there))
        await until(lambda: bus.is_up)


async def test_a_sentinel_names_another_master(tmp_path: Path) -> None:
    with running_sentinel(tmp_path) as (sentinel, master, replica):
        url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/main/0"
        async with connected_bus(url) as one, connected_bus(url) as other:
            await speak_and_hear(one, other)
            master.freeze()  # nothing is closed, nothing is refused
            hearing, notes = other
            await until(lambda: all(notes.has("live", channel, True) for channel in CHANNELS[1:]))
            await until(lambda: one[0].is_up)
            assert replica.ask("PUBSUB", "NUMSUB", CHANNELS[1]).endswith(":1\r\n")
            await published(one[0], CHANNELS[1], b"after")
            await until(lambda: notes.heard(CHANNELS[1])[-1] == b"after")
            assert hearing.is_up


async def test_a_sentinel_that_does_not_know_the_master_says_so(tmp_path: Path) -> None:
    with running_sentinel(tmp_path) as (sentinel, _, _):
        async with open_bus(f"redis+sentinel://127.0.0.1:{sentinel.port}/other", Notes()) as bus:
            await until(lambda: "watches no master other" in bus.why)
            assert not bus.is_up


async def test_a_wrong_password_says_what_to_do_and_no_secret(tmp_path: Path) -> None:
    with running_redis(tmp_path, "--requirepass", "right") as server:
        async with open_bus(f"redis://:wr0ng@127.0.0.1:{server.port}", Notes()) as bus:
            await until(lambda: "REDIS_URL" in bus.why)
            assert "wr0ng" not in bus.why


async def test_a_user_who_may_not_hear_is_asked_for_again(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The right is given later; nothing is restarted."""
    assert server.ask("ACL", "SETUSER", "app", "on", ">pw", "~*", "resetchannels", "+@all") == "+OK\r\n"
    async with connected_bus(f"redis://app:pw@127.0.0.1:{server.port}") as (bus, notes):
        subscription = bus.subscribe("gw:{a}")
        bus.publish("gw:{a}", b"x")
        await until(lambda: "needs publish, subscribe" in caplog.text and bus.counters.dropped)
        assert not subscription.is_live and bus.is_up
        assert server.ask("ACL", "SETUSER", "app", "allchannels") == "+OK\r\n"
        await live(bus, "gw:{a}")
        await published(bus, "gw:{a}", b"y")
        await until(lambda: notes.heard("gw:{a}") == [b"y"])
