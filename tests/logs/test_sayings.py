"""What each message means: one row a message, and rows that only look like one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pgoauthd.logs.events import AuthEvent, EventKind, Saying
from pgoauthd.logs.foreign import STARTS
from pgoauthd.logs.records import Names, Record
from pgoauthd.logs.sayings import LOG_STARTS, LOST_STARTS, Sayings

RULE = 'Connection matched file "/etc/pg_hba.conf" line 6: "host all all 127.0.0.1/32 oauth issuer="https://i" map=m"'
BROKEN = "The client's message breaks off, or is longer than the 65,535 bytes that the server takes."
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnktd2hpY2gtbXVzdC1uZXZlci1zaG93"


def understand(message: str, severity: str = "LOG", **fields: Any) -> AuthEvent | None:  # noqa: ANN401 - any field
    known: dict[str, Any] = {
        "pid": 30463,
        "session_id": "6b02415c.76ff",
        "line_num": 2,
        "role": "alice",
        "database": "app",
    }
    return Sayings().understand(Record(severity=severity, message=message, **(known | fields)), 12.5)


def said(event: AuthEvent | None) -> dict[str, Any]:
    """What the event says beyond what its record had."""
    assert event is not None
    common = {"time", "pid", "session_id", "line_num"}
    defaults = {"role": "alice", "database": "app", "delegated": False, "leaked": False}
    fields = msgspec.structs.asdict(event)
    return {k: v for k, v in fields.items() if k not in common and v is not None and defaults.get(k, ...) != v}


LOG_ROWS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "connection received: host=10.0.0.7 port=50001",
        {"role": None, "database": None},
        {"kind": EventKind.RECEIVED, "client_addr": "10.0.0.7", "client_port": 50001},
    ),
    ("connection received: host=[local]", {}, {"kind": EventKind.RECEIVED, "client_addr": "[local]"}),
    ("connection received: host=7", {}, {"kind": EventKind.RECEIVED, "client_addr": "7"}),
    ("connection received: host=x port=", {}, {"kind": EventKind.RECEIVED, "client_addr": "x port="}),
    ("connection received: host=x port=123456", {}, {"kind": EventKind.RECEIVED, "client_addr": "x port=123456"}),
    (
        "connection received: host=fe80::1%eth0 port=1",
        {},
        {"kind": EventKind.RECEIVED, "client_addr": "fe80::1%eth0", "client_port": 1},
    ),
    (
        "connection received: host=db client.example port=7",
        {},
        {"kind": EventKind.RECEIVED, "client_addr": "db client.example", "client_port": 7},
    ),
    (
        'connection authenticated: identity="0fc7" method=oauth (/etc/pg_hba.conf:3)',
        {},
        {
            "kind": EventKind.AUTHENTICATED,
            "identity": "0fc7",
            "method": "oauth",
            "hba_file": "/etc/pg_hba.conf",
            "hba_line": 3,
        },
    ),
    (
        'connection authenticated: identity="" method=scram-sha-256 (/a b (c):1/pg_hba.conf:12)',
        {},
        {
            "kind": EventKind.AUTHENTICATED,
            "identity": "",
            "method": "scram-sha-256",
            "hba_file": "/a b (c):1/pg_hba.conf",
            "hba_line": 12,
        },
    ),
    (
        'connection authenticated: identity="a" method=oauth (/x:1)\n" method=oauth (/etc/pg_hba.conf:3)',
        {},
        {
            "kind": EventKind.AUTHENTICATED,
            "identity": 'a" method=oauth (/x:1)\n',
            "method": "oauth",
            "hba_file": "/etc/pg_hba.conf",
            "hba_line": 3,
        },
    ),
    (
        'connection authenticated: user="postgres" method=trust (/etc/pg_hba.conf:2)',
        {"role": None, "database": None},
        {
            "kind": EventKind.AUTHENTICATED,
            "role": "postgres",
            "method": "trust",
            "hba_file": "/etc/pg_hba.conf",
            "hba_line": 2,
        },
    ),
    (
        "connection authorized: user=alice database=app application_name=psql",
        {},
        {"kind": EventKind.AUTHORIZED, "application_name": "psql"},
    ),
    ("connection authorized: user=alice database=app", {}, {"kind": EventKind.AUTHORIZED}),
    (
        (
            "connection authorized: user=alice database=app application_name=a SSL enabled (protocol=TLSv1.3, "
            "cipher=TLS_AES_256_GCM_SHA384, bits=256)"
        ),
        {},
        {"kind": EventKind.AUTHORIZED, "application_name": "a"},
    ),
    (
        "connection authorized: user=alice database=app SSL enabled (protocol=TLSv1.3, cipher=X, bits=256)",
        {},
        {"kind": EventKind.AUTHORIZED},
    ),
    (
        (
            "connection authorized: user=alice database=app application_name=a GSS (authenticated=yes, encrypted=no, "
            "delegated_credentials=no, principal=alice@EXAMPLE.ORG)"
        ),
        {},
        {"kind": EventKind.AUTHORIZED, "application_name": "a"},
    ),
    (
        "connection authorized: user=alice database=app application_name=my (app)",
        {},
        {"kind": EventKind.AUTHORIZED, "application_name": "my (app)"},
    ),
    (
        'connection authorized: user=we ird"x database=d@b x application_name=x',
        {"role": None, "database": None},
        {"kind": EventKind.AUTHORIZED, "role": 'we ird"x', "database": "d@b x", "application_name": "x"},
    ),
    (
        "connection authorized: user=a database=b database=app application_name=x",
        {"role": "a database=b"},
        {"kind": EventKind.AUTHORIZED, "role": "a database=b", "application_name": "x"},
    ),
    (
        "connection authorized: user=alice@example.org database=app",
        {"role": "alice", "database": "example.org@app", "names": Names.AMBIGUOUS},
        {"kind": EventKind.AUTHORIZED, "role": "alice@example.org"},
    ),
    (
        "replication connection authorized: user=alice application_name=standby1",
        {"database": None},
        {"kind": EventKind.AUTHORIZED, "application_name": "standby1"},
    ),
    (
        "connection ready: setup total=16.501 ms, fork=1.736 ms, authentication=0.775 ms",
        {"application_name": "psql"},
        {
            "kind": EventKind.READY,
            "application_name": "psql",
            "setup_seconds": 0.016501,
            "fork_seconds": 0.001736,
            "authentication_seconds": 0.000775,
        },
    ),
    (
        "disconnection: session time: 0:00:00.136 user=alice database=app host=10.0.0.7 port=50001",
        {"client_addr": "10.0.0.7", "client_port": 50001},
        {"kind": EventKind.DISCONNECTED, "client_addr": "10.0.0.7", "client_port": 50001},
    ),
    (
        "disconnection: session time: 0:00:00.136 user=a b database=c d host=[local]",
        {"role": None, "database": None, "names": Names.READ},
        {"kind": EventKind.DISCONNECTED, "role": "a b", "database": "c d", "client_addr": "[local]"},
    ),
    (
        "provided user name (alice) and authenticated user name (bob) do not match",
        {},
        {"kind": EventKind.CAUSE, "saying": Saying.IDENTITY_MISMATCH, "identity": "bob"},
    ),
    (
        "provided user name (a) and authenticated user name (b) and authenticated user name (c) do not match",
        {"role": "a) and authenticated user name (b"},
        {
            "kind": EventKind.CAUSE,
            "role": "a) and authenticated user name (b",
            "saying": Saying.IDENTITY_MISMATCH,
            "identity": "c",
        },
    ),
    (
        "provided user name (alice) and authenticated user name (bob) do not match",
        {"role": None, "names": Names.READ},
        {"kind": EventKind.CAUSE, "saying": Saying.IDENTITY_MISMATCH, "identity": "bob"},
    ),
    (
        'no match in usermap "m" for user "alice" authenticated as "mallory"',
        {},
        {"kind": EventKind.CAUSE, "saying": Saying.USERMAP_NO_MATCH, "usermap": "m", "identity": "mallory"},
    ),
    (
        'no match in usermap "m" for user "a" authenticated as "b" authenticated as "c"',
        {"role": 'a" authenticated as "b'},
        {
            "kind": EventKind.CAUSE,
            "role": 'a" authenticated as "b',
            "saying": Saying.USERMAP_NO_MATCH,
            "usermap": "m",
            "identity": "c",
        },
    ),
    (
        "malformed OAuth bearer token",
        {"detail": "Bearer token is not in the correct format."},
        {"kind": EventKind.CAUSE, "saying": Saying.TOKEN_MALFORMED, "method": "oauth"},
    ),
    (
        "malformed OAuth bearer token",
        {"detail": "Bearer token is empty."},
        {"kind": EventKind.CAUSE, "saying": Saying.TOKEN_EMPTY, "method": "oauth"},
    ),
    (
        "malformed OAuth bearer token",
        {"detail": "Client response indicated a non-Bearer authentication scheme."},
        {"kind": EventKind.CAUSE, "saying": Saying.TOKEN_NOT_BEARER, "method": "oauth"},
    ),
    (
        "malformed OAuth bearer token",
        {},
        {"kind": EventKind.CAUSE, "saying": Saying.TOKEN_MALFORMED, "method": "oauth"},
    ),
    (
        'OAuth bearer authentication failed for user "alice"',
        {"detail": "Validator failed to authorize the provided token."},
        {"kind": EventKind.CAUSE, "saying": Saying.VALIDATOR_REFUSED, "method": "oauth"},
    ),
    (
        'OAuth bearer authentication failed for user "alice"',
        {"detail": "Validator provided no identity."},
        {"kind": EventKind.CAUSE, "saying": Saying.VALIDATOR_NO_IDENTITY, "method": "oauth"},
    ),
    (
        'OAuth bearer authentication failed for user "alice"',
        {},
        {"kind": EventKind.CAUSE, "saying": Saying.VALIDATOR_REFUSED, "method": "oauth"},
    ),
    (
        "pgoauthd: refused [token_expired]: The token expired at 12:00.",
        {},
        {
            "kind": EventKind.CAUSE,
            "saying": Saying.SHIM,
            "method": "oauth",
            "reason_code": "token_expired",
            "detail": "The token expired at 12:00.",
        },
    ),
    (
        f"pgoauthd: refused [token_malformed]: Not a token: {JWT}, it seems.",
        {},
        {
            "kind": EventKind.CAUSE,
            "saying": Saying.SHIM,
            "method": "oauth",
            "reason_code": "token_malformed",
            "detail": "Not a token: [redacted], it seems.",
        },
    ),
    ("could not receive data from client: Connection reset by peer", {}, {"kind": EventKind.LOST}),
    ("could not send data to client: Broken pipe", {}, {"kind": EventKind.LOST}),
    ("could not accept SSL connection: EOF detected", {}, {"kind": EventKind.LOST}),
    ("SSL error: unexpected eof while reading", {}, {"kind": EventKind.LOST}),
    ("unexpected EOF on client connection with an open transaction", {}, {"kind": EventKind.LOST}),
    ("incomplete startup packet", {"role": None, "database": None}, {"kind": EventKind.LOST}),
    *(
        (start, {}, {"kind": EventKind.CAUSE, "saying": Saying.MESSAGE_BROKEN, "detail": BROKEN})
        for start in (
            "invalid message length",
            "unexpected EOF within message length word",
            "incomplete message from client",
        )
    ),
    (
        "starting PostgreSQL 18.6 on x86_64-pc-linux-gnu, compiled by gcc (GCC) 14.2.1, 64-bit",
        {"role": None, "database": None, "backend_type": "postmaster"},
        {"kind": EventKind.SERVER_STARTED, "server_version": 18},
    ),
    (
        "starting PostgreSQL 19rc1 (Debian 19~rc1-1) on x86_64-pc-linux-gnu, compiled by gcc, 64-bit",
        {"role": None, "database": None},
        {"kind": EventKind.SERVER_STARTED, "server_version": 19},
    ),
    (
        "database system is shut down",
        {"role": None, "database": None, "backend_type": "postmaster"},
        {"kind": EventKind.SERVER_STOPPED},
    ),
]


@pytest.mark.parametrize(("message", "fields", "expected"), LOG_ROWS, ids=[row[0][:60] for row in LOG_ROWS])
def test_a_log_line_says(message: str, fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert said(understand(message, **fields)) == expected


def test_every_row_is_one_that_readers_look_for() -> None:
    assert all(message.startswith(LOG_STARTS) for message, _, _ in LOG_ROWS)


@pytest.mark.parametrize("start", LOST_STARTS)
def test_every_message_of_a_broken_connection_is_lost(start: str) -> None:
    assert said(understand(f"{start} whatever")) == {"kind": EventKind.LOST}


def test_every_start_that_readers_look_for_has_a_row() -> None:
    missing = {start for start in LOG_STARTS if not any(row[0].startswith(start) for row in LOG_ROWS)}
    others = {*LOST_STARTS, *STARTS}
    assert missing - others == {"internal error in OAuth validator module"}  # a WARNING, below


@pytest.mark.parametrize("start", LOG_STARTS)
def test_no_start_needs_escaping_in_any_format(start: str) -> None:
    assert msgspec.json.encode(start) == f'"{start}"'.encode()
    assert '"' not in start


def test_the_validators_internal_error_is_a_warning_with_its_detail_redacted() -> None:
    event = understand("internal error in OAuth validator module", "WARNING", detail=f"could not parse {JWT}")
    assert said(event) == {
        "kind": EventKind.CAUSE,
        "saying": Saying.VALIDATOR_INTERNAL_ERROR,
        "method": "oauth",
        "detail": "could not parse [redacted]",
        "leaked": True,
    }


@pytest.mark.parametrize(
    "message",
    [
        "connection authenticated: identity=alice method=oauth (/etc/pg_hba.conf:3)",
        'connection authenticated: identity="alice" method=oauth',
        'connection authenticated: identity="alice" method=oauth (/etc/pg_hba.conf)',
        'connection authenticated: somebody="alice" method=oauth (/etc/pg_hba.conf:3)',
        "connection authorized: ",
        "connection received: nothing",
        "connection ready: setup total=16.501 ms",
        "connection ready: setup total=x ms, fork=1.736 ms, authentication=0.775 ms",
        "connection ready: setup total=1.2.3 ms, fork=1.736 ms, authentication=0.775 ms",
        f"connection ready: setup total={'9' * 400} ms, fork=1.736 ms, authentication={'9' * 400} ms",
        "provided user name (alice) and authenticated user name",
        'no match in usermap "m" for user',
        "pgoauthd: refused [Token Expired]: capital letters",
        f"pgoauthd: refused [{'x' * 65}]: too long",
        "pgoauthd: refused []: none",
        "pgoauthd: ready",
        "starting PostgreSQL",
        "database system is shut down at last",
        "duration: 1.234 ms",
        "statement: select 'connection received: host=1 port=2'",
        "connection to the moon received: host=x",
        "",
    ],
)
def test_what_only_looks_like_a_saying_says_nothing(message: str) -> None:
    assert understand(message, client_addr=None) is None


@pytest.mark.parametrize("severity", ["DEBUG", "INFO", "NOTICE", "ERROR", "PANIC", "DETAIL", ""])
def test_other_severities_say_nothing(severity: str) -> None:
    assert understand("connection authorized: user=alice database=app", severity) is None


@pytest.mark.parametrize(("message", "fields", "_expected"), LOG_ROWS, ids=[row[0][:60] for row in LOG_ROWS])
def test_a_line_raised_inside_a_function_says_nothing(
    message: str, fields: dict[str, Any], _expected: dict[str, Any]
) -> None:
    """RAISE LOG in PL/pgSQL can imitate any message of a session, but not without its CONTEXT."""
    context = "PL/pgSQL function inline_code_block line 1 at RAISE"
    assert understand(message, **(fields | {"context": context})) is None


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("starting PostgreSQL 17.0 on x, 64-bit", {}),
        ("starting PostgreSQL 17.0 on x, 64-bit", {"role": None, "backend_type": "client backend"}),
        ("database system is shut down", {}),
        ("database system is shut down", {"role": None, "backend_type": "startup"}),
    ],
)
def test_only_the_postmaster_starts_and_stops_the_server(message: str, fields: dict[str, Any]) -> None:
    assert understand(message, **fields) is None


@pytest.mark.parametrize(
    "session_id", ["6b02415c", ".76ff", "xyz.1", "6b02415c.", "6b02415c.zz", "6b02415c.123456789", "12345678901.1"]
)
def test_a_session_id_that_is_none_is_an_error(session_id: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        understand("connection received: host=x port=1", session_id=session_id)


def test_names_that_could_be_others_are_not_claimed_where_the_message_does_not_state_them() -> None:
    message = "connection ready: setup total=1.0 ms, fork=1.0 ms, authentication=1.0 ms"
    event = understand(message, names=Names.AMBIGUOUS)
    assert event is not None
    assert (event.role, event.database) == (None, None)


def test_what_was_remembered_of_one_rule_is_not_told_of_another() -> None:
    sayings = Sayings()
    lines = []
    for number in range(2_000):
        tail = f'" method=oauth (/etc/pg_hba.conf:{number})'
        record = Record(severity="LOG", message=f'connection authenticated: identity="x{tail}')
        event = sayings.understand(record, 0.0)
        assert event is not None
        lines.append(event.hba_line)
    assert lines == list(range(2_000))
