from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pgoauthd.tokens.claims import check_issuer, kept_claims
from pgoauthd.tokens.issuers import IssuerPolicy, RequiredClaim
from pgoauthd.tokens.judge import read_statement, weigh
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import KeptClaims, LoginRequest, Refusal
from tests.fix_tokens import AUDIENCE, DROP, ISSUER, good_claims
from tests.tokens.case import POLICY
from tests.tokens.through_core import NOW


def _refusal(claims: dict[str, Any], policy: IssuerPolicy) -> Refusal | None:
    """Through the judgement, which puts the checks of claims in order."""
    verdict = weigh(read_statement(claims, policy), LoginRequest(role="dba", issuer=ISSUER), policy, NOW)
    return None if verdict.authorized else Refusal(verdict.reason, verdict.message)


def _message(**claims: object) -> str:
    refusal = _refusal(good_claims(NOW, **claims), POLICY)
    assert isinstance(refusal, Refusal)
    return refusal.message


def _policy(**changes: object) -> IssuerPolicy:
    return msgspec.structs.replace(POLICY, **changes)


def _judged(policy: IssuerPolicy, **claims: object) -> Refusal | None:
    return _refusal(good_claims(NOW, **claims), policy)


def _reason(policy: IssuerPolicy, **claims: object) -> Reason | None:
    refusal = _judged(policy, **claims)
    return refusal.reason if refusal else None


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"exp": NOW - 90}, "the token expired 90 s ago; the leeway is 30 s"),
        ({"nbf": NOW + 90}, "the token is valid in 90 s (nbf)"),
        ({"iat": NOW + 90}, "the token was issued 90 s in the future (iat)"),
        ({"exp": NOW + 90_000, "iat": NOW}, "the token lives for 90000 s; allowed are 86400 s"),
        ({"exp": "soon"}, "the token's exp is a string; expected seconds since the epoch"),
        ({"aud": "account"}, "the token's aud is 'account'; expected is one of 'pg-cluster', 'pg-reporting'"),
        ({"aud": DROP}, "the token has no aud; expected is one of 'pg-cluster', 'pg-reporting'"),
        (
            {"typ": "ID"},
            "the token is not an access token: typ is 'ID'; expected 'bearer', 'dpop', 'access', 'at+jwt', 'jwt'",
        ),
    ],
)
def test_a_message_says_what_was_found_and_what_was_expected(claims: dict[str, Any], message: str) -> None:
    assert _message(**claims) == message


def test_a_message_names_only_the_first_audiences() -> None:
    message = _message(aud=[f"a{i}" for i in range(300)])
    assert "'a4' and 295 more" in message


def test_a_message_only_describes_what_is_long_or_unprintable() -> None:
    message = _message(aud=["x" * 101, "a\nb"])
    assert "(a value of 101 characters, not shown), (a value of 3 characters, not shown)" in message


@pytest.mark.parametrize(
    ("issuer", "reason"),
    [
        (ISSUER, None),
        (DROP, Reason.ISSUER_MISSING),
        (ISSUER + "/", Reason.ISSUER_MISMATCH),
        (None, Reason.ISSUER_MISMATCH),
    ],
)
def test_the_issuer_is_compared_exactly(issuer: object, reason: Reason | None) -> None:
    refusal = check_issuer(good_claims(NOW, iss=issuer), POLICY)
    assert (refusal.reason if refusal else None) is reason


OTHER_SPELLINGS = _policy(token_issuers=("id.example", "http://id.example/trust"))


@pytest.mark.parametrize("issuer", [ISSUER, "id.example", "http://id.example/trust"])
def test_the_issuer_and_each_of_the_token_issuers_may_be_in_iss(issuer: str) -> None:
    assert check_issuer(good_claims(NOW, iss=issuer), OTHER_SPELLINGS) is None


@pytest.mark.parametrize(
    "issuer",
    [
        "ID.example",
        "id.example/",
        "http://id.example",
        "http://id.example/trust/",
        "",
        ["id.example"],
        {"id.example": 1},
    ],
)
def test_a_token_issuer_is_compared_exactly(issuer: object) -> None:
    refusal = check_issuer(good_claims(NOW, iss=issuer), OTHER_SPELLINGS)
    assert refusal is not None
    assert refusal.reason is Reason.ISSUER_MISMATCH


@pytest.mark.parametrize(
    ("issuer", "found"),
    [(DROP, "the token has no iss"), ("x", "the token's iss is 'x'"), ([ISSUER], "the token's iss is an array")],
)
def test_a_message_about_the_issuer_lists_all_that_were_expected(issuer: object, found: str) -> None:
    refusal = check_issuer(good_claims(NOW, iss=issuer), OTHER_SPELLINGS)
    assert refusal is not None
    expected = f"expected is one of '{ISSUER}', 'id.example', 'http://id.example/trust'"
    assert refusal.message == f"{found}; {expected}"


