"""What is demanded of one issuer's tokens, and which issuer a login means; never contacts one."""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec

from pgoauthd.tokens.linearregex import LinearRegex
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


ClaimPath = tuple[str, ...]
"""The names on the way to a claim from the top, e.g. ("realm_access", "roles")."""


class Mode(StrEnum):
    """How a token's claims come to be believed; values of `mode` in the configuration."""

    JWT = "jwt"
    """A JWT by its signature; an opaque token by introspection, where that is configured."""
    INTROSPECT = "introspect"
    """Every token by introspection (RFC 7662): the issuer is asked about each, so a revocation is noticed."""
    JWT_THEN_INTROSPECT = "jwt_then_introspect"
    """A JWT by its signature and then by introspection, which may say more and must not contradict; others as above."""


class ScopeRule(StrEnum):
    """How many of the scopes of a pg_hba.conf line a token needs."""

    ALL = "all"
    """PostgreSQL's meaning."""
    ANY = "any"


class ScopeMatching(StrEnum):
    """When a granted scope stands for a required one."""

    EXACT = "exact"
    """RFC 6749 section 3.3."""
    WILDCARD = "wildcard"
    """`db:*` stands for `db:read`: a `*` as a whole part between `:`, `.` and `/` is any such part."""
    HIERARCHICAL = "hierarchical"
    """`db` stands for `db:read`, `db.read` and `db/read`, too."""


class RequiredClaim(msgspec.Struct, frozen=True):
    """A claim that must be one of `values`: a string, a boolean as JSON writes it, or a list that holds one."""

    path: ClaimPath
    values: tuple[str, ...]


class IdentitySource(msgspec.Struct, frozen=True):
    """One way to an identity: a claim, or a template of text and claims. `text` is how the configuration has it."""

    text: str
    parts: tuple[str | ClaimPath, ...]
    """Text as it is, and claims to be put in."""


class RoleRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of delegated mapping: bearers for whom all that it says is so may, or may not, be one of its roles."""

    allow: bool = True
    roles: tuple[str, ...] = ()
    """Names; \\1 to \\9 stand for what the groups of the regular expression matched, \\0 for all that it matched."""
    roles_regex: LinearRegex | None = None
    identity: str | None = None
    identity_regex: LinearRegex | None = None
    claim: ClaimPath | None = None
    """A string or a list of strings, of which one is `value` or matches `value_regex`."""
    value: str | None = None
    value_regex: LinearRegex | None = None


class IssuerPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a token of one issuer must be. Times in seconds."""

    name: str
    """Short name from the configuration: the `issuer` label of metrics."""
    issuer: str
    """Exactly as in the metadata's `issuer` (RFC 8414 section 3.3) and, unless `token_issuers` says so, in `iss`."""
    metadata_url: str | None = None
    """Where the metadata is, where that is not one of the issuer's own well-known URLs."""
    token_issuers: tuple[str, ...] = ()
    """What `iss` may be besides `issuer`: some providers' tokens do not name the issuer of their metadata."""
    mode: Mode = Mode.JWT
    audiences: tuple[str, ...]
    """At least one; a token needs one of them in its audience claim."""
    audience_claims: tuple[ClaimPath, ...] = (("aud",),)
    """The first that is there is judged."""
    required_claims: tuple[RequiredClaim, ...] = ()
    accept_id_tokens: bool = False
    """An ID token is taken as the credential: for providers whose access tokens nobody else can read."""
    accept_sender_constrained: bool = False
    """`cnf` is not refused, although nobody proves possession of the key."""
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA")
    token_types: tuple[str, ...] = ("at+jwt", "JWT", "")
    """Allowed `typ` headers, compared without case and without `application/`; "" is a token without one."""
    required_scopes: tuple[str, ...] = ()
    """All of them, besides those of the pg_hba.conf line."""
    any_scopes: tuple[str, ...] = ()
    """At least one of them, where there are any."""
    hba_scopes: ScopeRule = ScopeRule.ALL
    scope_claims: tuple[ClaimPath, ...] = (("scope",), ("scp",))
    """All of them together."""
    scope_matching: ScopeMatching = ScopeMatching.EXACT
    scope_prefixes: tuple[str, ...] = ()
    """Left out at the beginning of a required scope: clients ask for `api://db/read`, tokens say `read`."""
    implied_scopes: tuple[str, ...] = ()
    """Granted with every token, because the issuer never lists them in one."""
    identities: tuple[IdentitySource, ...] = (IdentitySource("sub", (("sub",),)),)
    """The first that can be made wins."""
    identity_lowercase: bool = False
    """A to Z of an identity become a to z; nothing else changes."""
    identity_strip_domains: tuple[str, ...] = ()
    """`@example.org` at the end or `EXAMPLE\\` at the beginning of an identity is left out for these domains alone."""
    role_rules: tuple[RoleRule, ...] = ()
    """In order, the first that fits decides; without any, the identity may be the role of its own name."""
    leeway: float = 30.0
    max_lifetime: float = 86_400.0
    """Longest `exp - iat` (or `exp - now` where there is no iat)."""
    pinned_key_issuers: bool = False
    """A key whose JWK names an `issuer`, as Entra's do, signs for that one alone; its {tenantid} is the token's tid."""
    introspection_client: str | None = None
    """Our client_id at the introspection endpoint, where there is one: the audience of signed answers (RFC 9701)."""
    introspection_optional: tuple[str, ...] = ()
    """Of iss, aud and exp: what an introspection answer may lack (RFC 7662 section 2.2 has them all optional)."""


_WELL_KNOWN = re.compile(r"/\.well-known/(?:openid-configuration|oauth-authorization-server)(?=/|\Z)")


def choose_issuer(hba_issuer: str, policies: tuple[IssuerPolicy, ...]) -> IssuerPolicy | Refusal:
    """The policy whose issuer is exactly that of the pg_hba.conf line.

    PostgreSQL accepts an issuer or a full `.well-known` URL as `issuer=` (18 documentation, section 20.15). The issuer
    that a URL names is, as for libpq, what is left of it without `/.well-known/` and the name after it, at the end
    (OpenID Connect Discovery 1.0 section 4) or between host and path (RFC 8414 section 3). A configured metadata_url
    names its issuer whatever it looks like.
    """
    named = _WELL_KNOWN.sub("", hba_issuer, count=1)
    for policy in policies:
        is_named = named != hba_issuer and named == policy.issuer.rstrip("/")
        if is_named or hba_issuer in (policy.issuer, policy.metadata_url):
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
