"""What each FATAL says, by text, by DETAIL and by SQLSTATE."""

from __future__ import annotations

from typing import Any

import pytest

from pgoauthd.logs.events import EventKind, Saying
from tests.logs.test_sayings import JWT, RULE, said, understand

HBA = {"method": "oauth", "hba_file": "/etc/pg_hba.conf", "hba_line": 6, "usermap": "m"}

ROWS: list[tuple[str, dict[str, Any]]] = [
    ('OAuth bearer authentication failed for user "alice"', {"saying": Saying.OAUTH_FAILED, "method": "oauth"}),
    ("client uses authorization identity, but it is not supported", {"saying": Saying.AUTHZID_UNSUPPORTED}),
    ("canceling authentication due to timeout", {"saying": Saying.HANDSHAKE_TIMEOUT}),
    ("malformed OAUTHBEARER message", {"saying": Saying.SASL_MALFORMED, "method": "oauth"}),
    ('password authentication failed for user "alice"', {"saying": Saying.OTHER_METHOD_FAILED}),
    ('Peer authentication failed for user "alice"', {"saying": Saying.OTHER_METHOD_FAILED, "method": "peer"}),
    ('Ident authentication failed for user "alice"', {"saying": Saying.OTHER_METHOD_FAILED, "method": "ident"}),
    ('LDAP authentication failed for user "alice"', {"saying": Saying.OTHER_METHOD_FAILED, "method": "ldap"}),
    ('PAM authentication failed for user "alice"', {"saying": Saying.OTHER_METHOD_FAILED, "method": "pam"}),
    ('BSD authentication failed for user "alice"', {"saying": Saying.OTHER_METHOD_FAILED, "method": "bsd"}),
    ('RADIUS authentication failed for user "alice"', {"saying": Saying.OTHER_METHOD_FAILED, "method": "radius"}),
    ('GSSAPI authentication failed for user "alice"', {"saying": Saying.OTHER_METHOD_FAILED, "method": "gss"}),
    ('SSPI authentication failed for user "alice"', {"saying": Saying.OTHER_METHOD_FAILED, "method": "sspi"}),
    ('certificate authentication failed for user "alice"', {"saying": Saying.OTHER_METHOD_FAILED, "method": "cert"}),
    ('"trust" authentication failed for user "alice"', {"saying": Saying.OTHER_METHOD_FAILED, "method": "trust"}),
    ('authentication failed for user "alice": host rejected', {"saying": Saying.OTHER_METHOD_FAILED}),
    ("connection requires a valid client certificate", {"saying": Saying.OTHER_METHOD_FAILED}),
    ("empty password returned by client", {"saying": Saying.OTHER_METHOD_FAILED}),
    ("malformed SCRAM message", {"saying": Saying.OTHER_METHOD_FAILED}),
    (
        'no pg_hba.conf entry for host "10.0.0.7", user "alice", database "app", no encryption',
        {"saying": Saying.HBA_NO_ENTRY},
    ),
    (
        'no pg_hba.conf entry for replication connection from host "10.0.0.7", user "alice", SSL encryption',
        {"saying": Saying.HBA_NO_ENTRY},
    ),
    (
        'pg_hba.conf rejects connection for host "[local]", user "alice", database "app", no encryption',
        {"saying": Saying.HBA_REJECTED},
    ),
    (
        'pg_hba.conf rejects replication connection for host "10.0.0.7", user "alice", GSS encryption',
        {"saying": Saying.HBA_REJECTED},
    ),
    ("sorry, too many clients already", {"saying": Saying.TOO_MANY_CONNECTIONS}),
    (
        "remaining connection slots are reserved for roles with the SUPERUSER attribute",
        {"saying": Saying.TOO_MANY_CONNECTIONS},
    ),
    (
        "number of requested standby connections exceeds max_wal_senders (currently 10)",
        {"saying": Saying.TOO_MANY_CONNECTIONS},
    ),
    ('too many connections for role "alice"', {"saying": Saying.ROLE_CONNECTION_LIMIT}),
    ('too many connections for database "app"', {"saying": Saying.DATABASE_CONNECTION_LIMIT}),
    ('role "alice" does not exist', {"saying": Saying.ROLE_MISSING}),
    ('role "alice" is not permitted to log in', {"saying": Saying.ROLE_NOLOGIN}),
    ('database "app" does not exist', {"saying": Saying.DATABASE_MISSING}),
    ('permission denied for database "app"', {"saying": Saying.DATABASE_NO_CONNECT}),
    ('database "app" is not currently accepting connections', {"saying": Saying.DATABASE_NOT_ACCEPTING}),
    ('cannot connect to invalid database "app"', {"saying": Saying.DATABASE_NOT_ACCEPTING}),
    ("the database system is starting up", {"saying": Saying.SERVER_NOT_READY}),
    ("the database system is shutting down", {"saying": Saying.SERVER_NOT_READY}),
    ("the database system is in recovery mode", {"saying": Saying.SERVER_NOT_READY}),
    ("the database system is not yet accepting connections", {"saying": Saying.SERVER_NOT_READY}),
    ("the database system is not accepting connections", {"saying": Saying.SERVER_NOT_READY}),
]