BY_CLIENT = _policy(audience_claims=(("aud",), ("client_id",), ("access", "for")))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": AUDIENCE}, None),
        ({"aud": AUDIENCE, "client_id": "other"}, None),
        ({"aud": DROP, "client_id": AUDIENCE}, None),
        ({"aud": DROP, "access": {"for": ["x", AUDIENCE]}}, None),
        ({"aud": "other", "client_id": AUDIENCE}, Reason.AUDIENCE_MISMATCH),
        ({"aud": DROP, "client_id": "other", "access": {"for": AUDIENCE}}, Reason.AUDIENCE_MISMATCH),
        ({"aud": [], "client_id": AUDIENCE}, Reason.AUDIENCE_MISSING),
        ({"aud": None, "client_id": AUDIENCE}, Reason.CLAIM_INVALID),
        ({"aud": {}, "client_id": AUDIENCE}, Reason.CLAIM_INVALID),
        ({"aud": DROP, "client_id": 7}, Reason.CLAIM_INVALID),
        ({"aud": DROP}, Reason.AUDIENCE_MISSING),
        ({"aud": DROP, "access": {}}, Reason.AUDIENCE_MISSING),
        ({"aud": DROP, "access": [AUDIENCE]}, Reason.AUDIENCE_MISSING),
        ({"aud": DROP, "access.for": AUDIENCE}, Reason.AUDIENCE_MISSING),
    ],
)
def test_the_first_audience_claim_that_is_there_is_judged(claims: dict[str, Any], reason: Reason | None) -> None:
    assert _reason(BY_CLIENT, **claims) is reason


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"aud": DROP}, "the token has no aud or client_id or access.for"),
        ({"aud": DROP, "client_id": []}, "the token has no client_id"),
        ({"aud": DROP, "client_id": "psql"}, "the token's client_id is 'psql'"),
    ],
)
def test_a_message_about_the_audience_names_the_claims(claims: dict[str, Any], message: str) -> None:
    refusal = _judged(BY_CLIENT, **claims)
    assert refusal is not None
    assert refusal.message == f"{message}; expected is one of 'pg-cluster', 'pg-reporting'"


def _requiring(*values: str, path: tuple[str, ...] = ("org",)) -> IssuerPolicy:
    return _policy(required_claims=(RequiredClaim(path, values),))


@pytest.mark.parametrize("value", ["a", "b", ["a"], ["x", "b"], ["x", 1, None, "a"]])
def test_a_required_claim_is_or_holds_one_of_the_values(value: object) -> None:
    assert _reason(_requiring("a", "b"), org=value) is None


@pytest.mark.parametrize("value", [DROP, None, "", "A", "a ", "ab", 1, [], ["x"], [["a"]], {"a": "a"}, {}, True])
def test_a_required_claim_that_is_missing_or_something_else_is_a_mismatch(value: object) -> None:
    assert _reason(_requiring("a", "b"), org=value) is Reason.CLAIM_MISMATCH


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        (True, True),
        ("true", True),
        ([True], True),
        (False, False),
        (1, False),
        ("True", False),
        ("", False),
        (DROP, False),
    ],
)
def test_a_required_boolean_is_as_json_writes_it(value: object, accepted: bool) -> None:
    assert _reason(_requiring("true"), org=value) is (None if accepted else Reason.CLAIM_MISMATCH)


def test_a_required_number_is_never_met() -> None:
    assert _reason(_requiring("1", "1.0"), org=1) is Reason.CLAIM_MISMATCH


def test_a_required_claim_without_values_is_never_met() -> None:
    assert _reason(_requiring(), org="a") is Reason.CLAIM_MISMATCH


def test_a_required_claim_may_be_inside_others() -> None:
    policy = _requiring("7", path=("tenant", "id"))
    assert _reason(policy, tenant={"id": "7"}) is None
    assert _reason(policy, **{"tenant.id": "7"}) is Reason.CLAIM_MISMATCH
    assert _reason(policy, tenant=["7"]) is Reason.CLAIM_MISMATCH


