from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NoReturn, cast

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgoauthd.tokens.bearer import BearerToken, UnverifiedToken, decode
from pgoauthd.tokens.introspection import read_answer
from pgoauthd.tokens.issuers import RoleRule
from pgoauthd.tokens.judge import (
    Statement,
    check_before_introspection,
    judge_introspected,
    precheck,
    read_introspected,
    weigh,
)
from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.reasons import Reason, Stage
from pgoauthd.tokens.verdict import KeptClaims, LoginRequest, Refusal, Verdict
from tests.fix_tokens import AUDIENCE, DROP, ISSUER, mint
from tests.tokens.case import EC, EC_FORGER, REQUEST
from tests.tokens.case_introspection import ASKED, LIGHTWEIGHT, MERGING, OTHER, SPARSE, good_answer
from tests.tokens.cases_introspection import ACCEPTANCES, CASES, REFUSALS, IntrospectionCase
from tests.tokens.through_core import NOW, published
from tests.tokens.through_introspection import judge_case

TOLD_NOTHING = frozenset({Stage.HBA, Stage.TOKEN_FORMAT, Stage.DECODE, Stage.IDP, Stage.SIGNATURE})
IDENTIFIED = frozenset({Stage.NONE, Stage.SCOPE, Stage.USERMAP})
PIECE = 12

of_table = pytest.mark.parametrize("case", CASES, ids=str)


def _token(**claims: Any) -> UnverifiedToken:  # noqa: ANN401 - any claim or part of mint
    token = decode(BearerToken(mint(NOW, **cast("dict[str, Any]", {"key": EC, "jti": DROP, **claims}))))
    assert isinstance(token, UnverifiedToken)
    return token


TOKEN = _token()


def _judge(
    answer: dict[str, Any], token: UnverifiedToken | None = None, request: LoginRequest = REQUEST, **policy: object
) -> Verdict:
    return judge_introspected(answer, token, request, msgspec.structs.replace(ASKED.policy, **policy), NOW)


@of_table
def test_every_answer_ends_in_its_reason(case: IntrospectionCase) -> None:
    judged = judge_case(case)
    assert (judged.verdict.reason, judged.verdict.authorized) == (case.reason, case.reason is Reason.OK)
    assert judged.asked is case.asked


@of_table
def test_no_verdict_holds_a_piece_of_the_token(case: IntrospectionCase) -> None:
    verdict = judge_case(case).verdict
    shown = f"{verdict!r}{msgspec.json.encode(verdict).decode()}"
    segments = [part for part in case.token(NOW).split(".") if len(part) >= PIECE]
    pieces = {part[i : i + PIECE] for part in segments for i in range(len(part) - PIECE + 1)}
    assert not [piece for piece in pieces if piece in shown]


@of_table
def test_nothing_is_kept_that_the_issuer_did_not_say_of_an_active_token(case: IntrospectionCase) -> None:
    verdict = judge_case(case).verdict
    unverified = case.reason.stage is not Stage.CLAIMS or case.reason in (Reason.ISSUER_MISSING, Reason.ISSUER_MISMATCH)
    if case.reason.stage in TOLD_NOTHING or case.reason is Reason.TOKEN_INACTIVE or (unverified and not case.asked):
        assert verdict.claims is None
    assert (verdict.authn_id is not None) is (case.reason.stage in IDENTIFIED)


@of_table
def test_messages_are_one_short_printable_sentence(case: IntrospectionCase) -> None:
    message = judge_case(case).verdict.message
    assert message
    assert message.isprintable()
    assert len(message) <= 1000
    assert not message.endswith(".")


def test_names_and_tokens_of_rows_are_unique() -> None:
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []
    assert len({case.token(NOW) for case in CASES}) == len(CASES)


def test_the_table_is_as_large_as_is_said() -> None:
    assert (len(REFUSALS), len(ACCEPTANCES)) == (211, 35)


