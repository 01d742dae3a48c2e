"""Plain introspection answers that are refused: as bytes, for `active`, for their claims and for what they grant."""

from __future__ import annotations

import json
from typing import Final

from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import LoginRequest
from tests.fix_tokens import AUDIENCE, DROP, ISSUER
from tests.tokens.case import nested
from tests.tokens.case_introspection import (
    CLIENT,
    LOGOUT_EVENT,
    OTHER,
    SPARSE,
    Bytes,
    IntrospectionCase,
    at,
    good_answer,
    raw,
    says,
    settings,
    signed,
)


def _row(name: str, reason: Reason, **members: object) -> IntrospectionCase:
    return IntrospectionCase(name, reason, says(**members))


def _body(name: str, body: bytes | Bytes) -> IntrospectionCase:
    return IntrospectionCase(name, Reason.INTROSPECTION_INVALID, raw(body) if isinstance(body, bytes) else body)


def _with(name: str, added: str) -> IntrospectionCase:
    """An answer that would be good without what is added at its end."""
    return _body(name, lambda now: says()(now)[:-1] + f", {added}}}".encode())


def _reading(encoding: str) -> Bytes:
    return lambda now: says()(now).decode().encode(encoding)


BODIES: Final = (
    _body("answer of nothing", b""),
    _body("answer of spaces", b"  \n"),
    _body("answer is null", b"null"),
    _body("answer is true", b"true"),
    _body("answer is a string", b'"active"'),
    _body("answer is an empty object", b"{}"),
    _body("answer is an empty array", b"[]"),
    _body("answer in an array", lambda now: b"[" + says()(now) + b"]"),
    _body("answer in an object", lambda now: json.dumps({"token": good_answer(now)}).encode()),
    _body("two answers", lambda now: says()(now) * 2),
    _body("answer cut off", lambda now: says()(now)[:-1]),
    _body("answer is a page", b"<!DOCTYPE html><title>Sign in</title>"),
    _body("answer is an error", b'{"error": "invalid_token"}'),
    _body("answer is a form", b"active=true&sub=alice"),
    _body("answer in UTF-16", _reading("utf-16")),
    _body("answer with a byte order mark", _reading("utf-8-sig")),
    _body("answer in Latin-1", lambda now: says(name="J\xfcrgen")(now).replace(b"\\u00fc", b"\xfc")),
    _body("answer nested 17 deep", says(more=nested(16))),
    _body(
        "answer nested 20000 deep", lambda now: says()(now)[:-1] + b', "more": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    ),
    _body("answer signed where a plain one is expected", signed()),
    _with("answer with NaN", '"acr": NaN'),
    _with("answer with Infinity", '"more": -Infinity'),
    _with("answer with a number beyond all", '"more": 1e999'),
    _with("answer with a lone surrogate", '"name": "\\ud800"'),
    _with("answer with active twice", '"active": true'),
    _with("answer with active taken back", '"active": false'),
    _with("answer with two subjects", '"sub": "postgres"'),
    _with("answer with two audiences", f'"aud": "{AUDIENCE}"'),
    _with("answer with a key twice inside", '"more": {"a": 1, "a": 2}'),
)

ACTIVE: Final = (
    _row("active missing", Reason.INTROSPECTION_INVALID, active=DROP),
    *(
        _row(f"active is {json.dumps(value)}", Reason.INTROSPECTION_INVALID, active=value)
        for value in ("true", "false", "", 1, 1.0, 0, "1", None, [], [True], {}, {"active": True}, "yes")
    ),
    _row("active in upper case", Reason.INTROSPECTION_INVALID, active=DROP, Active=True, ACTIVE=True),
    _row("not active", Reason.TOKEN_INACTIVE, active=False),
    IntrospectionCase("not active and nothing else", Reason.TOKEN_INACTIVE, raw(b'{"active":false}')),
    IntrospectionCase("not active, issuer unknown", Reason.TOKEN_INACTIVE, says(active=False, iss=OTHER)),
)

CLAIMS: Final = (
    _row("answer without iss", Reason.ISSUER_MISSING, iss=DROP),
    _row("answer from another issuer", Reason.ISSUER_MISMATCH, iss=OTHER),
    _row("answer from the issuer with a slash", Reason.ISSUER_MISMATCH, iss=ISSUER + "/"),
    _row("answer with a list of issuers", Reason.ISSUER_MISMATCH, iss=[ISSUER]),
    _row("answer with iss null", Reason.ISSUER_MISMATCH, iss=None),
    IntrospectionCase("optional iss of another issuer", Reason.ISSUER_MISMATCH, says(iss=OTHER), SPARSE),
    IntrospectionCase("optional iss null", Reason.ISSUER_MISMATCH, says(iss=None), SPARSE),
    _row("answer without exp", Reason.EXPIRY_MISSING, exp=DROP),
    _row("active but expired", Reason.EXPIRED, exp=at(-60)),
    _row("active but expired in 1970", Reason.EXPIRED, exp=0),
    _row("exp of an answer is a string", Reason.CLAIM_INVALID, exp=lambda now: str(int(now) + 300)),
    _row("exp of an answer is a date", Reason.CLAIM_INVALID, exp="2099-01-01T00:00:00Z"),
    _row("exp of an answer is true", Reason.CLAIM_INVALID, exp=True),
    _row("exp of an answer is null", Reason.CLAIM_INVALID, exp=None),
    _row("exp of an answer in milliseconds", Reason.CLAIM_INVALID, exp=lambda now: int(now * 1000) + 300_000),
    _row("exp of an answer has 400 digits", Reason.CLAIM_INVALID, exp=10**400),
    IntrospectionCase("optional exp is past", Reason.EXPIRED, says(exp=at(-60)), SPARSE),
    IntrospectionCase("optional exp is null", Reason.CLAIM_INVALID, says(exp=None), SPARSE),
    IntrospectionCase("optional exp, not yet valid", Reason.NOT_YET_VALID, says(exp=DROP, nbf=at(120)), SPARSE),
    IntrospectionCase("optional exp, of the future", Reason.ISSUED_IN_FUTURE, says(exp=DROP, iat=at(120)), SPARSE),
    _row("active but not yet valid", Reason.NOT_YET_VALID, nbf=at(120)),
    _row("nbf of an answer is a string", Reason.CLAIM_INVALID, nbf="0"),
    _row("active and issued in the future", Reason.ISSUED_IN_FUTURE, iat=at(120)),
    _row("active for 30 days", Reason.LIFETIME_TOO_LONG, exp=at(30 * 86_400)),
    _row("answer without aud", Reason.AUDIENCE_MISSING, aud=DROP),
    _row("answer with no audience in its aud", Reason.AUDIENCE_MISSING, aud=[]),
    _row("answer for another audience", Reason.AUDIENCE_MISMATCH, aud="account"),
    _row("answer for other audiences", Reason.AUDIENCE_MISMATCH, aud=["account", CLIENT]),
    _row("answer for a longer audience", Reason.AUDIENCE_MISMATCH, aud=AUDIENCE + "-2"),
    _row("aud of an answer is an object", Reason.CLAIM_INVALID, aud={AUDIENCE: True}),
    _row("aud of an answer with a number", Reason.CLAIM_INVALID, aud=[AUDIENCE, 1]),
    IntrospectionCase("optional aud is another", Reason.AUDIENCE_MISMATCH, says(aud="account"), SPARSE),
    IntrospectionCase("optional aud is empty", Reason.AUDIENCE_MISSING, says(aud=[]), SPARSE),
    IntrospectionCase("optional aud is null", Reason.CLAIM_INVALID, says(aud=None), SPARSE),
    IntrospectionCase(
        "only exp is optional", Reason.AUDIENCE_MISSING, says(aud=DROP), settings(introspection={"optional": ("exp",)})
    ),
    IntrospectionCase(
        "required claim missing", Reason.CLAIM_MISMATCH, says(), settings(required_claims={"acr": ("gold",)})
    ),
    IntrospectionCase(
        "required claim with another value",
        Reason.CLAIM_MISMATCH,
        says(acr="silver"),
        settings(required_claims={"acr": ("gold",)}),
    ),
)

KINDS: Final = (
    _row("refresh token", Reason.TOKEN_USE_FORBIDDEN, token_type="refresh_token"),
    _row("token of no type", Reason.TOKEN_USE_FORBIDDEN, token_type="N_A"),
    _row("token of an empty type", Reason.TOKEN_USE_FORBIDDEN, token_type=""),
    _row("ID token by token_type", Reason.TOKEN_USE_FORBIDDEN, token_type="urn:ietf:params:oauth:token-type:id_token"),
    _row("token of two types", Reason.TOKEN_USE_FORBIDDEN, token_type="Bearer DPoP"),
    _row("token_type is null", Reason.CLAIM_INVALID, token_type=None),
    _row("token_type is a list", Reason.CLAIM_INVALID, token_type=["Bearer"]),
    _row("token for DPoP", Reason.SENDER_CONSTRAINED, token_type="DPoP"),
    _row("token for DPoP in lower case", Reason.SENDER_CONSTRAINED, token_type="dpop"),
    _row("token for proof of possession", Reason.SENDER_CONSTRAINED, token_type="PoP"),
    _row("bound to a certificate", Reason.SENDER_CONSTRAINED, cnf={"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9"}),
    _row("bound to a key", Reason.SENDER_CONSTRAINED, cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
    _row("bound to null", Reason.SENDER_CONSTRAINED, cnf=None),
    _row("refresh token by its typ", Reason.TOKEN_USE_FORBIDDEN, typ="Refresh"),
    _row("ID token by its typ", Reason.TOKEN_USE_FORBIDDEN, typ="ID"),
    _row("ID token by its token_use", Reason.TOKEN_USE_FORBIDDEN, token_use="id"),
    _row("ID token by its at_hash", Reason.TOKEN_USE_FORBIDDEN, at_hash="77QmUPtjPfzWtF2AnpK9RQ"),
    _row("logout token", Reason.TOKEN_USE_FORBIDDEN, events={LOGOUT_EVENT: {}}),
    IntrospectionCase(
        "refresh token where bound ones are accepted",
        Reason.TOKEN_USE_FORBIDDEN,
        says(token_type="refresh_token"),
        settings(accept_sender_constrained=True),
    ),
)

ACCESS: Final = (
    _row("scope missing", Reason.SCOPE_MISSING, scope=DROP),
    _row("scope empty", Reason.SCOPE_MISSING, scope=""),
    _row("scope without ours", Reason.SCOPE_MISSING, scope="profile email"),
    _row("scope with more behind it", Reason.SCOPE_MISSING, scope="postgres-admin"),
    _row("scope array without ours", Reason.SCOPE_MISSING, scope=["profile"]),
    _row("scope array with both in one", Reason.SCOPE_MISSING, scope=["postgres profile"]),
    _row("scope is a number", Reason.CLAIM_INVALID, scope=1),
    _row("scope is null", Reason.CLAIM_INVALID, scope=None),
    _row("scope array with a number", Reason.CLAIM_INVALID, scope=["postgres", 1]),
    IntrospectionCase(
        "scope of the line missing",
        Reason.SCOPE_MISSING,
        says(),
        request=LoginRequest(role="alice", issuer=ISSUER, required_scopes=("admin",)),
    ),
    _row("sub missing", Reason.IDENTITY_MISSING, sub=DROP),
    _row("sub is a number", Reason.IDENTITY_INVALID, sub=1001),
    _row("sub is null", Reason.IDENTITY_INVALID, sub=None),
    _row("sub is a list", Reason.IDENTITY_INVALID, sub=["alice"]),
    _row("sub is empty", Reason.IDENTITY_INVALID, sub=""),
    _row("sub with a line break", Reason.IDENTITY_INVALID, sub="alice\n"),
    _row("sub with NUL", Reason.IDENTITY_INVALID, sub="alice\0"),
    IntrospectionCase(
        "username is a number", Reason.IDENTITY_INVALID, says(username=7), settings(identity_claims=("username",))
    ),
    IntrospectionCase(
        "role of somebody else",
        Reason.DELEGATION_REFUSED,
        says(),
        request=LoginRequest(role="postgres", issuer=ISSUER, delegated=True),
    ),
)
