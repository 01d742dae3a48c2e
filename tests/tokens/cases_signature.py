"""Tokens that are refused for their algorithm, key or signature: the known attacks on JWT, each on its own."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pgoauthd.tokens.reasons import Reason
from tests.fix_tokens import DROP, SigningKey, good_claims, mint, opened, segment
from tests.tokens.case import (
    EC,
    EC_384,
    EC_521,
    EC_FORGER,
    EC_LEAKED,
    EC_TO_SIGN,
    EC_TWIN,
    ED,
    ED_448,
    FORGER,
    RSA,
    RSA_BOUND,
    RSA_ENCRYPTION,
    RSA_WEAK,
    SECRET,
    Case,
    with_header,
    with_parts,
)

P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def _unsigned(name: str, alg: str, signature: str = "") -> Case:
    def token(now: float) -> str:
        return f"{segment({'alg': alg, 'kid': 'rsa-1', 'typ': 'at+jwt'})}.{segment(good_claims(now))}.{signature}"

    return Case(name, Reason.ALGORITHM_FORBIDDEN, token)


def _hmac(name: str, secret: Callable[[], bytes], alg: str = "HS256", kid: str = "rsa-1") -> Case:
    """Signed symmetrically with something that is public."""

    def token(now: float) -> str:
        signing_input = f"{segment({'alg': alg, 'kid': kid, 'typ': 'at+jwt'})}.{segment(good_claims(now))}"
        digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[alg]
        return f"{signing_input}.{segment(hmac.new(secret(), signing_input.encode(), digest).digest())}"

    return Case(name, Reason.ALGORITHM_FORBIDDEN, token)


def _signed(name: str, reason: Reason, key: SigningKey, /, algorithm: str | None = None, **header: object) -> Case:
    """Signed with `key` and `algorithm`, whatever the header says."""
    return Case(name, reason, lambda now: mint(now, key=key, algorithm=algorithm, header=header))


def _raw(name: str, key: SigningKey, signature: Callable[[bytes], bytes]) -> Case:
    """A good token of `key` whose signature was replaced by something made of it."""
    return with_parts(name, Reason.SIGNATURE_INVALID, lambda p: [p[0], p[1], segment(signature(opened(p[2])))], key=key)


def _pem() -> bytes:
    pem: bytes = RSA.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def _der() -> bytes:
    der: bytes = RSA.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der


def _jwk() -> bytes:
    return json.dumps(RSA.jwk()).encode()


def _der_signature(raw: bytes) -> bytes:
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


def _numbers(r: int, s: int, size: int = 32) -> bytes:
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _claims_of_another(parts: list[str]) -> list[str]:
    return [parts[0], segment(json.loads(opened(parts[1])) | {"sub": "postgres"}), parts[2]]


def _header_of_another(**changes: object) -> Callable[[list[str]], list[str]]:
    def change(parts: list[str]) -> list[str]:
        header: dict[str, Any] = json.loads(opened(parts[0]))
        return [segment(header | changes), *parts[1:]]

    return change


ALGORITHM_CASES: Final = (
    _unsigned("alg none", "none"),
    _unsigned("alg None", "None"),
    _unsigned("alg NONE", "NONE"),
    _unsigned("alg nOnE", "nOnE"),
    _unsigned("alg none with a signature", "none", "AAAA"),
    _unsigned("alg in lower case", "rs256", "AAAA"),
    _unsigned("alg with a space", " RS256", "AAAA"),
    _unsigned("alg of an encryption", "RSA-OAEP", "AAAA"),
    _unsigned("alg that nobody knows", "XX999", "AAAA"),
    _unsigned("alg of another curve", "ES256K", "AAAA"),
    _unsigned("alg with SHA-1", "RS1", "AAAA"),
    _unsigned("alg that cannot be shown", "RS256\n\x1b[31m", "AAAA"),
    _hmac("HS256 with the RSA key in PEM", _pem),
    _hmac("HS256 with the RSA key in PEM, stripped", lambda: _pem().strip()),
    _hmac("HS256 with the RSA key in DER", _der),
    _hmac("HS256 with the RSA key as JWK", _jwk),
    _hmac("HS256 with the modulus", lambda: opened(RSA.jwk()["n"])),
    _hmac("HS256 with an empty secret", lambda: b""),
    _hmac("HS384 with the RSA key in PEM", _pem, alg="HS384"),
    _hmac("HS512 with the point of the EC key", lambda: opened(EC.jwk()["x"]), alg="HS512", kid="ec-256"),
    _hmac("HS256 with a secret from the key set", lambda: SECRET, kid="secret"),
    _signed("good algorithm that the policy leaves out", Reason.ALGORITHM_FORBIDDEN, RSA, "PS512"),
)

KEY_CASES: Final = (
    with_header("unknown kid", Reason.KEY_UNKNOWN, kid="rsa-0"),
    with_header("kid in other case", Reason.KEY_UNKNOWN, kid="RSA-1"),
    with_header("kid with a path", Reason.KEY_UNKNOWN, kid="../../../../dev/null"),
    with_header("kid with SQL", Reason.KEY_UNKNOWN, kid="x' UNION SELECT 'secret"),
    with_header("kid with a command", Reason.KEY_UNKNOWN, kid="rsa-1|id"),
    with_header("kid with a URL", Reason.KEY_UNKNOWN, kid="http://169.254.169.254/keys"),
    with_header("kid of 256 characters", Reason.KEY_UNKNOWN, kid="k" * 256),
    _signed("kid of nobody's key", Reason.KEY_UNKNOWN, FORGER),
    _signed("key for encryption", Reason.KEY_MISMATCH, RSA_ENCRYPTION),
    _signed("key for signing, not verifying", Reason.KEY_MISMATCH, EC_TO_SIGN),
    _signed("key of 1024 bits", Reason.KEY_MISMATCH, RSA_WEAK),
    _signed("key whose private part is published", Reason.KEY_MISMATCH, EC_LEAKED),
    _signed("key for key agreement", Reason.KEY_MISMATCH, ED, kid="x25519"),
    _signed("secret's kid with a public algorithm", Reason.KEY_MISMATCH, RSA, kid="secret"),
    _signed("kid listed twice", Reason.KEY_AMBIGUOUS, EC_TWIN),
    _signed("no kid and two keys that fit", Reason.KEY_AMBIGUOUS, RSA, kid=DROP),
    _signed("no kid and two curves that fit", Reason.KEY_AMBIGUOUS, ED, kid=DROP),
    _signed("key bound to another hash", Reason.KEY_MISMATCH, RSA_BOUND, "RS384"),
    _signed("key bound to another padding", Reason.KEY_MISMATCH, RSA_BOUND, "PS256"),
    _signed("EC algorithm with an RSA key", Reason.KEY_MISMATCH, EC, kid="rsa-1"),
    _signed("RSA algorithm with an EC key", Reason.KEY_MISMATCH, RSA, kid="ec-256"),
    _signed("EdDSA with an EC key", Reason.KEY_MISMATCH, ED, kid="ec-256"),
    _signed("ES384 with a P-256 key", Reason.KEY_MISMATCH, EC, "ES384", alg="ES384"),
    _signed("ES256 with a P-384 key", Reason.KEY_MISMATCH, EC_384, "ES256", alg="ES256"),
)

FORGERY_CASES: Final = (
    _signed("forged with the issuer's kid", Reason.SIGNATURE_INVALID, FORGER, kid="rsa-1"),
    _signed("forged with the issuer's EC kid", Reason.SIGNATURE_INVALID, EC_FORGER, kid="ec-256"),
    _signed("forged, key in the header", Reason.SIGNATURE_INVALID, FORGER, kid="rsa-1", jwk=FORGER.jwk()),
    _signed("forged, key in the header and its kid", Reason.KEY_UNKNOWN, FORGER, jwk=FORGER.jwk()),
    _signed("forged, key in the header, no kid", Reason.SIGNATURE_INVALID, EC_FORGER, kid=DROP, jwk=EC_FORGER.jwk()),
    _signed("forged, URL of a key set", Reason.SIGNATURE_INVALID, FORGER, kid="rsa-1", jku="https://evil.example/jwks"),
    _signed("forged, URL of a key set and its kid", Reason.KEY_UNKNOWN, FORGER, jku="https://evil.example/jwks"),
    _signed(
        "forged, URL of a certificate", Reason.SIGNATURE_INVALID, FORGER, kid="rsa-1", x5u="https://evil.example/c"
    ),
    _signed("forged, certificate in the header", Reason.SIGNATURE_INVALID, FORGER, kid="rsa-1", x5c=["MIIB", "MIIC"]),
    _signed("signed with the issuer's other key", Reason.SIGNATURE_INVALID, RSA_BOUND, kid="rsa-1"),
    _signed("signed with the issuer's encryption key", Reason.SIGNATURE_INVALID, RSA_ENCRYPTION, kid="rsa-1"),
    _signed("PSS signature called PKCS 1", Reason.SIGNATURE_INVALID, RSA, "PS256", alg="RS256"),
    _signed("PKCS 1 signature called PSS", Reason.SIGNATURE_INVALID, RSA, "RS256", alg="PS256"),
    _signed("SHA-256 signature called SHA-512", Reason.SIGNATURE_INVALID, RSA, "RS256", alg="RS512"),
    _signed("Ed448 signature for the Ed25519 key", Reason.SIGNATURE_INVALID, ED_448, kid="ed-25519"),
    with_parts("no signature", Reason.SIGNATURE_INVALID, lambda p: [*p[:2], ""]),
    with_parts("no EC signature", Reason.SIGNATURE_INVALID, lambda p: [*p[:2], ""], key=EC),
    with_parts("no Ed25519 signature", Reason.SIGNATURE_INVALID, lambda p: [*p[:2], ""], key=ED),
    with_parts("claims of another", Reason.SIGNATURE_INVALID, _claims_of_another),
    with_parts("claims of another, EC", Reason.SIGNATURE_INVALID, _claims_of_another, key=EC),
    with_parts("claims of another, Ed25519", Reason.SIGNATURE_INVALID, _claims_of_another, key=ED),
    with_parts("typ changed after signing", Reason.SIGNATURE_INVALID, _header_of_another(typ="JWT")),
    with_parts("alg changed after signing", Reason.SIGNATURE_INVALID, _header_of_another(alg="RS384")),
    with_parts("kid changed after signing", Reason.SIGNATURE_INVALID, _header_of_another(kid="rsa-2")),
    _raw("truncated signature", RSA, lambda s: s[:-3]),
    _raw("lengthened signature", RSA, lambda s: s + b"\0"),
    _raw("signature with a zero before it", RSA, lambda s: b"\0" + s),
    _raw("signature of one flipped bit", RSA, lambda s: s[:-1] + bytes([s[-1] ^ 1])),
    _raw("signature of zeros", RSA, lambda s: bytes(len(s))),
    _raw("signature that is one", RSA, lambda s: bytes(len(s) - 1) + b"\1"),
    _raw("signature that is the modulus", RSA, lambda _: opened(RSA.jwk()["n"])),
    _raw("psychic signature", EC, lambda _: _numbers(0, 0)),
    _raw("psychic signature, P-384", EC_384, lambda _: _numbers(0, 0, 48)),
    _raw("psychic signature, P-521", EC_521, lambda _: _numbers(0, 0, 66)),
    _raw("r is zero", EC, lambda _: _numbers(0, 1)),
    _raw("s is zero", EC, lambda _: _numbers(1, 0)),
    _raw("r and s are the order", EC, lambda _: _numbers(P256_ORDER, P256_ORDER)),
    _raw("EC signature in DER", EC, _der_signature),
    _raw("EC signature in DER, empty numbers", EC, lambda _: bytes.fromhex("3006020100020100")),
    _raw("EC signature with longer numbers", EC, lambda s: b"\0" + s[:32] + b"\0" + s[32:]),
    _raw("halves of the EC signature exchanged", EC, lambda s: s[32:] + s[:32]),
    _raw("half an EC signature", EC, lambda s: s[:32]),
    _raw("Ed25519 signature of zeros", ED, lambda s: bytes(len(s))),
    _raw("truncated Ed25519 signature", ED, lambda s: s[:-3]),
    _raw("Ed448 signature of zeros", ED_448, lambda s: bytes(len(s))),
)

SIGNATURE_CASES: Final = (*ALGORITHM_CASES, *KEY_CASES, *FORGERY_CASES)
