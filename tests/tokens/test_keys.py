from __future__ import annotations

import json
from typing import Any

import pytest

from pgoauthd.tokens.issuers import ASYMMETRIC_ALGORITHMS
from pgoauthd.tokens.keys import MAX_KEYS, KeySet, read_key_set
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.signature import ASYMMETRIC, VerificationKey
from pgoauthd.tokens.verdict import Refusal
from tests.fix_tokens import DROP, SigningKey, key_set, opened, segment, signing_key
from tests.tokens.case import EC, EC_384, ED, ED_448, PUBLISHED_KEYS, RSA, RSA_ENCRYPTION
from tests.tokens.vectors import algorithms_with_hmac

OTHER = EC.jwk()
"""A good key beside the one in question, so that the set is usable at all."""


def _read(*jwks: object) -> KeySet:
    keys = read_key_set({"keys": [*jwks, OTHER]})
    assert isinstance(keys, KeySet)
    return keys


def _skipped(jwk: object) -> str:
    keys = _read(jwk)
    assert (len(keys), len(keys.skipped)) == (1, 1)
    return keys.skipped[0]


def _refused(keys: KeySet | Refusal) -> str:
    assert isinstance(keys, Refusal)
    assert keys.reason is Reason.IDP_KEYS_INVALID
    return keys.message


def _number(value: int) -> str:
    return segment(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def test_the_algorithm_table_is_what_may_be_configured() -> None:
    assert tuple(ASYMMETRIC) == ASYMMETRIC_ALGORITHMS


def test_the_published_set_has_its_seven_usable_keys() -> None:
    keys = read_key_set(json.dumps(PUBLISHED_KEYS).encode())
    assert isinstance(keys, KeySet)
    assert keys.kids == ("rsa-1", "rsa-2", "ec-256", "ec-384", "ec-521", "ed-25519", "ed-448")
    assert (len(keys), len(keys.skipped)) == (7, 8)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "is not JSON"),
        (b"<html>", "is not JSON"),
        (b'{"keys":[]', "is not JSON"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[]", "is not a JSON object"),
        (b"{}", "has no list of keys"),
        (b'{"keys":{}}', "has no list of keys"),
        (b'{"keys":null}', "has no list of keys"),
        (b'{"keys":[],"keys":[]}', "has a key twice"),
        (b'{"keys":[]}', "it is empty"),
        (b'{"keys":[1]}', "it is not an object"),
    ],
)
def test_a_body_that_is_no_key_set_is_refused(body: bytes, why: str) -> None:
    assert why in _refused(read_key_set(body))


def test_a_set_of_100_keys_is_read() -> None:
    assert isinstance(read_key_set({"keys": [OTHER, *({"kty": "x"},) * (MAX_KEYS - 1)]}), KeySet)


def test_a_set_of_101_keys_is_refused() -> None:
    assert "101 keys" in _refused(read_key_set({"keys": [OTHER, *({"kty": "x"},) * MAX_KEYS]}))


def test_a_set_without_a_usable_key_is_refused_and_says_why() -> None:
    message = _refused(read_key_set({"keys": [RSA_ENCRYPTION.jwk(use="enc", alg="RSA-OAEP")]}))
    assert message == "the key set has no key that can verify signatures: its use is not sig"


def test_an_encryption_key_beside_the_signing_key_is_skipped_as_keycloak_lists_it() -> None:
    assert _skipped(RSA_ENCRYPTION.jwk(use="enc", alg="RSA-OAEP")) == "its use is not sig"


@pytest.mark.parametrize(
    "jwk",
    [
        RSA.jwk(use="enc"),
        RSA.jwk(use=None),
        RSA.jwk(use=["sig"]),
    ],
)
def test_a_key_for_another_use_is_skipped(jwk: dict[str, Any]) -> None:
    assert _skipped(jwk) == "its use is not sig"


@pytest.mark.parametrize("operations", [["sign"], ["encrypt", "wrapKey"], [], "verify", None, {"verify": 1}])
def test_a_key_without_the_verify_operation_is_skipped(operations: object) -> None:
    assert _skipped(RSA.jwk(key_ops=operations)) == "its key_ops are without verify"


