"""Tokens that are no tokens: everything is refused as a credential, nothing is an error of ours."""

from __future__ import annotations

import base64
import json
import time
from contextlib import suppress

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.live.credentials import Access, CredentialRefused, Secrets, check, key_id

SECRET = "a-secret-of-at-least-thirty-two-bytes"
SECRETS = Secrets(("service",), (SECRET,), (("livekit", SECRET),))


def part(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode(errors="surrogatepass")).decode().rstrip("=")


def signed(claims: str, header: str = '{"alg":"HS256","typ":"JWT"}') -> str:
    """As `jwt.encode` does it, of any text."""
    signer = jwt.get_algorithm_by_name("HS256")
    said = f"{part(header)}.{part(claims)}"
    return f"{said}.{base64.urlsafe_b64encode(signer.sign(said.encode(), SECRET.encode())).decode().rstrip('=')}"


DEEP = "[" * 50_000
TIMES = ["9" * 400, "1e999", "-1e999", "NaN", "-1", "1e300", "253402300800", '"x"', "[]", "null", "true"]


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", TIMES)
def test_a_time_that_is_none_is_refused(claim: str, value: str) -> None:
    rest = "" if claim == "exp" else f'"exp":{time.time() + 60},'
    token = signed(f'{{{rest}"sub":"u","spaces":["s"],"{claim}":{value}}}')
    try:
        access = check(token, SECRETS)
    except CredentialRefused:
        return
    assert claim != "exp" and access.expires_at is not None, "an exp like this was taken"


@pytest.mark.parametrize("claims", [DEEP, f'{{"exp":9,"x":{DEEP}', '{"exp":9999999999,"sub":"\\ud800"}', "[]", "1", ""])
def test_claims_that_cannot_be_read_are_refused(claims: str) -> None:
    for token in (
        signed(claims),
        signed('{"exp":9999999999}', f'{{"alg":"HS256","kid":{DEEP}}}'),
        signed(claims, DEEP),
    ):
        with pytest.raises(CredentialRefused):
            check(token, SECRETS)
        assert key_id(token) in (None, "")


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({"aud": "app", "iss": "login"}, True),
        ({"aud": ["x", "app"], "iss": "login"}, True),
        ({"aud": "other", "iss": "login"}, False),
        ({"aud": "app", "iss": "other"}, False),
        ({"aud": "app"}, False),
        ({"iss": "login"}, False),
        ({"aud": 5, "iss": ["login"]}, False),
    ],
)
def test_audience_and_issuer_can_be_required(claims: dict[str, object], good: bool) -> None:
    strict = Secrets((), (SECRET,), jwt_audience="app", jwt_issuer="login")
    token = jwt.encode({"sub": "u", "exp": time.time() + 60, **claims}, SECRET) if good else None
    token = token or signed(json.dumps({"sub": "u", "exp": time.time() + 60, **claims}))
    if good:
        assert check(token, strict).subject == "u"
    else:
        with pytest.raises(CredentialRefused):
            check(token, strict)


@given(st.one_of(st.text(), st.binary().map(lambda raw: raw.decode(errors="surrogateescape"))))
def test_any_text_is_an_access_or_a_refusal(text: str) -> None:
    with suppress(CredentialRefused):
        assert isinstance(check(text, SECRETS), Access) and text == "service"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
)


@given(st.dictionaries(st.sampled_from(["exp", "sub", "spaces", "iss", "video", "name", "activeSpaceId", "nbf"]), JSON))
def test_any_claims_are_an_access_or_a_refusal(claims: dict[str, object]) -> None:
    with suppress(CredentialRefused):
        check(signed(json.dumps({"exp": time.time() + 60, **claims})), SECRETS)
