"""A JSON Web Key Set (RFC 7517): the public keys in it that user tokens may be signed with. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import jwt

from gateway.reading import NotJson, read_json

ALGORITHMS: Final = ("RS256", "ES256")
_MOST_KEYS: Final = 64
_RSA_BITS: Final = (2048, 8192)


class BadKeys(Exception):
    """The document is no key set, or holds no key that can be used."""


def parse_keys(document: bytes) -> Mapping[str, jwt.PyJWK]:
    """Keys by `kid` ("" for one without). Those for other purposes, algorithms or of weak lengths are left out.

    Symmetric keys are left out too: what a set publishes is no secret.
    Raises: BadKeys.
    """
    try:
        listed = read_json(document)["keys"]
    except (NotJson, KeyError, TypeError):
        raise BadKeys("the answer is no JSON Web Key Set") from None
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise BadKeys(f"the answer is no list of at most {_MOST_KEYS} keys")
    found = {}
    for described in listed:
        key = _parse(described) if isinstance(described, dict) else None
        if key is not None:
            found[str(described.get("kid", ""))] = key
    if not found:
        raise BadKeys(f"there is no signing key for {' or '.join(ALGORITHMS)} in the answer")
    return found


def _parse(described: dict[str, Any]) -> jwt.PyJWK | None:
    if described.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK(described)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if key.algorithm_name not in ALGORITHMS:
        return None
    least, most = _RSA_BITS
    return key if key.algorithm_name == "ES256" or least <= key.key.key_size <= most else None
