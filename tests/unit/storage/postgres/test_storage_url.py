from __future__ import annotations

import pytest

from storage.postgres.url import BadDatabaseUrl, parse_database_url


@pytest.mark.parametrize(
    ("url", "dsn", "place"),
    [
        (
            "postgres://app:pw@db.example/main",
            "postgresql://app:pw@db.example/main",
            "app@db.example/main",
        ),
        (  # everything that is addressed to Prisma
            "postgresql://app:pw@db:6543/main?schema=crm&pgbouncer=true&connection_limit=1&connect_timeout=300"
            "&pool_timeout=0&socket_timeout=5&statement_cache_size=0&sslaccept=accept_invalid_certs&sslidentity=a.p12"
            "&sslpassword=x&max_idle_connection_lifetime=4&single_use_connections=true",
            "postgresql://app:pw@db:6543/main",
            "app@db:6543/main",
        ),
        (  # as Neon prints it
            "postgresql://app:pw@ep-1.neon.tech/main?sslmode=require&channel_binding=require",
            "postgresql://app:pw@ep-1.neon.tech/main?sslmode=require",
            "app@ep-1.neon.tech/main",
        ),
        (  # a socket: the host in the query wins over the one before the path, as in Prisma and libpq
            "postgresql://app:pw@localhost/main?host=/cloudsql/a:b:c&schema=public",
            "postgresql://app:pw@/main?host=/cloudsql/a%3Ab%3Ac",
            "app@/cloudsql/a:b:c/main",
        ),
        (
            "postgresql://postgres@/postgres?host=/tmp/x&port=5432",
            "postgresql://postgres@/postgres?host=/tmp/x&port=5432",
            "postgres@/tmp/x:5432/postgres",
        ),
        (  # percent signs stay as they were
            "postgresql://a%40b:p%2Fw%3F@h/d%20b",
            "postgresql://a%40b:p%2Fw%3F@h/d%20b",
            "a@b@h/d b",
        ),
        (
            "postgresql://app@one:5432,two:5433/main?target_session_attrs=read-write",
            "postgresql://app@one:5432,two:5433/main?target_session_attrs=read-write",
            "app@one:5432,two:5433/main",
        ),
        ("postgresql://[::1]:5432/main", "postgresql://[::1]:5432/main", "[::1]:5432/main"),
        ("  postgresql://h/d?options=-c%20a=b \n", "postgresql://h/d?options=-c%20a%3Db", "h/d"),
    ],
)
def test_what_is_meant_for_prisma_goes_and_the_rest_stays(url: str, dsn: str, place: str) -> None:
    options = parse_database_url(url)
    assert (options.dsn, options.place) == (dsn, place)


def test_defaults() -> None:
    options = parse_database_url("postgresql://h/d")
    assert (options.schema, options.pooled, options.statement_cache_size) == ("public", False, 100)
    assert options.application_name == "transcription-gateway"


def test_schema_and_application_name_are_honoured() -> None:
    options = parse_database_url("postgresql://h/d?schema=crm&application_name=calls")
    assert (options.schema, options.application_name) == ("crm", "calls")


@pytest.mark.parametrize("flag", ["true", "1", "TRUE"])
def test_behind_a_transaction_pooler_no_statement_is_cached(flag: str) -> None:
    options = parse_database_url(f"postgresql://h/d?pgbouncer={flag}&statement_cache_size=50")
    assert options.pooled
    assert options.statement_cache_size == 0


def test_the_cache_size_is_honoured_without_a_pooler() -> None:
    assert parse_database_url("postgresql://h/d?statement_cache_size=0").statement_cache_size == 0


@pytest.mark.parametrize(
    ("query", "dsn_query", "system_trust"),
    [
        ("sslmode=require&sslaccept=strict", "?sslmode=require", True),
        ("sslaccept=strict&sslcert=ca.pem", "?sslrootcert=ca.pem&sslmode=verify-full", False),
        ("sslaccept=strict&sslmode=verify-ca&sslrootcert=ca.pem", "?sslmode=verify-ca&sslrootcert=ca.pem", False),
        ("sslcert=me.pem&sslkey=me.key&sslmode=require", "?sslcert=me.pem&sslkey=me.key&sslmode=require", False),
        ("sslaccept=accept_invalid_certs&sslmode=require", "?sslmode=require", False),
    ],
)
def test_prismas_words_for_tls_are_translated(query: str, dsn_query: str, system_trust: bool) -> None:
    """In Prisma `sslcert` is the server's authority, and `sslaccept=strict` verifies the server."""
    options = parse_database_url(f"postgresql://h/d?{query}")
    assert options.dsn == f"postgresql://h/d{dsn_query}"
    assert options.system_trust is system_trust


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("mysql://a:secret@h/d", "postgresql://"),
        ("", "postgresql://"),
        ("h/d", "postgresql://"),
        ("prisma+postgres://accelerate/?api_key=secret", "direct"),
        ("prisma://accelerate/?api_key=secret", "direct"),
        ("postgresql://a:sec#ret@h/d", "%23"),
        ("postgresql://a:sec@ret@h/d", "%40"),
        ("postgresql://a:sec/ret@h/d", "%2F"),
        ("postgresql://a:123/sec@h/d", "%2F"),
        ("postgresql://a:sec[ret@h/d", "%5B"),
        ("postgresql://a:secret@/d", "no host"),
        ("postgresql://a:secret@h:port/d", "port"),
        ("postgresql://a:secret@h/d?sslmode=on", "verify-full"),
        ("postgresql://a:secret@h/d?statement_cache_size=many", "statement_cache_size"),
    ],
)
def test_a_wrong_url_is_refused_with_advice_and_without_the_password(url: str, hint: str) -> None:
    with pytest.raises(BadDatabaseUrl) as refused:
        parse_database_url(url)
    assert hint in str(refused.value)
    assert "sec" not in str(refused.value)
    assert "ret@" not in str(refused.value)


def test_the_password_is_not_shown() -> None:
    options = parse_database_url("postgresql://app:hunter2@h/d?password=hunter2")
    assert "hunter2" not in repr(options)
    assert "hunter2" not in options.place