@pytest.mark.parametrize(("message", "expected"), ROWS, ids=[row[0][:60] for row in ROWS])
def test_a_fatal_says(message: str, expected: dict[str, Any]) -> None:
    assert said(understand(message, "FATAL")) == {"kind": EventKind.FATAL} | expected


@pytest.mark.parametrize(
    "message",
    [
        "unsupported Unicode escape sequence",
        'role "alice" does not exist, or so',
        'xOAuth bearer authentication failed for user "alice"',
        'expected SASL response, got message type 88"',
        "role with OID 16384 does not exist",
    ],
)
def test_any_other_fatal_is_other_and_says_it_in_detail(message: str) -> None:
    expected = {"kind": EventKind.FATAL, "saying": Saying.OTHER, "detail": message}
    assert said(understand(message, "FATAL")) == expected


@pytest.mark.parametrize(
    ("message", "sqlstate"),
    [
        ("terminating connection due to administrator command", "57P01"),
        ("terminating connection due to idle-session timeout", "57P05"),
        ("terminating connection because of crash of another server process", ""),
        ("connection to client lost", ""),
        ("Verbindung wird abgebrochen aufgrund von Anweisung des Administrators", "57P01"),
    ],
)
def test_the_end_of_a_session_that_was_logged_in_is_no_refusal(message: str, sqlstate: str) -> None:
    assert said(understand(message, "FATAL", sqlstate=sqlstate or None))["kind"] is EventKind.LOST


def test_the_text_of_an_unknown_fatal_is_redacted() -> None:
    event = understand(f"could not parse token {JWT}", "FATAL")
    assert said(event)["detail"] == "could not parse token [redacted]"


@pytest.mark.parametrize(
    ("sqlstate", "saying"),
    [
        ("28P01", Saying.OTHER_METHOD_FAILED),
        ("3D000", Saying.DATABASE_MISSING),
        ("53300", Saying.TOO_MANY_CONNECTIONS),
        ("57P03", Saying.SERVER_NOT_READY),
        ("57014", Saying.HANDSHAKE_TIMEOUT),
        ("28000", Saying.OTHER),
        ("42501", Saying.OTHER),
        ("08P01", Saying.OTHER),
        ("XX000", Saying.OTHER),
        (None, Saying.OTHER),
    ],
)
def test_a_server_in_another_language_says_what_its_sqlstate_can(sqlstate: str | None, saying: Saying) -> None:
    event = understand("das hat nicht geklappt", "FATAL", sqlstate=sqlstate)
    assert event is not None
    assert (event.saying, event.sqlstate) == (saying, sqlstate)


def test_the_matched_rule_gives_method_file_line_and_map() -> None:
    event = understand('OAuth bearer authentication failed for user "alice"', "FATAL", detail=RULE)
    assert said(event) == {"kind": EventKind.FATAL, "saying": Saying.OAUTH_FAILED} | HBA


def test_postgresql_19_gives_the_validators_reason_before_the_matched_rule() -> None:
    detail = f'Required scope "postgres" is missing.\n{RULE}'
    event = understand('OAuth bearer authentication failed for user "alice"', "FATAL", detail=detail)
    assert said(event)["detail"] == 'Required scope "postgres" is missing.'
    assert said(event)["usermap"] == "m"


def test_the_validators_reason_is_redacted() -> None:
    detail = f"Token {JWT} has no scope.\n{RULE}"
    event = understand('OAuth bearer authentication failed for user "alice"', "FATAL", detail=detail)
    assert said(event)["detail"] == "Token [redacted] has no scope."


