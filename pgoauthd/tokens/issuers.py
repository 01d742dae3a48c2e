"""What is demanded of one issuer's tokens, and which issuer a login means; never contacts one."""

from __future__ import annotations

import msgspec

from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

ASYMMETRIC_ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
"""All that may be configured (RFC 8725 section 3.1); symmetric algorithms and `none` are out by design."""


class RoleGrant(msgspec.Struct, frozen=True, kw_only=True):
    """One rule for delegated mapping: bearers with `identity`, or with `value` in `claim`, may be one of `roles`."""

    roles: tuple[str, ...]
    identity: str | None = None
    claim: tuple[str, ...] | None = None
    """Path of a claim: a string or a list of strings, e.g. ("realm_access", "roles")."""
    value: str | None = None


class IssuerPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a token of one issuer must be. Times in seconds."""

    name: str
    """Short name from the configuration: the `issuer` label of metrics."""
    issuer: str
    """Exactly as in the tokens' `iss` and in the metadata's `issuer` (RFC 8414 section 3.3)."""
    audiences: tuple[str, ...]
    """At least one; a token needs one of them in `aud`."""
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA")
    token_types: tuple[str, ...] = ("at+jwt", "JWT", "")
    """Allowed `typ` headers, compared without case and without `application/`; "" is a token without one."""
    required_scopes: tuple[str, ...] = ()
    scope_claims: tuple[str, ...] = ("scope", "scp")
    identity_claims: tuple[tuple[str, ...], ...] = (("sub",),)
    """Paths of claims, the first that is there wins."""
    leeway: float = 30.0
    max_lifetime: float = 86_400.0
    """Longest `exp - iat` (or `exp - now` where there is no iat)."""
    grants: tuple[RoleGrant, ...] = ()


def choose_issuer(hba_issuer: str, policies: tuple[IssuerPolicy, ...]) -> IssuerPolicy | Refusal:
    """The policy whose issuer is exactly that of the pg_hba.conf line.

    PostgreSQL accepts an issuer or a full `.well-known` URL as `issuer=` (18 documentation, section 20.15); both
    forms of `.well-known` (OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3) name the same issuer here.
    """
    for policy in policies:
        if hba_issuer in (policy.issuer, *well_known_urls(policy.issuer)):
            return policy
    return Refusal(
        Reason.HBA_ISSUER_UNKNOWN,
        f"issuer {hba_issuer!r} of the pg_hba.conf line is not configured; configured are "
        + ", ".join(repr(policy.issuer) for policy in policies),
    )


def well_known_urls(issuer: str) -> tuple[str, ...]:
    """The metadata URLs of an issuer in the order to try: OpenID Connect, then RFC 8414 with its path insertion."""
    scheme, _, rest = issuer.partition("://")
    host, slash, path = rest.partition("/")
    tail = (slash + path).rstrip("/")
    return (
        f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        f"{scheme}://{host}/.well-known/oauth-authorization-server{tail}",
    )
