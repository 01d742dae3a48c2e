"""What parameters and token facts tell about a refusal, by the habits of identity providers; it only guesses, aloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import SplitResult, urlsplit

import msgspec

from pgoauthd.config.oauthclient import GrantType
from pgoauthd.probing.parameters import OAuth, Parameters
from pgoauthd.probing.steps import Wanted
from pgoauthd.probing.tokenfacts import TokenFacts
from pgoauthd.tokens.reasons import Stage

_WELL_KNOWN = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A probe that failed, as far as it tells something."""

    oauth: OAuth
    endpoint: str
    """The token endpoint; empty where none was found."""
    token: TokenFacts | None = None
    wanted: Wanted | None = None
    stage: str | None = None
    """At which the login ended by our own side, where that is known."""


def hints(case: Case) -> tuple[str, ...]:
    """One sentence for each habit that may be behind it."""
    finders = (find for find, stages in _FINDERS.items() if case.stage is None or case.stage in stages)
    return tuple(hint for find in finders if (hint := find(case)) is not None)


def issuer_of(openid_configuration: str) -> str:
    """The issuer whose metadata is at this URL, as PostgreSQL makes it of the `issuer` in pg_hba.conf."""
    for path in _WELL_KNOWN:
        openid_configuration = openid_configuration.removesuffix(path)
    return openid_configuration


def _other_issuer(case: Case) -> str | None:
    if case.wanted is None or case.token is None or None in (case.wanted.openid_configuration, case.token.issuer):
        return None
    wanted, issuer = issuer_of(case.wanted.openid_configuration or ""), case.token.issuer
    if wanted == issuer or _is_microsoft(case):
        return None
    return f"the token is of {issuer}, but the line of pg_hba.conf names {wanted}: they must be the same to the letter"


def _missing_scopes(case: Case) -> str | None:
    if case.wanted is None or case.token is None or not case.wanted.scope or _is_microsoft(case):
        return None
    lacking = [scope for scope in case.wanted.scope.split() if scope not in case.token.scope]
    if not lacking:
        return None
    return (
        f"the line of pg_hba.conf wants the scope {' '.join(case.wanted.scope.split())}; the token lacks "
        f"{' '.join(lacking)}: ask for it in oauth_scope, and give it to the client at the provider"
    )


def _no_audience(case: Case) -> str | None:
    if case.token is None or case.token.form != "JWT" or case.token.audience not in ((), ("account",)):
        return None
    if "/realms/" in case.endpoint:
        found = "only account, which Keycloak gives every token" if case.token.audience else "missing"
        return (
            f"the token's aud is {found}: add an audience mapper for the database to a client scope of this client; "
            "Keycloak does not look at oauth_audience"
        )
    return "the token has no aud: register the database as an API or resource at the provider, and ask for it"


def _service_account(case: Case) -> str | None:
    if case.token is None or "/realms/" not in case.endpoint or not _is_service(case):
        return None
    if case.token.subject != "a UUID":
        return None
    return (
        "Keycloak names a service account by a UUID in sub: map that to the role in pg_ident.conf, or, where nobody "
        'can choose his own name, set identity_claims = ["preferred_username"] and map service-account-CLIENT'
    )


def _okta(case: Case) -> str | None:
    parts = _parsed(case.endpoint)
    host = parts.hostname or ""
    if not host.endswith((".okta.com", ".oktapreview.com", ".okta-emea.com")):
        return None
    if parts.path.startswith("/oauth2/v1/"):
        return (
            "this is Okta's org authorization server, whose tokens only Okta can read: use a custom one, "
            "/oauth2/default/v1/token or /oauth2/ID/v1/token, whose Audience is the database"
        )
    if _is_service(case) and {"openid", "profile", "email"} & set((case.oauth.scope or "").split()):
        return (
            "Okta gives client_credentials no openid, profile or email: add a scope of your own to the authorization "
            "server, allow it to the client in an access policy, and ask for it in oauth_scope"
        )
    return None


