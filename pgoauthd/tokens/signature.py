"""Which signature algorithms there are, and whether a signature is right; PyJWT computes, nothing is decided on claims.

An algorithm is bound to its key type and curve (RFC 8725 section 3.1), so that a token cannot choose how a key is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm, RSAPSSAlgorithm
from jwt.exceptions import PyJWTError

from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from pgoauthd.tokens.wording import quoted


class SignatureAlgorithm(msgspec.Struct, frozen=True, kw_only=True):
    """One `alg` of RFC 7518 section 3.1 or RFC 8037 section 3.1, and the keys that fit it."""

    name: str
    kty: str
    members: tuple[str, ...]
    """The members of a JWK that are its numbers, in base64url."""
    curves: tuple[str, ...] = ()
    """Allowed `crv`; none where the key type has no curves."""
    implementation: Algorithm

    def fits(self, kty: object, crv: object, alg: object) -> bool:
        """Whether a JWK of this type, curve and (where it names one) algorithm is a key for this algorithm."""
        return kty == self.kty and (not self.curves or crv in self.curves) and alg in (None, self.name)


class VerificationKey(msgspec.Struct, frozen=True, kw_only=True):
    """One usable key of an issuer, made ready once, with the algorithms that it may verify."""

    kid: str | None
    algorithms: Mapping[str, Algorithm]
    prepared: Any
    """The key object of the cryptography library."""
    issuer: str | None = None
    """`issuer` of the JWK, as Microsoft Entra lists it: whom alone this key signs for; "" where it is no string."""

    def __repr__(self) -> str:
        return f"<VerificationKey {self.kid!r} for {', '.join(self.algorithms)}>"

    def verifies(self, algorithm: str, signing_input: bytes, signature: bytes) -> bool | None:
        """Whether the signature is right; None where the verifier broke, which is no yes."""
        try:
            return self.algorithms[algorithm].verify(signing_input, self.prepared, signature) is True
        except (PyJWTError, ValueError):
            return False
        except Exception:  # noqa: BLE001 - what forged input makes of the verifier is not foreseeable
            return None


def check_signature(key: VerificationKey, algorithm: str, signing_input: bytes, signature: bytes) -> Refusal | None:
    """None if `key` made this signature over `signing_input`, else a Refusal: signature_invalid, internal_error."""
    match key.verifies(algorithm, signing_input, signature):
        case True:
            return None
        case False:
            name = "only fitting key" if key.kid is None else f"key {quoted(key.kid)}"
            return Refusal(
                Reason.SIGNATURE_INVALID, f"the token's {algorithm} signature was not made by the issuer's {name}"
            )
        case None:
            return Refusal(Reason.INTERNAL_ERROR, f"the verifier failed on the {algorithm} signature")


def _rsa(name: str, implementation: Algorithm) -> SignatureAlgorithm:
    return SignatureAlgorithm(name=name, kty="RSA", members=("n", "e"), implementation=implementation)


def _ec(name: str, curve: str, implementation: Algorithm) -> SignatureAlgorithm:
    return SignatureAlgorithm(name=name, kty="EC", members=("x", "y"), curves=(curve,), implementation=implementation)


ASYMMETRIC: Mapping[str, SignatureAlgorithm] = MappingProxyType(
    {
        algorithm.name: algorithm
        for algorithm in (
            _rsa("RS256", RSAAlgorithm(RSAAlgorithm.SHA256)),
            _rsa("RS384", RSAAlgorithm(RSAAlgorithm.SHA384)),
            _rsa("RS512", RSAAlgorithm(RSAAlgorithm.SHA512)),
            _rsa("PS256", RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256)),
            _rsa("PS384", RSAPSSAlgorithm(RSAPSSAlgorithm.SHA384)),
            _rsa("PS512", RSAPSSAlgorithm(RSAPSSAlgorithm.SHA512)),
            _ec("ES256", "P-256", ECAlgorithm(ECAlgorithm.SHA256)),
            _ec("ES384", "P-384", ECAlgorithm(ECAlgorithm.SHA384)),
            _ec("ES512", "P-521", ECAlgorithm(ECAlgorithm.SHA512)),
            SignatureAlgorithm(
                name="EdDSA",
                kty="OKP",
                members=("x",),
                curves=("Ed25519", "Ed448"),
                implementation=OKPAlgorithm(),
            ),
        )
    }
)
"""The algorithms of `issuers.ASYMMETRIC_ALGORITHMS`; the test vectors' HMAC keys need a table of their own."""
