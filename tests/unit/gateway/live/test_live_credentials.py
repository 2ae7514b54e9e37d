"""Who may watch: service tokens, user tokens, LiveKit's room tokens. Everything else is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from gateway.live import credentials
from gateway.live.credentials import Access, CredentialRefused, Forbidden, Secrets, check, is_service_token

USER_SECRET = "user-secret-of-at-least-thirty-two-bytes"
ROOM_SECRET = "room-secret-of-at-least-thirty-two-bytes"
OTHER_SECRET = "a-third-secret-of-thirty-two-bytes-at-least"
SECRETS = Secrets(("service-one", "service-two"), (USER_SECRET,), (("livekit-key", ROOM_SECRET),))
LATER = 4_102_444_800  # 2100


def token(secret: str = USER_SECRET, **claims: Any) -> str:
    return jwt.encode({"sub": "u1", "exp": LATER, "spaces": ["s1"], **claims}, secret, algorithm="HS256")


def room_token(secret: str = ROOM_SECRET, **claims: Any) -> str:
    grants = {"iss": "livekit-key", "video": {"room": "abc", "roomJoin": True}, "spaces": None, **claims}
    return token(secret, **{name: value for name, value in grants.items() if value is not None})


@pytest.mark.parametrize("good", ["service-one", "service-two"])
def test_every_service_token_is_good_while_they_rotate(good: str) -> None:
    access = check(good, SECRETS)
    assert access == Access("service")
    assert access.is_service
    access.check_session("any", "any")


@pytest.mark.parametrize("bad", ["service-on", "service-one ", "Service-one", "service-one,service-two", "", " "])
def test_nearly_a_service_token_is_none(bad: str) -> None:
    assert not is_service_token(bad, SECRETS.service_tokens)
    with pytest.raises(CredentialRefused):
        check(bad, SECRETS)


def test_without_service_tokens_nothing_is_one() -> None:
    """Not even the empty token."""
    assert not is_service_token("", ())
    assert not is_service_token("x", ())


def test_service_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every accepted token is compared, each time, over values of one length."""
    compared: list[tuple[int, int]] = []
    really = hmac.compare_digest

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return really(left, right)

    monkeypatch.setattr(credentials.hmac, "compare_digest", compare)
    for given in ("service-one", "service-two", "x", "y" * 5000):
        compared.clear()
        is_service_token(given, ("service-one", "service-two"))
        assert compared == [(32, 32), (32, 32)]


def test_a_user_may_see_the_sessions_of_its_spaces() -> None:
    access = check(token(spaces=["s1", "s2"]), SECRETS)
    assert access == Access("u1", LATER, frozenset({"s1", "s2"}))
    assert not access.is_service
    access.check_session("abc", "s2")
    with pytest.raises(Forbidden):
        access.check_session("abc", "s3")


@pytest.mark.parametrize("spaces", [None, [], "s1", {"s1": True}, [1, None, ""]])
def test_a_user_without_spaces_sees_nothing(spaces: Any) -> None:
    """A claim of another shape grants nothing."""
    access = check(token(spaces=spaces), SECRETS)
    for space in ("s1", "", "1", "None"):
        with pytest.raises(Forbidden):
            access.check_session("abc", space)


def test_a_livekit_token_opens_its_own_room_only() -> None:
    access = check(room_token(), SECRETS)
    assert access == Access("u1", LATER, None, "abc")
    assert not access.is_service
    access.check_session("abc", "whatever space")
    with pytest.raises(Forbidden, match="another room"):
        access.check_session("abcd", "whatever space")


@pytest.mark.parametrize(
    "video",
    [{}, {"room": "abc"}, {"room": "abc", "roomJoin": False}, {"roomJoin": True}, {"room": "", "roomJoin": True},
     {"room": ["abc"], "roomJoin": True}, {"roomList": True, "room": "abc"}, "abc", ["abc"]],
)  # fmt: skip
def test_a_livekit_token_without_a_joinable_room_is_refused(video: Any) -> None:
    with pytest.raises(CredentialRefused):
        check(room_token(video=video), SECRETS)


def unsigned(**header: str) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT', **header})}.{part({'sub': 'u1', 'exp': LATER, 'spaces': ['s1']})}."