def test_a_good_answer_gives_identity_and_kept_claims() -> None:
    assert _judge(good_answer(NOW, jti="0d5ee2b2")) == Verdict(
        authorized=True,
        reason=Reason.OK,
        message="the token is good",
        authn_id="alice",
        claims=KeptClaims(
            iss=ISSUER,
            sub="alice",
            aud=(AUDIENCE,),
            client_id="psql",
            scope=("postgres", "profile"),
            jti="0d5ee2b2",
            iat=NOW - 10,
            exp=NOW + 300,
        ),
    )


def test_what_an_answer_adds_to_a_lightweight_token_is_in_its_verdict() -> None:
    token = _token(**LIGHTWEIGHT, jti="0d5ee2b2")
    claims = _judge(good_answer(NOW, scope=DROP), token, mode="jwt_then_introspect").claims
    assert claims is not None
    assert (claims.sub, claims.aud, claims.jti, claims.scope) == (
        "alice",
        (AUDIENCE,),
        "0d5ee2b2",
        ("postgres", "profile", "email"),
    )


def test_a_refusal_after_an_answer_tells_who_was_refused() -> None:
    verdict = _judge(good_answer(NOW, scope="profile"))
    assert (verdict.reason, verdict.authn_id) == (Reason.SCOPE_MISSING, "alice")
    assert verdict.claims is not None


def test_roles_are_granted_by_what_the_answer_says() -> None:
    rule = RoleRule(roles=("reporting",), claim=("groups",), value="analysts")
    request = LoginRequest(role="reporting", issuer=ISSUER, delegated=True)
    for groups, reason in (["analysts"], Reason.OK), (["guests"], Reason.DELEGATION_REFUSED):
        assert _judge(good_answer(NOW, groups=groups), request=request, role_rules=(rule,)).reason is reason


def test_roles_that_the_answer_takes_away_are_gone_whatever_the_token_says() -> None:
    rule = RoleRule(roles=("reporting",), claim=("groups",), value="analysts")
    request = LoginRequest(role="reporting", issuer=ISSUER, delegated=True)
    verdict = _judge(good_answer(NOW, groups=[]), _token(groups=["analysts"]), request, role_rules=(rule,))
    assert verdict.reason is Reason.DELEGATION_REFUSED


@pytest.mark.parametrize("active", [DROP, False, "true", 1, None, [True]])
def test_the_judge_itself_asks_whether_the_token_is_active(active: object) -> None:
    assert not _judge(good_answer(NOW, active=active)).authorized


@pytest.mark.parametrize("missing", ["iss", "aud", "exp"])
def test_each_optional_member_may_be_missing_where_that_one_is_optional(missing: str) -> None:
    answer = good_answer(NOW, **{missing: DROP})
    for optional in ("iss", "aud", "exp"):
        assert _judge(answer, introspection_optional=(optional,)).authorized is (optional == missing)


def test_what_is_optional_in_answers_is_not_optional_in_a_token() -> None:
    policy = msgspec.structs.replace(SPARSE.policy, mode="jwt_then_introspect")
    refusal = precheck(_token(iss=DROP), policy, published(), NOW)
    assert refusal is not None
    assert refusal.reason is Reason.ISSUER_MISSING


def test_an_answer_that_says_more_does_not_take_the_mark_off_an_id_token() -> None:
    token = _token(nonce="n-0S6", scope=DROP, azp=DROP)
    assert _judge(good_answer(NOW), token).reason is Reason.TOKEN_USE_FORBIDDEN


def test_a_statement_of_an_answer_is_weighed_anew_at_every_login() -> None:
    statement = read_introspected(good_answer(NOW), None, ASKED.policy)
    assert isinstance(statement, Statement)
    assert weigh(statement, REQUEST, ASKED.policy, NOW).authorized
    assert weigh(statement, REQUEST, ASKED.policy, NOW + 331).reason is Reason.EXPIRED


class BrokenAnswer(dict[str, Any]):
    """An answer with a fault that nobody foresaw."""

    def get(self, key: str, default: object = None) -> NoReturn:
        raise TypeError(f"{key} {default} eyJhbGci")

    def __iter__(self) -> Iterator[str]:
        raise TypeError


