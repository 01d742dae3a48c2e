from __future__ import annotations

from typing import Any, NoReturn

import msgspec
import pytest

from pgoauthd.tokens.bearer import BearerToken, UnverifiedToken, decode
from pgoauthd.tokens.issuers import ASYMMETRIC_ALGORITHMS, IssuerPolicy
from pgoauthd.tokens.judge import judge, judge_introspected, verify
from pgoauthd.tokens.keys import KeySet, read_key_set
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import KeptClaims, LoginRequest, Refusal, Verdict
from tests.fix_tokens import DROP, ISSUER, SigningKey, mint
from tests.tokens.case import EC, EC_384, EC_521, ED, FORGER, POLICY, REQUEST, RSA
from tests.tokens.through_core import NOW, published

KEYS_BY_ALGORITHM = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA),
    "ES256": EC,
    "ES384": EC_384,
    "ES512": EC_521,
    "EdDSA": ED,
}


class BrokenKeys(KeySet):
    """A key set with a fault that nobody foresaw, which shows whether keys were looked up at all."""

    def __init__(self, error: Exception) -> None:
        super().__init__(())
        self.error = error

    def find(self, kid: str | None, algorithm: str) -> NoReturn:
        self.error.add_note(f"{kid} {algorithm}")
        raise self.error


def _token(
    *,
    key: SigningKey | None = None,
    algorithm: str | None = None,
    header: dict[str, object] | None = None,
    **claims: object,
) -> UnverifiedToken:
    token = decode(BearerToken(mint(NOW, key=key, algorithm=algorithm, header=header, **claims)))
    assert isinstance(token, UnverifiedToken)
    return token


def _judge(token: UnverifiedToken, request: LoginRequest = REQUEST, **policy: object) -> Verdict:
    return judge(token, request, msgspec.structs.replace(POLICY, **policy), published(), NOW)


@pytest.mark.parametrize("algorithm", ASYMMETRIC_ALGORITHMS)
def test_every_configurable_algorithm_is_accepted_where_it_is_allowed(algorithm: str) -> None:
    token = _token(key=KEYS_BY_ALGORITHM[algorithm], algorithm=algorithm)
    assert _judge(token, algorithms=(algorithm,)).authorized


@pytest.mark.parametrize("algorithm", ASYMMETRIC_ALGORITHMS)
def test_every_algorithm_is_refused_where_it_is_not_allowed(algorithm: str) -> None:
    token = _token(key=KEYS_BY_ALGORITHM[algorithm], algorithm=algorithm)
    others = tuple(other for other in ASYMMETRIC_ALGORITHMS if other != algorithm)
    assert _judge(token, algorithms=others).reason is Reason.ALGORITHM_FORBIDDEN


def test_a_good_token_gives_identity_and_kept_claims() -> None:
    assert _judge(_token()) == Verdict(
        authorized=True,
        reason=Reason.OK,
        message="the token is good",
        authn_id="alice",
        claims=KeptClaims(
            iss=ISSUER,
            sub="alice",
            aud=("pg-cluster",),
            client_id="psql",
            scope=("postgres", "profile"),
            jti="0d5ee2b2",
            iat=NOW - 10,
            exp=NOW + 300,
        ),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example", "key": FORGER},
        {"iss": DROP},
        {"header": {"typ": "id+jwt"}},
        {"header": {"alg": "none"}},
    ],
)
def test_keys_are_not_touched_by_a_token_of_another_issuer_type_or_algorithm(changes: dict[str, Any]) -> None:
    assert judge(_token(**changes), REQUEST, POLICY, BrokenKeys(KeyError()), NOW).reason is not Reason.INTERNAL_ERROR


@pytest.mark.parametrize(
    "error",
    [AttributeError("eyJhbGci"), TypeError("eyJ"), UnicodeEncodeError("utf-8", "eyJ", 0, 1, "x"), RecursionError()],
)
def test_what_nobody_foresaw_is_a_refusal_that_names_only_the_kind_of_error(error: Exception) -> None:
    verdict = judge(_token(), REQUEST, POLICY, BrokenKeys(error), NOW)
    assert verdict == Verdict.refused(
        Refusal(Reason.INTERNAL_ERROR, f"pgoauthd failed with {type(error).__name__} while it judged the token")
    )