def other_algorithm() -> str:
    return jwt.encode({"sub": "u1", "exp": LATER, "spaces": ["s1"]}, USER_SECRET + USER_SECRET, algorithm="HS512")


def tampered() -> str:
    head, _, signature = token().split(".")
    body = base64.urlsafe_b64encode(json.dumps({"sub": "root", "exp": LATER, "spaces": ["s9"]}).encode())
    return f"{head}.{body.rstrip(b'=').decode()}.{signature}"


REFUSED: dict[str, Callable[[], str]] = {
    "expired": lambda: token(exp=int(time.time()) - 60),
    "without exp": lambda: jwt.encode({"sub": "u1", "spaces": ["s1"]}, USER_SECRET, algorithm="HS256"),
    "not yet valid": lambda: token(nbf=LATER),
    "exp is no number": lambda: token(exp="soon"),
    "wrong secret": lambda: token("another-secret-of-at-least-thirty-two-bytes"),
    "alg none": unsigned,
    "alg none, spelled otherwise": lambda: unsigned(alg="NONE"),
    "an algorithm of the token's choice": other_algorithm,
    "claims exchanged": tampered,
    "signature cut off": lambda: token().rpartition(".")[0] + ".",
    "LiveKit's secret for a user token": lambda: token(ROOM_SECRET),
    "the users' secret for a LiveKit token": lambda: room_token(USER_SECRET),
    "LiveKit expired": lambda: room_token(exp=int(time.time()) - 60),
    "LiveKit without exp": lambda: jwt.encode(
        {"iss": "livekit-key", "video": {"room": "abc", "roomJoin": True}}, ROOM_SECRET, algorithm="HS256"
    ),
    "no token at all": lambda: "a.b.c",
    "dots": lambda: "..",
    "many dots": lambda: "a.b.c.d",
    "a list as claims": lambda: "eyJhbGciOiJIUzI1NiJ9.W10.xxxx",
    "not ASCII": lambda: "é.ü.ß",
    "not even text": lambda: "\udcff.\udcfe.\udcfd",
    "a very long one": lambda: "x" * 100_000,
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_token_that_is_not_good_is_refused(name: str) -> None:
    """And the refusal never repeats it."""
    shown = REFUSED[name]()
    with pytest.raises(CredentialRefused) as refused:
        check(shown, SECRETS)
    assert shown not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("missing", [None, ""])
def test_a_missing_credential_is_asked_for(missing: str | None) -> None:
    with pytest.raises(CredentialRefused, match="a credential is needed"):
        check(missing, SECRETS)


def test_a_kind_that_is_not_configured_is_not_accepted() -> None:
    """No secret is not the empty secret."""
    nothing = Secrets(())
    empty = jwt.encode({"sub": "u1", "exp": LATER}, hashlib.sha256(b"").hexdigest(), algorithm="HS256")
    for given in (token(), room_token(), empty, "service-one"):
        with pytest.raises(CredentialRefused):
            check(given, nothing)


def test_a_user_token_needs_no_issuer_where_livekit_has_no_key() -> None:
    """A LiveKit secret without its key is half a setting; it takes no user's token for a room's."""
    half = Secrets((), (USER_SECRET,), ())
    assert check(token(), half).subject == "u1"


def test_while_secrets_are_rotated_tokens_of_both_are_good() -> None:
    both = Secrets((), (OTHER_SECRET, USER_SECRET), (("livekit-key", OTHER_SECRET), ("livekit-key", ROOM_SECRET)))
    for given in (token(), room_token()):
        assert check(given, both) == check(given, SECRETS)
    again = jwt.encode({"sub": "u1", "exp": time.time() - 60}, USER_SECRET, algorithm="HS256")
    with pytest.raises(CredentialRefused, match="expired"):
        check(again, both)
    for given in (token(), room_token()):
        with pytest.raises(CredentialRefused):
            check(given, Secrets((), (OTHER_SECRET,), (("livekit-key", OTHER_SECRET),)))


def test_secrets_are_not_shown() -> None:
    shown = repr(SECRETS)
    assert not any(secret in shown for secret in (*SECRETS.service_tokens, USER_SECRET, ROOM_SECRET))
