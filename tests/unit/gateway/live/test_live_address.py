"""Whom a limit counts: behind proxies, over IPv6, and with made-up headers."""

from __future__ import annotations

import pytest

from gateway.live.address import client_address, parse_networks

PROXIES = parse_networks("10.0.0.0/8, 127.0.0.1, fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "counted"),
    [
        ("203.0.113.5", [], "203.0.113.5"),
        ("203.0.113.5", ["198.51.100.7"], "203.0.113.5"),  # not a proxy of ours: its word is worth nothing
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.7"], "198.51.100.7"),  # the first one is what the client made up
        ("10.0.0.1", ["1.2.3.4", "198.51.100.7, 10.9.9.9"], "198.51.100.7"),  # two headers, two proxies
        ("10.0.0.1", ["198.51.100.7,127.0.0.1"], "198.51.100.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.7, unknown"], "10.0.0.1"),  # what is no address ends the search
        ("10.0.0.1", [""], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("fd00::1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", [], "2001:db8:1:2::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        (None, [], "unknown"),
        ("a socket", [], "unknown"),
    ],
)
def test_the_last_address_that_no_trusted_proxy_has_is_the_clients(
    peer: str | None, forwarded_for: list[str], counted: str
) -> None:
    assert client_address(peer, forwarded_for, PROXIES) == counted


def test_without_trusted_proxies_only_the_peer_counts() -> None:
    assert client_address("10.0.0.1", ["198.51.100.7"], ()) == "10.0.0.1"


@pytest.mark.parametrize("text", ["10.0.0.0/33", "proxy", "10.0.0.1/8"])
def test_a_wrong_network_is_named(text: str) -> None:
    """Also one whose address has bits that its mask cuts off: one of them is a mistake."""
    with pytest.raises(ValueError, match=r"must be addresses or networks.*10\.0\.0\.\d|must be.*proxy"):
        parse_networks(text)
