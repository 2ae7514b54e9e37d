"""Passes: the tokens that this gateway makes for people, and what they say of who made them and for whom. Pure.

A LiveKit token carries it in its participant attributes: the LiveKit server shows them with its events, copies them
into the tokens that it renews, and lets a participant change them only under a grant that is never given here. A token
without them was made by the app, which vouches for the identity in it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

ISSUER: Final = "transcription-gateway"
"""Of tokens that are good here only: for audio and captions where there is no LiveKit server."""
_BY: Final = "gateway.mintedBy"
_FOR: Final = "gateway.mintedFor"
_USER: Final = "gateway.userId"


@dataclass(frozen=True, slots=True)
class MintedFor:
    """Who asked for a token. `user_id`: of a signed-in user."""

    kind: Literal["service", "user", "guest"]
    user_id: str | None = None


def written(bearer: MintedFor) -> dict[str, str]:
    """As attributes of a token."""
    said = {_BY: "gateway", _FOR: bearer.kind}
    return said if bearer.user_id is None else {**said, _USER: bearer.user_id}


def read(attributes: object) -> MintedFor | None:
    """What `written` wrote; None when nothing of it is there. What cannot be understood was made for a guest."""
    if not isinstance(attributes, Mapping) or not any(key in attributes for key in (_BY, _FOR, _USER)):
        return None
    kind, user_id = attributes.get(_FOR), attributes.get(_USER)
    if kind == "service":
        return MintedFor("service")
    if kind == "user" and isinstance(user_id, str) and user_id:
        return MintedFor("user", user_id)
    return MintedFor("guest")


def bearer(attributes: object, *, exact: bool) -> MintedFor | None:
    """As `read`. What became its identity only when it was cleaned (not `exact`) is not whose identity it is."""
    return read(attributes) if exact else MintedFor("guest")


def signing_key(service_token: str) -> bytes:
    """With which tokens of ISSUER are signed: every replica has it, and it dies with the service token."""
    return hmac.digest(service_token.encode(errors="surrogatepass"), b"passes of the transcription gateway", "sha256")