def _entra(case: Case) -> str | None:
    if not _is_entra(case) or not _is_service(case):
        return None
    if not (case.oauth.scope or "").endswith("/.default"):
        return "Entra ID wants oauth_scope = api://APPLICATION/.default with client_credentials, and nothing else in it"
    if case.wanted is not None and case.wanted.scope:
        return (
            "services have app roles in roles, and /.default is never in a token: name the roles in scope= of "
            "pg_hba.conf, or in required_scopes of the issuer"
        )
    return None


def _adfs(case: Case) -> str | None:
    if not _is_adfs(case):
        return None
    if case.oauth.resource is None and case.oauth.grant_type is GrantType.PASSWORD:
        return "AD FS gives a token for its own userinfo without oauth_resource: set it to the database's identifier"
    if case.oauth.resource is not None and _is_service(case):
        return "oauth_resource is sent with the password grant alone, as Kong does it"
    return None


def _opaque(case: Case) -> str | None:
    if case.token is None or case.token.form == "JWT":
        return None
    return (
        f'the token is {case.token.form}, not a JWT: set mode = "introspect" and [issuers.introspection] for this '
        "issuer, or have the provider issue JWTs"
    )


def _is_service(case: Case) -> bool:
    return case.oauth.grant_type is GrantType.CLIENT_CREDENTIALS


def _is_microsoft(case: Case) -> bool:
    """Their tokens name issuers and scopes otherwise than clients ask for them."""
    return _is_entra(case) or _is_adfs(case)


def _is_entra(case: Case) -> bool:
    return (_parsed(case.endpoint).hostname or "").startswith(("login.microsoftonline.", "login.partner.microsoft"))


def _is_adfs(case: Case) -> bool:
    return "/adfs/" in case.endpoint.lower()


_FINDERS: dict[Callable[[Case], str | None], frozenset[Stage]] = {
    _other_issuer: frozenset({Stage.HBA, Stage.IDP, Stage.SIGNATURE, Stage.CLAIMS}),
    _missing_scopes: frozenset({Stage.SCOPE}),
    _no_audience: frozenset({Stage.CLAIMS}),
    _service_account: frozenset({Stage.IDENTITY, Stage.USERMAP}),
    _okta: frozenset({Stage.TOKEN_FORMAT, Stage.DECODE, Stage.IDP, Stage.SIGNATURE, Stage.CLAIMS, Stage.SCOPE}),
    _entra: frozenset({Stage.CLAIMS, Stage.SCOPE}),
    _adfs: frozenset({Stage.CLAIMS, Stage.SCOPE}),
    _opaque: frozenset({Stage.TOKEN_FORMAT, Stage.DECODE}),
}
"""Each with the stages at which it can be the cause."""


def warnings(parameters: Parameters) -> tuple[str, ...]:
    """What is odd about the parameters themselves, one sentence each."""
    oauth = parameters.oauth
    found = []
    if not parameters.tls.verify:
        found.append(
            "the server's certificate is not checked (ssl_verify is off): whoever answers there gets the token"
        )
    if oauth.token_endpoint and oauth.discovery_endpoint:
        found.append("oauth_token_endpoint and oauth_discovery_endpoint are both set: the first is used")
    if oauth.resource and oauth.grant_type is not GrantType.PASSWORD:
        found.append("oauth_resource is not sent: Kong sends it with the password grant alone")
    quoted = [name for name, value in _texts(oauth) if value[:1] in "\"'" and value[-1:] == value[:1]]
    if quoted:
        found.append(f"{', '.join(quoted)}: Kong takes the quotes as part of the value")
    return tuple(found)


def _texts(oauth: OAuth) -> Iterator[tuple[str, str]]:
    """All values, for a look at their quotes alone."""
    values = {
        "oauth_client_id": oauth.client_id,
        "oauth_client_secret": oauth.client_secret.reveal() if oauth.client_secret is not None else None,
        "oauth_token_endpoint": oauth.token_endpoint,
        "oauth_discovery_endpoint": oauth.discovery_endpoint,
        "oauth_scope": oauth.scope,
        "oauth_audience": oauth.audience,
        "oauth_username": oauth.username,
        "oauth_password": oauth.password.reveal() if oauth.password is not None else None,
    }
    return ((name, value) for name, value in values.items() if value is not None and len(value) > 1)


def _parsed(url: str) -> SplitResult:
    """The parts; of what is no URL, none."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
