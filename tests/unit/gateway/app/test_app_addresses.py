"""URLs of the gateway, before and after its ports are bound."""

from __future__ import annotations

from gateway.app.addresses import Addresses


def test_ports_count_from_the_moment_they_are_bound() -> None:
    addresses = Addresses(None, 0)
    assert addresses.rtmp_base() is None
    addresses.rtmp_bound(1936)
    addresses.http_bound(8081)
    assert addresses.http_url() == "http://localhost:8081"
    assert addresses.rtmp_base() == "rtmp://localhost:1936"


def test_a_public_url_goes_before_the_port_and_its_host_is_where_publishers_go() -> None:
    addresses = Addresses("https://gateway.example.com", 8080)
    addresses.rtmp_bound(1935)
    addresses.http_bound(9090)
    assert addresses.http_url() == "https://gateway.example.com"
    assert addresses.rtmp_base() == "rtmp://gateway.example.com:1935"


def test_an_ipv6_host_keeps_its_brackets() -> None:
    addresses = Addresses("http://[2001:db8::1]:8080", 8080)
    addresses.rtmp_bound(1935)
    assert addresses.rtmp_base() == "rtmp://[2001:db8::1]:1935"


def test_a_documents_url_cannot_be_broken_by_a_slug() -> None:
    assert Addresses(None, 8080).document_url("a/b?c") == "http://localhost:8080/api/sessions/a%2Fb%3Fc/document"
