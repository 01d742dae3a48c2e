"""Good access tokens that are not good for this login (line, scope, identity, role), and some that are."""

from __future__ import annotations

from typing import Final

from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import LoginRequest
from tests.fix_tokens import AUDIENCE, DROP, ISSUER, SigningKey, mint
from tests.tokens.case import (
    EC,
    EC_384,
    EC_521,
    ED,
    ED_448,
    REQUEST,
    RSA,
    RSA_BOUND,
    Case,
    nested,
    with_claims,
    with_header,
)


def _at_issuer(issuer: str, reason: Reason, name: str) -> Case:
    return Case(name, reason, mint, LoginRequest(role="alice", issuer=issuer))


def _scoped(name: str, required: str, reason: Reason = Reason.SCOPE_MISSING, **claims: object) -> Case:
    request = LoginRequest(role="alice", issuer=ISSUER, required_scopes=tuple(required.split()))
    return with_claims(name, reason, request=request, **claims)


def _called(name: str, identity: object) -> Case:
    return with_claims(name, Reason.IDENTITY_INVALID, sub=identity)


def _delegated(name: str, role: str, reason: Reason = Reason.DELEGATION_REFUSED, **claims: object) -> Case:
    return with_claims(name, reason, request=LoginRequest(role=role, issuer=ISSUER, delegated=True), **claims)


def _mailed(name: str, reason: Reason = Reason.IDENTITY_UNVERIFIED, **claims: object) -> Case:
    return with_claims(name, reason, request=REQUEST, sub=DROP, **claims)


def _denied(name: str, role: str, **claims: object) -> Case:
    return _delegated(name, role, Reason.ROLE_DENIED, **claims)


def _roles(*roles: object) -> dict[str, object]:
    return {"roles": list(roles)}


HBA_CASES: Final = (
    _at_issuer("https://other.example", Reason.HBA_ISSUER_UNKNOWN, "line with an issuer that is not configured"),
    _at_issuer(ISSUER + "/", Reason.HBA_ISSUER_UNKNOWN, "line with the issuer and a slash"),
    _at_issuer("", Reason.HBA_ISSUER_UNKNOWN, "line without an issuer"),
)

SCOPE_CASES: Final = (
    with_claims("no scope claim", Reason.SCOPE_MISSING, scope=DROP),
    with_claims("empty scope", Reason.SCOPE_MISSING, scope=""),
    with_claims("scope of the policy missing", Reason.SCOPE_MISSING, scope="profile email"),
    with_claims("scope in other case", Reason.SCOPE_MISSING, scope="Postgres"),
    with_claims("scope with more behind it", Reason.SCOPE_MISSING, scope="postgres.read"),
    with_claims("scopes with commas", Reason.SCOPE_MISSING, scope="postgres,profile"),
    with_claims("scopes with a tab", Reason.SCOPE_MISSING, scope="postgres\tprofile"),
    with_claims("scopes with a newline", Reason.SCOPE_MISSING, scope="profile\npostgres"),
    with_claims("scopes in one element of a list", Reason.SCOPE_MISSING, scope=["postgres profile"]),
    with_claims("scope in a claim that is not asked", Reason.SCOPE_MISSING, scope=DROP, scopes="postgres"),
    with_claims("scope is a number", Reason.CLAIM_INVALID, scope=1),
    with_claims("scope is null", Reason.CLAIM_INVALID, scope=None),
    with_claims("scope is an object", Reason.CLAIM_INVALID, scope={"postgres": True}),
    with_claims("scp with a number beside the scope", Reason.CLAIM_INVALID, scp=["postgres", 1]),
    _scoped("scope of the line missing", "postgres write"),
    _scoped("one of two scopes of the line missing", "read write", scope="postgres read"),
    _scoped("scope of the policy missing, that of the line there", "read", scope="read"),
)

