"""Signatures after the Standard Webhooks specification 1.0 (https://www.standardwebhooks.com). Pure."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

_PREFIX: Final = "whsec_"
_FEWEST, _MOST = 24, 64
_HOW: Final = (
    f"must be {_PREFIX} and the base64 of {_FEWEST} to {_MOST} random bytes: make one with "
    "`python3 -c \"import secrets, base64; print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\"`"
)


def new_secret() -> str:
    """32 random bytes."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key(secret: str) -> bytes:
    """The bytes that sign. Raises: ValueError, which does not quote the secret."""
    try:
        found = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not secret.startswith(_PREFIX) or not _FEWEST <= len(found) <= _MOST:
        raise ValueError(_HOW)
    return found


def as_secrets(value: str) -> tuple[str, ...]:
    """A setting: several by comma while they are rotated. Raises: ValueError."""
    found = tuple(filter(None, (part.strip() for part in value.split(","))))
    for secret in found:
        key(secret)
    return found


def headers(event_id: str, now: datetime, body: bytes, with_secrets: Sequence[str]) -> dict[str, str]:
    """One signature for each secret; `now`: of this attempt, to the second."""
    stamp = str(int(now.timestamp()))
    signed = b".".join((event_id.encode(), stamp.encode(), body))
    made = (base64.b64encode(hmac.digest(key(secret), signed, sha256)).decode() for secret in with_secrets)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in made),
    }
