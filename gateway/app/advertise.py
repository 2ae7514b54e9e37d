"""Where other replicas reach this process: GATEWAY_ADVERTISE_URL, or the address with which it reaches the database."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final
from urllib.parse import parse_qs, urlsplit

from gateway.settings import Settings

ANSWER_S: Final = 2.0
_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
_LOOPBACK: Final = "127.0.0.1"


async def advertised_url(settings: Settings, database_url: str | None, port: int) -> str | None:
    """`port`: of the HTTP listener. `database_url` None: an embedded one. None: others cannot reach this process.

    Replicas that share a loopback database share its machine. A pooler on loopback says nothing of the others'
    machines; then it is the address that reaches Redis.
    """
    if settings.advertise_url is not None:
        return settings.advertise_url
    family = socket.AF_INET if settings.http_host == _EVERYWHERE[0] else socket.AF_UNSPEC
    servers = [server for url in (database_url, settings.redis_url) if url and (server := first_server(url))]
    found = [host for server in servers if (host := await _own_address(*server, family)) is not None]
    outward = next((host for host in found if not _is_loopback(host)), None)
    if settings.http_host not in _EVERYWHERE:
        # It listens there and nowhere else.
        reachable = outward is None or not _is_loopback(settings.http_host)
        return _url(settings.http_host, port) if reachable else None
    if outward is None and servers and not found:
        return None
    return _url(outward or _LOOPBACK, port)


def first_server(url: str) -> tuple[str, int] | None:
    """Host and port of the first server that a database's or Redis' URL names; None for Unix sockets."""
    parts = urlsplit(url)
    named = parse_qs(parts.query).get("host", [""])[0]
    place = (named or parts.netloc.rpartition("@")[2]).split(",")[0]
    if parts.scheme == "unix" or not place or place.startswith("/"):
        return None
    try:
        one = urlsplit(f"//{place}")
        return (one.hostname, one.port or 5432) if one.hostname else None
    except ValueError:
        return None


async def _own_address(host: str, port: int, family: int) -> str | None:
    """The one with which this machine would speak to a host; nothing is sent. None: it cannot be found out."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(ANSWER_S):
            transport, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=(host, port), family=family
            )
    except (OSError, TimeoutError):
        return None
    try:
        address: str = transport.get_extra_info("sockname")[0]
        return address
    finally:
        transport.close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