class BrokenKeys(KeySet):
    """A key set with such a fault."""

    def find(self, kid: str | None, algorithm: str) -> NoReturn:
        raise AttributeError(f"{kid} {algorithm} eyJhbGci")


def test_what_nobody_foresaw_is_a_refusal_that_names_only_the_kind_of_error() -> None:
    unforeseen = Refusal(Reason.INTERNAL_ERROR, "pgoauthd failed with TypeError while it judged the token")
    assert _judge(BrokenAnswer(good_answer(NOW))) == Verdict.refused(unforeseen)


def test_what_nobody_foresaw_before_the_issuer_is_asked_is_a_refusal() -> None:
    unforeseen = Refusal(Reason.INTERNAL_ERROR, "pgoauthd failed with AttributeError while it judged the token")
    assert precheck(_token(), MERGING.policy, BrokenKeys(()), NOW) == Verdict.refused(unforeseen)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        (LIGHTWEIGHT, None),
        ({"aud": "account"}, None),
        ({"exp": DROP}, None),
        ({"scope": DROP, "sub": 7}, None),
        ({"iss": OTHER}, Reason.ISSUER_MISMATCH),
        ({"iss": DROP}, Reason.ISSUER_MISSING),
        ({"exp": NOW - 31}, Reason.EXPIRED),
        ({"exp": None}, Reason.CLAIM_INVALID),
        ({"nbf": NOW + 31}, Reason.NOT_YET_VALID),
        ({"iat": NOW + 31}, Reason.ISSUED_IN_FUTURE),
        ({"exp": NOW + 86_400 * 30}, Reason.LIFETIME_TOO_LONG),
        ({"typ": "Refresh"}, Reason.TOKEN_USE_FORBIDDEN),
        ({"token_use": "id"}, Reason.TOKEN_USE_FORBIDDEN),
        ({"cnf": {}}, Reason.SENDER_CONSTRAINED),
        ({"header": {"typ": "id+jwt"}}, Reason.TYPE_FORBIDDEN),
        ({"header": {"alg": "ES384"}}, Reason.ALGORITHM_FORBIDDEN),
        ({"header": {"kid": "nobody"}}, Reason.KEY_UNKNOWN),
        ({"key": EC_FORGER, "header": {"kid": "ec-256"}}, Reason.SIGNATURE_INVALID),
    ],
)
def test_the_issuer_is_asked_about_a_jwt_that_it_signed_and_that_is_not_bad_already(
    changes: dict[str, Any], reason: Reason | None
) -> None:
    refusal = precheck(_token(**changes), MERGING.policy, published(), NOW)
    assert (refusal.reason if refusal else None) is reason


def test_an_expired_jwt_that_the_issuer_signed_is_refused_with_what_it_says() -> None:
    verdict = precheck(_token(exp=NOW - 31), MERGING.policy, published(), NOW)
    assert verdict is not None
    assert verdict.claims is not None
    assert (verdict.claims.sub, verdict.authn_id) == ("alice", None)


def test_a_forged_jwt_is_refused_without_anything_that_it_says() -> None:
    verdict = precheck(_token(key=EC_FORGER, header={"kid": "ec-256"}), MERGING.policy, published(), NOW)
    assert verdict is not None
    assert verdict.claims is None


@pytest.mark.parametrize(
    ("issuer", "reason"),
    [
        (ISSUER, None),
        (DROP, None),
        (OTHER, Reason.ISSUER_MISMATCH),
        (ISSUER + "/", Reason.ISSUER_MISMATCH),
        ("", Reason.ISSUER_MISMATCH),
        (None, Reason.ISSUER_MISMATCH),
        ([ISSUER], Reason.ISSUER_MISMATCH),
    ],
)
def test_a_jwt_is_shown_to_the_issuer_that_it_names_or_to_the_one_where_it_names_none(
    issuer: object, reason: Reason | None
) -> None:
    refusal = check_before_introspection(_token(iss=issuer), ASKED.policy, NOW)
    assert (refusal.reason if refusal else None) is reason


