"""Whose address a request comes from, when proxies stand in between. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network
_HOST_BITS_V6 = 64  # one household or host has a whole /64


def parse_networks(text: str) -> tuple[Network, ...]:
    """Comma-separated addresses and networks, such as `127.0.0.1, 10.0.0.0/8`.

    Raises: ValueError.
    """
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"must be addresses or networks, comma-separated, such as 10.0.0.0/8: {error}") from None


def client_address(peer: str | None, forwarded_for: Iterable[str], trusted: tuple[Network, ...]) -> str:
    """What stands for one client in a limit: an IPv4 address, or the /64 of an IPv6 one.

    `forwarded_for`: the values of X-Forwarded-For. Each proxy adds at the end whom it heard, so the last address that
    no trusted proxy has is the client's; what stands before it may be made up.
    """
    chain = [part.strip() for value in forwarded_for for part in value.split(",")]
    address = _parse(peer or "")
    while chain and address is not None and any(address in network for network in trusted):
        before = _parse(chain.pop())
        if before is None:
            break
        address = before
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _HOST_BITS_V6), strict=False))
    return str(address) if address is not None else "unknown"


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Without a zone; an IPv4 address that is written as IPv6 becomes IPv4."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
