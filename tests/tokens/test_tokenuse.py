from __future__ import annotations

from typing import Any

import pytest

from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.tokenuse import check_use
from tests.tokens.profile_tokens import LOGOUT_EVENT

NONCE = {"nonce": "n-0S6_WzA2Mj"}
ENTRA = {"tid": "8eaef023", "oid": "690222be"}


def _check(claims: dict[str, Any], *, id_tokens: bool = False) -> Reason | None:
    refusal = check_use(claims, id_tokens=id_tokens)
    return refusal.reason if refusal else None


@pytest.mark.parametrize(
    "claims",
    [
        {"typ": "ID"},
        {"typ": "id"},
        {"token_use": "id"},
        {"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"},
        {"at_hash": None},
        {"c_hash": "LDktKdoQak3Pk0cnXxCltA"},
        {"scope": "openid", "at_hash": "77QmUPtjPfzWtF2AnpK9RQ"},
        {**NONCE},
        {"nonce": None},
        {**NONCE, "azp": "psql", "typ": "JWT"},
        {**NONCE, "typ": "at+jwt"},
        {**ENTRA, "ver": "2.0"},
        {**ENTRA, "ver": "1.0", "roles": ["db.login"]},
    ],
)
def test_an_id_token_is_taken_only_where_id_tokens_are_the_credential(claims: dict[str, Any]) -> None:
    assert _check(claims) is Reason.TOKEN_USE_FORBIDDEN
    assert _check(claims, id_tokens=True) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"typ": "Refresh"},
        {"typ": "Offline"},
        {"typ": "Logout"},
        {"typ": "ID2"},
        {"typ": ""},
        {"typ": "ID", "token_use": "refresh"},
        {"token_use": "refresh"},
        {"token_use": ""},
        {"events": {LOGOUT_EVENT: {}}},
        {"typ": "ID", "events": {LOGOUT_EVENT: {}}},
    ],
)
@pytest.mark.parametrize("id_tokens", [False, True])
def test_refresh_and_logout_tokens_are_never_taken(claims: dict[str, Any], id_tokens: bool) -> None:
    assert _check(claims, id_tokens=id_tokens) is Reason.TOKEN_USE_FORBIDDEN


@pytest.mark.parametrize("name", ["typ", "token_use"])
@pytest.mark.parametrize("value", [None, 1, True, ["Bearer"], {}])
@pytest.mark.parametrize("id_tokens", [False, True])
def test_a_word_for_the_kind_of_token_is_a_string(name: str, value: object, id_tokens: bool) -> None:
    assert _check({name: value}, id_tokens=id_tokens) is Reason.CLAIM_INVALID


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"typ": "Bearer"},
        {"typ": "DPoP"},
        {"typ": "at+jwt"},
        {"token_use": "access"},
        {"events": {"https://id.example/event": {}}},
        {"events": [LOGOUT_EVENT]},
        {**ENTRA, "ver": "2.0", "azp": "04b07795"},
        {**ENTRA, "ver": "1.0", "appid": "04b07795"},
        {**ENTRA, "ver": 1},
        {**ENTRA, "ver": ["2.0"]},
        {**ENTRA},
        {"ver": "1.0"},
    ],
)
@pytest.mark.parametrize("id_tokens", [False, True])
def test_an_access_token_is_always_taken(claims: dict[str, Any], id_tokens: bool) -> None:
    assert _check(claims, id_tokens=id_tokens) is None


@pytest.mark.parametrize(
    "mark",
    [
        {"typ": "Bearer", "azp": "psql"},
        {"scope": ""},
        {"scope": "openid"},
        {"scp": ["read"]},
        {"client_id": "psql"},
        {"cid": "0oa1gk5m"},
        {"appid": "04b07795"},
        {"token_use": "access"},
    ],
)
def test_a_nonce_beside_the_mark_of_an_access_token_makes_no_id_token(mark: dict[str, Any]) -> None:
    assert _check({**NONCE, **mark}) is None


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"typ": "ID"}, "typ is 'ID'; expected 'bearer', 'dpop', 'access', 'at+jwt', 'jwt'"),
        ({"token_use": "id"}, "token_use is 'id'; expected 'access', 'access_token'"),
        ({"c_hash": ""}, "it has c_hash, as ID tokens do"),
        (NONCE, "it has a nonce and no scope or client, as ID tokens do"),
        ({**ENTRA, "ver": "2.0"}, "it has a tid and neither azp nor appid, as ID tokens do"),
        ({"events": {LOGOUT_EVENT: {}}}, "its events are those of a logout token"),
    ],
)
def test_a_message_says_what_shows_the_kind_of_token(claims: dict[str, Any], message: str) -> None:
    refusal = check_use(claims, id_tokens=False)
    assert refusal is not None
    assert refusal.message == f"the token is not an access token: {message}"