@pytest.mark.parametrize(
    ("types", "typ", "accepted"),
    [
        (("at+jwt",), "at+jwt", True),
        (("at+jwt",), "application/AT+JWT", True),
        (("AT+JWT",), "at+jwt", True),
        (("at+jwt",), "JWT", False),
        (("at+jwt",), DROP, False),
        (("at+jwt", ""), DROP, True),
        (("",), "application/", False),
        ((), "at+jwt", False),
    ],
)
def test_the_type_of_the_header_is_that_of_the_policy(types: tuple[str, ...], typ: object, accepted: bool) -> None:
    verdict = _judge(_token(header={"typ": typ}), token_types=types)
    assert verdict.reason is (Reason.OK if accepted else Reason.TYPE_FORBIDDEN)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"header": {"typ": "id+jwt"}}, "the token's header has typ 'id+jwt'; allowed is 'at+jwt' or 'JWT' or none"),
        ({"header": {"alg": "none"}}, "the token's header has alg 'none'; allowed is 'RS256' or 'ES256'"),
        ({"header": {"kid": "x"}}, "the issuer has no key 'x'"),
        ({"iss": "https://e"}, f"the token's iss is 'https://e'; expected '{ISSUER}'"),
        (
            {"key": FORGER, "header": {"kid": "rsa-1"}},
            "the token's RS256 signature was not made by the issuer's key 'rsa-1'",
        ),
        ({"key": EC, "header": {"kid": "rsa-2"}}, "the key 'rsa-2' is for RS256; the token says 'ES256'"),
        ({"scope": "a"}, "the token lacks 'postgres'; it has 'a'"),
    ],
)
def test_a_message_says_what_was_found_and_what_was_expected(changes: dict[str, Any], message: str) -> None:
    assert _judge(_token(**changes), algorithms=("RS256", "ES256")).message == message


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"header": {"typ": "x", "alg": "none"}, "iss": "x", "exp": 0}, Reason.TYPE_FORBIDDEN),
        ({"header": {"alg": "none"}, "iss": "x", "exp": 0}, Reason.ALGORITHM_FORBIDDEN),
        ({"header": {"kid": "x"}, "iss": "x", "exp": 0}, Reason.ISSUER_MISMATCH),
        ({"header": {"kid": "x"}, "exp": 0}, Reason.KEY_UNKNOWN),
        ({"header": {"kid": "rsa-2"}, "exp": 0}, Reason.SIGNATURE_INVALID),
        ({"exp": 0, "aud": "x", "scope": "x", "sub": ""}, Reason.EXPIRED),
        ({"aud": "x", "scope": "x", "sub": ""}, Reason.AUDIENCE_MISMATCH),
        ({"cnf": {}, "scope": "x", "sub": ""}, Reason.SENDER_CONSTRAINED),
        ({"scope": "x", "sub": ""}, Reason.SCOPE_MISSING),
        ({"sub": ""}, Reason.IDENTITY_INVALID),
        ({}, Reason.DELEGATION_REFUSED),
    ],
)
def test_of_several_faults_the_first_on_the_way_is_told(changes: dict[str, Any], reasons: Reason) -> None:
    delegated = LoginRequest(role="postgres", issuer=ISSUER, delegated=True)
    assert _judge(_token(**changes), delegated).reason is reasons


@pytest.mark.parametrize(
    ("pinned", "changes", "reason"),
    [
        (False, {}, Reason.OK),
        (True, {}, Reason.KEY_MISMATCH),
        (True, {"exp": 0}, Reason.KEY_MISMATCH),
        (True, {"iss": "https://other.example"}, Reason.ISSUER_MISMATCH),
        (True, {"key": FORGER, "header": {"kid": "rsa-1"}}, Reason.SIGNATURE_INVALID),
    ],
)
def test_a_key_for_another_issuer_is_told_once_the_signature_is_verified(
    pinned: bool, changes: dict[str, Any], reason: Reason
) -> None:
    keys = read_key_set({"keys": [RSA.jwk(issuer="https://other.example")]})
    assert isinstance(keys, KeySet)
    policy = msgspec.structs.replace(POLICY, pinned_key_issuers=pinned)
    verdict = judge(_token(**changes), REQUEST, policy, keys, NOW)
    assert (verdict.reason, verdict.authn_id is None) == (reason, reason is not Reason.OK)


