"""Rightly signed tokens that are refused for what they say: issuer, kind of token, times and audience."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pgoauthd.tokens.reasons import Reason
from tests.fix_tokens import AUDIENCE, DROP, ISSUER, mint
from tests.tokens.case import FORGER, Case, with_claims

LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"

_LOGOUT: Final[dict[str, object]] = {LOGOUT_EVENT: {}}


def _at(offset: float) -> Callable[[float], int]:
    return lambda now: int(now + offset)


def _other_issuer(name: str, issuer: object) -> Case:
    return with_claims(name, Reason.ISSUER_MISMATCH, iss=issuer)


ISSUER_CASES: Final = (
    with_claims("iss missing", Reason.ISSUER_MISSING, iss=DROP),
    _other_issuer("other issuer", "https://evil.example/"),
    _other_issuer("issuer with a slash at the end", ISSUER + "/"),
    _other_issuer("issuer in upper case", ISSUER.upper()),
    _other_issuer("issuer without TLS", ISSUER.replace("https", "http")),
    _other_issuer("issuer with its port", ISSUER.replace("id.example", "id.example:443")),
    _other_issuer("beginning of the issuer", ISSUER[:-1]),
    _other_issuer("other realm", ISSUER.replace("database", "master")),
    _other_issuer("issuer with a letter that looks alike", ISSUER.replace("a", "\u0430")),
    _other_issuer("issuer with a line break", ISSUER + "\n"),
    _other_issuer("issuer of 5 KB", "https://" + "x" * 5000),
    _other_issuer("issuer with a user before another host", ISSUER.replace("id.example", "id.example@evil.example")),
    _other_issuer("issuer with another user", ISSUER.replace("id.example", "evil@id.example")),
    _other_issuer("issuer with more behind its host", ISSUER.replace("id.example", "id.example.evil.example")),
    _other_issuer("issuer with a way around", ISSUER.replace("realms", "realms/x/..")),
    _other_issuer("issuer with a percent-encoded letter", ISSUER.replace("database", "%64atabase")),
    _other_issuer("issuer with a query", ISSUER + "?"),
    _other_issuer("issuer with a fragment", ISSUER + "#"),
    _other_issuer("issuer with a space behind it", ISSUER + " "),
    _other_issuer("issuer with NUL", ISSUER + "\0"),
    _other_issuer("issuer's discovery URL", ISSUER + "/.well-known/openid-configuration"),
    _other_issuer("two issuers in one string", f"{ISSUER} https://evil.example"),
    _other_issuer("iss is a list with the issuer", [ISSUER]),
    _other_issuer("iss is an object with the issuer", {ISSUER: True}),
    _other_issuer("iss is true", True),
    _other_issuer("iss is null", None),
    _other_issuer("iss is a number", 1),
    _other_issuer("iss is empty", ""),
    Case(
        "other issuer's key and issuer",
        Reason.ISSUER_MISMATCH,
        lambda now: mint(now, key=FORGER, iss="https://evil.example/"),
    ),
)

USE_CASES: Final = (
    with_claims("ID token by its typ claim", Reason.TOKEN_USE_FORBIDDEN, typ="ID"),
    with_claims("refresh token", Reason.TOKEN_USE_FORBIDDEN, typ="Refresh"),
    with_claims("offline token", Reason.TOKEN_USE_FORBIDDEN, typ="Offline"),
    with_claims("logout token by its typ claim", Reason.TOKEN_USE_FORBIDDEN, typ="Logout"),
    with_claims("typ claim that nobody knows", Reason.TOKEN_USE_FORBIDDEN, typ="Serialized-ID"),
    with_claims("typ claim is a list", Reason.CLAIM_INVALID, typ=["Bearer"]),
    with_claims("ID token by token_use", Reason.TOKEN_USE_FORBIDDEN, token_use="id"),
    with_claims("token_use is null", Reason.CLAIM_INVALID, token_use=None),
    with_claims("ID token by at_hash", Reason.TOKEN_USE_FORBIDDEN, at_hash="77QmUPtjPfzWtF2AnpK9RQ"),
    with_claims("ID token by c_hash", Reason.TOKEN_USE_FORBIDDEN, c_hash="LDktKdoQak3Pk0cnXxCltA"),
    with_claims("refresh token by token_use", Reason.TOKEN_USE_FORBIDDEN, token_use="refresh"),
    with_claims("token_use is a list", Reason.CLAIM_INVALID, token_use=["access"]),
    with_claims("typ claim is empty", Reason.TOKEN_USE_FORBIDDEN, typ=""),
    with_claims("typ claim with a NUL", Reason.TOKEN_USE_FORBIDDEN, typ="Bearer\0"),
    with_claims("refresh token in other case", Reason.TOKEN_USE_FORBIDDEN, typ="REFRESH"),
    with_claims("ID token by its nonce", Reason.TOKEN_USE_FORBIDDEN, nonce="n-0S6_WzA2Mj", scope=DROP),
    with_claims("ID token by its nonce, called a JWT", Reason.TOKEN_USE_FORBIDDEN, nonce="n", scope=DROP, typ="JWT"),
    with_claims("ID token by its nonce, roles granted", Reason.TOKEN_USE_FORBIDDEN, nonce="n", scope=DROP, roles=["a"]),
    with_claims("ID token by at_hash, scopes granted", Reason.TOKEN_USE_FORBIDDEN, at_hash="", scope="postgres"),
    with_claims("ID token of Entra", Reason.TOKEN_USE_FORBIDDEN, ver="2.0", tid="8eaef023", azp=DROP),
    with_claims("logout token called an access token", Reason.TOKEN_USE_FORBIDDEN, typ="Bearer", events=_LOGOUT),
    with_claims("logout token by its events", Reason.TOKEN_USE_FORBIDDEN, events=_LOGOUT),
    with_claims("expired ID token", Reason.TOKEN_USE_FORBIDDEN, typ="ID", exp=_at(-500)),
    with_claims("ID token for the client", Reason.TOKEN_USE_FORBIDDEN, typ="ID", aud="psql"),
)

TIME_CASES: Final = (
    with_claims("exp missing", Reason.EXPIRY_MISSING, exp=DROP),
    with_claims("expired", Reason.EXPIRED, exp=_at(-60)),
    with_claims("expired since 1970", Reason.EXPIRED, exp=0),
    with_claims("expired with a fraction", Reason.EXPIRED, exp=lambda now: now - 60.5),
    with_claims("exp is a string", Reason.CLAIM_INVALID, exp=lambda now: str(int(now) + 300)),
    with_claims("exp is a date", Reason.CLAIM_INVALID, exp="2099-01-01T00:00:00Z"),
    with_claims("exp is true", Reason.CLAIM_INVALID, exp=True),
    with_claims("exp is null", Reason.CLAIM_INVALID, exp=None),
    with_claims("exp is a list", Reason.CLAIM_INVALID, exp=[4_000_000_000]),
    with_claims("exp is negative", Reason.CLAIM_INVALID, exp=-1),
    with_claims("exp is 1e308", Reason.CLAIM_INVALID, exp=1e308),
    with_claims("exp is an integer of 300 digits", Reason.CLAIM_INVALID, exp=10**300),
    with_claims("exp is an integer of 400 digits", Reason.CLAIM_INVALID, exp=10**400),
    with_claims("exp in milliseconds", Reason.CLAIM_INVALID, exp=lambda now: int(now * 1000) + 300_000),
    with_claims("exp is an object", Reason.CLAIM_INVALID, exp={"seconds": 4_000_000_000}),
    with_claims("exp is an empty string", Reason.CLAIM_INVALID, exp=""),
    with_claims("exp is the year 10000", Reason.CLAIM_INVALID, exp=253_402_300_800),
    with_claims("exp is the year 9999", Reason.LIFETIME_TOO_LONG, exp=253_402_300_799),
    with_claims("exp is infinite in words", Reason.CLAIM_INVALID, exp="Infinity"),
    with_claims("exp is a fraction near 0", Reason.EXPIRED, exp=5e-324),
    with_claims("not yet valid", Reason.NOT_YET_VALID, nbf=_at(120)),
    with_claims("nbf is a string", Reason.CLAIM_INVALID, nbf="0"),
    with_claims("nbf is null", Reason.CLAIM_INVALID, nbf=None),
    with_claims("nbf is 1e308", Reason.CLAIM_INVALID, nbf=1e308),
    with_claims("nbf is negative", Reason.CLAIM_INVALID, nbf=-1),
    with_claims("nbf in milliseconds", Reason.CLAIM_INVALID, nbf=lambda now: int(now * 1000)),
    with_claims("issued in the future", Reason.ISSUED_IN_FUTURE, iat=_at(120)),
    with_claims("iat is a string", Reason.CLAIM_INVALID, iat="0"),
    with_claims("iat is false", Reason.CLAIM_INVALID, iat=False),
    with_claims("iat is null", Reason.CLAIM_INVALID, iat=None),
    with_claims("iat is 1e308", Reason.CLAIM_INVALID, iat=1e308),
    with_claims("iat is negative", Reason.CLAIM_INVALID, iat=-1e308),
    with_claims("lives for 30 days", Reason.LIFETIME_TOO_LONG, exp=_at(30 * 86_400)),
    with_claims("lives for 30 days from its issue long ago", Reason.LIFETIME_TOO_LONG, iat=_at(-30 * 86_400)),
    with_claims("lives for 30 days, no iat", Reason.LIFETIME_TOO_LONG, exp=_at(30 * 86_400), iat=DROP),
)

AUDIENCE_CASES: Final = (
    with_claims("aud missing", Reason.AUDIENCE_MISSING, aud=DROP),
    with_claims("aud is an empty list", Reason.AUDIENCE_MISSING, aud=[]),
    with_claims("other audience", Reason.AUDIENCE_MISMATCH, aud="account"),
    with_claims("other audiences", Reason.AUDIENCE_MISMATCH, aud=["account", "psql"]),
    with_claims("audience in other case", Reason.AUDIENCE_MISMATCH, aud=AUDIENCE.upper()),
    with_claims("audience with more behind it", Reason.AUDIENCE_MISMATCH, aud=AUDIENCE + "-2"),
    with_claims("beginning of the audience", Reason.AUDIENCE_MISMATCH, aud=AUDIENCE[:-1]),
    with_claims("audiences in one string", Reason.AUDIENCE_MISMATCH, aud=f"{AUDIENCE} account"),
    with_claims("aud is empty", Reason.AUDIENCE_MISMATCH, aud=""),
    with_claims("azp is the audience", Reason.AUDIENCE_MISMATCH, aud="account", azp=AUDIENCE),
    with_claims("aud is a number", Reason.CLAIM_INVALID, aud=1),
    with_claims("aud is null", Reason.CLAIM_INVALID, aud=None),
    with_claims("aud is an object", Reason.CLAIM_INVALID, aud={AUDIENCE: True}),
    with_claims("aud with a number beside the audience", Reason.CLAIM_INVALID, aud=[AUDIENCE, 1]),
    with_claims("aud in a list in a list", Reason.CLAIM_INVALID, aud=[[AUDIENCE]]),
    with_claims("aud is true", Reason.CLAIM_INVALID, aud=True),
    with_claims("aud with null beside the audience", Reason.CLAIM_INVALID, aud=[None, AUDIENCE]),
    with_claims("aud with an object beside the audience", Reason.CLAIM_INVALID, aud=[AUDIENCE, {}]),
    with_claims("any audience", Reason.AUDIENCE_MISMATCH, aud="*"),
    with_claims("audience with a slash at the end", Reason.AUDIENCE_MISMATCH, aud=AUDIENCE + "/"),
    with_claims("audience with NUL", Reason.AUDIENCE_MISMATCH, aud=AUDIENCE + "\0"),
    with_claims(
        "audience with a letter that looks alike", Reason.AUDIENCE_MISMATCH, aud=AUDIENCE.replace("c", "\u0441")
    ),
    with_claims("1000 other audiences", Reason.AUDIENCE_MISMATCH, aud=[f"a{i}" for i in range(1000)]),
    with_claims("issuer as audience", Reason.AUDIENCE_MISMATCH, aud=ISSUER),
    with_claims("audience in another claim", Reason.AUDIENCE_MISSING, aud=DROP, client_id=AUDIENCE, resource=AUDIENCE),
    with_claims("bound by DPoP", Reason.SENDER_CONSTRAINED, cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
    with_claims("bound to a certificate", Reason.SENDER_CONSTRAINED, cnf={"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9"}),
    with_claims("bound to nothing named", Reason.SENDER_CONSTRAINED, cnf={}),
    with_claims("cnf is null", Reason.SENDER_CONSTRAINED, cnf=None),
)

CLAIMS_CASES: Final = (*ISSUER_CASES, *USE_CASES, *TIME_CASES, *AUDIENCE_CASES)
