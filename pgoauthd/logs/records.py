"""One entry of a server log as the server structured it: Record, common to the three formats; says nothing about it."""

from __future__ import annotations

from enum import Enum, auto

import msgspec


class Names(Enum):
    """How well role and database of a record are known."""

    EXACT = auto()
    """The format has a field for each."""
    READ = auto()
    """They were read from a line prefix."""
    AMBIGUOUS = auto()
    """They were, and other names would have made the same prefix."""


class Record(
    msgspec.Struct,
    kw_only=True,
    gc=False,
    rename={
        "role": "user",
        "database": "dbname",
        "client_addr": "remote_host",
        "client_port": "remote_port",
        "severity": "error_severity",
        "sqlstate": "state_code",
    },
):
    """What `logs.sayings` reads of an entry; the names on the wire are jsonlog's (PostgreSQL manual, section 19.8.5).

    The fields stand in the order of write_jsonlog(), which makes decoding fast. Mutable because jsonlog fills it
    straight from the file, `Sayings` completes it from the message, and nobody keeps it.
    """

    timestamp: str = ""
    role: str | None = None
    database: str | None = None
    pid: int = 0
    client_addr: str | None = None
    client_port: int | None = None
    session_id: str | None = None
    line_num: int | None = None
    severity: str
    sqlstate: str | None = None
    message: str = ""
    detail: str | None = None
    context: str | None = None
    application_name: str | None = None
    backend_type: str | None = None
    names: Names = Names.EXACT


NO_SESSION = "no session"
"""`backend_type` of a process that is known to serve no client, though the log does not say what it is."""
NO_ERROR = "00000"
"""The SQLSTATE of successful completion; jsonlog leaves it out."""


def read_client(client: str | None) -> tuple[str | None, int | None]:
    """Csvlog's `connection_from`: `host:port`, the host alone for a Unix socket ("[local]"), or nothing."""
    host, colon, port = (client or "").rpartition(":")
    return (host, int(port)) if colon and port.isdecimal() else (client or None, None)
