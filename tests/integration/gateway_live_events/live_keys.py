"""Key pairs of an identity provider, and the tokens and documents it makes with them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(name: str, curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


def described(kid: str | None, private: Any, **more: Any) -> dict[str, Any]:
    """The public half as a JSON Web Key."""
    algorithm = RSAAlgorithm if isinstance(private, rsa.RSAPrivateKey) else ECAlgorithm
    key = algorithm.to_jwk(private.public_key(), as_dict=True)
    return {name: value for name, value in {**key, "kid": kid, **more}.items() if value is not None}


def key_set(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


def signed(kid: str | None, private: Any, algorithm: str = "RS256", **claims: Any) -> str:
    """A user token of a member of space s1."""
    body = {"sub": "u1", "exp": 4_102_444_800, "spaces": ["s1"], **claims}
    return jwt.encode(body, private, algorithm=algorithm, headers={"kid": kid} if kid is not None else None)


@dataclass
class Provider:
    """Answers with `document`, or fails with it."""

    document: bytes | Exception = b""
    asked: int = 0
    now: float = 1000.0
    waits: list[Any] = field(default_factory=list)

    async def fetch(self) -> bytes:
        self.asked += 1
        for wait in self.waits:
            await wait()
        if isinstance(self.document, Exception):
            raise self.document
        return self.document

    def clock(self) -> float:
        return self.now
