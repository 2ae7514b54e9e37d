"""Where events may be sent to: which URLs, and which addresses their names may lead to. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

LONGEST: Final = 2_048
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class AddressRefused(OSError):
    """The name leads into a network that events are not sent to."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What is refused otherwise: plain http, and addresses that are not public."""

    http: bool = False
    private: bool = False


def as_allowed(value: str) -> Allowed:
    """A setting: `http`, `private`, or both by comma. Raises: ValueError."""
    words = {part.strip() for part in value.split(",")} - {""}
    if words - {"http", "private"}:
        raise ValueError("must be http, private, or both with a comma between them")
    return Allowed("http" in words, "private" in words)


def check_url(url: str, allowed: Allowed) -> str:
    """Raises: ValueError with what to do; names are looked up at each connection, not here."""
    if len(url) > LONGEST or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"must be a URL of at most {LONGEST} ASCII characters, without spaces")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("https", "http"):
        raise ValueError("must be a URL that begins with https://")
    if parts.scheme == "http" and not allowed.http:
        raise ValueError("must begin with https://; the operator may allow http in GATEWAY_WEBHOOK_ALLOW")
    if parts.username is not None or parts.fragment:
        raise ValueError("must have no user name and no fragment; what comes is signed, check that")
    try:
        check_address(host, allowed)
    except AddressRefused as refused:
        raise ValueError(f"is refused: {refused}") from None
    except ValueError:
        pass  # a name
    return url


def check_address(text: str, allowed: Allowed) -> None:
    """`text`: an IP address, as a name was resolved. Raises: AddressRefused; ValueError when it is no address."""
    address = _inner(ipaddress.ip_address(text.partition("%")[0]))
    if not allowed.private and (not address.is_global or address.is_multicast):
        raise AddressRefused(f"{address} is no public address; the operator may allow private in GATEWAY_WEBHOOK_ALLOW")


def _inner(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 one leads to, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)
