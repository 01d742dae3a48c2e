"""What the tokens of well-known providers look like, as defaults for the configuration; never reads a configuration.

A profile's defaults are in the vocabulary of an [[issuers]] table, as TOML has them. They lie under what the file
gives: every one can be overridden, so a profile decides nothing that the file could not say itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

Given = Mapping[str, object]
"""An [[issuers]] table as it was written: of any type, with anything missing."""


class ProfileProblem(NamedTuple):
    """Why an issuer cannot be what its profile says: the key, what is wrong with it, and the remedy."""

    key: str
    what: str
    remedy: str


class Profile(NamedTuple):
    """One provider."""

    provider: str
    """Its name, for people."""
    defaults: Callable[[Given], dict[str, object]]
    problem: Callable[[Given], ProfileProblem | None]
    introspects: bool = True
    """It has an introspection endpoint of its own (RFC 7662)."""


def profile_defaults(profile: str, given: Given) -> dict[str, object]:
    """What `profile` says about an [[issuers]] table where the table does not; nothing for an unknown profile.

    `required_claims` is to be merged claim by claim with that of the table, everything else to be replaced by it.
    """
    return PROFILES[profile].defaults(given) if profile in PROFILES else {}


def profile_problems(profile: str, given: Given) -> tuple[ProfileProblem, ...]:
    """Why the table cannot be of this profile; nothing for an unknown one."""
    known = PROFILES.get(profile)
    if known is None:
        return ()
    wrong = known.problem(given) if _issuer(given) else None
    return tuple(problem for problem in (wrong, _introspection_problem(known, given)) if problem is not None)


def _introspection_problem(profile: Profile, given: Given) -> ProfileProblem | None:
    asked = given.get("introspection")
    if profile.introspects or asked is None or (isinstance(asked, dict) and "endpoint" in asked):
        return None
    return ProfileProblem(
        "introspection",
        f"cannot work, as {profile.provider} has no introspection endpoint",
        "remove it, or give the endpoint of something else that answers for it",
    )


def _generic(_: Given) -> dict[str, object]:
    return {}


def _keycloak(_: Given) -> dict[str, object]:
    return {"required_claims": {"typ": ["Bearer"]}, "scope_claims": ["scope"], "identity_claims": ["sub"]}


def _entra(given: Given) -> dict[str, object]:
    defaults: dict[str, object] = {
        "scope_claims": ["scp", "roles"],
        "scope_prefixes": _resource_prefixes(given, "api://"),
        "implied_scopes": ["openid", "profile", "email", "offline_access"],
        "identity_claims": ["oid"],
        "algorithms": ["RS256"],
        "pinned_key_issuers": True,
    }
    if (tenant := _entra_tenant(_issuer(given))) is not None:
        defaults["required_claims"] = {"tid": [tenant]}
        defaults |= _entra_versions(urlsplit(_issuer(given)).netloc, tenant)
    return defaults


def _entra_versions(host: str, tenant: str) -> dict[str, object]:
    """An application chooses whether its tokens are of version 1.0 or 2.0, whichever metadata the client reads."""
    if (sts := _STS_OF_LOGIN.get(host)) is not None:
        return {"token_issuers": [f"https://{sts}/{tenant}/"]}
    if (login := _LOGIN_OF_STS.get(host)) is not None:
        return {
            "token_issuers": [f"https://{login}/{tenant}/v2.0"],
            "metadata_url": f"https://{login}/{tenant}/.well-known/openid-configuration",
        }
    return {}


def _okta(_: Given) -> dict[str, object]:
    return {
        "token_types": ["", "JWT", "at+jwt"],
        "scope_claims": ["scp"],
        "identity_claims": ["sub"],
        "algorithms": ["RS256"],
    }


def _auth0(_: Given) -> dict[str, object]:
    return {
        "scope_claims": ["scope", "permissions"],
        "identity_claims": ["sub"],
        "algorithms": ["RS256", "PS256"],
    }


def _google(_: Given) -> dict[str, object]:
    return {
        "token_issuers": ["accounts.google.com"],
        "accept_id_tokens": True,
        "implied_scopes": ["openid", "email", "profile"],
        "identity_claims": ["email"],
        "algorithms": ["RS256"],
    }


def _adfs(given: Given) -> dict[str, object]:
    # Not `appid` as a second: every token has it, so people whose tokens lack upn would all be their application.
    defaults: dict[str, object] = {
        "scope_claims": ["scp"],
        "scope_prefixes": _resource_prefixes(given, "microsoft:identityserver:"),
        "identity_claims": ["upn"],
        "algorithms": ["RS256"],
    }
    if host := urlsplit(_issuer(given)).netloc:
        defaults["token_issuers"] = [f"http://{host}/adfs/services/trust"]
    return defaults


def _cognito(_: Given) -> dict[str, object]:
    # Not `username`: in a pool with self-registration anybody may be named like a role or like a client.
    return {
        "audience_claims": ["aud", "client_id"],
        "required_claims": {"token_use": ["access"]},
        "scope_claims": ["scope"],
        "identity_claims": ["sub"],
        "algorithms": ["RS256"],
    }


def _nothing(_: Given) -> None:
    return None


def _entra_problem(given: Given) -> ProfileProblem | None:
    if _entra_tenant(_issuer(given)) is not None:
        return None
    return ProfileProblem(
        "issuer",
        "is no issuer of one Entra tenant",
        "write https://login.microsoftonline.com/TENANT-ID/v2.0 with the directory (tenant) ID in lower case, "
        "not common, organizations, consumers or a domain name",
    )


def _okta_problem(given: Given) -> ProfileProblem | None:
    if re.fullmatch(r"/oauth2/[^/]+", urlsplit(_issuer(given)).path) or given.get("mode") == "introspect":
        return None
    return ProfileProblem(
        "issuer",
        "is that of Okta's org authorization server, whose access tokens only Okta may judge",
        "use a custom authorization server, https://ORG.okta.com/oauth2/default, "
        'or set mode = "introspect" with [issuers.introspection]',
    )


def _auth0_problem(given: Given) -> ProfileProblem | None:
    issuer = _issuer(given)
    if issuer.endswith("/"):
        return None
    return ProfileProblem("issuer", "has no slash at its end, as Auth0's issuers have", f'write "{issuer}/"')


def _google_problem(given: Given) -> ProfileProblem | None:
    issuer = _issuer(given)
    host = urlsplit(issuer).hostname or ""
    if (host == "google.com" or host.endswith(".google.com")) and issuer != "https://accounts.google.com":
        return ProfileProblem("issuer", "is not as Google's metadata has it", "write https://accounts.google.com")
    return None


def _adfs_problem(given: Given) -> ProfileProblem | None:
    if urlsplit(_issuer(given)).path == "/adfs":
        return None
    return ProfileProblem("issuer", "does not end in /adfs", "write https://HOST/adfs, as AD FS' metadata has it")


def _cognito_problem(given: Given) -> ProfileProblem | None:
    if not (urlsplit(_issuer(given)).hostname or "").endswith(".amazoncognito.com"):
        return None
    return ProfileProblem(
        "issuer", "is the domain of the login page", "write https://cognito-idp.REGION.amazonaws.com/POOL-ID"
    )


def _issuer(given: Given) -> str:
    """The issuer, or "" where it is missing, no text or no URL: that is complained about elsewhere."""
    issuer = given.get("issuer")
    try:
        return issuer if isinstance(issuer, str) and urlsplit(issuer).netloc else ""
    except ValueError:
        return ""


def _entra_tenant(issuer: str) -> str | None:
    found = _ENTRA_ISSUER.fullmatch(issuer)
    return None if found is None else found["v1"] or found["v2"]


def _resource_prefixes(given: Given, scheme: str) -> list[str]:
    """Clients ask for AUDIENCE/SCOPE where tokens say SCOPE; a GUID is one audience with and without `scheme`."""
    audiences = given.get("audiences")
    prefixes: dict[str, None] = {}
    for audience in audiences if isinstance(audiences, list) else ():
        if isinstance(audience, str) and audience:
            bare = audience.removeprefix(scheme)
            names = (audience, bare, f"{scheme}{bare}") if _GUID.fullmatch(bare.lower()) else (audience,)
            prefixes.update(dict.fromkeys(f"{name}/" for name in names))
    return list(prefixes)


_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ENTRA_ISSUER = re.compile(rf"https?://(?:sts\.[^/]+/(?P<v1>{_GUID.pattern})/|[^/]+/(?P<v2>{_GUID.pattern})/v2\.0)")
_STS_OF_LOGIN = {
    "login.microsoftonline.com": "sts.windows.net",
    "login.microsoftonline.us": "sts.windows.net",
    "login.partner.microsoftonline.cn": "sts.chinacloudapi.cn",
}
_LOGIN_OF_STS = {
    "sts.windows.net": "login.microsoftonline.com",
    "sts.chinacloudapi.cn": "login.partner.microsoftonline.cn",
}

PROFILES: Mapping[str, Profile] = {
    "generic": Profile("any provider that follows the standards", _generic, _nothing),
    "keycloak": Profile("Keycloak", _keycloak, _nothing),
    "entra": Profile("Microsoft Entra ID", _entra, _entra_problem, introspects=False),
    "okta": Profile("Okta", _okta, _okta_problem),
    "auth0": Profile("Auth0", _auth0, _auth0_problem, introspects=False),
    "google": Profile("Google", _google, _google_problem, introspects=False),
    "adfs": Profile("Active Directory Federation Services", _adfs, _adfs_problem, introspects=False),
    "cognito": Profile("Amazon Cognito", _cognito, _cognito_problem, introspects=False),
}