@pytest.mark.parametrize(
    "changes",
    [
        {"kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
        {"kty": "rsa"},
        {"kty": DROP},
        {"kty": ["RSA"]},
        {"alg": "RSA-OAEP-256"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": "ES256"},
        {"alg": ["RS256"]},
        {"alg": "RS1"},
    ],
)
def test_an_rsa_key_of_no_known_algorithm_is_skipped(changes: dict[str, object]) -> None:
    assert _skipped(RSA.jwk(**changes)) == "its kty, crv and alg are of no signature algorithm that is known here"


@pytest.mark.parametrize(
    "changes",
    [{"crv": "secp256k1"}, {"crv": "P-224"}, {"crv": DROP}, {"crv": ["P-256"]}, {"alg": "ES384"}, {"alg": "ES521"}],
)
def test_an_ec_key_of_another_curve_than_its_algorithm_is_skipped(changes: dict[str, object]) -> None:
    jwk = EC.jwk(kid="doubtful", **changes)
    assert _skipped(jwk) == "its kty, crv and alg are of no signature algorithm that is known here"


@pytest.mark.parametrize(
    "jwk",
    [
        EC.jwk(kid="a", crv="P-384"),
        EC.jwk(kid="a", y=EC.jwk()["x"]),
        EC.jwk(kid="a", x=segment(bytes(32)), y=segment(bytes(32))),
        EC.jwk(kid="a", x=segment(opened(EC.jwk()["x"])[:-1])),
        ED.jwk(crv="Ed448"),
        ED_448.jwk(crv="Ed25519"),
        ED.jwk(x=segment(bytes(31))),
    ],
)
def test_numbers_that_are_no_point_of_the_curve_are_skipped(jwk: dict[str, Any]) -> None:
    assert _skipped(jwk).startswith("its numbers are not those of a key")


@pytest.mark.parametrize(
    "jwk",
    [
        RSA.jwk(n=DROP),
        RSA.jwk(e=DROP),
        RSA.jwk(n=""),
        RSA.jwk(n=12345),
        RSA.jwk(n=RSA.jwk()["n"] + "="),
        RSA.jwk(n=RSA.jwk()["n"] + "\n"),
        RSA.jwk(n="A" * 2052),
        EC.jwk(kid="a", y=DROP),
        EC.jwk(kid="a", x=None),
        ED.jwk(x="é"),
    ],
)
def test_a_key_whose_numbers_cannot_be_read_is_skipped(jwk: dict[str, Any]) -> None:
    assert _skipped(jwk).endswith("is not a number in base64url")


@pytest.mark.parametrize("key", [RSA, EC_384, ED], ids=lambda key: key.kid)
def test_a_private_key_is_skipped(key: SigningKey) -> None:
    assert _skipped(key.private_jwk() | {"key_ops": ["verify"]}) == "it holds private parts, so it is anybody's"


@pytest.mark.parametrize("bits", [1024, 1536, 2040])
def test_a_short_rsa_key_is_skipped(bits: int) -> None:
    weak = signing_key(f"weak-{bits}", bits=bits)
    assert _skipped(weak.jwk()) == f"it is an RSA key of {bits} bits; 2048 to 8192 are allowed"


def test_an_rsa_key_that_would_cost_too_much_is_skipped() -> None:
    jwk = RSA.jwk(n=_number((1 << 8192) + 1))
    assert _skipped(jwk) == "it is an RSA key of 8193 bits; 2048 to 8192 are allowed"


@pytest.mark.parametrize("exponent", [1, 2, 65536, (1 << 64) + 1])
def test_an_rsa_key_with_an_unsound_exponent_is_skipped(exponent: int) -> None:
    assert _skipped(RSA.jwk(e=_number(exponent))) == "it is an RSA key whose modulus or exponent is not sound"


def test_an_even_modulus_is_skipped() -> None:
    assert _skipped(RSA.jwk(n=_number(1 << 2047))) == "it is an RSA key whose modulus or exponent is not sound"


def test_an_rsa_key_with_exponent_3_is_used() -> None:
    assert len(_read(RSA.jwk(e=_number(3)))) == 2


@pytest.mark.parametrize("kid", ["", 1, None, ["a"], "k" * 257, "a\nb"])
def test_a_key_with_an_impossible_kid_is_skipped(kid: object) -> None:
    assert _skipped(RSA.jwk(kid=kid)) == "its kid is not a short string"


def test_keys_that_share_a_kid_are_all_unusable() -> None:
    keys = _read(RSA.jwk(kid="same"), ED.jwk(kid="same"))
    found = keys.find("same", "RS256")
    assert isinstance(found, Refusal)
    assert (found.reason, keys.kids) == (Reason.KEY_AMBIGUOUS, ("ec-256",))


def test_a_broken_key_makes_the_other_key_of_its_kid_ambiguous() -> None:
    assert _read(RSA.jwk(), RSA.jwk(n="?")).kids == ("ec-256",)


def test_a_leaked_private_key_makes_the_public_key_of_its_kid_unusable() -> None:
    assert _read(ED.jwk(), ED.private_jwk()).kids == ("ec-256",)


def test_an_encryption_key_may_share_the_kid_of_a_signing_key() -> None:
    assert _read(RSA.jwk(), RSA.jwk(use="enc")).kids == ("rsa-1", "ec-256")


def test_reasons_for_skipping_hold_no_kid() -> None:
    assert "doubtful" not in _skipped(RSA.jwk(kid="doubtful", use="enc"))


def test_a_secret_is_usable_only_where_the_table_has_hmac_and_no_public_key_is_beside_it() -> None:
    secret = {"kty": "oct", "kid": "s", "k": segment(bytes(64))}
    alone = read_key_set({"keys": [secret]}, algorithms=algorithms_with_hmac())
    mixed = read_key_set({"keys": [secret, OTHER]}, algorithms=algorithms_with_hmac())
    assert isinstance(alone, KeySet)
    assert isinstance(mixed, KeySet)
    assert (alone.kids, mixed.kids) == (("s",), ("ec-256",))
    assert mixed.skipped == ("it is a secret beside public keys",)
    _refused(read_key_set({"keys": [secret]}))


@pytest.mark.parametrize(
    ("jwk", "algorithms"),
    [
        (RSA.jwk(), {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        (RSA.jwk(alg="PS384"), {"PS384"}),
        (EC_384.jwk(), {"ES384"}),
        (ED.jwk(), {"EdDSA"}),
        (ED_448.jwk(use=DROP, key_ops=["verify", "sign"]), {"EdDSA"}),
    ],
)
def test_a_key_is_bound_to_the_algorithms_of_its_type_curve_and_alg(jwk: dict[str, Any], algorithms: set[str]) -> None:
    keys = read_key_set({"keys": [jwk]})
    assert isinstance(keys, KeySet)
    assert {name for name in ASYMMETRIC if isinstance(keys.find(jwk["kid"], name), VerificationKey)} == algorithms


def test_known_are_usable_kids_unusable_kids_and_no_kid() -> None:
    keys = _read(RSA.jwk(use="enc"))
    assert [keys.knows(kid) for kid in ("ec-256", "rsa-1", None)] == [True, True, True]
    assert not keys.knows("rsa-0")


@pytest.mark.parametrize(
    ("kid", "algorithm", "reason"),
    [
        ("rsa-0", "ES256", Reason.KEY_UNKNOWN),
        ("rsa-1", "ES256", Reason.KEY_MISMATCH),
        ("rsa-1", "HS256", Reason.KEY_MISMATCH),
        ("enc", "RS256", Reason.KEY_MISMATCH),
        (None, "RS256", Reason.KEY_AMBIGUOUS),
        (None, "EdDSA", Reason.KEY_MISMATCH),
    ],
)
def test_no_key_is_found_by(kid: str | None, algorithm: str, reason: Reason) -> None:
    keys = read_key_set({"keys": [RSA.jwk(), RSA.jwk(kid=DROP), RSA_ENCRYPTION.jwk(kid="enc", use="enc"), OTHER]})
    assert isinstance(keys, KeySet)
    found = keys.find(kid, algorithm)
    assert isinstance(found, Refusal)
    assert found.reason is reason


def test_without_a_kid_the_only_key_that_fits_is_found() -> None:
    keys = _read(RSA.jwk(kid=DROP))
    found = keys.find(None, "RS256")
    assert isinstance(found, VerificationKey)
    assert found.kid is None


@pytest.mark.parametrize(
    ("members", "issuer"),
    [
        ({}, None),
        ({"issuer": "https://id.example/{tenantid}/v2.0"}, "https://id.example/{tenantid}/v2.0"),
        ({"issuer": ""}, ""),
        ({"issuer": None}, ""),
        ({"issuer": ["https://id.example"]}, ""),
        ({"issuer": {"tenantid": 1}}, ""),
    ],
)
def test_a_key_keeps_the_issuer_that_it_is_listed_with(members: dict[str, object], issuer: str | None) -> None:
    found = _read(RSA.jwk(**members)).find("rsa-1", "RS256")
    assert isinstance(found, VerificationKey)
    assert found.issuer == issuer


def test_a_key_is_prepared_once_and_found_again_as_the_same_object() -> None:
    keys = _read(RSA.jwk())
    assert keys.find("rsa-1", "RS256") is keys.find("rsa-1", "PS256")


def test_a_verification_key_shows_no_numbers() -> None:
    keys = read_key_set(key_set(RSA))
    assert isinstance(keys, KeySet)
    assert repr(keys.find("rsa-1", "RS256")) == (
        "<VerificationKey 'rsa-1' for RS256, RS384, RS512, PS256, PS384, PS512>"
    )


def test_a_verifier_that_breaks_says_no() -> None:
    broken = VerificationKey(kid="a", algorithms={"RS256": ASYMMETRIC["RS256"].implementation}, prepared=object())
    assert broken.verifies("RS256", b"", b"") is None


def test_an_algorithm_that_the_key_does_not_have_says_no() -> None:
    keys = read_key_set(key_set(RSA))
    assert isinstance(keys, KeySet)
    key = keys.find("rsa-1", "RS256")
    assert isinstance(key, VerificationKey)
    assert key.verifies("none", b"", b"") is None
