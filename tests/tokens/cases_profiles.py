"""Tokens of each kind of issuer, and what must become of them under the profile of that issuer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pgoauthd.tokens.reasons import Reason
from tests.fix_tokens import DROP, SigningKey, signing_key
from tests.tokens import microsoft_tokens as ms
from tests.tokens import profile_tokens as made
from tests.tokens.profile_case import ProfileCase, rows_of

FORGER: Final = SigningKey("signing-1", "RS256", signing_key("rsa-forger").private)
EC_FORGER: Final = SigningKey("signing-1", "ES256", signing_key("ec-forger", "ES256").private)

_generic, _keycloak, _entra, _okta = (rows_of(name) for name in ("generic", "keycloak", "entra", "okta"))
_auth0, _google, _adfs, _cognito = (rows_of(name) for name in ("auth0", "google", "adfs", "cognito"))


def _text(text: str) -> Callable[[float], str]:
    return lambda _: text


_OK = Reason.OK
_USE = Reason.TOKEN_USE_FORBIDDEN
_CLAIM = Reason.CLAIM_MISMATCH
_ISSUER = Reason.ISSUER_MISMATCH
_KEY = Reason.KEY_MISMATCH
_AUDIENCE = Reason.AUDIENCE_MISMATCH
_ENCRYPTED: Final = (
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwiaXNzIjoiaHR0cHM6Ly9jb250b3NvLmV1LmF1dGgwLmNvbS8ifQ..AA.BB.CC"
)

GENERIC_CASES: Final = (
    _generic("token of RFC 9068, bound to its sender", _OK, made.RFC9068, "read", "5ba552d67"),
    _generic("second allowed tenant", _OK, made.RFC9068.but(tenant={"id": "8", "approved": True}), "", "5ba552d67"),
    _generic("tenants in a list", _OK, made.RFC9068.but(tenant={"id": ["6", "7"], "approved": True}), "", "5ba552d67"),
    _generic("other tenant", _CLAIM, made.RFC9068.but(tenant={"id": "9", "approved": True})),
    _generic("tenant as a number", _CLAIM, made.RFC9068.but(tenant={"id": 7, "approved": True})),
    _generic("tenant in a list in a list", _CLAIM, made.RFC9068.but(tenant={"id": [["7"]], "approved": True})),
    _generic("no tenants in the list", _CLAIM, made.RFC9068.but(tenant={"id": [], "approved": True})),
    _generic("tenant is null", _CLAIM, made.RFC9068.but(tenant={"id": None, "approved": True})),
    _generic("tenant at the top", _CLAIM, made.RFC9068.but({"tenant.id": "7", "tenant.approved": True}, tenant=DROP)),
    _generic("tenant not approved", _CLAIM, made.RFC9068.but(tenant={"id": "7", "approved": False})),
    _generic("tenant without approval", _CLAIM, made.RFC9068.but(tenant={"id": "7"})),
    _generic("no tenant", _CLAIM, made.RFC9068.but(tenant=DROP)),
    _generic("no tenant and another audience", _AUDIENCE, made.RFC9068.but(tenant=DROP, aud="x")),
    _generic("ID token by its typ", Reason.TYPE_FORBIDDEN, made.RFC9068.headed(typ="id+jwt")),
    _generic("nonce and neither scope nor client", _USE, made.RFC9068.but(nonce="n", scope=DROP, client_id=DROP)),
    _generic(
        "nonce and a typ that says nothing", _USE, made.RFC9068.but(nonce="n", scope=DROP, client_id=DROP, typ="JWT")
    ),
    _generic("logout token", _USE, made.RFC9068.but(events={made.LOGOUT_EVENT: {}})),
)

KEYCLOAK_CASES: Final = (
    _keycloak("access token", _OK, made.KEYCLOAK_FULL, "postgres", made.KEYCLOAK_FULL.claims["sub"]),
    _keycloak(
        "access token of RFC 9068", _OK, made.KEYCLOAK_FULL.headed(typ="at+jwt"), "", made.KEYCLOAK_FULL.claims["sub"]
    ),
    _keycloak(
        "access token of version 24, with nonce",
        _OK,
        made.KEYCLOAK_FULL.but(nonce="3f1a"),
        "postgres",
        made.KEYCLOAK_FULL.claims["sub"],
    ),
    _keycloak("service account", _OK, made.KEYCLOAK_SERVICE, "postgres", made.KEYCLOAK_SERVICE.claims["sub"]),
    _keycloak("lightweight access token", Reason.AUDIENCE_MISSING, made.KEYCLOAK_LIGHTWEIGHT),
    _keycloak(
        "lightweight access token with audience",
        Reason.IDENTITY_MISSING,
        made.KEYCLOAK_LIGHTWEIGHT.but(aud="pg-cluster"),
    ),
    _keycloak("audience as it is by default", _AUDIENCE, made.KEYCLOAK_FULL.but(aud="account")),
    _keycloak("scope not granted", Reason.SCOPE_MISSING, made.KEYCLOAK_FULL.but(scope="profile email"), "postgres"),
    _keycloak("scope in a claim of others", Reason.SCOPE_MISSING, made.KEYCLOAK_FULL.but(scp=["x"]), "x"),
    _keycloak("ID token", _USE, made.KEYCLOAK_ID),
    _keycloak("ID token with the database's audience", _USE, made.KEYCLOAK_ID.but(aud=["psql", "pg-cluster"])),
    _keycloak("refresh token", _USE, made.KEYCLOAK_REFRESH),
    _keycloak("refresh token with the database's audience", _USE, made.KEYCLOAK_REFRESH.but(aud="pg-cluster")),
    _keycloak("offline token", _USE, made.KEYCLOAK_REFRESH.but(typ="Offline", aud="pg-cluster", exp=DROP)),
    _keycloak(
        "refresh token signed with the realm's secret",
        Reason.ALGORITHM_FORBIDDEN,
        made.altered_after_signing(made.KEYCLOAK_REFRESH, alg="HS512", kid="realm-secret"),
    ),
    _keycloak("logout token", Reason.TYPE_FORBIDDEN, made.KEYCLOAK_LOGOUT),
    _keycloak("logout token of version 24", _USE, made.KEYCLOAK_LOGOUT.headed(typ="JWT").but(aud="pg-cluster")),
    _keycloak("registration token", _USE, made.KEYCLOAK_FULL.but(typ="RegistrationAccessToken")),
    _keycloak("without typ", _CLAIM, made.KEYCLOAK_FULL.but(typ=DROP)),
    _keycloak("typ in other case", _CLAIM, made.KEYCLOAK_FULL.but(typ="bearer")),
    _keycloak("typ of another provider", _CLAIM, made.KEYCLOAK_FULL.but(typ="JWT")),
    _keycloak("bound by DPoP", Reason.SENDER_CONSTRAINED, made.KEYCLOAK_FULL.but(typ="DPoP", cnf={"jkt": "0Zc"})),
    _keycloak("other realm", _ISSUER, made.KEYCLOAK_FULL.but(iss="https://sso.example/realms/master")),
    _keycloak("realm's old path", _ISSUER, made.KEYCLOAK_FULL.but(iss="https://sso.example/auth/realms/database")),
    _keycloak("other realm's key", Reason.SIGNATURE_INVALID, made.KEYCLOAK_FULL.by(FORGER)),
    _keycloak("encryption key", _KEY, made.KEYCLOAK_FULL.by(signing_key("rsa-enc"))),
)

_READ: Final = f"openid api://{ms.API}/db.read offline_access"
_ALICE: Final = ms.ENTRA_V2.claims["oid"]
_OTHER: Final = ms.OTHER_TENANT

ENTRA_CASES: Final = (
    _entra("access token of version 2.0", _OK, ms.ENTRA_V2, _READ, _ALICE),
    _entra("access token of version 1.0", _OK, ms.ENTRA_V1, _READ, _ALICE),
    _entra("application alone", _OK, ms.ENTRA_APP, "db.login", ms.ENTRA_APP.claims["oid"]),
    _entra("guest from another tenant", _OK, ms.ENTRA_V2.but(idp=ms.entra_v1(_OTHER)), _READ, _ALICE),
    _entra("key of the tenant alone", _OK, ms.ENTRA_V2.by(ms.ENTRA_TENANT_KEY), _READ, _ALICE),
    _entra("key of the tenant alone, version 1.0", _OK, ms.ENTRA_V1.by(ms.ENTRA_TENANT_KEY), _READ, _ALICE),
    _entra("key without an issuer", _OK, ms.ENTRA_V2.by(ms.ENTRA_V1_ENDPOINT_KEY), _READ, _ALICE),
    _entra("other tenant", _ISSUER, ms.ENTRA_V2.but(iss=ms.entra_v2(_OTHER), tid=_OTHER)),
    _entra("other tenant, version 1.0", _ISSUER, ms.ENTRA_V1.but(iss=ms.entra_v1(_OTHER), tid=_OTHER)),
    _entra("personal account", _ISSUER, ms.ENTRA_V2.but(iss=ms.entra_v2(ms.CONSUMERS), tid=ms.CONSUMERS)),
    _entra("issuer of the common metadata", _ISSUER, ms.ENTRA_V2.but(iss=ms.entra_v2("{tenantid}"))),
    _entra("issuer of the common endpoint", _ISSUER, ms.ENTRA_V2.but(iss=ms.entra_v2("common"))),
    _entra("tenant in upper case", _ISSUER, ms.ENTRA_V2.but(iss=ms.entra_v2(ms.TENANT.upper()))),
    _entra("sovereign cloud", _ISSUER, ms.ENTRA_V2.but(iss=ms.ENTRA.replace(".com", ".us"))),
    _entra("tid of another tenant", _KEY, ms.ENTRA_V2.but(tid=_OTHER)),
    _entra("tid of another tenant, version 1.0", _KEY, ms.ENTRA_V1.but(tid=_OTHER)),
    _entra(
        "tid of another tenant, key without an issuer", _CLAIM, ms.ENTRA_V2.by(ms.ENTRA_V1_ENDPOINT_KEY).but(tid=_OTHER)
    ),
    _entra("tid missing", _KEY, ms.ENTRA_V2.but(tid=DROP)),
    _entra("tid missing, key without an issuer", _CLAIM, ms.ENTRA_V2.by(ms.ENTRA_V1_ENDPOINT_KEY).but(tid=DROP)),
    _entra("tid is a list", _KEY, ms.ENTRA_V2.but(tid=[ms.TENANT])),
    _entra("tid is the place for it", _KEY, ms.ENTRA_V2.but(tid="{tenantid}")),
    _entra("key of personal accounts", _KEY, ms.ENTRA_V2.by(ms.ENTRA_PERSONAL_KEY)),
    _entra("key of personal accounts, version 1.0", _KEY, ms.ENTRA_V1.by(ms.ENTRA_PERSONAL_KEY)),
    _entra("key of another tenant", _KEY, ms.ENTRA_V2.by(ms.ENTRA_OTHER_TENANT_KEY)),
    _entra("key of another tenant, version 1.0", _KEY, ms.ENTRA_V1.by(ms.ENTRA_OTHER_TENANT_KEY)),
    _entra(
        "key of another tenant, said to be of version 1.0",
        _KEY,
        ms.ENTRA_V2.by(ms.ENTRA_OTHER_TENANT_KEY).but(ver="1.0"),
    ),
    _entra("key whose issuer is no string", _KEY, ms.ENTRA_V2.by(ms.ENTRA_ODD_KEY)),
    _entra("ID token", _USE, ms.ENTRA_ID),
    _entra("ID token of version 1.0", _USE, ms.ENTRA_ID_V1),
    _entra("ID token of an API that is its own client", _USE, ms.ENTRA_ID.but(aud=ms.API)),
    _entra("ID token of that client, without nonce", _USE, ms.ENTRA_ID.but(aud=ms.API, nonce=DROP), "openid"),
    _entra("ID token of that client, with roles", _USE, ms.ENTRA_ID.but(aud=ms.API, nonce=DROP, roles=["db.login"])),
    _entra("ID token of that client, version 1.0", _USE, ms.ENTRA_ID_V1.but(aud=f"api://{ms.API}", nonce=DROP)),
    _entra("ID token for the database's API, version unknown", _USE, ms.ENTRA_ID.but(aud=ms.API, ver=DROP)),
    _entra("for Microsoft Graph", _AUDIENCE, ms.ENTRA_GRAPH),
    _entra(
        "for Microsoft Graph, whose nonce was signed in another form",
        Reason.SIGNATURE_INVALID,
        made.altered_after_signing(ms.ENTRA_GRAPH.headed(nonce="sha256-of-it"), nonce="it"),
    ),
    _entra("for another API of the tenant", _AUDIENCE, ms.ENTRA_V2.but(aud=ms.CLIENT)),
    _entra("scope of the API not granted", Reason.SCOPE_MISSING, ms.ENTRA_V2, f"api://{ms.API}/db.admin"),
    _entra("scope of another API", Reason.SCOPE_MISSING, ms.ENTRA_V2, f"api://{ms.CLIENT}/db.read"),
    _entra("application without a role", Reason.SCOPE_MISSING, ms.ENTRA_APP.but(roles=DROP), "db.login"),
    _entra("without oid", Reason.IDENTITY_MISSING, ms.ENTRA_V2.but(oid=DROP), _READ),
    _entra("bound to a key", Reason.SENDER_CONSTRAINED, ms.ENTRA_V2.but(cnf={"kid": "xyz", "xms_ksl": "sw"})),
    _entra("other algorithm", Reason.ALGORITHM_FORBIDDEN, made.altered_after_signing(ms.ENTRA_V2, alg="PS256")),
)

OKTA_CASES: Final = (
    _okta("access token", _OK, made.OKTA_ACCESS, "openid postgres", "alice@okta.example"),
    _okta("client credentials", _OK, made.OKTA_SERVICE, "postgres", "0oa1gk5m4tPmvhzVd1d7"),
    _okta("access token of the org", Reason.TYPE_FORBIDDEN, made.OKTA_ORG_ACCESS),
    _okta("access token of the org, without typ", _ISSUER, made.OKTA_ORG_ACCESS.headed(typ=DROP)),
    _okta("typ of the org, the rest right", Reason.TYPE_FORBIDDEN, made.OKTA_ACCESS.headed(typ="okta-internal-at+jwt")),
    _okta("other authorization server", _ISSUER, made.OKTA_ACCESS.but(iss=f"{made.OKTA_ORG}/oauth2/aus1gk5m")),
    _okta("ID token", _USE, made.OKTA_ID),
    _okta("ID token with nonce alone", _USE, made.OKTA_ID.but(at_hash=DROP, nonce="n", aud="api://default")),
    _okta("ID token without marks", _AUDIENCE, made.OKTA_ID.but(at_hash=DROP)),
    _okta("other audience", _AUDIENCE, made.OKTA_ACCESS.but(aud="api://other")),
    _okta("scope in a claim of others", Reason.SCOPE_MISSING, made.OKTA_ACCESS.but(scope="x"), "x"),
    _okta("bound by DPoP", Reason.SENDER_CONSTRAINED, made.OKTA_ACCESS.but(cnf={"jkt": "0ZcOCORZNYy"})),
    _okta("key that is not published", Reason.KEY_UNKNOWN, made.OKTA_ACCESS.by(signing_key("rsa-forger"))),
)

AUTH0_CASES: Final = (
    _auth0("API token with two audiences", _OK, made.AUTH0_API, "postgres", "auth0|5f7c8ec7c33c6c004bbafe82"),
    _auth0("API token of RFC 9068", _OK, made.AUTH0_RFC9068, "postgres", "auth0|5f7c8ec7c33c6c004bbafe82"),
    _auth0("permission as scope", _OK, made.AUTH0_API, "db:read", "auth0|5f7c8ec7c33c6c004bbafe82"),
    _auth0("machine to machine", _OK, made.AUTH0_SERVICE, "postgres", "my8RtAHKZ0VM0a8oZ3pZ0Zz1m1Tn6p9l@clients"),
    _auth0("ID token", _USE, made.AUTH0_ID),
    _auth0("ID token with the API's audience", _USE, made.AUTH0_ID.but(aud="https://db.example/api")),
    _auth0("ID token without nonce", _AUDIENCE, made.AUTH0_ID.but(nonce=DROP)),
    _auth0("audience not asked for, encrypted", Reason.TOKEN_ENCRYPTED, _text(_ENCRYPTED)),
    _auth0("audience not asked for, opaque", Reason.TOKEN_OPAQUE, _text("FAKEvZ3Nm9pT3hYc1JqQkRsb2dpbi1vbmx5")),
    _auth0("for the userinfo endpoint alone", _AUDIENCE, made.AUTH0_API.but(aud=f"{made.AUTH0}userinfo")),
    _auth0("without audience", Reason.AUDIENCE_MISSING, made.AUTH0_API.but(aud=DROP)),
    _auth0("issuer without its slash", _ISSUER, made.AUTH0_API.but(iss=made.AUTH0.rstrip("/"))),
    _auth0("issuer of the custom domain", _ISSUER, made.AUTH0_API.but(iss="https://login.contoso.example/")),
    _auth0("other tenant", _ISSUER, made.AUTH0_API.but(iss="https://fabrikam.eu.auth0.com/")),
    _auth0(
        "signed with a shared secret",
        Reason.ALGORITHM_FORBIDDEN,
        made.altered_after_signing(made.AUTH0_API, alg="HS256"),
    ),
    _auth0("permission not granted", Reason.SCOPE_MISSING, made.AUTH0_API, "db:write"),
)

GOOGLE_CASES: Final = (
    _google("ID token", _OK, made.GOOGLE_ID, "openid email", "alice@example.org"),
    _google(
        "ID token with the other spelling of iss",
        _OK,
        made.GOOGLE_ID.but(iss="accounts.google.com"),
        "openid",
        "alice@example.org",
    ),
    _google("ID token without nonce", _OK, made.GOOGLE_ID.but(nonce=DROP), "openid", "alice@example.org"),
    _google("email not verified", Reason.IDENTITY_UNVERIFIED, made.GOOGLE_ID.but(email_verified=False)),
    _google("email verified in words", Reason.IDENTITY_UNVERIFIED, made.GOOGLE_ID.but(email_verified="yes")),
    _google("email not said to be verified", Reason.IDENTITY_UNVERIFIED, made.GOOGLE_ID.but(email_verified=DROP)),
    _google("without email", Reason.IDENTITY_MISSING, made.GOOGLE_ID.but(email=DROP)),
    _google("other organization", _CLAIM, made.GOOGLE_ID.but(hd="evil.example")),
    _google("subdomain of the organization", _CLAIM, made.GOOGLE_ID.but(hd="x.example.org")),
    _google("consumer account", _CLAIM, made.GOOGLE_ID.but(hd=DROP, email="alice@gmail.com")),
    _google("consumer account with an address of the organization", _CLAIM, made.GOOGLE_ID.but(hd=DROP)),
    _google("other client", _AUDIENCE, made.GOOGLE_ID.but(aud="32555940559.apps.googleusercontent.com")),
    _google("issuer with a slash", _ISSUER, made.GOOGLE_ID.but(iss=f"{made.GOOGLE}/")),
    _google("issuer without TLS", _ISSUER, made.GOOGLE_ID.but(iss="http://accounts.google.com")),
    _google("logout token", _USE, made.GOOGLE_ID.but(events={made.LOGOUT_EVENT: {}})),
    _google("refresh token by its typ claim", _USE, made.GOOGLE_ID.but(typ="Refresh")),
    _google("security event", Reason.TYPE_FORBIDDEN, made.GOOGLE_ID.headed(typ="secevent+jwt")),
    _google("scope that no ID token grants", Reason.SCOPE_MISSING, made.GOOGLE_ID, "openid postgres"),
)

ADFS_CASES: Final = (
    _adfs("access token", _OK, ms.ADFS_ACCESS, f"openid {ms.ADFS_API}/postgres", "alice@contoso.example"),
    _adfs("access token with the metadata's issuer", _OK, ms.ADFS_ACCESS.but(iss=ms.ADFS), "", "alice@contoso.example"),
    _adfs("application alone", Reason.IDENTITY_MISSING, ms.ADFS_SERVICE),
    _adfs("ID token", _USE, ms.ADFS_ID),
    _adfs("ID token without nonce", _AUDIENCE, ms.ADFS_ID.but(nonce=DROP)),
    _adfs("ID token with the API's audience", _USE, ms.ADFS_ID.but(aud=ms.ADFS_API)),
    _adfs("ID token with c_hash", _USE, ms.ADFS_ID.but(aud=ms.ADFS_API, nonce=DROP, c_hash="LDktKdoQak3Pk0cnXxCltA")),
    _adfs("for the userinfo endpoint", _AUDIENCE, ms.ADFS_ACCESS.but(aud="urn:microsoft:userinfo")),
    _adfs("other farm", _ISSUER, ms.ADFS_ACCESS.but(iss="http://fs.fabrikam.example/adfs/services/trust")),
    _adfs("issuer with TLS", _ISSUER, ms.ADFS_ACCESS.but(iss=f"https://{ms.ADFS_HOST}/adfs/services/trust")),
    _adfs("issuer with a slash", _ISSUER, ms.ADFS_ACCESS.but(iss=f"{ms.ADFS}/")),
    _adfs("scope not granted", Reason.SCOPE_MISSING, ms.ADFS_ACCESS, "admin"),
)

COGNITO_CASES: Final = (
    _cognito("access token", _OK, made.COGNITO_ACCESS, "db/postgres", made.COGNITO_ACCESS.claims["sub"]),
    _cognito("client credentials", _OK, made.COGNITO_SERVICE, "db/postgres", made.COGNITO_CLIENT),
    _cognito(
        "access token with a resource as audience",
        _OK,
        made.COGNITO_ACCESS.but(aud=made.COGNITO_CLIENT, client_id="another"),
        "",
        made.COGNITO_ACCESS.claims["sub"],
    ),
    _cognito("access token for another resource", _AUDIENCE, made.COGNITO_ACCESS.but(aud="https://other.example")),
    _cognito("empty audience beside the client", Reason.AUDIENCE_MISSING, made.COGNITO_ACCESS.but(aud=[])),
    _cognito("audience is null beside the client", Reason.CLAIM_INVALID, made.COGNITO_ACCESS.but(aud=None)),
    _cognito("neither audience nor client", Reason.AUDIENCE_MISSING, made.COGNITO_ACCESS.but(client_id=DROP)),
    _cognito("ID token", _USE, made.COGNITO_ID),
    _cognito("other client", _AUDIENCE, made.COGNITO_ACCESS.but(client_id="2example23456789")),
    _cognito("other pool", _ISSUER, made.COGNITO_ACCESS.but(iss=made.COGNITO.replace("a1B2", "x1B2"))),
    _cognito("other region", _ISSUER, made.COGNITO_ACCESS.but(iss=made.COGNITO.replace("us-west-2.", "eu-west-1."))),
    _cognito("without token_use", _CLAIM, made.COGNITO_ACCESS.but(token_use=DROP)),
    _cognito("token_use in a list", Reason.CLAIM_INVALID, made.COGNITO_ACCESS.but(token_use=["access"])),
    _cognito("refresh token", Reason.TOKEN_ENCRYPTED, _text(_ENCRYPTED)),
    _cognito(
        "sign-in without a browser, which grants no scope of ours",
        Reason.SCOPE_MISSING,
        made.COGNITO_ACCESS.but(scope="aws.cognito.signin.user.admin"),
        "db/postgres",
    ),
)

GOOD: Final[Mapping[str, made.Kind]] = {
    "generic": made.RFC9068,
    "keycloak": made.KEYCLOAK_FULL,
    "entra": ms.ENTRA_V2,
    "okta": made.OKTA_ACCESS,
    "auth0": made.AUTH0_API,
    "google": made.GOOGLE_ID,
    "adfs": ms.ADFS_ACCESS,
    "cognito": made.COGNITO_ACCESS,
}
"""One good token of each."""


def _everywhere(profile: str, good: made.Kind) -> tuple[ProfileCase, ...]:
    """What is the same with every issuer."""
    case = rows_of(profile)
    forger = EC_FORGER if good.key.algorithm == "ES256" else FORGER
    return (
        case("expired", Reason.EXPIRED, good.but(exp=lambda now: int(now) - 60)),
        case("without exp", Reason.EXPIRY_MISSING, good.but(exp=DROP)),
        case("without iss", Reason.ISSUER_MISSING, good.but(iss=DROP)),
        case("forged under the same kid", Reason.SIGNATURE_INVALID, good.by(forger)),
        case("unsigned", Reason.ALGORITHM_FORBIDDEN, made.altered_after_signing(good, alg="none")),
        case("claims of another after signing", Reason.SIGNATURE_INVALID, _with_other_claims(good)),
    )


def _with_other_claims(kind: made.Kind) -> Callable[[float], str]:
    def token(now: float) -> str:
        header, _, signature = kind(now).split(".")
        return f"{header}.{kind.but(sub='postgres')(now).split('.')[1]}.{signature}"

    return token


def _of_others(profile: str) -> tuple[ProfileCase, ...]:
    """Good tokens of all other issuers, and what they become with this issuer's name or signed by this one's key."""
    case, own = rows_of(profile), GOOD[profile]
    others = [(name, kind) for name, kind in GOOD.items() if name != profile and kind.key.algorithm == "RS256"]
    rsa = own.key.algorithm == "RS256"
    return tuple(
        row
        for name, kind in others
        for row in (
            case(f"good token of {name}", _ISSUER, kind),
            case(
                f"token of {name} that names this issuer",
                Reason.SIGNATURE_INVALID if rsa else _KEY,
                own.by(kind.key),
            ),
        )
    )


PROFILE_CASES: Final[tuple[ProfileCase, ...]] = (
    *GENERIC_CASES,
    *KEYCLOAK_CASES,
    *ENTRA_CASES,
    *OKTA_CASES,
    *AUTH0_CASES,
    *GOOGLE_CASES,
    *ADFS_CASES,
    *COGNITO_CASES,
    *(case for profile, good in GOOD.items() for case in _everywhere(profile, good)),
    *(case for profile in GOOD for case in _of_others(profile)),
)
