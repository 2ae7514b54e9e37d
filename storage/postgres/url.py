"""Reading DATABASE_URL, in the form Prisma and libpq share. Pure: text in, options out.

A Prisma URL carries parameters for Prisma itself, and asyncpg would hand them to the server, which refuses them. Those
are dropped here; `schema=` and `pgbouncer=true` are honoured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

# Addressed to Prisma, its query engine, or libpq; PostgreSQL knows none of them as a setting.
_NOT_FOR_THE_SERVER: Final = frozenset(
    {
        "schema",
        "pgbouncer",
        "connection_limit",
        "connect_timeout",
        "pool_timeout",
        "socket_timeout",
        "statement_cache_size",
        "max_connection_lifetime",
        "max_idle_connection_lifetime",
        "single_use_connections",
        "sslaccept",
        "sslidentity",
        "sslpassword",
        "uselibpqcompat",
        "channel_binding",
        "gssencmode",
        "sslcompression",
        "sslsni",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "fallback_application_name",
        "client_encoding",
        "application_name",
    }
)
_HOST: Final = re.compile(r"(\[[^]]*\]|[^:[\]]*)(:\d+)?")
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class BadDatabaseUrl(ValueError):
    """DATABASE_URL cannot be understood. The text never holds the password."""


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """Where the database is and how to speak to it."""

    dsn: str = field(repr=False)
    """A URL that asyncpg takes as it is; holds the password."""
    place: str
    """User, host and database for messages: `app@db.example:5432/main`."""
    schema: str = "public"
    """Where the app's tables are."""
    pooled: bool = False
    """A transaction pooler (PgBouncer) stands between: no prepared statements, no search_path at connect."""
    statement_cache_size: int = 100
    application_name: str = "transcription-gateway"
    system_trust: bool = False
    """Verify the server's certificate against the machine's own authorities (`sslaccept=strict`)."""


def parse_database_url(url: str) -> ConnectOptions:
    """Raises: BadDatabaseUrl, saying what to change."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:  # an unpaired bracket; its text might quote the password
        raise BadDatabaseUrl("DATABASE_URL holds a '[' or ']'; write it as %5B or %5D in the password") from None
    if parts.scheme.startswith("prisma"):
        raise BadDatabaseUrl(
            f"DATABASE_URL begins with {parts.scheme}:// (Prisma Accelerate), which only Prisma can speak; "
            "give the direct postgresql:// URL of the same database"
        )
    if parts.scheme not in ("postgres", "postgresql"):
        raise BadDatabaseUrl("DATABASE_URL must begin with postgresql:// or postgres://")
    if parts.fragment:
        raise BadDatabaseUrl("DATABASE_URL holds a '#'; write it as %23 if it belongs to the password")
    if parts.netloc.count("@") > 1:
        raise BadDatabaseUrl("DATABASE_URL holds more than one '@'; write it as %40 where it belongs to the password")

    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    kept = {k: v for k, v in given.items() if k not in _NOT_FOR_THE_SERVER and v != ""}
    pooled = given.get("pgbouncer", "").lower() in ("true", "1")
    mode = given.get("sslmode", "")
    if mode and mode not in _SSL_MODES:
        raise BadDatabaseUrl(f"DATABASE_URL has sslmode={mode}; it must be one of {', '.join(_SSL_MODES)}")
    if "sslcert" in kept and "sslkey" not in kept:
        kept["sslrootcert"] = kept.pop("sslcert")  # Prisma's meaning of the word: the server's authority
    strict = given.get("sslaccept") == "strict" and mode not in ("disable", "verify-ca", "verify-full")
    if strict and "sslrootcert" in kept:
        kept["sslmode"] = "verify-full"

    auth, _, hosts = parts.netloc.rpartition("@")
    if "host" in kept:  # as libpq and Prisma have it, it wins over the host before the path
        hosts = ""
    elif not hosts:
        raise BadDatabaseUrl("DATABASE_URL names no host: postgresql://USER:PASSWORD@HOST:5432/DATABASE")
    elif "@" in parts.path or not all(_HOST.fullmatch(host) for host in hosts.split(",")):
        raise BadDatabaseUrl("DATABASE_URL has a port that is not a number; a '/' in the password is written %2F")

    user = unquote(auth.partition(":")[0]) or kept.get("user", "")
    database = unquote(parts.path.lstrip("/")) or kept.get("dbname", "") or user
    query = urlencode(kept, quote_via=quote, safe="/,")
    where = hosts or kept["host"] + (f":{kept['port']}" if "port" in kept else "")
    return ConnectOptions(
        dsn=urlunsplit(("postgresql", f"{auth}@{hosts}" if auth else hosts, parts.path, query, "")),
        place=f"{user}@{where}/{database}" if user else f"{where}/{database}",
        schema=given.get("schema") or "public",
        pooled=pooled,
        statement_cache_size=0 if pooled else _count(given.get("statement_cache_size"), otherwise=100),
        application_name=given.get("application_name") or "transcription-gateway",
        system_trust=strict and "sslrootcert" not in kept,
    )


def _count(text: str | None, otherwise: int) -> int:
    if text is None or text == "":
        return otherwise
    if not text.isdecimal():
        raise BadDatabaseUrl("DATABASE_URL has a statement_cache_size that is not a number")
    return int(text)