def test_a_validator_that_gave_no_identity_is_known_by_postgresql_19s_detail() -> None:
    detail = f"Validator provided no identity.\n{RULE}"
    event = understand('OAuth bearer authentication failed for user "alice"', "FATAL", detail=detail)
    assert said(event)["saying"] is Saying.VALIDATOR_NO_IDENTITY


def test_a_validator_that_refused_without_a_reason_stays_the_failure_of_oauth() -> None:
    """The verdict or the shim's line may know better, so it is not Saying.VALIDATOR_REFUSED."""
    detail = f"Validator failed to authorize the provided token.\n{RULE}"
    event = understand('OAuth bearer authentication failed for user "alice"', "FATAL", detail=detail)
    assert said(event)["saying"] is Saying.OAUTH_FAILED
    assert said(event)["detail"] == "Validator failed to authorize the provided token."


def test_the_shims_own_reason_is_taken_apart_in_postgresql_19s_detail() -> None:
    detail = f"pgoauthd: refused [scope_missing]: Scope db is missing.\n{RULE}"
    event = understand('OAuth bearer authentication failed for user "alice"', "FATAL", detail=detail)
    assert (said(event)["reason_code"], said(event)["detail"]) == ("scope_missing", "Scope db is missing.")


def test_the_shims_remedy_in_postgresql_19s_detail_is_no_part_of_the_reason() -> None:
    detail = f"pgoauthd: refused [scope_missing]: Scope db is missing.\nHave it granted.\n{RULE}"
    event = understand('OAuth bearer authentication failed for user "alice"', "FATAL", detail=detail)
    assert (said(event)["reason_code"], said(event)["detail"]) == ("scope_missing", "Scope db is missing.")


@pytest.mark.parametrize(
    ("detail", "saying"),
    [
        ("Message does not contain an auth value.", Saying.SASL_NO_AUTH_VALUE),
        (
            (
                "The server does not support channel binding for OAuth, "
                "but the client message includes channel binding data."
            ),
            Saying.CHANNEL_BINDING_UNSUPPORTED,
        ),
        ("Message length does not match input length.", Saying.SASL_MALFORMED),
        (None, Saying.SASL_MALFORMED),
    ],
)
def test_a_malformed_message_is_told_apart_by_its_detail(detail: str | None, saying: Saying) -> None:
    event = understand("malformed OAUTHBEARER message", "FATAL", detail=detail)
    assert (said(event)["saying"], said(event).get("detail")) == (saying, detail)


def test_a_detail_of_one_message_does_not_refine_another() -> None:
    event = understand('role "alice" does not exist', "FATAL", detail="Validator provided no identity.")
    assert said(event)["saying"] is Saying.ROLE_MISSING


@pytest.mark.parametrize(
    "backend_type",
    ["autovacuum worker", "walreceiver", "startup", "postmaster", "parallel worker", "pg_cron launcher", "no session"],
)
def test_a_fatal_of_a_process_without_a_client_is_no_login(backend_type: str) -> None:
    message = "terminating background process due to administrator command"
    assert understand(message, "FATAL", backend_type=backend_type) is None


@pytest.mark.parametrize("backend_type", ["client backend", "not initialized", "walsender", "dead-end client backend"])
def test_a_fatal_of_a_clients_process_is_one(backend_type: str) -> None:
    assert understand("sorry, too many clients already", "FATAL", backend_type=backend_type) is not None


def test_a_client_lost_at_fatal_is_a_lost_connection() -> None:
    assert said(understand("connection to client lost", "FATAL")) == {"kind": EventKind.LOST}


def test_a_fatal_may_have_a_context() -> None:
    event = understand("unsupported Unicode escape sequence", "FATAL", context="JSON data, line 1: {")
    assert said(event)["saying"] is Saying.OTHER


def test_the_role_in_the_message_is_taken_where_the_format_has_none() -> None:
    event = understand('OAuth bearer authentication failed for user "bob "the" x"', "FATAL", role=None)
    assert said(event)["role"] == 'bob "the" x'


def test_the_role_in_the_message_never_overrules_an_exact_one() -> None:
    event = understand('role "mallory" does not exist', "FATAL")
    assert event is not None
    assert event.role == "alice"


def test_role_and_database_are_read_from_a_missing_hba_entry() -> None:
    message = 'no pg_hba.conf entry for host "10.0.0.7", user "bob", database "shop", no encryption'
    event = understand(message, "FATAL", role=None, database=None)
    assert (said(event)["role"], said(event)["database"]) == ("bob", "shop")
