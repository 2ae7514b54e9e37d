from __future__ import annotations

import pytest

from storage.redis.url import Address, BadRedisUrl, Login, Target, Tls, parse_redis_url

LOCAL = Address("localhost", 6379)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("redis://localhost", Target((LOCAL,))),
        ("redis://", Target((LOCAL,))),
        (" redis://localhost:6379/0\n", Target((LOCAL,))),
        ("redis://:p%40ss@cache:6380/3", Target((Address("cache", 6380),), Login("", "p@ss"), 3)),
        ("redis://app:pw@[::1]:6380/?db=2", Target((Address("::1", 6380),), Login("app", "pw"), 2)),
        ("redis://[::1]", Target((Address("::1", 6379),))),
        ("redis://cache?username=app&password=pw", Target((Address("cache", 6379),), Login("app", "pw"))),
        # what redis-py takes for itself is nothing to us
        ("redis://localhost?socket_timeout=5&protocol=3&health_check_interval=10", Target((LOCAL,))),
        ("unix:///run/redis.sock?db=1", Target((Address("/run/redis.sock", 0),), database=1)),
        ("unix://app:pw@/run/redis.sock", Target((Address("/run/redis.sock", 0),), Login("app", "pw"))),
        ("rediss://cache", Target((Address("cache", 6379),), tls=Tls())),
        (
            "rediss://cache:1?ssl_cert_reqs=none&ssl_check_hostname=false&ssl_ca_certs=/ca&ssl_certfile=/c&ssl_keyfile=/k",
            Target((Address("cache", 1),), tls=Tls(False, False, "/ca", "", "/c", "/k")),
        ),
        (
            "redis+sentinel://:pw@a:1,b,[::1]:3/main/2?sentinel_username=watch&sentinel_password=dog",
            Target(
                (Address("a", 1), Address("b", 26379), Address("::1", 3)),
                Login("", "pw"),
                2,
                master="main",
                sentinel_login=Login("watch", "dog"),
            ),
        ),
        ("rediss+sentinel://a/main", Target((Address("a", 26379),), tls=Tls(), master="main")),
    ],
)
def test_what_a_url_means(url: str, target: Target) -> None:
    assert parse_redis_url(url) == target


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://cache", "must begin with redis://"),
        ("redis://:se[cret@cache", "%5B"),
        ("redis://:se@cret@cache", "%40"),
        ("redis://:se#cret@cache", "%23"),
        ("redis://:se/cret@cache", "%2F"),
        ("redis://cache:secret", "not a port"),
        ("redis://cache:70000", "not a port"),
        ("redis://cache/secret", "not the number of a database"),
        ("redis://::1:6379", "without brackets"),
        ("unix://run/redis.sock", "three slashes"),
        ("redis+sentinel://a:26379", "redis+sentinel://HOST:26379,HOST/MASTER/0"),
        ("rediss://cache?ssl_cert_reqs=secret", "ssl_cert_reqs"),
    ],
)
def test_a_bad_url_says_what_to_change_and_no_secret(url: str, hint: str) -> None:
    with pytest.raises(BadRedisUrl) as refused:
        parse_redis_url(url)
    assert hint in str(refused.value) and "cret" not in str(refused.value)


def test_the_place_holds_no_secret() -> None:
    assert parse_redis_url("redis://app:secret@[::1]/1").place == "[::1]:6379"
    assert parse_redis_url("unix://:secret@/run/redis.sock").place == "/run/redis.sock"
    target = parse_redis_url("redis+sentinel://:secret@a,b:1/main?sentinel_password=secret")
    assert target.place == "main of Sentinel a:26379,b:1"
    assert "secret" not in repr(target)
