"""The rules of webhooks: signatures, times, addresses, bodies."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from gateway.webhooks.addresses import AddressRefused, Allowed, as_allowed, check_address, check_url
from gateway.webhooks.events import EVENTS, body
from gateway.webhooks.retries import FOR, JITTER, PAUSES_S, next_attempt, retry_after
from gateway.webhooks.signature import as_secrets, headers, key, new_secret

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


@given(st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=3), st.text(max_size=50))
def test_every_secret_verifies_with_the_ready_made_package_and_no_other_does(keys: list[bytes], text: str) -> None:
    made = ["whsec_" + base64.b64encode(one).decode() for one in keys]
    now = datetime.now(UTC)
    content = body("webhook.test", now, json.dumps({"text": text}).encode())
    signed = headers("msg_1", now, content, made)
    for secret in made:
        assert Webhook(secret).verify(content, signed)["data"] == {"text": text}
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(content, signed)
    with pytest.raises(WebhookVerificationError):
        Webhook(made[0]).verify(content + b" ", signed)


@pytest.mark.parametrize("size", [23, 65])
def test_a_secret_of_another_length_is_refused_without_being_told(size: int) -> None:
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(size)).decode()
    with pytest.raises(ValueError, match="24 to 64") as refused:
        as_secrets(f"{new_secret()}, {secret}")
    assert secret not in str(refused.value)


@pytest.mark.parametrize("text", ["whsec_", "secret", base64.b64encode(bytes(32)).decode(), "whsec_!!!", "whsec_ü"])
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        key(text)


@given(st.integers(1, 60), st.floats(0, 1, exclude_max=True), st.integers(0, 100_000), st.none() | st.floats(0, 1e9))
def test_the_next_attempt_is_later_within_the_day_and_not_before_the_receiver_asks(
    attempts: int, jitter: float, age_s: int, asked_s: float | None
) -> None:
    created = NOW - timedelta(seconds=age_s)
    at = next_attempt(created, attempts, NOW, jitter, asked_s)
    pause = PAUSES_S[min(attempts, len(PAUSES_S)) - 1]
    least = max(pause * (1 - JITTER), min(asked_s or 0, 14_400))
    if at is None:
        assert NOW + timedelta(seconds=max(pause * (1 + JITTER), least)) >= created + FOR
    else:
        assert NOW + timedelta(seconds=least - 0.001) <= at < created + FOR


def test_a_receiver_that_never_answers_is_tried_all_day() -> None:
    now, attempts = NOW, 1
    while (at := next_attempt(NOW, attempts, now, 0.5)) is not None:
        now, attempts = at, attempts + 1
    assert attempts >= 10
    assert timedelta(hours=20) < now - NOW < FOR


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 0 ", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
        ("soon", None),
        ("-1", None),
        ("1e3", None),
        ("9" * 40, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    "inside",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fc00::1", "fe80::1%eth0", "ff02::1", "::ffff:127.0.0.1"),
        *("::ffff:a00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1"),
    ],
)
def test_addresses_of_the_own_network_are_refused_in_every_spelling(inside: str) -> None:
    with pytest.raises(AddressRefused, match="GATEWAY_WEBHOOK_ALLOW"):
        check_address(inside, Allowed())
    check_address(inside, Allowed(private=True))
    host = f"[{inside.partition('%')[0]}]" if ":" in inside else inside
    with pytest.raises(ValueError, match="refused"):
        check_url(f"https://{host}/hook", Allowed())


@pytest.mark.parametrize("public", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_not(public: str) -> None:
    check_address(public, Allowed())


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example.com/hook",
        "ftp://app.example.com",
        "https://",
        "app.example.com",
        "https://user@app.example.com/",
        "https://app.example.com/#part",
        "https://app.example.com:99999/",
        "https://[::1",
        "https://app.example.com/a b",
        "https://app.example.com/\n",
        "https://bücher.example/",
        "https://app.example.com/" + "x" * 2_048,
    ],
)
def test_urls_that_cannot_be_used_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        check_url(url, Allowed())


def test_what_is_allowed_is_said_in_a_setting() -> None:
    assert as_allowed("http, private") == Allowed(True, True)
    assert check_url("http://127.0.0.1:1/", Allowed(True, True))
    with pytest.raises(ValueError, match="http, private"):
        as_allowed("everything")


def test_a_body_is_thin_and_spelt_as_the_contract_says() -> None:
    assert body("session.started", NOW, b'{"sessionSlug":"a"}') == (
        b'{"type":"session.started","timestamp":"2026-01-05T10:00:00.000Z","data":{"sessionSlug":"a"}}'
    )
    assert "transcript.final" in EVENTS
