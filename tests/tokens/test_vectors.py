from __future__ import annotations

import json

import pytest

from pgoauthd.tokens.compact import Compact
from pgoauthd.tokens.keys import KeySet, read_key_set
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from tests.tokens.vectors import COOKBOOK, WYCHEPROOF, Vector, load, verify_text, wycheproof

SIGNATURE_VECTORS = tuple(wycheproof("json_web_signature_test.json"))
KEY_VECTORS = tuple(wycheproof("json_web_key_test.json"))
CRYPTO_VECTORS = tuple(wycheproof("json_web_crypto_test.json"))


def _deviations() -> dict[str, set[int]]:
    explained = load(WYCHEPROOF / "EXPECTED_DEVIATIONS.json")
    return {name: {int(tc_id) for tc_id in ids} for name, ids in explained.items() if isinstance(ids, dict)}


def _accepted(vector: Vector) -> bool:
    return isinstance(verify_text(vector.text, vector.keys), Compact)


def _disagreements(vectors: tuple[Vector, ...]) -> set[int]:
    return {vector.tc_id for vector in vectors if _accepted(vector) is not vector.valid}


def test_wycheproof_signatures_agree_in_393_of_401() -> None:
    disagreements = _disagreements(SIGNATURE_VECTORS)
    assert (len(SIGNATURE_VECTORS), len(SIGNATURE_VECTORS) - len(disagreements)) == (401, 393)


def test_wycheproof_signatures_disagree_exactly_where_the_vector_is_explained_as_defective() -> None:
    explained = _deviations()
    assert sum(map(len, explained.values())) == 8
    assert _disagreements(SIGNATURE_VECTORS) == set().union(*explained.values())


def test_wycheproof_keys_agree_in_26_of_26() -> None:
    assert (len(KEY_VECTORS), _disagreements(KEY_VECTORS)) == (26, set())


def test_wycheproof_crypto_signatures_agree_in_49_of_49() -> None:
    vectors = tuple(vector for vector in CRYPTO_VECTORS if vector.kind == "jws")
    assert (len(vectors), _disagreements(vectors)) == (49, set())


def test_no_encrypted_token_of_wycheproof_is_accepted() -> None:
    vectors = tuple(vector for vector in CRYPTO_VECTORS if vector.kind == "jwe")
    assert (len(vectors), [vector.tc_id for vector in vectors if _accepted(vector)]) == (34, [])


def test_no_invalid_vector_is_accepted_but_two_that_are_byte_for_byte_a_valid_one() -> None:
    everything = (*SIGNATURE_VECTORS, *KEY_VECTORS, *CRYPTO_VECTORS)
    accepted = [vector for vector in everything if not vector.valid and _accepted(vector)]
    twins = {vector.text for vector in SIGNATURE_VECTORS if vector.tc_id == 357}
    assert {vector.tc_id for vector in accepted} == _deviations()["marked_invalid_but_byte_identical_to_valid_tcId_357"]
    assert {vector.text for vector in accepted} == twins


@pytest.mark.parametrize("vector", SIGNATURE_VECTORS + KEY_VECTORS + CRYPTO_VECTORS, ids=str)
def test_no_vector_breaks_the_core(vector: Vector) -> None:
    outcome = verify_text(vector.text, vector.keys)
    assert isinstance(outcome, Compact) or outcome.reason is not Reason.INTERNAL_ERROR


RFC_7520 = (
    "jws/4_1.rsa_v15_signature.json",
    "jws/4_2.rsa-pss_signature.json",
    "jws/4_3.ecdsa_signature.json",
    "jws/4_4.hmac-sha2_integrity_protection.json",
    "curve25519/jws.json",
)
PRIVATE = ("d", "p", "q", "dp", "dq", "qi")


@pytest.mark.parametrize("name", RFC_7520)
def test_cookbook_signature_verifies_and_gives_its_payload(name: str) -> None:
    example = load(COOKBOOK / name)
    key = {member: value for member, value in example["input"]["key"].items() if member not in PRIVATE}
    token = verify_text(example["output"]["compact"], {"keys": [key]})
    assert isinstance(token, Compact)
    assert token.payload.decode() == example["input"]["payload"]


@pytest.mark.parametrize("name", [name for name in RFC_7520 if "hmac" not in name])
def test_cookbook_signature_is_refused_with_its_private_key_in_the_key_set(name: str) -> None:
    example = load(COOKBOOK / name)
    refusal = verify_text(example["output"]["compact"], {"keys": [example["input"]["key"]]})
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.IDP_KEYS_INVALID


FORMS_OTHER_THAN_COMPACT = (
    "jws/4_5.signature_with_detached_content.json",
    "jws/4_6.protecting_specific_header_fields.json",
    "jws/4_7.protecting_content_only.json",
    "jws/4_8.multiple_signatures.json",
    "rfc7797/4.2.hmac-sha2_b64_false.json",
    "rfc7797/hmac-sha2_b64_false.json",
)


@pytest.mark.parametrize("name", FORMS_OTHER_THAN_COMPACT)
def test_cookbook_signature_in_another_form_is_refused(name: str) -> None:
    example = load(COOKBOOK / name)
    key = example["input"]["key"]
    keys = {"keys": key if isinstance(key, list) else [key]}
    outcomes = [verify_text(_as_text(output), keys) for output in example["output"].values()]
    assert outcomes
    assert all(isinstance(outcome, Refusal) for outcome in outcomes)


def test_cookbook_payload_that_is_not_encoded_is_refused_for_its_header() -> None:
    example = load(COOKBOOK / "rfc7797/4.2.hmac-sha2_b64_false.json")
    signing = example["signing"]
    outcome = verify_text(f"{signing['protected_b64u']}.Zm9v.{signing['sig']}", {"keys": [example["input"]["key"]]})
    assert isinstance(outcome, Refusal)
    assert outcome.reason is Reason.HEADER_INVALID


ENCRYPTED = sorted(path.name for path in (COOKBOOK / "jwe").iterdir())


@pytest.mark.parametrize("name", ENCRYPTED)
def test_cookbook_encrypted_token_is_refused(name: str) -> None:
    example = load(COOKBOOK / "jwe" / name)
    for form, output in example["output"].items():
        outcome = verify_text(_as_text(output), {"keys": []})
        assert isinstance(outcome, Refusal)
        assert outcome.reason is (Reason.TOKEN_ENCRYPTED if form == "compact" else Reason.TOKEN_MALFORMED)


@pytest.mark.parametrize(
    ("name", "skipped"),
    [
        ("3_1.ec_public_key.json", ()),
        ("3_2.ec_private_key.json", ("it holds private parts, so it is anybody's",)),
        ("3_3.rsa_public_key.json", ()),
        ("3_4.rsa_private_key.json", ("it holds private parts, so it is anybody's",)),
        (
            "3_5.symmetric_key_mac_computation.json",
            ("its kty, crv and alg are of no signature algorithm that is known here",),
        ),
        ("3_6.symmetric_key_encryption.json", ("its use is not sig",)),
    ],
)
def test_cookbook_key_is_read_or_skipped(name: str, skipped: tuple[str, ...]) -> None:
    beside = load(COOKBOOK / "curve25519/jws.json")["input"]["key"]
    keys = read_key_set({"keys": [load(COOKBOOK / "jwk" / name), {k: v for k, v in beside.items() if k != "d"}]})
    assert isinstance(keys, KeySet)
    assert (keys.skipped, len(keys)) == (skipped, 2 - len(skipped))


def _as_text(output: object) -> str:
    return output if isinstance(output, str) else json.dumps(output)