IDENTITY_CASES: Final = (
    with_claims("no identity claim", Reason.IDENTITY_MISSING, sub=DROP),
    _called("identity is empty", ""),
    _called("identity is null", None),
    _called("identity is a list", ["alice"]),
    _called("identity is a number", 1001),
    _called("identity is true", True),
    _called("identity is an object", {"name": "alice"}),
    _called("identity with a newline", 'alice\nLOG:  connection authenticated: identity="postgres"'),
    _called("identity with NUL", "alice\0"),
    _called("identity with ESC", "\x1b[2Jalice"),
    _called("identity with DEL", "alice\x7f"),
    _called("identity with a C1 control", "alice\x85"),
    _called("identity with a right-to-left override", "\u202eecila"),
    _called("identity with a bidirectional isolate", "\u2066alice\u2069"),
    _called("identity with a left-to-right mark", "alice\u200e"),
    _called("identity with a zero width space", "ali\u200bce"),
    _called("identity with a byte order mark", "\ufeffalice"),
    _called("identity with a no-break space", "alice\u00a0smith"),
    _called("identity with a line separator", "alice\u2028"),
    _called("identity with an invisible tag", "alice\U000e0041"),
    _called("identity of 257 bytes", "a" * 257),
    _called("identity of 86 characters and 258 bytes", "\u20ac" * 86),
    _called("identity with a space before it", " alice"),
    _called("identity with a space behind it", "alice "),
    _called("identity of one space", " "),
    with_claims("nested identity is a list", Reason.IDENTITY_INVALID, database={"user": ["alice"]}),
    with_claims("nested identity is empty, sub is not", Reason.IDENTITY_INVALID, database={"user": ""}),
    _mailed("template without one of its claims", Reason.IDENTITY_MISSING, tenant="t"),
    _mailed("template with a claim that is a number", Reason.IDENTITY_INVALID, tenant=7, email="a@id.example"),
    _mailed("template with a claim that is empty", Reason.IDENTITY_INVALID, tenant="", email="a@id.example"),
    _mailed("template with a claim of two lines", Reason.IDENTITY_INVALID, tenant="t", email="a\n@id.example"),
    _mailed("template of 257 bytes", Reason.IDENTITY_INVALID, tenant="t" * 244, email="a@id.example"),
    _mailed("template that another tenant could fill", Reason.IDENTITY_INVALID, tenant="t/u", email="a@id.example"),
    _mailed("e-mail that is not verified", tenant="t", email="a@id.example", email_verified=False),
    _mailed("e-mail verified as a word of another case", tenant="t", email="a@id.example", email_verified="True"),
    _mailed("e-mail verified by a number", tenant="t", email="a@id.example", email_verified=1),
    _mailed("e-mail verified by null", tenant="t", email="a@id.example", email_verified=None),
)

