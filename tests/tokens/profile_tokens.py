"""Tokens as well-known providers make them: header and claims of each kind, as their documentation has them.

Those of Microsoft are in `microsoft_tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.fix_tokens import DROP, SigningKey, assemble, changed, segment, signing_key

LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True)
class Kind:
    """One kind of token of one provider; called with a time, it is a token of that time."""

    key: SigningKey
    header: Mapping[str, object]
    """Besides alg and kid."""
    claims: Mapping[str, object]
    """Besides iat and exp."""
    seconds: int = 3600
    """How long it lives."""

    def __call__(self, now: float) -> str:
        claims = {"iat": int(now) - 10, "exp": int(now) - 10 + self.seconds, **self.claims}
        whole = {name: value(now) if callable(value) else value for name, value in claims.items()}
        header = changed({"alg": self.key.algorithm, "kid": self.key.kid, **self.header}, {})
        return assemble(header, changed(whole, {}), key=self.key)

    def but(self, changes: Mapping[str, object] | None = None, /, **more: object) -> Kind:
        """The same with other claims; DROP takes one away."""
        return replace(self, claims={**self.claims, **(changes or {}), **more})

    def headed(self, **header: object) -> Kind:
        """The same with other members in its header."""
        return replace(self, header={**self.header, **header})

    def by(self, key: SigningKey) -> Kind:
        """The same, signed with another key and under its kid."""
        return replace(self, key=key)


def key_of(provider: str, algorithm: str = "RS256") -> SigningKey:
    """The provider's signing key. All have the same kid, which only together with the issuer means one key."""
    return SigningKey("signing-1", algorithm, signing_key(f"{provider}-signing", algorithm).private)


def altered_after_signing(kind: Kind, **header: object) -> Any:  # noqa: ANN401 - a token builder
    """Signed with one header and sent with another."""

    def token(now: float) -> str:
        _, payload, signature = kind(now).split(".")
        sent = changed({"alg": kind.key.algorithm, "kid": kind.key.kid, **kind.header}, header)
        return f"{segment(sent)}.{payload}.{signature}"

    return token


GENERIC: Final = "https://as.example"
RFC9068 = Kind(
    key_of("generic", "ES256"),
    {"typ": "at+jwt"},
    {
        "iss": GENERIC,
        "sub": "5ba552d67",
        "aud": "https://db.example/",
        "client_id": "s6BhdRkqt3",
        "scope": "openid profile read email",
        "jti": "dbe39bf3a3ba4238a513f51d6e1691c4",
        "tenant": {"id": "7", "approved": True},
        "cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
    },
)

KEYCLOAK: Final = "https://sso.example/realms/database"
_KEYCLOAK_KEY = key_of("keycloak")
KEYCLOAK_FULL = Kind(
    _KEYCLOAK_KEY,
    {"typ": "JWT"},
    {
        "auth_time": lambda now: int(now) - 20,
        "jti": "onrtdg:4f0e9d0a-2a51-4a8a-9e0e-3a54ea2b2e31",
        "iss": KEYCLOAK,
        "aud": ["pg-cluster", "account"],
        "sub": "0e9c2d5c-4f5a-4f2b-8f6c-6d4b9c0a7a11",
        "typ": "Bearer",
        "azp": "psql",
        "sid": "b0b5b7f4-8d0a-4a39-a1de-0c1fc9b6ad0c",
        "acr": "1",
        "allowed-origins": ["/*"],
        "realm_access": {"roles": ["default-roles-database", "offline_access", "uma_authorization"]},
        "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}},
        "scope": "postgres profile email",
        "email_verified": True,
        "name": "Alice Liddell",
        "preferred_username": "alice",
        "given_name": "Alice",
        "family_name": "Liddell",
        "email": "alice@sso.example",
    },
    seconds=300,
)
KEYCLOAK_LIGHTWEIGHT = Kind(
    _KEYCLOAK_KEY,
    {"typ": "JWT"},
    {name: KEYCLOAK_FULL.claims[name] for name in ("jti", "iss", "typ", "azp", "sid", "scope")},
    seconds=300,
)
KEYCLOAK_SERVICE = KEYCLOAK_FULL.but(
    auth_time=DROP,
    sid=DROP,
    sub="9d1f7d0e-9a05-4a5b-90ac-5f1f0e7b5f0a",
    azp="etl",
    client_id="etl",
    clientHost="192.0.2.7",
    clientAddress="192.0.2.7",
    preferred_username="service-account-etl",
    name=DROP,
    email=DROP,
)
KEYCLOAK_ID = KEYCLOAK_FULL.but(
    typ="ID",
    aud="psql",
    at_hash="5jGZyFtFVZKKLiWTPPHGmA",
    scope=DROP,
    realm_access=DROP,
    resource_access=DROP,
)
KEYCLOAK_REFRESH = Kind(
    _KEYCLOAK_KEY,
    {"typ": "JWT"},
    {**KEYCLOAK_LIGHTWEIGHT.claims, "typ": "Refresh", "aud": KEYCLOAK, "sub": KEYCLOAK_FULL.claims["sub"]},
    seconds=1800,
)
KEYCLOAK_LOGOUT = Kind(
    _KEYCLOAK_KEY,
    {"typ": "logout+jwt"},
    {
        "jti": "7f5f5d0c-6a5b-4d52-9f2c-2b2a0e7c7a11",
        "iss": KEYCLOAK,
        "aud": "psql",
        "sub": KEYCLOAK_FULL.claims["sub"],
        "typ": "Logout",
        "sid": KEYCLOAK_FULL.claims["sid"],
        "events": {LOGOUT_EVENT: {}},
    },
    seconds=120,
)

