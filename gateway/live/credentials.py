"""Who may watch or steer: service tokens, user JWTs, and the LiveKit token a browser holds for its room. Pure."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

import jwt

from gateway import names
from gateway.live.public_keys import ALGORITHMS
from gateway.transcription.domain import passes
from gateway.transcription.domain.passes import MintedFor

_LAST_EXPIRY: Final = 253_402_300_799  # the end of the year 9999
# PyJWT lets through what its JSON reader and its arithmetic raise: deep nesting, lone surrogates, an infinite `exp`.
_MALFORMED: Final = (jwt.PyJWTError, ValueError, RecursionError, OverflowError, TypeError)
NO_KEYS: Final[Mapping[str, jwt.PyJWK]] = MappingProxyType({})


class CredentialRefused(Exception):
    """The credential is missing, wrong or expired. The text is safe to show: it never holds the credential."""


class Forbidden(CredentialRefused):
    """A good credential, for something else."""


class WrongOrigin(Forbidden):
    """A page of another origin, which may not use this gateway."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What credentials are checked against, any of a kind. Empty: that kind is not accepted.

    `livekit_keys`: pairs of key and secret. `jwt_audience` and `jwt_issuer`: `aud` and `iss` that user tokens must
    have; None: any.
    """

    service_tokens: tuple[str, ...] = field(default=(), repr=False)
    jwt_secrets: tuple[str, ...] = field(default=(), repr=False)
    livekit_keys: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    jwt_audience: str | None = None
    jwt_issuer: str | None = None

    def proofs(self) -> frozenset[bytes]:
        """`Access.proof` of every credential that is good now, but for those checked with a public key."""
        service, livekit = self.service_tokens, [secret for _, secret in self.livekit_keys]
        signing = [passes.signing_key(token) for token in service]
        return frozenset(map(_proof, [*service, *self.jwt_secrets, *livekit, *signing]))


@dataclass(frozen=True, slots=True)
class Access:
    """What a credential proves. `expires_at`: seconds since 1970, None for service tokens.

    `spaces` and `room` are None when the credential is not limited by them. `may_speak`: audio may come with it.
    """

    subject: str
    expires_at: float | None = None
    spaces: frozenset[str] | None = None
    room: str | None = None
    name: str | None = None
    may_speak: bool = True
    active_space: str | None = None
    bearer: MintedFor | None = None
    """For whom we have made a room's token; None for one that the app has made."""
    proof: bytes = field(default=b"", compare=False, repr=False)
    """Tells which of our secrets it was checked with, without telling the secret; empty for a public key."""

    @property
    def is_service(self) -> bool:
        """Whether it is a service token: good for every session."""
        return self.spaces is None and self.room is None

    @property
    def is_vouched(self) -> bool:
        """Whether the app answers for the subject, whosever identity it is."""
        return self.is_service or (self.room is not None and (self.bearer is None or self.bearer.kind == "service"))

    @property
    def is_guest(self) -> bool:
        """Whether it is a room's token that we have made for a guest."""
        return self.bearer is not None and self.bearer.kind == "guest"

    @property
    def user_id(self) -> str | None:
        """The signed-in user whose credential this is; None for others."""
        if self.spaces is not None:
            return self.subject
        return None if self.bearer is None else self.bearer.user_id

    def check_session(self, slug: str, space_id: str) -> None:
        """Raises: Forbidden when this credential is not for that session."""
        if self.room is not None and self.room != slug:
            raise Forbidden("this LiveKit token is for another room")
        if self.spaces is not None and space_id not in self.spaces:
            raise Forbidden("this user is not a member of the session's space")


