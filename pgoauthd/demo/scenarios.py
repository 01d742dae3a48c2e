"""The scripted day: every way to log in with a token, or to fail, as data with the outcome that it must have.

What an attempt must end as stands here and nowhere else: the demo shows it, the end-to-end tests hold the daemon to it.
"""

from __future__ import annotations

import base64

from pgoauthd.correlation.outcome import Result
from pgoauthd.demo.attempts import Attempt, Condition, TokenFactory
from pgoauthd.demo.issuer import SigningKey, alter_payload
from pgoauthd.demo.scene import ETL_SUBJECT, MAX_TOKEN_BYTES, Issuers
from pgoauthd.runtime.pgclient import Departure
from pgoauthd.tokens.reasons import Reason

AUTHENTICATION_FAILED = "28000"
"""SQLSTATE of most refusals: invalid_authorization_specification."""

PROTOCOL_VIOLATION = "08P01"

MAX_SASL_MESSAGE = 65_535
"""PG_MAX_AUTH_TOKEN_LENGTH: the longest message that the server reads from a client that is not logged in."""


def scripted_day() -> tuple[Attempt, ...]:
    """All attempts, in the order in which the demo makes them; names are unique."""
    return (
        *_successes(),
        *_handshakes(),
        *_malformed_tokens(),
        *_forged_tokens(),
        *_wrong_claims(),
        *_wrong_identities(),
        *_introspected(),
        *_roles_and_databases(),
        *_outages(),
    )


def _successes() -> tuple[Attempt, ...]:
    return (
        _success("direct", "alice", "the identity is the role", lambda i: i.main.mint("alice")),
        _success(
            "direct-es256",
            "alice",
            "another key of the issuer",
            lambda i: i.main.mint("alice", key=i.main.key("ES256")),
        ),
        _success(
            "mapped-by-pattern",
            "sales@dashboards.example",
            "a pattern of pg_ident.conf gives the role",
            lambda i: i.main.mint("sales@dashboards.example"),
            role="reporting",
        ),
        _success(
            "mapped-by-uuid",
            ETL_SUBJECT,
            "pg_ident.conf names the UUID",
            lambda i: i.main.mint(ETL_SUBJECT),
            role="etl",
        ),
        _success(
            "delegated",
            "invoices",
            "a rule of pgoauthd gives the role",
            lambda i: i.main.mint("invoices"),
            role="billing",
        ),
        _success(
            "delegated-by-group",
            "dana",
            "a group gives the role of its name",
            lambda i: i.main.mint("dana", groups=["staff", "db-billing"]),
            role="billing",
        ),
        _success(
            "introspected",
            "courier",
            "an opaque token, and its issuer vouches for it",
            lambda i: i.opaque.mint_opaque("courier"),
            role="courier",
        ),
        _success(
            "local-socket", "alice", "over the server's Unix socket", lambda i: i.main.mint("alice"), over_unix=True
        ),
        _success(
            "non-ascii-role", "données", "names need not be ASCII", lambda i: i.main.mint("données"), role="données"
        ),
        _success(
            "quoted-role", 'ops "night"', "nor without quotes", lambda i: i.main.mint('ops "night"'), role='ops "night"'
        ),
        _success(
            "rotated-key",
            "alice",
            "signed with a key that is minutes old",
            lambda i: i.main.mint("alice"),
            condition=Condition.KEYS_ROTATED,
        ),
    )


