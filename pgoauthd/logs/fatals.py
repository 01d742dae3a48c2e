"""What a FATAL line says, by its text or, where the server speaks another language, by its SQLSTATE: one table."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from pgoauthd.logs.events import Saying


class Fate(NamedTuple):
    """What a FATAL says, and whom and what it names."""

    saying: Saying
    method: str | None = None
    role: str | None = None
    database: str | None = None


class _Row(NamedTuple):
    pattern: re.Pattern[str]
    saying: Saying
    method: str | None = None


_HBA_SUBJECT = r'host ".*", user "(?P<role>.*?)"(?:, database "(?P<database>.*)")?(?:, .*)?'

_METHODS = {
    "OAuth bearer": "oauth",
    "password": None,
    "Peer": "peer",
    "Ident": "ident",
    "LDAP": "ldap",
    "PAM": "pam",
    "BSD": "bsd",
    "RADIUS": "radius",
    "GSSAPI": "gss",
    "SSPI": "sspi",
    "certificate": "cert",
    '"trust"': "trust",
}
"""The method's name in `… authentication failed`; password may be scram-sha-256, md5 or password."""

_TEXTS: tuple[tuple[str, Saying], ...] = (
    ("malformed OAUTHBEARER message", Saying.SASL_MALFORMED),
    ("client uses authorization identity, but it is not supported", Saying.AUTHZID_UNSUPPORTED),
    ("canceling authentication due to timeout", Saying.HANDSHAKE_TIMEOUT),
    ('role "(?P<role>.*)" does not exist', Saying.ROLE_MISSING),
    ('role "(?P<role>.*)" is not permitted to log in', Saying.ROLE_NOLOGIN),
    ('too many connections for role "(?P<role>.*)"', Saying.ROLE_CONNECTION_LIMIT),
    ('too many connections for database "(?P<database>.*)"', Saying.DATABASE_CONNECTION_LIMIT),
    ('database "(?P<database>.*)" does not exist', Saying.DATABASE_MISSING),
    ('permission denied for database "(?P<database>.*)"', Saying.DATABASE_NO_CONNECT),
    ('database "(?P<database>.*)" is not currently accepting connections', Saying.DATABASE_NOT_ACCEPTING),
    ('cannot connect to invalid database "(?P<database>.*)"', Saying.DATABASE_NOT_ACCEPTING),
    ("sorry, too many clients already", Saying.TOO_MANY_CONNECTIONS),
    ("remaining connection slots are reserved .*", Saying.TOO_MANY_CONNECTIONS),
    ("number of requested standby connections exceeds .*", Saying.TOO_MANY_CONNECTIONS),
    (
        "the database system is (?:starting up|shutting down|in recovery mode|not (?:yet )?accepting connections)",
        Saying.SERVER_NOT_READY,
    ),
    (rf"no pg_hba\.conf entry for (?:replication connection from )?{_HBA_SUBJECT}", Saying.HBA_NO_ENTRY),
    (rf"pg_hba\.conf rejects (?:replication )?connection for {_HBA_SUBJECT}", Saying.HBA_REJECTED),
    ('authentication failed for user "(?P<role>.*)": .*', Saying.OTHER_METHOD_FAILED),
    ("connection requires a valid client certificate", Saying.OTHER_METHOD_FAILED),
    ("empty password returned by client", Saying.OTHER_METHOD_FAILED),
    ("malformed SCRAM message", Saying.OTHER_METHOD_FAILED),
)

_BY_SQLSTATE = {
    "28P01": Saying.OTHER_METHOD_FAILED,
    "3D000": Saying.DATABASE_MISSING,
    "53300": Saying.TOO_MANY_CONNECTIONS,
    "57P03": Saying.SERVER_NOT_READY,
    "57014": Saying.HANDSHAKE_TIMEOUT,
}
"""Only codes that mean one thing during a login: 28000, 42501, 08P01 and 0A000 stand for several."""

_DETAILS = {
    "Message does not contain an auth value.": Saying.SASL_NO_AUTH_VALUE,
    "The server does not support channel binding for OAuth, but the client message includes channel binding data.": (
        Saying.CHANNEL_BINDING_UNSUPPORTED
    ),
    "Validator provided no identity.": Saying.VALIDATOR_NO_IDENTITY,
}
"""DETAILs that say more than the message (the last: PostgreSQL 19, where no LOG line comes before the FATAL)."""


def fate_of(message: str, sqlstate: str) -> Fate:
    """What a FATAL with this text and SQLSTATE ("" where the log lacks it) says; Saying.OTHER if neither is known."""
    for row in _rows():
        if (found := row.pattern.fullmatch(message)) is not None:
            named = found.groupdict()
            return Fate(row.saying, row.method, named.get("role"), named.get("database"))
    return Fate(_BY_SQLSTATE.get(sqlstate, Saying.OTHER))


def refine(saying: Saying, own_text: str | None) -> Saying:
    """The same in the light of the method's own text in the DETAIL."""
    if own_text is None or saying not in (Saying.SASL_MALFORMED, Saying.OAUTH_FAILED):
        return saying
    return _DETAILS.get(own_text, saying)


@cache
def _rows() -> tuple[_Row, ...]:
    """The table, compiled when the first FATAL is read."""
    methods = (
        _Row(
            re.compile(rf'{name} authentication failed for user "(?P<role>.*)"', re.DOTALL),
            Saying.OAUTH_FAILED if method == "oauth" else Saying.OTHER_METHOD_FAILED,
            method,
        )
        for name, method in _METHODS.items()
    )
    texts = (
        _Row(re.compile(text, re.DOTALL), saying, "oauth" if saying is Saying.SASL_MALFORMED else None)
        for text, saying in _TEXTS
    )
    return (*methods, *texts)
