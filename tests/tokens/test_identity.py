from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pgoauthd.tokens.identity import check_delegation, find_identity
from pgoauthd.tokens.issuers import RoleRule
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from tests.tokens.case import POLICY

URL_CLAIM = "https://id.example/claims/login.name"


@pytest.mark.parametrize(
    ("paths", "claims", "identity"),
    [
        ((("sub",),), {"sub": "alice"}, "alice"),
        ((("a", "b", "c"),), {"a": {"b": {"c": "alice"}}}, "alice"),
        (((URL_CLAIM,),), {URL_CLAIM: "alice"}, "alice"),
        (((URL_CLAIM, "x.y"),), {URL_CLAIM: {"x.y": "alice"}}, "alice"),
        ((("email",), ("sub",)), {"sub": "alice"}, "alice"),
        ((("email",), ("sub",)), {"sub": "alice", "email": "a@id.example"}, "a@id.example"),
        ((("a", "b"), ("sub",)), {"sub": "alice", "a": {"c": 1}}, "alice"),
        ((("a", "b"), ("sub",)), {"sub": "alice", "a": "b"}, "alice"),
        ((("a", "b"), ("sub",)), {"sub": "alice", "a.b": "x"}, "alice"),
        ((("a", "0"), ("sub",)), {"sub": "alice", "a": ["x"]}, "alice"),
    ],
)
def test_the_first_claim_that_is_there_is_the_identity(
    paths: tuple[tuple[str, ...], ...], claims: dict[str, Any], identity: str
) -> None:
    assert find_identity(claims, paths) == identity


def test_a_claim_that_is_there_but_bad_is_not_replaced_by_the_next() -> None:
    refusal = find_identity({"email": None, "sub": "alice"}, (("email",), ("sub",)))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.IDENTITY_INVALID


def test_a_missing_identity_names_the_claims_that_were_looked_for() -> None:
    refusal = find_identity({}, (("database", "user"), ("sub",)))
    assert refusal == Refusal(
        Reason.IDENTITY_MISSING, "the token has no claim for the identity; expected is one of 'database.user', 'sub'"
    )


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("", "has 0 bytes"),
        ("a" * 257, "has 257 bytes"),
        ("a\n", "has a character that is not printable"),
        ("a\ud800", "has a character that is not printable"),
        (" a", "begins or ends with a space"),
        (["a"], "is an array"),
        (True, "is a boolean"),
        (1.5, "is a number"),
        (None, "is null"),
        ({}, "is an object"),
    ],
)
def test_an_invalid_identity_is_described_but_not_shown(value: object, what: str) -> None:
    refusal = find_identity({"sub": value}, (("sub",),))
    assert refusal == Refusal(
        Reason.IDENTITY_INVALID, f"the identity claim 'sub' {what}; expected a printable string of 1 to 256 bytes"
    )


def _allowed(grant: RoleRule, role: str = "owner", **claims: object) -> bool:
    policy = msgspec.structs.replace(POLICY, grants=(grant,))
    return check_delegation(claims, "alice", role, policy) is None


def test_without_grants_only_the_own_role_is_allowed() -> None:
    policy = msgspec.structs.replace(POLICY, grants=())
    assert check_delegation({}, "alice", "alice", policy) is None
    assert check_delegation({}, "alice", "bob", policy) is not None


def test_a_grant_of_the_identity_allows_its_roles_and_no_other() -> None:
    grant = RoleRule(roles=("owner", "reader"), identity="alice")
    assert [_allowed(grant, role) for role in ("owner", "reader", "postgres")] == [True, True, False]


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        (["x", "dba"], True),
        ("dba", True),
        (["DBA"], False),
        ("dba x", False),
        ([["dba"]], False),
        ({"dba": True}, False),
        (None, False),
        (True, False),
    ],
)
def test_a_grant_of_a_claim_allows_who_has_its_value(value: object, allowed: bool) -> None:
    assert _allowed(RoleRule(roles=("owner",), claim=("groups",), value="dba"), groups=value) is allowed


def test_a_grant_of_a_claim_reaches_into_nested_claims() -> None:
    grant = RoleRule(roles=("owner",), claim=("realm_access", "roles"), value="dba")
    assert _allowed(grant, realm_access={"roles": ["dba"]})
    assert not _allowed(grant, roles=["dba"])


@pytest.mark.parametrize(
    "grant",
    [
        RoleRule(roles=("owner",)),
        RoleRule(roles=(), identity="alice"),
        RoleRule(roles=("owner",), value="dba"),
        RoleRule(roles=("owner",), claim=("groups",)),
        RoleRule(roles=("owner",), identity="bob", claim=("groups",), value="dba"),
        RoleRule(roles=("owner",), identity="alice", claim=("groups",), value="other"),
    ],
)
def test_a_grant_that_says_nothing_or_is_half_met_allows_nothing(grant: RoleRule) -> None:
    assert not _allowed(grant, groups=["dba", None])


def test_a_refused_delegation_names_identity_and_role() -> None:
    refusal = check_delegation({}, "alice", "postgres", POLICY)
    assert refusal == Refusal(
        Reason.DELEGATION_REFUSED, "no grant of issuer 'table' lets the identity 'alice' be the role 'postgres'"
    )