DELEGATION_CASES: Final = (
    _delegated("delegated without a rule", "postgres"),
    _delegated("delegated to the own role in other case", "Alice"),
    _delegated("delegated with a grant of another identity", "app_owner", sub="bob"),
    _delegated("delegated with a grant of an identity in other case", "app_owner", sub="Alice"),
    _delegated("delegated to a granted role in other case", "APP_OWNER"),
    _delegated("delegated to the empty role", ""),
    _delegated("delegated without the claim of the grant", "reporting"),
    _delegated("delegated with another value in the claim", "reporting", realm_access=_roles("db-reporting-2")),
    _delegated("delegated with the value in a longer string", "reporting", realm_access={"roles": "x db-reporting"}),
    _delegated("delegated with the value as a key", "reporting", realm_access={"roles": {"db-reporting": 1}}),
    _delegated("delegated with the value one level too deep", "reporting", realm_access=_roles(["db-reporting"])),
    _delegated("delegated with the value in another claim", "reporting", roles=["db-reporting"]),
    _delegated(
        "delegated with the claim's grant to another role", "app_owner", sub="b", realm_access=_roles("db-reporting")
    ),
    _delegated(
        "delegated with the value among others that are no strings",
        "reporting",
        realm_access=_roles("db-reporting", 1),
    ),
    _delegated("delegated by a group that is no database's", "staff_reader", groups=["staff", "xdb-staff"]),
    _delegated("delegated by a group with more behind it", "app_reader", sub="bob", groups=["db-app\n"]),
    _delegated("delegated by a group without a name", "_reader", groups=["db-"]),
    _delegated("delegated by a group to the role of another", "b_reader", groups=["db-a"]),
    _delegated("delegated by a group to the role without its ending", "a", groups=["db-a"]),
    _delegated("delegated by an object of groups", "a_reader", groups={"db-a": True}),
    _delegated("delegated by a number of groups", "a_reader", groups=1),
    _delegated("delegated by a group to the template itself", "\\1_reader", groups=["db-a"]),
    _delegated("delegated by an identity with more before it", "etl", sub="x-svc-etl@corp.example"),
    _delegated("delegated by an identity with more behind it", "etl", sub="svc-etl@corp.example.evil"),
    _delegated("delegated by an identity with another dot", "etl", sub="svc-etl@corpXexample"),
    _delegated("delegated to groups in another order", "corp_etl", sub="svc-etl@corp.example"),
    _delegated("delegated to a role that only begins as the rule's", "svc_a1", sub="svc-etl@corp.example"),
    _delegated("delegated by identity without the claim beside it", "a_admin", sub="a@corp.example"),
    _delegated("delegated by claim without the identity beside it", "a_admin", sub="a@evil", groups=["admins"]),
    _delegated("delegated to a role with replaced bytes", "r\ufffdle", sub="alice"),
    _denied("delegated to a role that is denied to all", "superuser"),
    _denied("delegated to a denied role of the own name", "superuser", sub="superuser"),
    _denied("delegated to a role that a denied expression matches", "pg_monitor", sub="pg_monitor"),
    _denied("delegated to a denied role with a line break", "pg_\nmonitor"),
    _denied("delegated when suspended", "app_owner", account={"flags": ["x", "suspended"]}),
    _denied("delegated when suspended by one string", "alice", account={"flags": "suspended"}),
    _denied("delegated when it is not known whether suspended: a number", "alice", account={"flags": 0}),
    _denied("delegated when it is not known whether suspended: an object", "alice", account={"flags": {}}),
    _denied("delegated when it is not known whether suspended: null", "alice", account={"flags": None}),
    _denied("delegated when it is not known whether suspended: a list", "alice", account={"flags": [["suspended"]]}),
    _denied("delegated when it is not known whether suspended: no object", "alice", account="suspended"),
)

ACCESS_CASES: Final = (*HBA_CASES, *SCOPE_CASES, *IDENTITY_CASES, *DELEGATION_CASES)


def _good(name: str, /, **claims: object) -> Case:
    return with_claims(name, Reason.OK, request=REQUEST, **claims)


def _by(key: SigningKey, algorithm: str, **header: object) -> Case:
    what = " without kid" if "kid" in header else ""
    return Case(
        f"good {algorithm} of {key.kid}{what}",
        Reason.OK,
        lambda now: mint(now, key=key, algorithm=algorithm, header=header),
    )