def test_nothing_is_kept_of_a_token_whose_key_signs_for_another_issuer() -> None:
    keys = read_key_set({"keys": [RSA.jwk(issuer="https://other.example")]})
    assert isinstance(keys, KeySet)
    policy = msgspec.structs.replace(POLICY, pinned_key_issuers=True)
    assert judge(_token(), REQUEST, policy, keys, NOW).claims is None


def test_scopes_of_policy_and_line_are_both_required() -> None:
    request = LoginRequest(role="alice", issuer=ISSUER, required_scopes=("read", "postgres"))
    assert _judge(_token(scope="write"), request).message == "the token lacks 'postgres', 'read'; it has 'write'"


def test_a_login_that_is_not_delegated_asks_for_no_grant() -> None:
    assert _judge(_token(), LoginRequest(role="postgres", issuer=ISSUER)).authorized


def _demanding(audience: str, delegated: bool = False) -> LoginRequest:
    return msgspec.structs.replace(REQUEST, required_audience=audience, delegated=delegated)


@pytest.mark.parametrize("aud", ["payroll", ["payroll", "x"], "pg-cluster", ["pg-cluster", "payroll"], DROP, [], 1])
def test_an_audience_of_the_line_lets_in_nobody_whom_the_policy_refuses(aud: object) -> None:
    without, demanding = _judge(_token(aud=aud)), _judge(_token(aud=aud), _demanding("payroll"))
    assert without.authorized or not demanding.authorized
    assert demanding.authorized == (aud == ["pg-cluster", "payroll"])


def test_an_audience_of_the_line_is_required_beside_one_of_the_policy() -> None:
    verdict = _judge(_token(aud=["pg-cluster", "shop"]), _demanding("payroll"))
    assert (verdict.reason, verdict.authn_id) == (Reason.AUDIENCE_MISMATCH, None)
    assert verdict.message == (
        "the token's aud is 'pg-cluster', 'shop'; expected is one of 'payroll', "
        "which validator.audience of the line of pg_hba.conf demands"
    )


def test_another_audience_of_the_policy_does_not_stand_in_for_that_of_the_line() -> None:
    assert _judge(_token(aud="pg-cluster"), _demanding("pg-reporting")).reason is Reason.AUDIENCE_MISMATCH


@pytest.mark.parametrize("audience", ["PG-CLUSTER", "pg-cluster ", "pg", ""])
def test_an_audience_of_the_line_is_compared_exactly(audience: str) -> None:
    assert _judge(_token(aud="pg-cluster"), _demanding(audience)).reason is Reason.AUDIENCE_MISMATCH


def test_an_answer_that_may_lack_an_audience_needs_that_of_the_line() -> None:
    policy = msgspec.structs.replace(POLICY, introspection_optional=("aud",))
    answer = {"active": True, "iss": ISSUER, "sub": "alice", "scope": "postgres", "exp": NOW + 300, "iat": NOW - 10}
    assert judge_introspected(answer, None, REQUEST, policy, NOW).authorized
    assert judge_introspected(answer, None, _demanding("pg-cluster"), policy, NOW).reason is Reason.AUDIENCE_MISSING


def test_a_refused_scope_keeps_no_identity_that_is_invalid() -> None:
    verdict = _judge(_token(scope="x", sub="a\n"))
    assert (verdict.reason, verdict.authn_id) == (Reason.SCOPE_MISSING, None)


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=lambda key: key.kid)
def test_only_verified_tokens_pass_the_check_of_header_issuer_and_signature(key: SigningKey) -> None:
    good, forged = _token(key=key), _token(key=key)
    object.__setattr__(forged, "signing_input", forged.signing_input + b" ")
    assert verify(good, POLICY, published()) is None
    refusal = verify(forged, POLICY, published())
    assert refusal is not None
    assert refusal.reason is Reason.SIGNATURE_INVALID


def test_a_policy_without_algorithms_accepts_nothing() -> None:
    policy = IssuerPolicy(name="x", issuer=ISSUER, audiences=("pg-cluster",), algorithms=())
    assert judge(_token(), REQUEST, policy, published(), NOW).reason is Reason.ALGORITHM_FORBIDDEN
