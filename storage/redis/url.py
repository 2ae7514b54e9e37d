"""Reading REDIS_URL. Pure: text in, where to connect and as whom out.

redis://, rediss:// (TLS) and unix:// as redis-py and redis-cli have them; redis+sentinel:// and rediss+sentinel:// name
Sentinels, and in the path the master that they watch: `redis+sentinel://:secret@a:26379,b:26379/mymaster/0`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
_SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_VERIFY: Final = ("required", "optional", "none")  # as redis-py; a server always shows its certificate


class BadRedisUrl(ValueError):
    """REDIS_URL cannot be understood. The text never holds the password."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server on TCP; with port 0, `host` is the path of its Unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        if self.port == 0:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """Without a password nothing is sent; without a user the password is the server's (`requirepass`)."""

    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Tls:
    """File names, as redis-py's query options have them; "" is the machine's own."""

    verify: bool = True
    check_hostname: bool = True
    ca_file: str = ""
    ca_folder: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Where Redis is, and how to speak to it."""

    addresses: tuple[Address, ...]
    """One server (it may be a Cluster's), or the Sentinels, in the order in which they are asked."""
    login: Login = Login()
    database: int = 0
    """Holds for keys only: channels are the same in all databases of a server."""
    tls: Tls | None = None
    master: str = ""
    """The name under which the Sentinels know the server; "" when `addresses` is the server itself."""
    sentinel_login: Login = Login()

    @property
    def place(self) -> str:
        """Servers for messages, without a secret: `cache.example:6379`."""
        where = ",".join(map(str, self.addresses))
        return f"{self.master} of Sentinel {where}" if self.master else where


def parse_redis_url(url: str) -> Target:
    """Query options that are addressed to a client library (`socket_timeout`, `protocol`) are left out.

    Raises: BadRedisUrl, saying what to change.
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError:  # an unpaired bracket; its text might quote the password
        raise BadRedisUrl("REDIS_URL holds a '[' or ']'; write it as %5B or %5D in the password") from None
    if parts.scheme not in _SCHEMES:
        raise BadRedisUrl(f"REDIS_URL must begin with {', '.join(f'{scheme}://' for scheme in _SCHEMES)}")
    if parts.fragment:
        raise BadRedisUrl("REDIS_URL holds a '#'; write it as %23 if it belongs to the password")
    if parts.netloc.count("@") > 1:
        raise BadRedisUrl("REDIS_URL holds more than one '@'; write it as %40 where it belongs to the password")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    addresses, master, database = _place(parts)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return Target(
        addresses=addresses,
        login=Login(
            unquote(user) or options.get("username", ""),
            unquote(password) or options.get("password", ""),
        ),
        database=_number(options.get("db") or database or "0", "the number of a database"),
        tls=_tls(options) if parts.scheme.startswith("rediss") else None,
        master=master,
        sentinel_login=Login(options.get("sentinel_username", ""), options.get("sentinel_password", "")),
    )


def _place(parts: SplitResult) -> tuple[tuple[Address, ...], str, str]:
    """(addresses, name of the master, number of the database)."""
    hosts = parts.netloc.rpartition("@")[2]
    path = unquote(parts.path)
    if parts.scheme == "unix":
        if hosts or not path.strip("/"):
            raise BadRedisUrl("REDIS_URL names no socket: unix:///run/redis.sock, with three slashes")
        return (Address(path, 0),), "", ""
    if parts.scheme.endswith("sentinel"):
        master, _, database = path.strip("/").partition("/")
        if not master or not hosts:
            raise BadRedisUrl(
                "REDIS_URL must name Sentinels and their master: redis+sentinel://HOST:26379,HOST/MASTER/0"
            )
        return tuple(_address(one, SENTINEL_PORT) for one in hosts.split(",")), master, database
    return (_address(hosts, REDIS_PORT),), "", path.strip("/")


def _address(text: str, port: int) -> Address:
    host, separator, digits = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not separator:
        host, digits = text, ""
    if "[" not in host and ":" in host:
        raise BadRedisUrl("REDIS_URL has an IPv6 address without brackets; write [::1]:6379")
    return Address(
        host.strip("[]") or "localhost", _number(digits, "a port; a '/' in the password is %2F") if digits else port
    )


def _tls(options: dict[str, str]) -> Tls:
    verify = options.get("ssl_cert_reqs", "required")
    if verify not in _VERIFY:
        raise BadRedisUrl(f"REDIS_URL has an ssl_cert_reqs that is none of {', '.join(_VERIFY)}")
    return Tls(
        verify=verify != "none",
        check_hostname=options.get("ssl_check_hostname", "true").lower() in ("true", "1", "yes"),
        ca_file=options.get("ssl_ca_certs", ""),
        ca_folder=options.get("ssl_ca_path", ""),
        certificate=options.get("ssl_certfile", ""),
        key=options.get("ssl_keyfile", ""),
    )


def _number(text: str, what: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise BadRedisUrl(f"REDIS_URL has something that is not {what}")
    return int(text)
