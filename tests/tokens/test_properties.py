from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgoauthd.tokens.bearer import BearerToken, decode
from pgoauthd.tokens.compact import decode_base64url, read_compact
from pgoauthd.tokens.identity import find_identity
from pgoauthd.tokens.judge import read_statement, weigh
from pgoauthd.tokens.keys import KeySet, read_key_set
from pgoauthd.tokens.metadata import check_url, read_metadata
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.strictjson import read_object
from pgoauthd.tokens.verdict import Refusal
from tests.fix_tokens import ISSUER, assemble, mint, opened, segment
from tests.tokens.case import EC, EC_384, EC_521, ED, ED_448, MAX_TOKEN_BYTES, POLICY, REQUEST, RSA
from tests.tokens.mutations import Mutation, mutations_with
from tests.tokens.through_core import NOW, judge_text

unhurried = settings(deadline=None)
"""The machine may be busy; what takes long here is making the keys."""

TOKEN_CHARACTERS = string.ascii_letters + string.digits + "-_.~+/="
GOOD_TOKENS = {key.kid: mint(NOW, key=key) for key in (RSA, EC, ED)}
OF_EVERY_ALGORITHM = {
    **{name: mint(NOW, key=RSA, algorithm=name) for name in ("RS256", "RS384", "RS512", "PS256", "PS384")},
    **{f"{key.algorithm} {key.kid}": mint(NOW, key=key) for key in (EC, EC_384, EC_521, ED, ED_448)},
}
"""With all algorithms and curves that the policy of the table allows."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
header_objects = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "jku", "x5c", "zip", "b64", "cty"]),
    st.sampled_from(["RS256", "ES256", "EdDSA", "HS256", "none", "rsa-1", "ec-256", "at+jwt"]) | json_values,
)
claim_objects = st.dictionaries(
    st.sampled_from(
        ["iss", "sub", "aud", "exp", "nbf", "iat", "scope", "scp", "typ", "cnf", "database", "events", "azp"]
    ),
    st.sampled_from([ISSUER, "pg-cluster", "postgres", NOW + 60, {"user": "alice"}]) | json_values,
)
signatures = st.binary(max_size=300)
good_tokens = st.sampled_from(sorted(GOOD_TOKENS.values()))

mutations = mutations_with(
    sorted(OF_EVERY_ALGORITHM.values()),
    TOKEN_CHARACTERS,
    ["alg", "kid", "typ", "crit", "jwk", "iss", "sub", "aud", "exp", "iat", "nbf", "scope", "cnf"],
    st.sampled_from(["none", "HS256", "RS256", "PS256", "ES256", "rsa-1", "ec-256", "JWT", "postgres", NOW + 900])
    | json_values.filter(lambda value: value == value),  # noqa: PLR0124 - NaN is no JSON
)


def _json(value: object) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _accepted(text: str) -> bool:
    return judge_text(text).authorized


@unhurried
@given(good_tokens, st.data())
def test_a_good_token_with_one_other_character_is_refused(token: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from(TOKEN_CHARACTERS).filter(lambda c: c != token[place]))
    assert not _accepted(token[:place] + other + token[place + 1 :])


@unhurried
@given(good_tokens, st.data(), st.sampled_from(TOKEN_CHARACTERS))
def test_a_good_token_with_one_character_more_is_refused(token: str, data: st.DataObject, more: str) -> None:
    place = data.draw(st.integers(0, len(token)))
    assert not _accepted(token[:place] + more + token[place:])


@unhurried
@given(good_tokens, st.data())
def test_a_good_token_with_a_piece_cut_out_is_refused(token: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(token) - 1))
    end = data.draw(st.integers(begin + 1, len(token)))
    assert not _accepted(token[:begin] + token[end:])


@pytest.mark.parametrize("name", OF_EVERY_ALGORITHM)
def test_no_mutation_of_a_good_token_is_accepted(name: str) -> None:
    @settings(unhurried, max_examples=200)
    @given(mutations)
    def refused(changes: list[Mutation]) -> None:
        text = OF_EVERY_ALGORITHM[name]
        for change in changes:
            text = change(text)
        verdict = judge_text(text)
        assert verdict.authorized is (text in OF_EVERY_ALGORITHM.values())
        assert verdict.reason is not Reason.INTERNAL_ERROR

    assert _accepted(OF_EVERY_ALGORITHM[name])
    refused()


@pytest.mark.parametrize("name", ["RS256", "ES256 ec-256", "EdDSA ed-25519"])
def test_no_single_bit_of_a_good_token_can_be_another(name: str) -> None:
    parts = [opened(part) for part in OF_EVERY_ALGORITHM[name].split(".")]
    for which, raw in enumerate(parts):
        for bit in range(len(raw) * 8):
            flipped = (int.from_bytes(raw, "big") ^ 1 << bit).to_bytes(len(raw), "big")
            text = ".".join(segment(flipped if at == which else part) for at, part in enumerate(parts))
            assert not _accepted(text), (which, bit)


def test_every_last_character_but_one_is_refused() -> None:
    """Exhaustively, because the surplus bits of base64url hide exactly there."""
    for token in GOOD_TOKENS.values():
        accepted = [c for c in TOKEN_CHARACTERS if _accepted(token[:-1] + c)]
        assert accepted == [token[-1]]


@unhurried
@given(good_tokens, good_tokens, st.integers(0, 2))
def test_parts_of_two_tokens_make_no_token(one: str, other: str, which: int) -> None:
    parts, others = one.split("."), other.split(".")
    parts[which] = others[which]
    mixed = ".".join(parts)
    assert _accepted(mixed) is (mixed in GOOD_TOKENS.values())


@unhurried
@given(st.text() | st.text(TOKEN_CHARACTERS) | st.text("." + TOKEN_CHARACTERS))
@example("\ud800")
@example("." * 5000)
def test_arbitrary_text_is_refused_and_never_raises(text: str) -> None:
    verdict = judge_text(text)
    assert not verdict.authorized
    assert verdict.reason is not Reason.INTERNAL_ERROR


@unhurried
@given(st.binary(), st.binary(), st.binary())
def test_arbitrary_bytes_as_parts_are_refused_and_never_raise(header: bytes, payload: bytes, signature: bytes) -> None:
    verdict = judge_text(f"{segment(header)}.{segment(payload)}.{segment(signature)}")
    assert not verdict.authorized
    assert verdict.reason is not Reason.INTERNAL_ERROR


@unhurried
@given(header_objects, claim_objects, signatures)
def test_arbitrary_json_without_a_good_signature_is_refused_and_keeps_nothing(
    header: dict[str, Any], claims: dict[str, Any], signature: bytes
) -> None:
    verdict = judge_text(f"{segment(_json(header))}.{segment(_json(claims))}.{segment(signature)}")
    assert (verdict.authorized, verdict.authn_id, verdict.claims) == (False, None, None)
    assert verdict.reason is not Reason.INTERNAL_ERROR


@unhurried
@given(claim_objects)
def test_arbitrary_claims_rightly_signed_never_break_the_core(claims: dict[str, Any]) -> None:
    payload = _json({"iss": ISSUER, "exp": NOW + 60, "aud": "pg-cluster", "sub": "alice", **claims})
    verdict = judge_text(assemble({"alg": "ES256", "kid": "ec-256"}, payload, key=EC))
    assert verdict.reason is not Reason.INTERNAL_ERROR
    assert verdict.message.isprintable()
    if verdict.authorized:
        assert verdict.authn_id is not None
        assert verdict.authn_id.isprintable()


@unhurried
@given(header_objects)
def test_arbitrary_headers_rightly_signed_never_break_the_core(header: dict[str, Any]) -> None:
    payload = {"iss": ISSUER, "exp": NOW + 60, "aud": "pg-cluster", "sub": "alice", "scope": "postgres"}
    verdict = judge_text(assemble(_json(header), payload, key=EC))
    assert verdict.reason is not Reason.INTERNAL_ERROR
    if verdict.authorized:
        assert (header["alg"], header.get("kid", "ec-256")) == ("ES256", "ec-256")


@unhurried
@given(claim_objects, st.floats(0, 4e9))
def test_claims_from_elsewhere_are_weighed_without_raising(claims: dict[str, Any], now: float) -> None:
    assert weigh(read_statement(claims, POLICY), REQUEST, POLICY, now).message


@unhurried
@given(st.text())
def test_an_identity_is_taken_as_it_is_or_refused(text: str) -> None:
    identity = find_identity({"sub": text}, POLICY)
    if isinstance(identity, str):
        assert identity == text
        assert identity.isprintable()
        assert identity == identity.strip()
        assert 1 <= len(identity.encode()) <= 256
    else:
        assert identity.reason is Reason.IDENTITY_INVALID


@unhurried
@given(st.binary())
def test_base64url_reads_what_was_written(raw: bytes) -> None:
    assert decode_base64url(segment(raw)) == raw


@unhurried
@given(st.text(TOKEN_CHARACTERS + " \n"))
def test_base64url_has_one_spelling_of_all_bytes(text: str) -> None:
    raw = decode_base64url(text)
    assert raw is None or segment(raw) == text


@unhurried
@given(st.binary())
def test_strict_json_agrees_with_plain_json_where_it_accepts(raw: bytes) -> None:
    value = read_object(raw, "it")
    assert isinstance(value, Refusal) or value == json.loads(raw)


@unhurried
@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_strict_json_reads_what_json_writes_unless_it_is_outside_its_rules(value: dict[str, Any]) -> None:
    raw = _json(value)
    read = read_object(raw, "it")
    outside = b"NaN" in raw or b"Infinity" in raw or b"\\ud" in raw
    assert outside or read == value


@unhurried
@given(json_values, json_values)
def test_arbitrary_key_sets_and_metadata_never_raise(keys: object, jwk: object) -> None:
    for document in (keys, {"keys": keys}, {"keys": [jwk, keys]}, {"issuer": ISSUER, "jwks_uri": jwk}):
        read_key_set(_json(document))
        read_metadata(_json(document), ISSUER, allow_loopback_http=True)


@unhurried
@given(
    st.dictionaries(st.sampled_from(["kid", "use", "key_ops", "alg", "crv", "kty", "n", "e", "x", "y"]), json_values)
)
def test_a_damaged_key_never_takes_the_good_one_down(damage: dict[str, Any]) -> None:
    for good in (RSA, EC, ED):
        keys = read_key_set({"keys": [good.jwk(**{"kid": "damaged", **damage}), RSA.jwk(kid="good")]})
        assert isinstance(keys, KeySet)
        assert "good" in keys.kids or damage.get("kid") == "good"


@unhurried
@given(st.text())
def test_arbitrary_text_as_url_never_raises(text: str) -> None:
    for url in (text, f"https://{text}", f"http://{text}/", f"https://id.example:{text}"):
        wrong = check_url(url, allow_loopback_http=True)
        assert wrong is None or wrong


@unhurried
@given(good_tokens)
def test_nothing_shows_a_token_by_accident(token: str) -> None:
    bearer = BearerToken.read(token, max_bytes=MAX_TOKEN_BYTES)
    assert isinstance(bearer, BearerToken)
    for value in (bearer, decode(bearer), read_compact(token)):
        assert f"{value}{value!r}{[value]}".replace("redacted", "").count(token[:12]) == 0
