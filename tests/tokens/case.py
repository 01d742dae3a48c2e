"""One row of the refusal table, and the one issuer, policy and key set that all rows are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pgoauthd.tokens.issuers import IdentitySource, IssuerPolicy, RoleRule
from pgoauthd.tokens.linearregex import LinearRegex
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import LoginRequest
from tests.fix_tokens import AUDIENCE, DROP, ISSUER, SigningKey, mint, signing_key

MAX_TOKEN_BYTES: Final = 16_384

POLICY: Final = IssuerPolicy(
    name="table",
    issuer=ISSUER,
    audiences=(AUDIENCE, "pg-reporting"),
    algorithms=("RS256", "RS384", "RS512", "PS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"),
    required_scopes=("postgres",),
    identities=(
        IdentitySource("database.user", (("database", "user"),)),
        IdentitySource("sub", (("sub",),)),
        IdentitySource("${tenant}/${email}", (("tenant",), "/", ("email",))),
    ),
    role_rules=(
        RoleRule(allow=False, roles=("superuser",)),
        RoleRule(allow=False, roles_regex=LinearRegex("pg_.*")),
        RoleRule(allow=False, roles_regex=LinearRegex(".*"), claim=("account", "flags"), value="suspended"),
        RoleRule(roles=("app_owner", "app_reader"), identity="alice"),
        RoleRule(roles=("reporting",), claim=("realm_access", "roles"), value="db-reporting"),
        RoleRule(roles=("\\1_reader",), claim=("groups",), value_regex=LinearRegex("db-([a-z]+)")),
        RoleRule(
            roles=("\\1", "\\1_\\2"),
            identity_regex=LinearRegex("svc-([a-z]+)@([a-z]+)\\.example"),
        ),
        RoleRule(roles_regex=LinearRegex("svc_[a-z]+"), identity_regex=LinearRegex("svc-.*")),
        RoleRule(
            roles=("\\1_admin",),
            identity_regex=LinearRegex("([a-z]+)@corp\\.example"),
            claim=("groups",),
            value="admins",
        ),
        RoleRule(roles=("\\1",), identity_regex=LinearRegex("(.*)")),
    ),
)

POLICY_TOML: Final = rf"""
[[issuers]]
name = "table"
issuer = "{ISSUER}"
jwks_uri = "JWKS_URI"
allow_loopback_http = true
audiences = ["{AUDIENCE}", "pg-reporting"]
algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"]
required_scopes = ["postgres"]
identity_claims = ["database.user", "sub", "${{tenant}}/${{email}}"]

[[issuers.role_rules]]
action = "deny"
roles = ["superuser"]

[[issuers.role_rules]]
action = "deny"
roles_regex = "pg_.*"

[[issuers.role_rules]]
action = "deny"
roles_regex = ".*"
claim = "account.flags"
value = "suspended"

[[issuers.role_rules]]
roles = ["app_owner", "app_reader"]
identity = "alice"

[[issuers.role_rules]]
roles = ["reporting"]
claim = "realm_access.roles"
value = "db-reporting"

[[issuers.role_rules]]
roles = ['\1_reader']
claim = "groups"
value_regex = "db-([a-z]+)"

[[issuers.role_rules]]
roles = ['\1', '\1_\2']
identity_regex = 'svc-([a-z]+)@([a-z]+)\.example'

[[issuers.role_rules]]
roles_regex = "svc_[a-z]+"
identity_regex = "svc-.*"

[[issuers.role_rules]]
roles = ['\1_admin']
identity_regex = '([a-z]+)@corp\.example'
claim = "groups"
value = "admins"

[[issuers.role_rules]]
roles = ['\1']
identity_regex = "(.*)"
"""
"""POLICY as a daemon is told it; JWKS_URI stands for where PUBLISHED_KEYS are served."""

RSA: Final = signing_key("rsa-1")
RSA_BOUND: Final = signing_key("rsa-2")
RSA_ENCRYPTION: Final = signing_key("rsa-enc")
RSA_WEAK: Final = signing_key("rsa-weak", bits=1024)
EC: Final = signing_key("ec-256", "ES256")
EC_384: Final = signing_key("ec-384", "ES384")
EC_521: Final = signing_key("ec-521", "ES512")
EC_LEAKED: Final = signing_key("ec-leaked", "ES256")
EC_TWIN: Final = signing_key("twin", "ES256")
EC_OTHER_TWIN: Final = SigningKey("twin", "ES256", signing_key("other-twin", "ES256").private)
EC_TO_SIGN: Final = signing_key("ec-to-sign", "ES256")
ED: Final = signing_key("ed-25519", "EdDSA")
ED_448: Final = signing_key("ed-448", "Ed448")
FORGER: Final = signing_key("rsa-forger")
EC_FORGER: Final = signing_key("ec-forger", "ES256")

SECRET: Final = b"a secret that should not be in a key set"

PUBLISHED_KEYS: Final[dict[str, Any]] = {
    "keys": [
        RSA.jwk(),
        RSA_BOUND.jwk(alg="RS256", x5c=["MIIC"], x5t="0ZcOCORZNYy"),
        RSA_ENCRYPTION.jwk(use="enc", alg="RSA-OAEP"),
        RSA_WEAK.jwk(),
        EC.jwk(alg="ES256"),
        EC_384.jwk(),
        EC_521.jwk(use=DROP, key_ops=["verify"]),
        EC_LEAKED.private_jwk(),
        EC_TWIN.jwk(),
        EC_OTHER_TWIN.jwk(),
        EC_TO_SIGN.jwk(use=DROP, key_ops=["sign"]),
        ED.jwk(alg="EdDSA"),
        ED_448.jwk(),
        {"kty": "oct", "kid": "secret", "alg": "HS256", "k": "YSBzZWNyZXQgdGhhdCBzaG91bGQgbm90IGJlIGluIGEga2V5IHNldA"},
        {"kty": "OKP", "crv": "X25519", "kid": "x25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"},
    ]
}
"""What the issuer serves as its key set: seven keys that verify, eight that must not."""

REQUEST: Final = LoginRequest(role="alice", issuer=ISSUER)


@dataclass(frozen=True)
class Case:
    """A token and a login, made for a time, and the reason that they must end in."""

    name: str
    reason: Reason
    token: Callable[[float], str]
    """The token's text; `now` in seconds since the epoch. Good for at least twenty seconds before and after."""
    request: LoginRequest = REQUEST

    def __str__(self) -> str:
        return self.name


def with_claims(name: str, reason: Reason, /, *, request: LoginRequest = REQUEST, **claims: object) -> Case:
    """A case of a rightly signed token with these claims, which are asked for their value if they are callable."""
    return Case(name, reason, lambda now: mint(now, **claims), request)  # type: ignore[arg-type]


def with_header(name: str, reason: Reason, /, *, key: SigningKey = RSA, **header: object) -> Case:
    """A case of a token with these members in its header, signed over them with `key`."""
    return Case(name, reason, lambda now: mint(now, key=key, header=header))


def with_parts(
    name: str, reason: Reason, change: Callable[[list[str]], str | list[str]], /, *, key: SigningKey = RSA
) -> Case:
    """A case of a good token whose parts, base64url as they are, were changed after it was signed."""

    def token(now: float) -> str:
        parts = change(mint(now, key=key).split("."))
        return parts if isinstance(parts, str) else ".".join(parts)

    return Case(name, reason, token)


def nested(levels: int) -> Mapping[str, Any]:
    """An object with this many levels, itself included."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value