def _handshakes() -> tuple[Attempt, ...]:
    """Attempts that end before a validator sees a token."""
    refused, abandoned = Result.REFUSED, Result.ABANDONED
    return (
        Attempt(
            name="discovery",
            note="asks for the issuer, as psql does at first",
            result=Result.DISCOVERY,
            reason=Reason.DISCOVERY,
            sqlstate=AUTHENTICATION_FAILED,
        ),
        Attempt(
            name="port-check",
            note="opens the port and closes it",
            departure=Departure.CONNECTED,
            result=abandoned,
            reason=Reason.CLIENT_GONE,
        ),
        Attempt(
            name="gone-at-startup",
            note="leaves before an answer",
            departure=Departure.STARTUP_SENT,
            result=abandoned,
            reason=Reason.CLIENT_GONE,
        ),
        Attempt(
            name="gone-when-asked",
            note="leaves when asked for a token",
            departure=Departure.SASL_REQUESTED,
            result=abandoned,
            reason=Reason.CLIENT_GONE,
        ),
        Attempt(
            name="connection-reset",
            note="the connection breaks",
            departure=Departure.RESET,
            result=abandoned,
            reason=Reason.CONNECTION_LOST,
        ),
        Attempt(
            name="handshake-timeout",
            note="says nothing when asked for a token",
            stalls=True,
            result=refused,
            reason=Reason.HANDSHAKE_TIMEOUT,
        ),
        _protocol("not-oauthbearer", b"hello", "sends something else", Reason.SASL_MALFORMED, PROTOCOL_VIOLATION),
        _protocol(
            "endless-message",
            b"n,,\x01auth=Bearer " + b"x" * MAX_SASL_MESSAGE + b"\x01\x01",
            "sends more than the server takes",
            Reason.SASL_MALFORMED,
            AUTHENTICATION_FAILED,
        ),
        _protocol(
            "no-auth-value",
            b"n,,\x01host=db\x01\x01",
            "sends no auth value",
            Reason.SASL_NO_AUTH_VALUE,
            PROTOCOL_VIOLATION,
        ),
        _protocol(
            "channel-binding",
            b"p=tls-exporter,,\x01auth=Bearer x\x01\x01",
            "wants channel binding",
            Reason.CHANNEL_BINDING_UNSUPPORTED,
            PROTOCOL_VIOLATION,
        ),
        _protocol(
            "authzid",
            b"n,a=admin,\x01auth=Bearer x\x01\x01",
            "wants to act for another",
            Reason.AUTHZID_UNSUPPORTED,
            "0A000",
        ),
        _protocol(
            "basic-scheme",
            b"n,,\x01auth=Basic YWxpY2U6c2VjcmV0\x01\x01",
            "sends a password as HTTP does",
            Reason.TOKEN_NOT_BEARER,
            AUTHENTICATION_FAILED,
        ),
        _refusal("rejected-by-hba", Reason.HBA_REJECTED, "a reject line matches", _good, role="kiosk"),
        _refusal("no-hba-entry", Reason.HBA_NO_ENTRY, "no line matches", _good, database="postgres"),
        _refusal("unknown-hba-issuer", Reason.HBA_ISSUER_UNKNOWN, "the line's issuer is not ours", _good, role="guest"),
    )


