"""One row of the table of profiles, and the issuers with their configuration and keys that all rows are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import LoginRequest
from tests.fix_tokens import key_set, signing_key
from tests.tokens import microsoft_tokens as ms
from tests.tokens import profile_tokens as made

ISSUERS: Final[Mapping[str, str]] = {
    "generic": made.GENERIC,
    "keycloak": made.KEYCLOAK,
    "entra": ms.ENTRA,
    "okta": made.OKTA,
    "auth0": made.AUTH0,
    "google": made.GOOGLE,
    "adfs": ms.ADFS,
    "cognito": made.COGNITO,
}

SETTINGS: Final[Mapping[str, str]] = {
    "generic": """
audiences = ["https://db.example/"]
required_claims = { "tenant.id" = ["7", "8"], "tenant.approved" = true }
accept_sender_constrained = true
""",
    "keycloak": 'audiences = ["pg-cluster"]',
    "entra": f'audiences = ["{ms.API}", "api://{ms.API}"]',
    "okta": 'audiences = ["api://default"]',
    "auth0": 'audiences = ["https://db.example/api"]',
    "google": f'audiences = ["{made.GOOGLE_CLIENT}"]\nrequired_claims = {{ hd = "example.org" }}',
    "adfs": f'audiences = ["{ms.ADFS_API}"]',
    "cognito": f'audiences = ["{made.COGNITO_CLIENT}"]',
}
"""What a configuration says besides profile and issuer: nothing that the profile should know by itself."""

KEYS: Final[Mapping[str, Mapping[str, Any]]] = {
    "generic": key_set(made.RFC9068.key),
    "keycloak": {
        "keys": [made.KEYCLOAK_FULL.key.jwk(alg="RS256"), signing_key("rsa-enc").jwk(use="enc", alg="RSA-OAEP")]
    },
    "entra": {"keys": list(ms.ENTRA_KEYS)},
    "okta": key_set(made.OKTA_ACCESS.key),
    "auth0": key_set(made.AUTH0_API.key),
    "google": key_set(made.GOOGLE_ID.key),
    "adfs": key_set(ms.ADFS_ACCESS.key),
    "cognito": key_set(made.COGNITO_ACCESS.key),
}


def issuer_toml(profile: str, jwks_uri: str) -> str:
    """One [[issuers]] table of a configuration."""
    return f"""
[[issuers]]
name = "{profile}"
profile = "{profile}"
issuer = "{ISSUERS[profile]}"
jwks_uri = "{jwks_uri}"
allow_loopback_http = true
{SETTINGS[profile]}
"""


@dataclass(frozen=True)
class ProfileCase:
    """A token for an issuer of a profile, and the reason that it must end in."""

    name: str
    profile: str
    reason: Reason
    token: Callable[[float], str]
    request: LoginRequest
    identity: str | None = None
    """Whose token it is, where it is a good one."""

    def __str__(self) -> str:
        return f"{self.profile}: {self.name}"


def rows_of(profile: str) -> Callable[..., ProfileCase]:
    """Makes the rows of a profile."""

    def case(
        name: str, reason: Reason, token: Callable[[float], str], scope: str = "", identity: str | None = None
    ) -> ProfileCase:
        request = LoginRequest(role="alice", issuer=ISSUERS[profile], required_scopes=tuple(scope.split()))
        return ProfileCase(name, profile, reason, token, request, identity)

    return case