def test_all_required_claims_are_required() -> None:
    policy = _policy(required_claims=(RequiredClaim(("a",), ("1",)), RequiredClaim(("b",), ("2",))))
    assert _reason(policy, a="1", b="2") is None
    assert _reason(policy, a="1", b="1") is Reason.CLAIM_MISMATCH
    assert _reason(policy, b="2") is Reason.CLAIM_MISMATCH


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (DROP, "missing"),
        (None, "null"),
        ("c", "'c'"),
        ("c\n", "(a value of 2 characters, not shown)"),
        (False, "false"),
        (7, "a number"),
        ({"a": "b"}, "an object"),
        (["c", "d"], "an array of 'c', 'd'"),
        ([{}], "an array"),
    ],
)
def test_a_message_about_a_required_claim_says_what_was_found(value: object, found: str) -> None:
    refusal = _judged(_requiring("a", "b"), org=value)
    assert refusal is not None
    assert refusal.message == f"the token's org is {found}; expected is one of 'a', 'b'"


def test_a_token_that_is_bound_to_its_sender_is_taken_only_where_the_policy_says_so() -> None:
    assert _reason(_policy(), cnf={"jkt": "x"}) is Reason.SENDER_CONSTRAINED
    assert _reason(_policy(accept_sender_constrained=True), cnf={"jkt": "x"}) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"typ": "ID", "exp": 0, "aud": "x", "cnf": {}}, Reason.TOKEN_USE_FORBIDDEN),
        ({"exp": 0, "aud": "x", "cnf": {}}, Reason.EXPIRED),
        ({"aud": "x", "cnf": {}}, Reason.AUDIENCE_MISMATCH),
        ({"cnf": {}}, Reason.SENDER_CONSTRAINED),
        ({}, Reason.CLAIM_MISMATCH),
    ],
)
def test_of_several_faults_of_the_claims_the_first_on_the_way_is_told(changes: dict[str, Any], reason: Reason) -> None:
    assert _reason(_requiring("a"), **changes) is reason


def test_kept_are_the_claims_that_explain_a_login() -> None:
    claims = good_claims(NOW, auth_time=NOW - 100, email="alice@id.example", aud=[AUDIENCE, "account"])
    assert kept_claims(claims, ("postgres", "profile")) == KeptClaims(
        iss=ISSUER,
        sub="alice",
        aud=(AUDIENCE, "account"),
        client_id="psql",
        scope=("postgres", "profile"),
        jti="0d5ee2b2",
        iat=NOW - 10,
        exp=NOW + 300,
        auth_time=NOW - 100,
    )


@pytest.mark.parametrize(
    ("clients", "kept"),
    [
        ({"azp": "a", "client_id": "b", "appid": "c"}, "a"),
        ({"client_id": "b", "appid": "c"}, "b"),
        ({"appid": "c", "cid": "d"}, "c"),
        ({"cid": "d"}, "d"),
        ({"azp": 1, "client_id": "b"}, "b"),
        ({"azp": "a\n", "client_id": ["b"]}, None),
    ],
)
def test_kept_is_the_first_well_formed_client(clients: dict[str, Any], kept: str | None) -> None:
    assert kept_claims(clients, ()).client_id == kept


@pytest.mark.parametrize("name", ["iss", "sub", "jti", "azp"])
@pytest.mark.parametrize("value", [1, None, True, ["a"], {"a": "b"}, "a\0", "a\nb", "\u202ea", "\ud800", "é" * 129])
def test_a_malformed_text_is_not_kept(name: str, value: object) -> None:
    assert kept_claims({name: value}, ()) == KeptClaims()


def test_times_end_with_the_year_9999() -> None:
    assert kept_claims({"exp": 253_402_300_799}, ()).exp == 253_402_300_799.0
    assert kept_claims({"exp": 253_402_300_800}, ()).exp is None


def test_a_text_of_256_bytes_is_kept_and_one_of_257_is_not() -> None:
    assert kept_claims({"sub": "a" * 256, "jti": "a" * 257}, ()) == KeptClaims(sub="a" * 256)


@pytest.mark.parametrize("name", ["iat", "exp", "auth_time"])
@pytest.mark.parametrize("value", ["1", None, True, [1], -1, 1e308, 10**400, float("nan"), float("inf")])
def test_a_malformed_time_is_not_kept(name: str, value: object) -> None:
    assert kept_claims({name: value}, ()) == KeptClaims()


def test_kept_lists_are_bounded_and_lose_what_is_malformed() -> None:
    kept = kept_claims({"aud": [f"a{i}" for i in range(100)]}, ("good", "b\nad", *(f"s{i}" for i in range(100))))
    assert (len(kept.aud), len(kept.scope), kept.scope[:2]) == (20, 49, ("good", "s0"))


@pytest.mark.parametrize("audience", [1, ["a", 1], {"a": 1}, None])
def test_a_malformed_audience_is_not_kept(audience: object) -> None:
    assert kept_claims({"aud": audience}, ()).aud == ()
