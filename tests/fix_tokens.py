"""Keys and tokens for tests: real keys, made once a run, and tokens signed with them, good or broken on purpose."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import Algorithm, get_default_algorithms

ISSUER: Final = "https://id.example/realms/database"
AUDIENCE: Final = "pg-cluster"
DROP: Final = object()
"""As the value of a claim or header member: leave it out."""

_CURVES: dict[str, type[ec.EllipticCurve]] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


@dataclass(frozen=True)
class SigningKey:
    """An issuer's key: its kid, the algorithm that it usually signs with, and the private key object."""

    kid: str
    algorithm: str
    private: Any

    def sign(self, message: bytes, algorithm: str | None = None) -> bytes:
        """The raw signature over `message`, also with an algorithm of the same key type that is not the usual one."""
        return _implementations()[algorithm or self.algorithm].sign(message, self.private)

    def jwk(self, **changes: object) -> dict[str, Any]:
        """The public key as an issuer lists it; `changes` add, replace or DROP members."""
        implementation: Any = _implementations()[self.algorithm]
        public = implementation.to_jwk(self.private.public_key(), as_dict=True)
        public.pop("key_ops", None)
        return changed({"kid": self.kid, "use": "sig", **public}, changes)

    def private_jwk(self) -> dict[str, Any]:
        """The key with its private parts, as an issuer must never list it."""
        implementation: Any = _implementations()[self.algorithm]
        return {"kid": self.kid, **implementation.to_jwk(self.private, as_dict=True)}


@cache
def signing_key(kid: str, algorithm: str = "RS256", *, bits: int = 2048) -> SigningKey:
    """The key of this name, the same one for the whole run. `EdDSA` makes Ed25519 keys, `Ed448` the others."""
    if algorithm in _CURVES:
        return SigningKey(kid, algorithm, ec.generate_private_key(_CURVES[algorithm]()))
    if algorithm == "EdDSA":
        return SigningKey(kid, algorithm, ed25519.Ed25519PrivateKey.generate())
    if algorithm == "Ed448":
        return SigningKey(kid, "EdDSA", ed448.Ed448PrivateKey.generate())
    return SigningKey(kid, algorithm, rsa.generate_private_key(public_exponent=65537, key_size=bits))


def key_set(*keys: SigningKey) -> dict[str, Any]:
    """A JSON Web Key Set of these keys."""
    return {"keys": [key.jwk() for key in keys]}


def good_claims(now: float, **changes: object) -> dict[str, Any]:
    """The claims of a good access token at `now`; `changes` add, replace or DROP some, and are asked if callable."""
    claims = {
        "iss": ISSUER,
        "sub": "alice",
        "aud": AUDIENCE,
        "azp": "psql",
        "scope": "postgres profile",
        "jti": "0d5ee2b2",
        "iat": int(now) - 10,
        "exp": int(now) + 300,
    }
    return changed(claims, {name: value(now) if callable(value) else value for name, value in changes.items()})


def mint(
    now: float,
    *,
    key: SigningKey | None = None,
    algorithm: str | None = None,
    header: Mapping[str, object] | None = None,
    **claims: object,
) -> str:
    """A token with good claims but for `claims`, and a good header but for `header`, signed with `key` (RS256)."""
    signer = key or signing_key("rsa-1")
    good = {"alg": algorithm or signer.algorithm, "kid": signer.kid, "typ": "at+jwt"}
    return assemble(
        changed(good, header or {}), good_claims(now, **claims), key=signer, algorithm=algorithm or signer.algorithm
    )


def assemble(
    header: Mapping[str, Any] | bytes,
    payload: Mapping[str, Any] | bytes,
    *,
    key: SigningKey,
    algorithm: str | None = None,
) -> str:
    """A token of exactly this header and payload (bytes are taken as they are), rightly signed."""
    signing_input = f"{segment(header)}.{segment(payload)}"
    return f"{signing_input}.{segment(key.sign(signing_input.encode(), algorithm))}"


def segment(content: Mapping[str, Any] | bytes) -> str:
    """One part of a token: base64url without padding."""
    raw = content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def opened(part: str) -> bytes:
    """The bytes of one part of a token."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def changed(members: Mapping[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    """`members` with `changes`, without what is DROP."""
    return {name: value for name, value in {**members, **changes}.items() if value is not DROP}


@cache
def _implementations() -> dict[str, Algorithm]:
    return get_default_algorithms()
