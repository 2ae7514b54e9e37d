"""User tokens signed with public keys: which are taken, and when the keys are fetched."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from live_keys import Provider, described, ec_key, key_set, rsa_key, signed

from gateway.live.credentials import Access, CredentialRefused, Secrets, check, key_id
from gateway.live.jwks import MAX_AGE_S, RETRY_S, KeyRing
from gateway.live.public_keys import BadKeys, parse_keys

SECRET = "user-secret-of-at-least-thirty-two-bytes"
ONE, TWO = rsa_key("one"), rsa_key("two")
CURVE = ec_key("curve")
KEYS = parse_keys(key_set(described("one", ONE), described("curve", CURVE)))


@pytest.mark.parametrize(("kid", "private", "algorithm"), [("one", ONE, "RS256"), ("curve", CURVE, "ES256")])
def test_a_token_signed_with_a_known_key_is_a_users(kid: str, private: Any, algorithm: str) -> None:
    access = check(signed(kid, private, algorithm), Secrets(), KEYS)
    assert (access.subject, access.spaces, access.room) == ("u1", frozenset({"s1"}), None)


@pytest.mark.parametrize(
    "token",
    [
        signed("two", TWO),  # unknown
        signed("one", TWO),  # another key under a known name
        signed("curve", ONE),  # the name of a key of another kind
        signed(None, ONE),  # no name, and the set has no key without one
        signed("one", ONE, "RS512"),
        signed("one", ONE, "PS256"),
        signed("one", ONE, exp=1_000_000_000),
        signed("one", ONE, exp=None),
        signed("one", ONE, nbf=4_000_000_000),
        signed("one", ONE)[:-8],
    ],
)
def test_everything_else_is_refused(token: str) -> None:
    with pytest.raises(CredentialRefused):
        check(token, Secrets(jwt_secrets=(SECRET,)), KEYS)


def test_a_public_key_is_no_secret_to_sign_with() -> None:
    """The old trick: HS256, with the text of the public key as its secret."""
    pem = ONE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def part(value: Any) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    body = part({"alg": "HS256", "kid": "one"}) + b"." + part({"sub": "u1", "exp": 4_000_000_000, "spaces": ["s1"]})
    forged = body + b"." + base64.urlsafe_b64encode(hmac.digest(pem, body, hashlib.sha256)).rstrip(b"=")
    for secrets in (Secrets(), Secrets(jwt_secrets=(SECRET,))):
        with pytest.raises(CredentialRefused):
            check(forged.decode(), secrets, KEYS)


def test_the_shared_secret_goes_on_working_beside_the_keys() -> None:
    assert check(signed(None, SECRET, "HS256"), Secrets(jwt_secrets=(SECRET,)), KEYS).subject == "u1"


def test_a_token_without_spaces_may_watch_nothing() -> None:
    """An identity provider signs tokens for other programs too."""
    access = check(signed("one", ONE, spaces=None), Secrets(), KEYS)
    assert access == Access("u1", access.expires_at, frozenset())


@pytest.mark.parametrize("token", ["", "a.b.c", "service-token", None])
def test_other_credentials_ask_for_no_key(token: str | None) -> None:
    assert key_id(token) is None


def test_a_token_under_the_shared_secret_asks_for_no_key() -> None:
    assert key_id(signed(None, SECRET, "HS256")) is None


def test_a_key_without_a_name_serves_tokens_without_one() -> None:
    keys = parse_keys(key_set(described(None, ONE)))
    assert check(signed(None, ONE), Secrets(), keys).subject == "u1"


def test_keys_that_cannot_be_used_are_left_out() -> None:
    """For encryption, symmetric, too short, of other algorithms, or broken."""
    keys = parse_keys(
        key_set(
            described("encrypts", TWO, use="enc"),
            {"kty": "oct", "kid": "secret", "k": "c2VjcmV0", "alg": "HS256"},
            described("short", rsa_key("short", 1024)),
            described("pss", TWO, alg="PS256"),
            described("big", ec_key("big", ec.SECP384R1)),
            {"kty": "RSA", "kid": "half", "n": "AQAB"},
            {"kty": "EC", "kid": "off", "crv": "P-256", "x": "AQAB", "y": "AQAB"},
            "no key",
            described("one", ONE, use="sig", alg="RS256"),
        )
    )
    assert list(keys) == ["one"]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": []}',
        b"\xff",
        b"[" * 100_000,
        key_set(described("encrypts", ONE, use="enc")),
        key_set(*[described(str(i), ONE) for i in range(65)]),
    ],
)
def test_what_is_no_useful_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(BadKeys):
        parse_keys(document)


# --- fetching ---------------------------------------------------------------------------------------------


async def ring_of(provider: Provider, *tokens: str) -> KeyRing:
    ring = KeyRing(provider.fetch, provider.clock)
    for token in tokens:
        await ring.keys_for(token)
    return ring


async def test_keys_are_fetched_when_a_token_needs_them_and_then_kept() -> None:
    provider = Provider(key_set(described("one", ONE)))
    ring = await ring_of(provider, "service-token", signed(None, SECRET, "HS256"))
    assert provider.asked == 0
    for _ in range(3):
        assert list(await ring.keys_for(signed("one", ONE))) == ["one"]
    assert provider.asked == 1


async def test_a_rotated_key_is_found_at_its_first_token() -> None:
    provider = Provider(key_set(described("one", ONE)))
    ring = await ring_of(provider, signed("one", ONE))
    provider.document = key_set(described("one", ONE), described("two", TWO))
    provider.now += RETRY_S
    assert check(signed("two", TWO), Secrets(), await ring.keys_for(signed("two", TWO))).subject == "u1"
    assert provider.asked == 2


async def test_made_up_names_make_one_request_in_thirty_seconds() -> None:
    provider = Provider(key_set(described("one", ONE)))
    ring = await ring_of(provider, signed("one", ONE))
    for second in range(61):
        provider.now = 1001.0 + second
        await ring.keys_for(signed(f"made-up-{second}", TWO))
    assert provider.asked == 3


async def test_many_first_tokens_make_one_request() -> None:
    provider = Provider(key_set(described("one", ONE)), waits=[lambda: asyncio.sleep(0)])
    ring = KeyRing(provider.fetch, provider.clock)
    token = signed("one", ONE)
    found = await asyncio.gather(*[ring.keys_for(token) for _ in range(20)])
    assert [list(keys) for keys in found] == [["one"]] * 20
    assert provider.asked == 1


async def test_a_withdrawn_key_stops_working_after_ten_minutes() -> None:
    provider = Provider(key_set(described("one", ONE), described("two", TWO)))
    token = signed("one", ONE)
    ring = await ring_of(provider, token)
    provider.document = key_set(described("two", TWO))
    provider.now += MAX_AGE_S
    assert "one" in await ring.keys_for(token)
    provider.now += 1
    assert "one" not in await ring.keys_for(token)


@pytest.mark.parametrize("failure", [TimeoutError(), OSError("no route"), BadKeys("it answers HTTP 500"), b"{}"])
async def test_while_the_keys_cannot_be_fetched_those_known_before_go_on(failure: Exception | bytes) -> None:
    provider = Provider(key_set(described("one", ONE)))
    token = signed("one", ONE)
    ring = await ring_of(provider, token)
    provider.document = failure
    provider.now += MAX_AGE_S + 1
    assert list(await ring.keys_for(token)) == ["one"]
    assert list(await ring.keys_for(token)) == ["one"]
    assert provider.asked == 2  # not at every token
    provider.document = key_set(described("two", TWO))
    provider.now += RETRY_S
    assert list(await ring.keys_for(token)) == ["two"]


def test_tokens_of_this_test_are_what_they_seem() -> None:
    assert jwt.get_unverified_header(signed("one", ONE)) == {"alg": "RS256", "kid": "one", "typ": "JWT"}
