"""Where other replicas would look for this one."""

from __future__ import annotations

import pytest

from gateway.app.advertise import advertised_url, first_server
from gateway.settings import Settings


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("postgresql://app:secret@db.example/main", ("db.example", 5432)),
        ("postgresql://app:sec%40ret@10.0.0.1:6432,10.0.0.2/main", ("10.0.0.1", 6432)),
        ("postgresql://app@[fd00::1]:5433/main", ("fd00::1", 5433)),
        ("postgresql:///main?host=/var/run/postgresql", None),
        ("postgresql://app@/main?host=db.example&port=1", ("db.example", 5432)),
        ("postgresql:///main", None),
        ("unix:///run/redis.sock", None),
        ("redis+sentinel://:secret@s1.example:26379,s2.example/mymaster/0", ("s1.example", 26379)),
    ],
)
def test_the_first_server_of_a_url(url: str, server: tuple[str, int] | None) -> None:
    assert first_server(url) == server


@pytest.mark.parametrize(
    ("settings", "database_url", "url"),
    [
        ({"advertise_url": "http://gateway-1:9000"}, "postgresql://10.255.255.1/x", "http://gateway-1:9000"),
        ({}, "postgresql:///main?host=/run/postgresql", "http://127.0.0.1:8080"),
        ({}, None, "http://127.0.0.1:8080"),
        ({}, "postgresql://127.0.0.1/main", "http://127.0.0.1:8080"),
        ({"http_host": "192.0.2.7"}, "postgresql://127.0.0.1/main", "http://192.0.2.7:8080"),
        ({"http_host": "::1"}, "postgresql://127.0.0.1/main", "http://[::1]:8080"),
        ({}, "postgresql://no-such-host.invalid/main", None),
    ],
)
async def test_it_is_set_or_found(settings: dict[str, str], database_url: str | None, url: str | None) -> None:
    assert await advertised_url(Settings(**settings), database_url, 8080) == url  # type: ignore[arg-type]