def test_a_jwt_is_shown_to_an_issuer_that_its_tokens_name_otherwise() -> None:
    policy = msgspec.structs.replace(ASKED.policy, token_issuers=(OTHER,))
    assert check_before_introspection(_token(iss=OTHER), policy, NOW) is None


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"at_hash": "MTIzNDU2Nzg5MDEyMzQ1Ng"}, Reason.TOKEN_USE_FORBIDDEN),
        ({"typ": "ID"}, Reason.TOKEN_USE_FORBIDDEN),
        ({"cnf": {"jkt": "x"}}, Reason.SENDER_CONSTRAINED),
        ({"exp": NOW - 3600}, Reason.EXPIRED),
        ({"nbf": NOW + 3600}, Reason.NOT_YET_VALID),
        ({"aud": DROP, "exp": DROP, "sub": DROP, "scope": DROP}, None),
        ({"iss": DROP, "cnf": {"jkt": "x"}}, None),
    ],
)
def test_what_a_jwt_says_of_itself_counts_before_its_issuer_says_less(
    claims: dict[str, Any], reason: Reason | None
) -> None:
    refusal = check_before_introspection(_token(**claims), ASKED.policy, NOW)
    assert (refusal.reason if refusal else None) is reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
near_misses = st.sampled_from(
    [
        *(True, "true", 1, ISSUER, [ISSUER], AUDIENCE, [AUDIENCE], [AUDIENCE, 1], [], {"jkt": "x"}, None),
        *(NOW + 60, NOW - 29, NOW - 31, str(NOW), 10**400),
        *("Bearer", "DPoP", "N_A", "alice", "postgres", ["postgres"]),
    ]
)
names = st.sampled_from(
    ["active", "iss", "aud", "exp", "nbf", "iat", "scope", "sub", "token_type", "cnf", "typ", "token_use", "events"]
)
changes = st.dictionaries(names, near_misses | json_values | st.just(DROP), max_size=4)


def _may_be_good(said: dict[str, Any]) -> bool:
    """What must be said at the least, written down once more and as plainly as can be."""
    audience, expiry, kind = said.get("aud"), said.get("exp"), said.get("token_type", "bearer")
    audiences = audience if type(audience) is list else [audience]
    return bool(
        said.get("active") is True
        and said.get("iss") == ISSUER
        and ("pg-cluster" in audiences or "pg-reporting" in audiences)
        and isinstance(expiry, int | float)
        and not isinstance(expiry, bool)
        and expiry > NOW - 30
        and type(kind) is str
        and kind.lower() == "bearer"
        and "cnf" not in said
    )


@given(changes)
@example({})
@example({"active": 1})
@example({"aud": {AUDIENCE: True}})
@example({"exp": True})
def test_whatever_is_answered_only_an_active_answer_of_ours_for_us_and_now_is_accepted(changes: dict[str, Any]) -> None:
    answer = read_answer(json.dumps(good_answer(NOW, **changes)).encode())
    if isinstance(answer, Refusal):
        return
    for token in (None, TOKEN):
        verdict = judge_introspected(answer, token, REQUEST, ASKED.policy, NOW)
        assert verdict.reason is not Reason.INTERNAL_ERROR
        assert verdict.message.isprintable()
        assert not verdict.authorized or _may_be_good({**(token.claims if token else {}), **answer})


def test_the_oracle_lets_the_good_answer_pass() -> None:
    assert _may_be_good(good_answer(NOW))
    assert _judge(good_answer(NOW)).authorized


@given(st.dictionaries(st.text(max_size=8) | names, json_values, max_size=6))
def test_whatever_json_is_answered_instead_is_refused(answer: dict[str, Any]) -> None:
    body = json.dumps(answer).encode("utf-8", "surrogatepass")
    read = read_answer(body)
    assert isinstance(read, Refusal) or not _judge(dict(read)).authorized or _may_be_good(json.loads(body))