def _malformed_tokens() -> tuple[Attempt, ...]:
    return (
        _refusal("empty-bearer", Reason.TOKEN_EMPTY, "Bearer, and no token", lambda _: ""),
        _refusal("malformed-token", Reason.TOKEN_MALFORMED, "characters that no token has", lambda _: "not a token!"),
        _refusal("opaque-token", Reason.TOKEN_OPAQUE, "not a JWT", lambda _: "2YotnFZFEjr1zCsicMWpAA"),
        _refusal("encrypted-token", Reason.TOKEN_ENCRYPTED, "a JWE", lambda _: _encrypted()),
        _refusal("padded-token", Reason.BASE64_INVALID, "the same token, spelled otherwise", lambda i: _good(i) + "="),
        _refusal(
            "huge-token",
            Reason.TOKEN_TOO_LARGE,
            "a token full of groups",
            lambda i: i.main.mint("alice", groups=["g" * 80] * (MAX_TOKEN_BYTES // 80)),
        ),
    )


def _forged_tokens() -> tuple[Attempt, ...]:
    return (
        _refusal("unsigned", Reason.ALGORITHM_FORBIDDEN, "alg is none", lambda i: i.main.mint_unsigned("alice")),
        _refusal(
            "algorithm-confusion",
            Reason.ALGORITHM_FORBIDDEN,
            "the public key as a shared secret",
            lambda i: i.main.mint_with_public_key("alice"),
        ),
        _refusal(
            "altered",
            Reason.SIGNATURE_INVALID,
            "another name under an old signature",
            lambda i: alter_payload(i.main.mint("bob"), sub="alice"),
        ),
        _refusal(
            "foreign-key",
            Reason.SIGNATURE_INVALID,
            "signed by somebody else under a known kid",
            lambda i: i.main.mint("alice", key=i.main.impostor_key()),
        ),
        _refusal(
            "unknown-kid",
            Reason.KEY_UNKNOWN,
            "a key that the issuer does not have",
            lambda i: i.main.mint("alice", key=SigningKey.generate("ES256", "2019-07")),
        ),
        _refusal(
            "key-for-other-algorithm",
            Reason.KEY_MISMATCH,
            "ES256 under the kid of an RSA key",
            lambda i: i.main.mint("alice", key=SigningKey.generate("ES256", i.main.key("RS256").kid)),
        ),
    )


def _wrong_claims() -> tuple[Attempt, ...]:
    return (
        _refusal(
            "wrong-issuer", Reason.ISSUER_MISMATCH, "a good token of another issuer", lambda i: i.down.mint("alice")
        ),
        _refusal("expired", Reason.EXPIRED, "an hour old", lambda i: i.main.mint("alice", issued_ago=3600)),
        _refusal("no-expiry", Reason.EXPIRY_MISSING, "good for ever", lambda i: i.main.mint("alice", exp=None)),
        _refusal(
            "not-yet-valid",
            Reason.NOT_YET_VALID,
            "good in ten minutes",
            lambda i: i.main.mint("alice", nbf=int(i.main.clock() + 600), lifetime=1200),
        ),
        _refusal(
            "from-the-future", Reason.ISSUED_IN_FUTURE, "clocks differ", lambda i: i.main.mint("alice", issued_ago=-600)
        ),
        _refusal(
            "long-lived",
            Reason.LIFETIME_TOO_LONG,
            "good for a year",
            lambda i: i.main.mint("alice", lifetime=31_536_000),
        ),
        _refusal(
            "wrong-audience",
            Reason.AUDIENCE_MISMATCH,
            "meant for a web shop",
            lambda i: i.main.mint("alice", audience="shop"),
        ),
        _refusal(
            "no-audience", Reason.AUDIENCE_MISSING, "meant for nobody", lambda i: i.main.mint("alice", audience=None)
        ),
        _refusal("id-token", Reason.TOKEN_USE_FORBIDDEN, "an ID token", lambda i: i.main.mint("alice", typ="ID")),
        _refusal(
            "logout-token",
            Reason.TYPE_FORBIDDEN,
            "a logout token",
            lambda i: i.main.mint("alice", header={"typ": "logout+jwt"}),
        ),
        _refusal(
            "sender-constrained",
            Reason.SENDER_CONSTRAINED,
            "bound to a key of its sender",
            lambda i: i.main.mint("alice", cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        ),
    )


def _wrong_identities() -> tuple[Attempt, ...]:
    imitation = 'alice" method=oauth (/etc/postgresql/pg_hba.conf:1)'
    return (
        _refusal(
            "missing-scope",
            Reason.SCOPE_MISSING,
            "without the scope postgres",
            lambda i: i.main.mint("alice", scope="openid profile"),
            identity="alice",
        ),
        _refusal("no-identity", Reason.IDENTITY_MISSING, "without sub", lambda i: i.main.mint("", sub=None)),
        _refusal(
            "two-line-identity",
            Reason.IDENTITY_INVALID,
            "sub has a line break",
            lambda i: i.main.mint("alice\nLOG:  x"),
        ),
        _refusal(
            "names-differ",
            Reason.IDENTITY_MISMATCH,
            "bob wants to be alice",
            lambda i: i.main.mint("bob"),
            identity="bob",
        ),
        _refusal(
            "imitates-log-line",
            Reason.IDENTITY_MISMATCH,
            "sub looks like the end of a log line",
            lambda i: i.main.mint(imitation),
            identity=imitation,
        ),
        _refusal(
            "no-match-in-map",
            Reason.USERMAP_NO_MATCH,
            "pg_ident.conf does not know bob",
            lambda i: i.main.mint("bob"),
            role="reporting",
            identity="bob",
        ),
        _refusal(
            "delegation-refused",
            Reason.DELEGATION_REFUSED,
            "no rule for bob",
            lambda i: i.main.mint("bob"),
            role="billing",
            identity="bob",
        ),
        _refusal(
            "denied-by-group",
            Reason.ROLE_DENIED,
            "a deny rule goes before the group",
            lambda i: i.main.mint("erin", groups=["db-billing", "temporary"]),
            role="billing",
            identity="erin",
        ),
    )


def _introspected() -> tuple[Attempt, ...]:
    """Attempts with tokens that only their issuer can read."""
    return (
        _refusal(
            "revoked",
            Reason.TOKEN_INACTIVE,
            "revoked at its issuer",
            lambda i: i.opaque.revoke(i.opaque.mint_opaque("courier")),
            role="courier",
        ),
        _refusal(
            "opaque-for-others",
            Reason.AUDIENCE_MISMATCH,
            "active, but meant for a web shop",
            lambda i: i.opaque.mint_opaque("courier", audience="shop"),
            role="courier",
        ),
    )


def _roles_and_databases() -> tuple[Attempt, ...]:
    """Attempts with good tokens that fail after `connection authorized`."""
    return (
        _turned_away(
            "role-missing", Reason.ROLE_MISSING, AUTHENTICATION_FAILED, "nobody created the role", role="intern"
        ),
        _turned_away(
            "role-nologin", Reason.ROLE_NOLOGIN, AUTHENTICATION_FAILED, "the role may not log in", role="contractor"
        ),
        _turned_away(
            "role-limit", Reason.ROLE_CONNECTION_LIMIT, "53300", "the role has no connection left", role="batch"
        ),
        _turned_away(
            "database-missing", Reason.DATABASE_MISSING, "3D000", "nobody created the database", database="archive"
        ),
        _turned_away(
            "database-closed", Reason.DATABASE_NO_CONNECT, "42501", "no CONNECT privilege", database="payroll"
        ),
    )


def _outages() -> tuple[Attempt, ...]:
    return (
        _success(
            "issuer-down-keys-known",
            "alice",
            "the issuer is down, its keys are known",
            _good,
            condition=Condition.ISSUER_DOWN,
        ),
        _refusal(
            "issuer-down",
            Reason.IDP_UNREACHABLE,
            "an issuer that was never there",
            lambda i: i.down.mint("partner"),
            role="partner",
        ),
        _refusal(
            "daemon-down",
            Reason.VALIDATOR_UNAVAILABLE,
            "pgoauthd itself is down",
            _good,
            condition=Condition.DAEMON_DOWN,
        ),
    )


def _good(issuers: Issuers) -> str:
    return issuers.main.mint("alice")


def _encrypted() -> str:
    """Five parts (RFC 7516 section 7.1) under a header of key encryption; nobody could read it."""
    header = base64.urlsafe_b64encode(b'{"alg":"RSA-OAEP","enc":"A256GCM"}').rstrip(b"=").decode()
    return f"{header}.a2V5.aXY.dGV4dA.dGFn"


def _success(
    name: str,
    identity: str,
    note: str,
    token: TokenFactory,
    *,
    role: str = "alice",
    over_unix: bool = False,
    condition: Condition = Condition.NONE,
) -> Attempt:
    return Attempt(
        name=name,
        note=note,
        role=role,
        token=token,
        over_unix=over_unix,
        condition=condition,
        result=Result.SUCCESS,
        reason=Reason.OK,
        identity=identity,
    )


def _refusal(
    name: str,
    reason: Reason,
    note: str,
    token: TokenFactory,
    *,
    role: str = "alice",
    database: str = "app",
    identity: str | None = None,
    condition: Condition = Condition.NONE,
) -> Attempt:
    return Attempt(
        name=name,
        note=note,
        role=role,
        database=database,
        token=token,
        condition=condition,
        result=Result.REFUSED,
        reason=reason,
        identity=identity,
        sqlstate=AUTHENTICATION_FAILED,
    )


def _protocol(name: str, message: bytes, note: str, reason: Reason, sqlstate: str) -> Attempt:
    return Attempt(name=name, note=note, message=message, result=Result.REFUSED, reason=reason, sqlstate=sqlstate)


def _turned_away(
    name: str, reason: Reason, sqlstate: str, note: str, *, role: str = "alice", database: str = "app"
) -> Attempt:
    return Attempt(
        name=name,
        note=note,
        role=role,
        database=database,
        token=lambda issuers: issuers.main.mint(role),
        result=Result.REFUSED,
        reason=reason,
        identity=role,
        sqlstate=sqlstate,
    )
