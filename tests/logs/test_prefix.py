"""log_line_prefix settings, and lines that PostgreSQL 18.6 wrote under them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pgoauthd.errors import LogFormatError
from pgoauthd.logs.events import AuthEvent, EventKind, Saying
from pgoauthd.logs.prefix import compile_prefix
from pgoauthd.logs.readers import LogFormat, recognise
from tests.logs.fix_lines import read_all, reader

STARTING = "starting PostgreSQL 18.6 on x86_64-pc-linux-gnu, compiled by gcc (GCC) 14.2.1, 64-bit"
RECEIVED = "connection received: host=127.0.0.1 port=38432"
REFUSED = 'role "nologin" is not permitted to log in'

T = 1_795_405_208.0  # 2026-11-23 03:40:08 UTC


def at(milliseconds: int) -> float:
    return (int(T) * 1000 + milliseconds) / 1000


ROWS: list[tuple[str, str, str, str, dict[str, Any]]] = [
    (
        "%m [%p] ",
        "2026-11-23 03:40:08.474 UTC [31477] LOG:  ",
        "2026-11-23 03:40:08.588 UTC [31589] LOG:  ",
        "2026-11-23 03:40:08.604 UTC [31589] FATAL:  ",
        {"time": at(604), "pid": 31589},
    ),
    (
        "%m [%p] %q%u@%d ",
        "2026-11-23 03:40:08.474 UTC [31477] LOG:  ",
        "2026-11-23 03:40:08.588 UTC [31589] [unknown]@[unknown] LOG:  ",
        "2026-11-23 03:40:08.604 UTC [31589] nologin@postgres FATAL:  ",
        {"time": at(604), "pid": 31589, "role": "nologin", "database": "postgres"},
    ),
    (
        "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
        "2026-11-23 03:40:07 UTC [31572]: [4-1] user=,db=,app=,client= LOG:  00000: ",
        "2026-11-23 03:40:08 UTC [789]: [1-1] user=[unknown],db=[unknown],app=[unknown],client=127.0.0.1 LOG:  00000: ",
        "2026-11-23 03:40:08 UTC [789]: [7-1] user=nologin,db=postgres,app=[unknown],client=127.0.0.1 FATAL:  28000: ",
        {
            "time": T,
            "pid": 789,
            "line_num": 7,
            "role": "nologin",
            "database": "postgres",
            "client_addr": "127.0.0.1",
            "sqlstate": "28000",
        },
    ),
    (
        "%n %c %l ",
        "1795405208.579 6b03b599.7b83 3 LOG:  ",
        "1795405208.787 6b03b598.7b94 1 LOG:  ",
        "1795405208.804 6b03b598.7b94 4 FATAL:  ",
        {
            "time": at(804),
            "pid": 0x7B94,
            "session_id": "6b03b598.7b94",
            "line_num": 4,
        },
    ),
    (
        "<%m> %p %e ",
        "<2026-11-23 03:40:08.932 UTC> 31666 00000 LOG:  ",
        "<2026-11-23 03:40:08.106 UTC> 31589 00000 LOG:  ",
        "<2026-11-23 03:40:08.122 UTC> 31589 28000 FATAL:  ",
        {"time": at(122), "pid": 31589, "sqlstate": "28000"},
    ),
    (
        "%m %-10u [%p] ",
        "2026-11-23 03:40:08.413 UTC            [31714] LOG:  ",
        "2026-11-23 03:40:08.622 UTC [unknown]  [31589] LOG:  ",
        "2026-11-23 03:40:08.641 UTC nologin    [31589] FATAL:  ",
        {"time": at(641), "pid": 31589, "role": "nologin"},
    ),
    (
        "%t:%r:%u@%d:[%p]:",
        "2026-11-23 03:40:08 UTC::@:[31761]:LOG:  00000: ",
        "2026-11-23 03:40:08 UTC:127.0.0.1(38432):[unknown]@[unknown]:[31589]:LOG:  00000: ",
        "2026-11-23 03:40:08 UTC:127.0.0.1(38432):nologin@postgres:[31589]:FATAL:  28000: ",
        {
            "time": T,
            "pid": 31589,
            "role": "nologin",
            "database": "postgres",
            "client_addr": "127.0.0.1",
            "client_port": 38432,
            "sqlstate": "28000",
        },
    ),
    (
        "%m [%5p] %b %P|%v|%x|%Q|%i|%L|%s|%% %q%a/%r/%u/%d: ",
        "2026-11-23 03:40:08.719 UTC [31809] postmaster ||0|0||[none]|2026-11-23 03:40:08 UTC|% LOG:  ",
        (
            "2026-11-23 03:40:08.719 UTC [  589] not initialized ||0|0||127.0.0.1|2026-11-23 03:40:08 UTC|% "
            "[unknown]/127.0.0.1(38432)/[unknown]/[unknown]: LOG:  "
        ),
        (
            "2026-11-23 03:40:08.006 UTC [  589] client backend |3/1|0|-5|startup|127.0.0.1|2026-11-23 03:40:08 UTC|% "
            "psql/127.0.0.1(38432)/nologin/postgres: FATAL:  "
        ),
        {
            "time": at(6),
            "pid": 589,
            "session_id": "6b03b598.24d",
            "role": "nologin",
            "database": "postgres",
            "application_name": "psql",
            "client_addr": "127.0.0.1",
            "client_port": 38432,
        },
    ),
    (
        "%s [%p] %10u %-12d|%a|",
        "2026-11-23 03:40:08 UTC [31923]                        ||LOG:  ",
        "2026-11-23 03:40:08 UTC [31589]  [unknown] [unknown]   |[unknown]|LOG:  ",
        "2026-11-23 03:40:08 UTC [31589]    nologin postgres    |[unknown]|FATAL:  ",
        {
            "time": T,
            "pid": 31589,
            "session_id": "6b03b598.7b65",
            "role": "nologin",
            "database": "postgres",
        },
    ),
    (
        "%m:%c:%u:%d:%h:%b:%e:",
        "2026-11-23 03:40:08.075 UTC:6b03b5a4.7ce9::::postmaster:00000:LOG:  ",
        "2026-11-23 03:40:08.424 UTC:6b03b598.7cfa:[unknown]:[unknown]:127.0.0.1:not initialized:00000:LOG:  ",
        "2026-11-23 03:40:08.449 UTC:6b03b598.7cfa:nologin:postgres:127.0.0.1:client backend:28000:FATAL:  ",
        {
            "time": at(449),
            "pid": 0x7CFA,
            "session_id": "6b03b598.7cfa",
            "role": "nologin",
            "database": "postgres",
            "client_addr": "127.0.0.1",
            "sqlstate": "28000",
        },
    ),
]

every_setting = pytest.mark.parametrize(
    ("setting", "starting", "received", "refused", "expected"), ROWS, ids=[row[0] for row in ROWS]
)


def lines(starting: str, received: str, refused: str) -> bytes:
    return f"{starting}{STARTING}\n{received}{RECEIVED}\n{refused}{REFUSED}\n".encode()


def said(event: AuthEvent) -> dict[str, Any]:
    known = {"kind", "saying", "delegated", "leaked", "hba_file"}
    return {k: v for k, v in msgspec.structs.asdict(event).items() if k not in known and v is not None}


@every_setting
def test_lines_under_the_setting_are_read_whole(
    setting: str, starting: str, received: str, refused: str, expected: dict[str, Any]
) -> None:
    events = read_all(LogFormat.STDERR, lines(starting, received, refused), setting)
    assert [event.kind for event in events] == [EventKind.SERVER_STARTED, EventKind.RECEIVED, EventKind.FATAL]
    assert events[1].role is None
    assert (events[1].client_addr, events[1].client_port) == ("127.0.0.1", 38432)
    assert events[2].saying is Saying.ROLE_NOLOGIN
    # the message states the role where the prefix has none
    assert said(events[2]) == {"role": "nologin"} | expected


@every_setting
def test_a_log_under_the_setting_is_recognised(
    setting: str, starting: str, received: str, refused: str, expected: dict[str, Any]
) -> None:
    assert expected
    data = b"The files belonging to this database system\n" + lines(starting, received, refused)
    assert recognise(data, compile_prefix(setting)) is LogFormat.STDERR


@every_setting
def test_lines_under_another_setting_are_failures_not_events(
    setting: str, starting: str, received: str, refused: str, expected: dict[str, Any]
) -> None:
    assert expected
    other = "%p,%m,%e:" if not setting.startswith("%p") else "%m [%p] "
    made = reader(LogFormat.STDERR, other)
    assert made.feed(lines(starting, received, refused)) + made.finish() == []
    assert made.stats.parse_failures == 3


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("", "neither %c nor %p"),
        ("%m ", "neither %c nor %p"),
        ("%t %u@%d ", "neither %c nor %p"),
        ("%%p %m", "neither %c nor %p"),
        ("%p ", "has no time"),
        ("%p %u@%d %%m", "has no time"),
        ("%m [%p] %z ", r"character 9: '%z' is no escape"),
        ("%m [%p] %U ", r"character 9: '%U' is no escape"),
        ("%m [%p] %", "character 9: a lone % ends it"),
        ("%m [%p] %-", "character 9: a lone % ends it"),
        ("%m [%p] %-10", "character 9: a lone % ends it"),
        ("%m [%p] % u", r"character 9: '% ' is no escape"),
        ("%m [%p] %+5u", r"character 9: '%\+' is no escape"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_with_its_place(setting: str, what: str) -> None:
    with pytest.raises(LogFormatError, match=what) as refusal:
        compile_prefix(setting)
    assert repr(setting) in str(refusal.value)


@pytest.mark.parametrize("escape", [*list("audrhLbpPtmnielsvxQ"), "q", "%"])
@pytest.mark.parametrize("padding", ["", "5", "-12"])
def test_every_escape_of_postgresql_18_compiles_with_any_padding(escape: str, padding: str) -> None:
    setting = f"%m %c %{padding}{escape} "
    assert compile_prefix(setting).setting == setting


def test_what_is_written_twice_is_read_where_it_stands_first() -> None:
    line = b"2026-11-23 03:40:08.604 UTC [7] [7] alice alice FATAL:  sorry, too many clients already\n"
    (event,) = read_all(LogFormat.STDERR, line, "%m [%p] [%p] %u %u ")
    assert (event.pid, event.role) == (7, "alice")


@pytest.mark.parametrize("literal", [".*", "[a-z]+", "(", "\\d", "é ", "a|b"])
def test_literal_text_is_taken_literally(literal: str) -> None:
    line = f"2026-11-23 03:40:08.604 UTC {literal}[7] LOG:  {RECEIVED}\n".encode()
    assert len(read_all(LogFormat.STDERR, line, f"%m {literal}[%p] ")) == 1
    assert read_all(LogFormat.STDERR, line.replace(literal.encode(), b"#"), f"%m {literal}[%p] ") == []


@pytest.mark.parametrize(
    ("names", "role", "database"),
    [
        ("alice@app", "alice", "app"),
        ("alice@example.org@app", "alice@example.org", "app"),
        ("a b@c d", "a b", "c d"),
        ("[unknown]@[unknown]", None, None),
        ('we ird"x@postgres', 'we ird"x', "postgres"),
    ],
)
def test_names_with_the_separator_in_them_give_the_role_the_longer_part(
    names: str, role: str | None, database: str | None
) -> None:
    line = (
        f'2026-11-23 03:40:08.604 UTC [7] {names} LOG:  connection authenticated: identity="x@y" method=oauth (/f:1)\n'
    )
    (event,) = read_all(LogFormat.STDERR, line.encode(), "%m [%p] %q%u@%d ")
    assert (event.role, event.database, event.identity) == (role, database, "x@y")


def test_the_messages_own_statement_wins_over_ambiguous_names() -> None:
    prefix = "2026-11-23 03:40:08.604 UTC [7] u@d@b "
    data = (
        f"{prefix}LOG:  connection authorized: user=u database=d@b application_name=psql\n"
        f"{prefix}LOG:  connection ready: setup total=1.0 ms, fork=1.0 ms, authentication=1.0 ms\n"
        f"{prefix}LOG:  disconnection: session time: 0:00:00.136 user=u database=d@b host=10.0.0.7 port=50001\n"
    ).encode()
    events = read_all(LogFormat.STDERR, data, "%m [%p] %q%u@%d ")
    assert [(event.role, event.database) for event in events] == [("u", "d@b"), (None, None), ("u", "d@b")]


@pytest.mark.parametrize("zone", ["UTC", "+03", "-0330", "CET", "+05:45"])
def test_any_zone_that_the_server_writes_is_read(zone: str) -> None:
    line = f"2026-11-23 03:40:08.604 {zone}:[7]:LOG:  {RECEIVED}\n".encode()
    assert len(read_all(LogFormat.STDERR, line, "%m:[%p]:")) == 1


def test_a_role_name_with_a_newline_can_forge_a_line() -> None:
    """The documented limit of stderr format: there is nothing in such a line by which to know it."""
    forged = "2026-11-23 03:40:08.604 UTC [8] root@app LOG:  connection authorized: user=root database=app"
    line = f"2026-11-23 03:40:08.604 UTC [7] x\n{forged}\ny@app FATAL:  sorry, too many clients already\n".encode()
    made = reader(LogFormat.STDERR)
    events = made.feed(line) + made.finish()
    assert [(event.pid, event.role) for event in events] == [(8, "root")]
    assert made.stats.parse_failures == 1


def test_a_long_line_that_almost_matches_is_given_up_at_once() -> None:
    line = b"2026-11-23 03:40:08.604 UTC [7] " + b"@ user=,db=" * 20_000 + b" LOG:  connection received\n"
    assert read_all(LogFormat.STDERR, line, "%m [%p] %u@%d user=%a,db=%b ") == []


@pytest.mark.parametrize(
    ("setting", "separator"),
    [
        ("%m [%p] %u@%d ", b"@"),
        ("%m [%p] %q%u%%%d ", b"%"),
        ("%m [%p] %u%d ", b""),
        ("%m [%p] %d@%u ", b""),
        ("%m [%p] %u/%a/%d ", None),
        ("%m [%p] %u@%q%d ", None),
        ("%m [%p] %-10u@%d ", None),
        ("%m [%p] %u@%10d ", None),
        ("%m [%p] %u ", None),
        ("%m [%p] ", None),
    ],
)
def test_what_separates_role_and_database_is_known_where_it_is_always_the_same(
    setting: str, separator: bytes | None
) -> None:
    assert compile_prefix(setting).separator == separator