ACCEPTANCES: Final = (
    *(_by(RSA, algorithm) for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384")),
    _by(RSA_BOUND, "RS256"),
    _by(EC, "ES256"),
    _by(EC, "ES256", kid=DROP),
    _by(EC_384, "ES384"),
    _by(EC_521, "ES512"),
    _by(ED, "EdDSA"),
    _by(ED_448, "EdDSA"),
    with_header("good typ at+jwt", Reason.OK, typ="at+jwt"),
    with_header("good typ application/at+jwt", Reason.OK, typ="application/at+jwt"),
    with_header("good typ in other case", Reason.OK, typ="AT+JWT"),
    with_header("good typ JWT", Reason.OK, typ="JWT"),
    with_header("good without typ", Reason.OK, typ=DROP),
    with_header(
        "good with key material in the header", Reason.OK, jwk=EC.jwk(), jku="https://evil.example", x5c=["MIIB"]
    ),
    _good("good payload of Keycloak", typ="Bearer", aud=[AUDIENCE, "account"], realm_access=_roles("offline_access")),
    _good("good payload of Cognito", token_use="access"),
    _good("good with a nonce", nonce="n-0S6_WzA2Mj"),
    _good("good with events of another kind", events={"https://id.example/event": {}}),
    _good("good audience in a list", aud=["account", AUDIENCE]),
    _good("good second audience", aud="pg-reporting"),
    _good("good without iat", iat=DROP),
    _good("good times with fractions", iat=lambda now: now - 1.5, exp=lambda now: now + 60.5),
    _good("good when expired within the leeway", exp=lambda now: now - 5),
    _good("good when issued in the future within the leeway", iat=lambda now: now + 5, nbf=lambda now: now + 5),
    _good("good with exp as a round float", exp=lambda now: float(int(now) + 300)),
    _good("good with scp as a list", scope=DROP, scp=["postgres"]),
    _good("good with scopes in two claims", scope="profile", scp="postgres"),
    _good("good with two spaces between scopes", scope="profile  postgres"),
    _scoped("good with the scope of the line", "read postgres", Reason.OK, scope="postgres read"),
    _good("good nested identity", database={"user": "alice"}, sub=DROP),
    _good("good identity of 256 bytes", sub="a" * 256),
    _good("good identity beyond ASCII", sub="zoë.müller@例え.example"),
    _good("good identity with quotes", sub="al\"ice\\ O'Neil"),
    _good("good with objects 16 deep", x=nested(15)),
    _good("good with an escaped pair of surrogates", name="\U0001f600"),
    _delegated("good delegated by identity", "app_owner", Reason.OK),
    _delegated("good delegated by claim", "reporting", Reason.OK, sub="bob", realm_access=_roles("x", "db-reporting")),
    _delegated(
        "good delegated by a claim of one string", "reporting", Reason.OK, realm_access={"roles": "db-reporting"}
    ),
    _delegated("good delegated to the identity's own role", "alice", Reason.OK),
    _delegated("good delegated by a group", "b_reader", Reason.OK, groups=["staff", "db-a", "db-b"]),
    _delegated("good delegated by a group of one string", "a_reader", Reason.OK, groups="db-a"),
    _delegated("good delegated to a group of the identity", "etl", Reason.OK, sub="svc-etl@corp.example"),
    _delegated("good delegated to two groups of the identity", "etl_corp", Reason.OK, sub="svc-etl@corp.example"),
    _delegated("good delegated by an expression of roles", "svc_any", Reason.OK, sub="svc-etl@corp.example"),
    _delegated("good delegated by identity and claim", "a_admin", Reason.OK, sub="a@corp.example", groups=["admins"]),
    _delegated("good delegated with other flags than the denied", "alice", Reason.OK, account={"flags": ["x"]}),
    _delegated("good delegated without flags", "alice", Reason.OK, account={}),
    _mailed("good template with an address", Reason.OK, tenant="t", email="a@id.example"),
    _mailed("good verified address", Reason.OK, tenant="t", email="a@id.example", email_verified=True),
    _mailed("good address verified by a word", Reason.OK, tenant="t", email="a@id.example", email_verified="true"),
    _good("good with an unverified address that is not the identity", email="a@id.example", email_verified=False),
    with_claims("good for a role that the server will map", Reason.OK, request=LoginRequest(role="x", issuer=ISSUER)),
    _at_issuer(f"{ISSUER}/.well-known/openid-configuration", Reason.OK, "good with the discovery URL in the line"),
    Case("good as it comes", Reason.OK, mint, REQUEST),
)
