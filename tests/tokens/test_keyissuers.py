from __future__ import annotations

from typing import Any

import pytest

from pgoauthd.tokens.issuers import IssuerPolicy
from pgoauthd.tokens.keyissuers import check_key_issuer
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.signature import VerificationKey
from tests.tokens.microsoft_tokens import CONSUMERS, OTHER_TENANT, TENANT, entra_v1, entra_v2

V1 = {"iss": entra_v1(TENANT), "tid": TENANT, "ver": "1.0"}
V2 = {"iss": entra_v2(TENANT), "tid": TENANT, "ver": "2.0"}
ANY_TENANT = entra_v2("{tenantid}")


def _key(issuer: str | None, kid: str | None = "k") -> VerificationKey:
    return VerificationKey(kid=kid, algorithms={}, prepared=None, issuer=issuer)


def _policy(*, pinned: bool = True) -> IssuerPolicy:
    return IssuerPolicy(
        name="entra",
        issuer=entra_v2(TENANT),
        token_issuers=(entra_v1(TENANT),),
        audiences=("a",),
        pinned_key_issuers=pinned,
    )


def _check(issuer: str | None, claims: dict[str, Any]) -> Reason | None:
    refusal = check_key_issuer(_key(issuer), claims, _policy())
    return refusal.reason if refusal else None


@pytest.mark.parametrize(
    ("issuer", "claims"),
    [
        (ANY_TENANT, V2),
        (entra_v2(TENANT), V2),
        (None, V2),
        (ANY_TENANT, V1),
        (entra_v2(TENANT), V1),
        (entra_v1("{tenantid}"), V1),
        (entra_v1(TENANT), V1),
        (None, V1),
    ],
)
def test_a_key_signs_for_the_issuer_that_it_names(issuer: str | None, claims: dict[str, Any]) -> None:
    assert _check(issuer, claims) is None


@pytest.mark.parametrize(
    "issuer",
    [
        entra_v2(CONSUMERS),
        entra_v2(OTHER_TENANT),
        entra_v1(OTHER_TENANT),
        entra_v2("common"),
        entra_v2(TENANT) + "/",
        entra_v2(TENANT.upper()),
        ANY_TENANT.replace("https", "http"),
        ANY_TENANT.replace(".com", ".us"),
        entra_v2("{tenantId}"),
        "{tenantid}",
        "",
    ],
)
@pytest.mark.parametrize("claims", [V1, V2], ids=["1.0", "2.0"])
def test_a_key_signs_for_no_other_issuer(issuer: str, claims: dict[str, Any]) -> None:
    assert _check(issuer, claims) is Reason.KEY_MISMATCH


@pytest.mark.parametrize("tid", [OTHER_TENANT, CONSUMERS, "", "{tenantid}", None, 1, [TENANT], TENANT.upper()])
@pytest.mark.parametrize("claims", [V1, V2], ids=["1.0", "2.0"])
def test_the_tid_that_takes_the_place_must_be_that_of_the_issuer(tid: object, claims: dict[str, Any]) -> None:
    assert _check(ANY_TENANT, {**claims, "tid": tid}) is Reason.KEY_MISMATCH


@pytest.mark.parametrize("claims", [V1, V2], ids=["1.0", "2.0"])
def test_a_token_without_tid_is_for_no_key_of_all_tenants(claims: dict[str, Any]) -> None:
    assert _check(ANY_TENANT, {name: value for name, value in claims.items() if name != "tid"}) is Reason.KEY_MISMATCH


@pytest.mark.parametrize("version", ["2.0", "1", 1.0, None, ["1.0"]])
def test_only_a_token_of_version_1_may_have_another_issuer_than_its_key(version: object) -> None:
    assert _check(ANY_TENANT, {**V1, "ver": version}) is Reason.KEY_MISMATCH
    assert _check(entra_v1("{tenantid}"), {**V2, "ver": version}) is Reason.KEY_MISMATCH


def test_a_token_that_lies_about_its_version_gains_no_other_tenant() -> None:
    assert _check(entra_v2(OTHER_TENANT), {**V2, "ver": "1.0"}) is Reason.KEY_MISMATCH
    assert _check(ANY_TENANT, {**V2, "ver": "1.0", "tid": OTHER_TENANT}) is Reason.KEY_MISMATCH


@pytest.mark.parametrize("issuer", [entra_v2(OTHER_TENANT), "", None])
def test_where_keys_are_not_pinned_their_issuer_means_nothing(issuer: str | None) -> None:
    assert check_key_issuer(_key(issuer), V2, _policy(pinned=False)) is None


@pytest.mark.parametrize(("kid", "name"), [("k", "key 'k'"), (None, "key")])
def test_a_message_says_for_whom_the_key_signs_and_whose_the_token_is(kid: str | None, name: str) -> None:
    refusal = check_key_issuer(_key(entra_v2(CONSUMERS), kid), V2, _policy())
    assert refusal is not None
    assert refusal.message == (
        f"the issuer's {name} signs for '{entra_v2(CONSUMERS)}' alone; the token's iss is '{entra_v2(TENANT)}'"
    )


def test_a_message_only_describes_a_tid_that_is_long() -> None:
    refusal = check_key_issuer(_key(ANY_TENANT), {**V2, "tid": "x" * 5000}, _policy())
    assert refusal is not None
    assert len(refusal.message) < 300