OKTA_ORG: Final = "https://dev-123456.okta.com"
OKTA: Final = f"{OKTA_ORG}/oauth2/default"
_OKTA_KEY = key_of("okta")
OKTA_ACCESS = Kind(
    _OKTA_KEY,
    {},
    {
        "ver": 1,
        "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
        "iss": OKTA,
        "aud": "api://default",
        "cid": "0oa1gk5m4tPmvhzVd1d7",
        "uid": "00u1gk5m4xFrYXTAS1d7",
        "scp": ["openid", "postgres"],
        "auth_time": lambda now: int(now) - 20,
        "sub": "alice@okta.example",
    },
)
OKTA_SERVICE = OKTA_ACCESS.but(uid=DROP, auth_time=DROP, scp=["postgres"], sub="0oa1gk5m4tPmvhzVd1d7")
OKTA_ORG_ACCESS = OKTA_ACCESS.headed(typ="application/okta-internal-at+jwt").but(
    iss=OKTA_ORG, aud=OKTA_ORG, scp=["openid", "profile"]
)
OKTA_ID = Kind(
    _OKTA_KEY,
    {},
    {
        "sub": "00u1gk5m4xFrYXTAS1d7",
        "name": "Alice Liddell",
        "email": "alice@okta.example",
        "ver": 1,
        "iss": OKTA,
        "aud": "0oa1gk5m4tPmvhzVd1d7",
        "jti": "ID.4eAWJOCMB3SX8XewDfVR",
        "amr": ["pwd"],
        "idp": "00ok1u7AsAkrwdZL3z0g",
        "preferred_username": "alice@okta.example",
        "auth_time": lambda now: int(now) - 20,
        "at_hash": "cpqKfdQA5eH891Ff5oJr_Q",
    },
)

AUTH0: Final = "https://contoso.eu.auth0.com/"
_AUTH0_KEY = key_of("auth0")
AUTH0_API = Kind(
    _AUTH0_KEY,
    {"typ": "JWT"},
    {
        "iss": AUTH0,
        "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "aud": ["https://db.example/api", f"{AUTH0}userinfo"],
        "azp": "my8RtAHKZ0VM0a8oZ3pZ0Zz1m1Tn6p9l",
        "scope": "openid profile postgres",
        "permissions": ["db:read"],
    },
    seconds=86_400,
)
AUTH0_RFC9068 = AUTH0_API.headed(typ="at+jwt").but(
    azp=DROP, client_id="my8RtAHKZ0VM0a8oZ3pZ0Zz1m1Tn6p9l", jti="73WakrfVbNJBaAmhQtEeDv"
)
AUTH0_SERVICE = AUTH0_API.but(
    sub="my8RtAHKZ0VM0a8oZ3pZ0Zz1m1Tn6p9l@clients",
    aud="https://db.example/api",
    scope="postgres",
    gty="client-credentials",
    permissions=DROP,
)
AUTH0_ID = Kind(
    _AUTH0_KEY,
    {"typ": "JWT"},
    {
        "nickname": "alice",
        "name": "Alice Liddell",
        "picture": "https://cdn.example/alice.png",
        "updated_at": "2026-05-01T08:00:00.000Z",
        "email": "alice@auth0.example",
        "email_verified": True,
        "iss": AUTH0,
        "aud": "my8RtAHKZ0VM0a8oZ3pZ0Zz1m1Tn6p9l",
        "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "sid": "G1sAfJ5tQ6vW8f1hM7F8mQ0mX2Qm5iJk",
        "nonce": "4f6b1c9a2d",
    },
    seconds=36_000,
)

GOOGLE: Final = "https://accounts.google.com"
GOOGLE_CLIENT: Final = "407408718192.apps.googleusercontent.com"
GOOGLE_ID = Kind(
    key_of("google"),
    {"typ": "JWT"},
    {
        "iss": GOOGLE,
        "azp": GOOGLE_CLIENT,
        "aud": GOOGLE_CLIENT,
        "sub": "110169484474386276334",
        "hd": "example.org",
        "email": "alice@example.org",
        "email_verified": True,
        "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
        "nonce": "0394852-3190485-2490358",
    },
)

COGNITO: Final = "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_a1B2c3D4e"
COGNITO_CLIENT: Final = "1example23456789"
_COGNITO_KEY = key_of("cognito")
COGNITO_ACCESS = Kind(
    _COGNITO_KEY,
    {},
    {
        "sub": "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
        "cognito:groups": ["testgroup", "db-readers"],
        "iss": COGNITO,
        "version": 2,
        "client_id": COGNITO_CLIENT,
        "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "event_id": "64f513be-32db-42b0-b78e-b02127b4f463",
        "token_use": "access",
        "scope": "openid db/postgres",
        "auth_time": lambda now: int(now) - 20,
        "jti": "7e1b5b0a-44f4-4a3c-8fd2-1c9b1b6f7d11",
        "username": "alice",
    },
)
COGNITO_SERVICE = COGNITO_ACCESS.but(
    {"cognito:groups": DROP},
    sub=COGNITO_CLIENT,
    origin_jti=DROP,
    event_id=DROP,
    username=DROP,
    scope="db/postgres",
)
COGNITO_ID = Kind(
    _COGNITO_KEY,
    {},
    {
        "sub": "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
        "cognito:groups": ["testgroup", "db-readers"],
        "email_verified": True,
        "iss": COGNITO,
        "cognito:username": "alice",
        "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "aud": COGNITO_CLIENT,
        "event_id": "64f513be-32db-42b0-b78e-b02127b4f463",
        "token_use": "id",
        "auth_time": lambda now: int(now) - 20,
        "email": "alice@example.org",
        "jti": "4d6fbc4a-9c32-4ab8-b0cb-0f0a8b7f7e2a",
    },
)
