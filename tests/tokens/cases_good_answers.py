"""Introspection answers that let a login pass: what identity providers say, and what little may suffice."""

from __future__ import annotations

from typing import Any, Final

from pgoauthd.tokens.reasons import Reason
from tests.fix_tokens import AUDIENCE, DROP, mint
from tests.tokens.case import FORGER, RSA, nested
from tests.tokens.case_introspection import (
    CLIENT,
    LIGHTWEIGHT,
    MERGING,
    SIGNED,
    SPARSE,
    Bytes,
    IntrospectionCase,
    at,
    jwt,
    raw,
    says,
    settings,
    signed,
    unread,
)

KEYCLOAK: Final[dict[str, object]] = {
    "exp": at(290), "iat": at(-10), "auth_time": at(-11), "jti": "onrtro:6d1c5ba1-7a5b-9b3d-0ed4-8d5b1c2f0a11",
    "aud": [AUDIENCE, "account"], "sub": "f4b1f0f5-3c7c-4b6a-9d0a-3f1d6a0a4c55", "typ": "Bearer", "azp": "psql",
    "sid": "b5f1c7f0", "acr": "1", "allowed-origins": ["/*"],
    "realm_access": {"roles": ["offline_access", "db-reporting"]},
    "resource_access": {"account": {"roles": ["view-profile"]}}, "scope": "postgres email profile",
    "email_verified": True, "preferred_username": "alice", "email": "alice@id.example", "client_id": "psql",
    "username": "alice", "token_type": "Bearer",
}  # fmt: skip
"""An answer of Keycloak 26."""

OKTA: Final[dict[str, object]] = {
    "scope": "openid postgres", "username": "alice@id.example", "exp": at(3590), "iat": at(-10), "nbf": at(-10),
    "sub": "alice@id.example", "aud": "pg-reporting", "jti": "AT.7P4KlczBYVcWLkxduEuKeZfeiNYkZIC9uGJ28Cc-YaI",
    "client_id": "uAaunofWkaDJxukCFeBx", "uid": "00uid4BxXw6I6TV4m0g3", "token_type": "Bearer",
    "device_id": "q4SZgrA9sOeHkfst5uaa",
}  # fmt: skip
"""An answer of Okta."""


def _good(name: str, answer: Bytes, **fields: Any) -> IntrospectionCase:  # noqa: ANN401 - any other field of a row
    return IntrospectionCase(name, Reason.OK, answer, **fields)


ACCEPTANCES: Final = (
    _good("good answer", says()),
    _good("good answer of nothing but what is needed", says(client_id=DROP, username=DROP, token_type=DROP, iat=DROP)),
    _good("good answer nested 16 deep", says(more=nested(15))),
    _good("good answer with token_type in lower case", says(token_type="bearer")),
    _good("good answer with several audiences", says(aud=["account", "pg-reporting"])),
    _good("good answer with scopes in an array", says(scope=["profile", "postgres"])),
    _good("good answer with scp", says(scope=DROP, scp=["postgres"])),
    _good("good answer expired within the leeway", says(exp=at(-5))),
    _good("good answer of Keycloak", says(**KEYCLOAK)),
    _good("good answer of Okta", says(**OKTA)),
    _good("answer without iss where it is optional", says(iss=DROP), settings=SPARSE),
    _good("answer without aud where it is optional", says(aud=DROP), settings=SPARSE),
    _good("answer without exp where it is optional", says(exp=DROP), settings=SPARSE),
    _good(
        "answer of active, sub and scope alone",
        raw(b'{"active":true,"sub":"alice","scope":"postgres"}'),
        settings=SPARSE,
    ),
    _good(
        "bound where that is accepted",
        says(token_type="DPoP", cnf={"jkt": "x"}),
        settings=settings(accept_sender_constrained=True),
    ),
    _good("identity from username", says(sub=DROP), settings=settings(identity_claims=("username", "sub"))),
    _good("required claim", says(acr="gold"), settings=settings(required_claims={"acr": ("gold",)})),
    _good("opaque token where JWTs are judged by their signature", says(), settings=settings(mode="jwt")),
    _good("opaque token where JWTs are judged by both", says(), settings=MERGING),
    _good("JWT by introspection alone", says(), jwt=jwt("alone")),
    _good(
        "JWT with a forged signature by introspection alone",
        says(),
        jwt=lambda now: mint(now, key=FORGER, jti="forged"),
    ),
    _good("JWT without an issuer by introspection alone", says(), jwt=jwt("alone without", iss=DROP)),
    _good(
        "encrypted token",
        says(),
        settings=settings(mode="jwt"),
        jwt=unread(b'{"alg":"dir","enc":"A256GCM"}', b"", ".aaaa.aaaa.aaaa"),
    ),
    _good("signed answer", signed(), settings=SIGNED),
    _good("signed answer with RSA", signed(key=RSA), settings=SIGNED),
    _good(
        "signed answer with a long typ in capitals",
        signed(header={"typ": "application/TOKEN-INTROSPECTION+JWT"}),
        settings=SIGNED,
    ),
    _good("signed answer for several clients", signed(aud=["other", CLIENT]), settings=SIGNED),
    _good("signed answer of a little while ago", signed(iat=at(-30)), settings=SIGNED),
    _good(
        "signed answer about a JWT",
        signed(),
        settings=settings(mode="jwt_then_introspect", introspection={"signed_answers": True}),
        jwt=jwt("signed about"),
    ),
    _good("JWT by both", says(), settings=MERGING, jwt=jwt("both")),
    _good("JWT by both, the answer expiring earlier", says(exp=at(100)), settings=MERGING, jwt=jwt("both, earlier")),
    _good(
        "JWT by both, the answer with more audiences",
        says(aud=[AUDIENCE, "account"]),
        settings=MERGING,
        jwt=jwt("both, more", aud=["account"]),
    ),
    _good(
        "JWT by both, the answer with scopes that it has not",
        says(),
        settings=MERGING,
        jwt=jwt("both, scopes", scope=DROP),
    ),
    _good(
        "JWT by both, the answer saying only active",
        raw(b'{"active":true}'),
        settings=MERGING,
        jwt=jwt("both, only active"),
    ),
    _good(
        "lightweight token of Keycloak",
        says(**KEYCLOAK | {"exp": at(300)}),
        settings=MERGING,
        jwt=jwt("lightweight", **LIGHTWEIGHT, jti=KEYCLOAK["jti"]),
    ),
)