def bearer(authorization: str) -> str | None:
    """The token of an `Authorization` header, possibly empty; None when the header is of another scheme."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def is_service_token(token: str, accepted: tuple[str, ...]) -> bool:
    """Constant time in the token: hashes of equal length are compared, every accepted one each time."""
    given = _digest(token)
    matches = [hmac.compare_digest(given, _digest(good)) for good in accepted]
    return any(matches)


def _proof(key: Any) -> bytes:
    match key:
        case str():
            return _digest(key)[:8]
        case bytes():
            return sha256(key).digest()[:8]
        case _:
            return b""


def _digest(token: str) -> bytes:
    # A header may hold any byte; those that are no UTF-8 reach us as lone surrogates.
    return sha256(token.encode(errors="surrogatepass")).digest()


def key_id(token: str | None) -> str | None:
    """Which public key a token claims to be signed with ("" for one without a name); None when with none."""
    try:
        header = jwt.get_unverified_header(token or "")
    except _MALFORMED:
        return None
    kid = header.get("kid", "")
    return kid if header.get("alg") in ALGORITHMS and isinstance(kid, str) else None


def check(token: str | None, secrets: Secrets, keys: Mapping[str, jwt.PyJWK] = NO_KEYS) -> Access:
    """Find out what a token is. `keys`: the public ones, by id.

    Raises: CredentialRefused.
    """
    if not token:
        raise CredentialRefused("a credential is needed: Authorization: Bearer, ?token= or the WebSocket subprotocol")
    if is_service_token(token, secrets.service_tokens):
        return Access("service", proof=_proof(token))
    if token.count(".") != 2 or not token.isascii():
        raise CredentialRefused("the token is not one of this gateway's")
    issuer = _issuer(token)
    if of_livekit := [secret for key, secret in secrets.livekit_keys if key == issuer]:
        return _livekit(token, of_livekit)
    if issuer == passes.ISSUER:
        return _own(token, secrets.service_tokens)
    kid, of = key_id(token), (secrets.jwt_audience, secrets.jwt_issuer)
    if kid is not None and kid in keys:
        return _user(_decode(token, [keys[kid]], keys[kid].algorithm_name, *of))
    if secrets.jwt_secrets:
        return _user(_decode(token, secrets.jwt_secrets, "HS256", *of))
    raise CredentialRefused("the token is not one of this gateway's")


def _issuer(token: str) -> object:
    try:
        return jwt.decode(token, options={"verify_signature": False}).get("iss")
    except _MALFORMED:
        raise CredentialRefused("the token is malformed") from None


def _decode(
    token: str,
    keys: Iterable[Any],
    algorithm: str = "HS256",
    audience: str | None = None,
    issuer: str | None = None,
) -> tuple[dict[str, object], bytes]:
    """What a token says that is signed with any of the keys, and `Access.proof`. Raises: CredentialRefused."""
    for key in keys:
        try:
            # The key says with which algorithm: a token must not choose how it is checked.
            claims: dict[str, object] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                options={"require": ["exp"], "verify_aud": audience is not None},
                audience=audience,
                issuer=issuer,
                leeway=5,
            )
            json.dumps(claims, ensure_ascii=False).encode()  # a lone surrogate could be stored nowhere
            return claims, _proof(key)
        except jwt.InvalidSignatureError:
            continue  # while keys are rotated, another one may have signed it
        except jwt.ExpiredSignatureError:
            raise CredentialRefused("the token has expired") from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError, jwt.MissingRequiredClaimError) as error:
            raise CredentialRefused(f"the token is not for this gateway: {error}") from None
        except _MALFORMED:
            break
    raise CredentialRefused("the token's signature or claims are not valid")


def _user(decoded: tuple[dict[str, object], bytes]) -> Access:
    claims, proof = decoded
    spaces = claims.get("spaces")
    listed = [space if isinstance(space, str) else "" for space in spaces] if isinstance(spaces, list) else []
    active = claims.get("activeSpaceId")
    return Access(
        _subject(claims),
        _expiry(claims),
        frozenset(filter(None, listed)),
        name=_name(claims),
        active_space=active if isinstance(active, str) and active else None,
        proof=proof,
    )


def _livekit(token: str, secrets: Iterable[str]) -> Access:
    claims, proof = _decode(token, secrets)
    video = claims.get("video")
    room = video.get("room") if isinstance(video, dict) and video.get("roomJoin") else None
    if not isinstance(room, str) or not room:
        raise CredentialRefused("this LiveKit token does not allow joining a room")
    given = str(claims.get("sub", ""))
    subject = names.cleaned(given)
    bearer = passes.bearer(claims.get("attributes"), exact=subject == given)
    may_speak = isinstance(video, dict) and _may_publish(video)
    return Access(subject, _expiry(claims), None, room, _name(claims), may_speak, bearer=bearer, proof=proof)


def _own(token: str, service_tokens: tuple[str, ...]) -> Access:
    """A pass of our own, signed for any of the service tokens."""
    claims, proof = _decode(token, map(passes.signing_key, service_tokens))
    room, subject = claims.get("room"), claims.get("sub")
    if not (isinstance(room, str) and room and isinstance(subject, str) and names.is_clean(subject)):
        raise CredentialRefused("the token is not one of this gateway's")
    bearer = passes.read(claims.get("attributes")) or passes.MintedFor("guest")
    return Access(subject, _expiry(claims), None, room, _name(claims), bearer=bearer, proof=proof)


def _may_publish(video: dict[str, object]) -> bool:
    """Grants that say nothing of publishing allow it, as LiveKit does; one that names sources names the microphone."""
    sources = video.get("canPublishSources")
    return video.get("canPublish") is not False and (
        not sources or (isinstance(sources, list) and "microphone" in sources)
    )


def _subject(claims: dict[str, object]) -> str:
    """A user's id, which is also an identity: an odd one is refused, not mended, so it reads the same everywhere."""
    subject = str(claims.get("sub", ""))
    if subject and not names.is_clean(subject):
        raise CredentialRefused(
            "the token's sub is not fit to be an identity: it has spaces around it or controls in it"
        )
    return subject


def _name(claims: dict[str, object]) -> str | None:
    name = claims.get("name")
    return names.cleaned(name) or None if isinstance(name, str) else None


def _expiry(claims: dict[str, object]) -> float:
    expires = claims["exp"]
    if not isinstance(expires, int | float) or not 0 <= expires <= _LAST_EXPIRY:
        raise CredentialRefused("the token's exp is no moment before the year 10000")
    return float(expires)
