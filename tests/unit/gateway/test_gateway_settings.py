"""The environment, checked: every problem at once, none of the secrets."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from unit.gateway.settings_page import PAGE, page

from gateway.settings import VARIABLES, Settings, WrongSettings, doubts

GOOD = {"GATEWAY_API_TOKENS": "a-token-of-at-least-thirty-two-characters"}
SECRETS = [variable.name for variable in VARIABLES if variable.is_secret]


def problems(**env: str) -> tuple[str, ...]:
    with pytest.raises(WrongSettings) as wrong:
        Settings.from_env(env)
    return wrong.value.problems


def test_the_page_documents_every_variable() -> None:
    """docs/settings.md is written by `PYTHONPATH=tests python -m unit.gateway.settings_page`."""
    assert PAGE.read_text() == page(), "run PYTHONPATH=tests python -m unit.gateway.settings_page"


def test_an_empty_environment_has_the_defaults_of_the_dataclass() -> None:
    """The table's defaults and the fields' defaults are the same values, in one place or the other."""
    assert Settings.from_env({}, needs_token=False) == Settings()


def test_every_field_has_exactly_one_variable() -> None:
    assert sorted(variable.field for variable in VARIABLES) == sorted(field.name for field in fields(Settings))
    assert len({variable.name for variable in VARIABLES}) == len(VARIABLES)


def test_the_contract_names_are_all_there() -> None:
    """design.md 4.1, but for GATEWAY_JWKS_URL, which this version does not have."""
    names = {variable.name for variable in VARIABLES}
    assert names >= {
        "DATABASE_URL", "REDIS_URL", "LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "GLADIA_API_KEY",
        "GLADIA_API_URL", "GATEWAY_HTTP_HOST", "GATEWAY_HTTP_PORT", "GATEWAY_RTMP_PORT", "GATEWAY_PUBLIC_URL",
        "GATEWAY_DATA_DIR", "GATEWAY_API_TOKENS", "GATEWAY_JWT_SECRET", "GATEWAY_ALLOWED_ORIGINS",
        "GATEWAY_COST_PER_MINUTE", "GATEWAY_DRAIN_S", "GATEWAY_STORE_PARTIALS", "GATEWAY_LOG_FORMAT",
    }  # fmt: skip


@pytest.mark.parametrize("tokens", [None, "", "  ", ",", " , ,"])
def test_without_a_token_nothing_starts(tokens: str | None) -> None:
    """Commas are no token either."""
    [problem] = problems(**({} if tokens is None else {"GATEWAY_API_TOKENS": tokens}))
    assert problem.startswith("GATEWAY_API_TOKENS is not set")


def test_tokens_are_a_list_so_that_they_can_be_rotated() -> None:
    assert Settings.from_env({"GATEWAY_API_TOKENS": " one , two,,three "}).api_tokens == ("one", "two", "three")


WRONG = {
    "DATABASE_URL": "mysql://user:hunter2@db/app",
    "GATEWAY_DATABASE_TABLES": "mine",
    "GATEWAY_AUTO_MIGRATE": "perhaps",
    "REDIS_URL": "http://user:hunter2@redis",
    "LIVEKIT_URL": "livekit.example.com",
    "GLADIA_API_URL": "ftp://api.gladia.io",
    "GATEWAY_STT_ENGINE": "whisper",
    "GATEWAY_STT_ENDPOINTING_S": "0",
    "GATEWAY_STT_MAX_UTTERANCE_S": "61",
    "GATEWAY_HTTP_PORT": "65536",
    "GATEWAY_METRICS_PORT": "0",
    "GATEWAY_RTMP_PORT": "-2",
    "GATEWAY_PUBLIC_URL": "https://",
    "GATEWAY_COST_PER_MINUTE": "-0.01",
    "GATEWAY_DRAIN_S": "nan",
    "GATEWAY_LEASE_S": "inf",
    "GATEWAY_STORE_PARTIALS": "2",
    "GATEWAY_ANALYSIS_URL": "api.openai.com",
    "GATEWAY_ANALYSIS_PART_CHARACTERS": "1999",
    "GATEWAY_MAX_WATCHERS": "1e3",
    "GATEWAY_LOG_FORMAT": "xml",
    "GATEWAY_LOG_LEVEL": "loud",
}


def test_all_wrong_values_are_reported_in_one_error() -> None:
    """Each with its name; the missing token too."""
    found = problems(**WRONG)
    assert {problem.split()[0] for problem in found} == {*WRONG, "GATEWAY_API_TOKENS"}
    with pytest.raises(WrongSettings) as wrong:
        Settings.from_env(WRONG)
    assert all(problem in str(wrong.value) for problem in found)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_shown_unless_it_may_hold_a_secret(name: str) -> None:
    [problem] = problems(**GOOD, **{name: WRONG[name]})
    assert problem.startswith(f"{name} must be ")
    assert (repr(WRONG[name]) in problem) is (name not in SECRETS)
    assert "hunter2" not in problem


def test_a_gateway_is_asked_with_a_token_not_with_a_password() -> None:
    """HTTP has one Authorization header, so a user name in the URL would break every call."""
    [problem] = problems(**GOOD, WS_SERVER_URL="http://user:hunter2@gateway:8080")
    assert problem.startswith("WS_SERVER_URL must hold no user name") and "hunter2" not in problem


def test_redis_may_be_a_socket_of_this_machine() -> None:
    assert Settings.from_env({**GOOD, "REDIS_URL": "unix:///run/redis.sock"}).redis_url == "unix:///run/redis.sock"
    [problem] = problems(**GOOD, REDIS_URL="unix://")
    assert problem.startswith("REDIS_URL must be a URL")


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://a:26379,b:26379/main",
        "rediss+sentinel://:pass/word@a,b:1/main/3?sentinel_password=x",
        "redis+sentinel://[::1]:26379,[::2]/main",
    ],
)
def test_redis_may_be_watched_by_sentinels(url: str) -> None:
    assert Settings.from_env({**GOOD, "REDIS_URL": url}).redis_url == url


@pytest.mark.parametrize("url", ["redis+sentinel://a:26379,b:26379", "redis+sentinel:///main", "x+sentinel://a/main"])
def test_sentinels_need_hosts_and_a_master(url: str) -> None:
    [problem] = problems(**GOOD, REDIS_URL=url)
    assert problem == "REDIS_URL must name Sentinels and their master: redis+sentinel://HOST:26379,HOST/MASTER/0"


def test_no_secret_is_in_what_settings_look_like() -> None:
    env = {
        **GOOD,
        "DATABASE_URL": "postgresql://user:hunter2@db/app",
        "REDIS_URL": "redis://:hunter2@redis",
        "LIVEKIT_API_SECRET": "hunter2",
        "GLADIA_API_KEY": "hunter2",
        "GATEWAY_JWT_SECRET": "hunter2" * 5,
        "GATEWAY_ANALYSIS_KEY": "hunter2",
        "WS_SERVER_TOKEN": "hunter2",
        "GATEWAY_API_TOKENS": "hunter2-hunter2-hunter2",
        "BLOB_READ_WRITE_TOKEN": "vercel_blob_rw_store_hunter2",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "GATEWAY_WEBHOOK_URL": "https://app.example.com/",
        "GATEWAY_WEBHOOK_SECRET": "whsec_" + "hunter2" * 8,
    }
    assert set(SECRETS) <= set(env)
    settings = Settings.from_env(env)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in " ".join(doubts(settings, env))


def test_settings_that_need_each_other_are_checked_together() -> None:
    assert problems(**GOOD, GATEWAY_STT_ENGINE="gladia") == (
        "GATEWAY_STT_ENGINE is gladia, but GLADIA_API_KEY is not set",
    )
    assert problems(**GOOD, GATEWAY_BLOB_URL="vercel:") == (
        "GATEWAY_BLOB_URL is vercel:, but BLOB_READ_WRITE_TOKEN is not set",
    )
    assert problems(**GOOD, AWS_ACCESS_KEY_ID="k") == (
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together; set both or neither",
    )
    assert problems(**GOOD, LIVEKIT_URL="wss://livekit.example.com", LIVEKIT_API_KEY="k") == (
        "LIVEKIT_URL needs LIVEKIT_API_KEY and LIVEKIT_API_SECRET as well",
    )
    assert problems(**GOOD, GATEWAY_ANALYSIS_URL="https://api.example.com/v1") == (
        "GATEWAY_ANALYSIS_URL needs GATEWAY_ANALYSIS_MODEL as well",
    )


@pytest.mark.parametrize(
    ("env", "engine"),
    [
        ({}, "pocketsphinx"),
        ({"GLADIA_API_KEY": "k"}, "gladia"),
        ({"GLADIA_API_KEY": "k", "GATEWAY_STT_ENGINE": "pocketsphinx"}, "pocketsphinx"),
    ],
)
def test_the_engine_is_the_one_asked_for(env: dict[str, str], engine: str) -> None:
    assert Settings.from_env({**GOOD, **env}).engine == engine


@pytest.mark.parametrize(
    ("name", "given", "field", "value"),
    [
        ("GATEWAY_AUTO_MIGRATE", "No", "auto_migrate", False),
        ("GATEWAY_STORE_PARTIALS", "ON", "store_partials", True),
        ("GATEWAY_HTTP_PORT", " 0 ", "http_port", 0),
        ("GATEWAY_RTMP_PORT", "-1", "rtmp_port", -1),
        ("GATEWAY_DATA_DIR", "/srv/gateway", "data_dir", Path("/srv/gateway")),
        ("GATEWAY_PUBLIC_URL", "https://gw.example.com/", "public_url", "https://gw.example.com"),
        ("GATEWAY_ALLOWED_ORIGINS", "https://a, https://b", "allowed_origins", ("https://a", "https://b")),
        ("DATABASE_URL", "postgresql:///app?host=/run/postgresql", "database_url",
         "postgresql:///app?host=/run/postgresql"),
        ("GATEWAY_COST_PER_MINUTE", "0", "cost_per_minute", 0.0),
    ],
)  # fmt: skip
def test_values_are_read_as_what_they_are(name: str, given: str, field: str, value: Any) -> None:
    assert getattr(Settings.from_env({**GOOD, name: given}), field) == value


def test_what_is_allowed_but_hardly_meant_is_noted() -> None:
    """A misspelt name, secrets that are found by trying from what guests hold."""
    env = {
        "GATEWAY_API_TOKENS": "a" * 32 + "," + "b" * 31,
        "LIVEKIT_API_KEY": "key",
        "LIVEKIT_API_SECRET": "c" * 31,
        "GATEWAY_DRIAN_S": "5",
        "GATEWAY_URL": "http://x",
    }
    noted = doubts(Settings.from_env(env), env)
    assert len(noted) == 3
    assert [note.partition(" is shorter than 32")[0] for note in noted[:2]] == [
        "a token in GATEWAY_API_TOKENS",
        "LIVEKIT_API_SECRET",
    ]
    assert "b" * 31 not in str(noted) and "c" * 31 not in str(noted)
    assert any(note.startswith("GATEWAY_DRIAN_S is not a setting") for note in noted)
    assert doubts(Settings.from_env(GOOD), GOOD) == []


@pytest.mark.parametrize(
    ("given", "store"),
    [
        ({}, Path.cwd().joinpath("var", "documents").as_uri()),
        ({"GATEWAY_BLOB_URL": "file:///srv/kept"}, "file:///srv/kept"),
        ({"GATEWAY_BLOB_URL": "s3://bucket/a/b"}, "s3://bucket/a/b"),
        ({"BLOB_READ_WRITE_TOKEN": "vercel_blob_rw_store_secret"}, "vercel:"),
        ({"BLOB_READ_WRITE_TOKEN": "vercel_blob_rw_store_secret", "GATEWAY_BLOB_URL": "s3://bucket"}, "s3://bucket"),
    ],
)
def test_where_documents_go(given: dict[str, str], store: str) -> None:
    assert Settings.from_env({**GOOD, **given}).blob_store == store


@pytest.mark.parametrize(
    "url", ["file://relative", "file:x", "s3://", "s3:///x", "https://x/y", "vercel:x", "s3://b?x=1"]
)
def test_a_url_that_names_no_blob_store_is_refused(url: str) -> None:
    [problem] = problems(**GOOD, GATEWAY_BLOB_URL=url)
    assert problem.startswith("GATEWAY_BLOB_URL must be")


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"GATEWAY_WEBHOOK_URL": "https://app.example.com/"}, "belong together"),
        ({"GATEWAY_WEBHOOK_SECRET": "whsec_" + "A" * 32}, "belong together"),
        ({"GATEWAY_WEBHOOK_SECRET": "whsec_short"}, "24 to 64"),
        ({"GATEWAY_WEBHOOK_URL": "http://app/", "GATEWAY_WEBHOOK_SECRET": "whsec_" + "A" * 32}, "https"),
        ({"GATEWAY_WEBHOOK_ALLOW": "everything"}, "http, private"),
    ],
)
def test_webhooks_are_set_as_a_whole(env: dict[str, str], said: str) -> None:
    with pytest.raises(WrongSettings, match=said):
        Settings.from_env({**GOOD, **env})
