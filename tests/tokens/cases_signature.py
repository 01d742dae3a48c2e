"""Tokens that are refused for their algorithm, key or signature: the known attacks on JWT, each on its own."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

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
    PUBLISHED_KEYS,
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
P384_ORDER: Final = (1 << 384) - 1388124618062372383947042015309946732620727252194336364173
P521_ORDER: Final = (1 << 521) - 657877501894328237357444332315020117536923257219387276263472201219398408051703
ED25519_ORDER: Final = (1 << 252) + 27742317777372353535851937790883648493
MADE: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
"""The middle of a certificate's two years."""


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


def _written(key: SigningKey, encoding: Encoding, form: PublicFormat) -> bytes:
    written: bytes = key.private.public_key().public_bytes(encoding, form)
    return written


def _pem(key: SigningKey = RSA) -> bytes:
    return _written(key, Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _jwk() -> bytes:
    return json.dumps(RSA.jwk()).encode()


def _thumbprint_input() -> bytes:
    """RFC 7638 section 3: the JWK that is the same for everybody."""
    return json.dumps({name: RSA.jwk()[name] for name in ("e", "kty", "n")}, separators=(",", ":")).encode()


def _certificate(key: SigningKey) -> str:
    """A certificate that the key signed for itself, as x5c has it (RFC 7515 section 4.1.6)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "id.example")])
    builder = x509.CertificateBuilder(name, name, key.private.public_key(), x509.random_serial_number())
    year = dt.timedelta(days=365)
    dated = builder.not_valid_before(MADE - year).not_valid_after(MADE + year)
    return base64.b64encode(dated.sign(key.private, hashes.SHA256()).public_bytes(Encoding.DER)).decode()


def _der_signature(raw: bytes) -> bytes:
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


def _numbers(r: int, s: int, size: int = 32) -> bytes:
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _with_order_added(signature: bytes) -> bytes:
    """The same signature for whoever does not look at the size of S (RFC 8032 section 5.1.7)."""
    s = int.from_bytes(signature[32:], "little") + ED25519_ORDER
    return signature[:32] + s.to_bytes(32, "little")


def _claims_of_another(parts: list[str]) -> list[str]:
    return [parts[0], segment(json.loads(opened(parts[1])) | {"sub": "postgres"}), parts[2]]


def _signature_of_another(parts: list[str]) -> list[str]:
    return [*parts[:2], mint(0).split(".")[2]]


def _over(name: str, what: Callable[[str, str], str]) -> Case:
    """Rightly signed, but over something else than header, dot and payload."""

    def change(parts: list[str]) -> list[str]:
        return [*parts[:2], segment(RSA.sign(what(parts[0], parts[1]).encode()))]

    return with_parts(name, Reason.SIGNATURE_INVALID, change)


def _header_of_another(**changes: object) -> Callable[[list[str]], list[str]]:
    def change(parts: list[str]) -> list[str]:
        header: dict[str, Any] = json.loads(opened(parts[0]))
        return [segment(header | changes), *parts[1:]]

    return change


def _spellings(word: str) -> list[str]:
    """The word in every mixture of small and large letters."""
    return ["".join(letters) for letters in product(*((letter, letter.upper()) for letter in word))]


ALGORITHM_CASES: Final = (
    *(_unsigned(f"alg {spelling}", spelling) for spelling in _spellings("none")),
    _unsigned("alg none with a space behind it", "none "),
    _unsigned("alg none with NUL", "none\0"),
    _unsigned("alg none in wide letters", "\uff4e\uff4f\uff4e\uff45"),
    with_parts("alg none over a good signature", Reason.ALGORITHM_FORBIDDEN, _header_of_another(alg="none")),
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
    _hmac("HS256 with the RSA key in PEM, lines ended as on Windows", lambda: _pem().replace(b"\n", b"\r\n")),
    _hmac("HS256 with the RSA key in PEM of PKCS 1", lambda: _written(RSA, Encoding.PEM, PublicFormat.PKCS1)),
    _hmac("HS256 with the RSA key in DER", lambda: _written(RSA, Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
    _hmac("HS256 with the RSA key in DER of PKCS 1", lambda: _written(RSA, Encoding.DER, PublicFormat.PKCS1)),
    _hmac("HS256 with the RSA key as JWK for its thumbprint", _thumbprint_input),
    _hmac("HS256 with the text of the modulus", RSA.jwk()["n"].encode),
    _hmac("HS256 with the EC key in PEM", lambda: _pem(EC), kid="ec-256"),
    _hmac("HS256 with the Ed25519 key", lambda: opened(ED.jwk()["x"]), kid="ed-25519"),
    _hmac("HS256 with the whole key set", lambda: json.dumps(PUBLISHED_KEYS).encode()),
    _hmac("HS256 with the kid", lambda: b"rsa-1"),
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
    with_header("kid with an absolute path", Reason.KEY_UNKNOWN, kid="/proc/self/environ"),
    with_header("kid with SQL that is true", Reason.KEY_UNKNOWN, kid="rsa-1' OR '1'='1"),
    with_header("kid with a pattern", Reason.KEY_UNKNOWN, kid="rsa-*"),
    with_header("kid with a template", Reason.KEY_UNKNOWN, kid="{{7*7}}${7*7}"),
    with_header("kid with a space behind it", Reason.KEY_UNKNOWN, kid="rsa-1 "),
    with_header("kid with a letter that looks alike", Reason.KEY_UNKNOWN, kid="rs\u0430-1"),
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

CERTIFICATE: Final = _certificate(FORGER)
HINTS: Final[Mapping[str, object]] = {
    "jku": "https://evil.example/jwks",
    "jwk": FORGER.jwk(),
    "x5u": "https://evil.example/certificate",
    "x5c": [CERTIFICATE],
    "x5t": "0ZcOCORZNYy",
    "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2",
}

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
    _signed("forged, real certificate in the header", Reason.SIGNATURE_INVALID, FORGER, kid="rsa-1", x5c=[CERTIFICATE]),
    _signed("forged, certificate in the header, no kid", Reason.KEY_AMBIGUOUS, FORGER, kid=DROP, x5c=[CERTIFICATE]),
    _signed("forged, thumbprint of a certificate", Reason.SIGNATURE_INVALID, FORGER, kid="rsa-1", x5t="0ZcOCORZNYy"),
    _signed(
        "forged, key in the header under the issuer's kid",
        Reason.SIGNATURE_INVALID,
        FORGER,
        kid="rsa-1",
        jwk=FORGER.jwk(kid="rsa-1"),
    ),
    _signed(
        "forged, private key in the header", Reason.SIGNATURE_INVALID, FORGER, kid="rsa-1", jwk=FORGER.private_jwk()
    ),
    _signed(
        "forged, URL with the issuer's host as user",
        Reason.SIGNATURE_INVALID,
        FORGER,
        kid="rsa-1",
        jku="https://id.example@evil.example/keys",
    ),
    Case(
        "forged, every hint at once",
        Reason.SIGNATURE_INVALID,
        lambda now: mint(now, key=FORGER, header={"kid": "rsa-1", **HINTS}),
    ),
    _signed("signed with the issuer's other key", Reason.SIGNATURE_INVALID, RSA_BOUND, kid="rsa-1"),
    _signed("signed with the issuer's encryption key", Reason.SIGNATURE_INVALID, RSA_ENCRYPTION, kid="rsa-1"),
    _signed("PSS signature called PKCS 1", Reason.SIGNATURE_INVALID, RSA, "PS256", alg="RS256"),
    _signed("PKCS 1 signature called PSS", Reason.SIGNATURE_INVALID, RSA, "RS256", alg="PS256"),
    _signed("SHA-256 signature called SHA-512", Reason.SIGNATURE_INVALID, RSA, "RS256", alg="RS512"),
    _signed("Ed448 signature for the Ed25519 key", Reason.SIGNATURE_INVALID, ED_448, kid="ed-25519"),
    _over("signature over the payload alone", lambda _, payload: payload),
    _over("signature over the header alone", lambda header, _: header),
    _over("signature over both without their dot", lambda header, payload: header + payload),
    _over("signature over what the parts decode to", lambda header, payload: f"{opened(header)!r}.{opened(payload)!r}"),
    with_parts("signature of another token", Reason.SIGNATURE_INVALID, _signature_of_another),
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
    _raw("psychic signature of order and order, P-384", EC_384, lambda _: _numbers(P384_ORDER, P384_ORDER, 48)),
    _raw("psychic signature of order and order, P-521", EC_521, lambda _: _numbers(P521_ORDER, P521_ORDER, 66)),
    _raw("psychic signature of no bytes but one", EC, lambda _: b"\0"),
    _raw("r and s are one", EC, lambda _: _numbers(1, 1)),
    _raw("r is the order and s is one", EC, lambda _: _numbers(P256_ORDER, 1)),
    _raw("r is one and s is the order", EC, lambda _: _numbers(1, P256_ORDER)),
    _raw("r is the order and s is right", EC, lambda s: _numbers(P256_ORDER, int.from_bytes(s[32:], "big"))),
    _raw("r and s are as large as they can be", EC, lambda _: b"\xff" * 64),
    _raw("r is zero", EC, lambda _: _numbers(0, 1)),
    _raw("s is zero", EC, lambda _: _numbers(1, 0)),
    _raw("r and s are the order", EC, lambda _: _numbers(P256_ORDER, P256_ORDER)),
    _raw("EC signature in DER", EC, _der_signature),
    _raw("EC signature in DER, empty numbers", EC, lambda _: bytes.fromhex("3006020100020100")),
    _raw("EC signature with longer numbers", EC, lambda s: b"\0" + s[:32] + b"\0" + s[32:]),
    _raw("halves of the EC signature exchanged", EC, lambda s: s[32:] + s[:32]),
    _raw("half an EC signature", EC, lambda s: s[:32]),
    _raw("Ed25519 signature of zeros", ED, lambda s: bytes(len(s))),
    _raw("Ed25519 signature of the neutral point", ED, lambda _: b"\1" + bytes(63)),
    _raw("Ed25519 signature with the order added", ED, _with_order_added),
    _raw("Ed25519 signature as large as it can be", ED, lambda _: b"\xff" * 64),
    _raw("lengthened Ed25519 signature", ED, lambda s: s + b"\0"),
    _raw("truncated Ed25519 signature", ED, lambda s: s[:-3]),
    _raw("Ed448 signature of zeros", ED_448, lambda s: bytes(len(s))),
)

SIGNATURE_CASES: Final = (*ALGORITHM_CASES, *KEY_CASES, *FORGERY_CASES)
