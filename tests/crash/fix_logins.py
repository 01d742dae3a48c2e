"""Logins as a server logs them: those of a real log with ids and times of their own, and those that the shim asks for.

What must become of each is known beforehand: of the real ones by a replay that nothing disturbs (tests/test_replay.py
says that it is right), of the others by the reply.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from bench.make_log import CORPUS, as_csv
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.logs.prefix import compile_prefix
from pgoauthd.replay import Replay, ReplaySettings

Record = Mapping[str, object]
"""One entry, as jsonlog has it."""

PREFIX = "%m [%p] %c %q%u@%d "
HBA = "/etc/postgresql/pg_hba.conf"
HBA_LINE = 6
_MARKS = ("DETAIL", "HINT")


@dataclass(frozen=True)
class Template:
    """A login of the real log: its entries, and how it ends."""

    records: tuple[Record, ...]
    result: str
    reason: str
    lacks_verdict: bool
    """Somebody vouched for a token who was not pgoauthd."""
    falls_silent: bool
    """No entry ends it."""


@cache
def templates() -> tuple[Template, ...]:
    """All logins of the real log."""
    records: dict[str, list[Record]] = defaultdict(list)
    for line in CORPUS.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["backend_type"] in ("client backend", "not initialized"):
            records[record["session_id"]].append(record)
    replay = Replay(ReplaySettings(cluster="corpus", prefix=compile_prefix(PREFIX), timezone=ZoneInfo("UTC")))
    return tuple(_template(records[str(it.session_id)], it) for it in replay.outcomes([CORPUS]))


def _template(records: list[Record], outcome: Outcome) -> Template:
    vouched = any(str(record["message"]).startswith("connection authenticated") for record in records)
    return Template(
        records=tuple(records),
        result=outcome.result,
        reason=outcome.reason,
        lacks_verdict=outcome.method == "oauth" and (vouched or outcome.result == "success"),
        falls_silent=outcome.reason == "client_gone",
    )


@dataclass
class Session:
    """A session of the server, which writes its entries one after the other."""

    pid: int
    started: datetime
    role: str = "alice"

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)

    @property
    def session_id(self) -> str:
        return f"{int(self.started.timestamp()):x}.{self.pid:x}"

    def entry(self, severity: str, message: str, state_code: str | None = None, **others: object) -> Record:
        """An entry of the session at this moment."""
        return {
            "timestamp": stamp(datetime.now(UTC)),
            "user": self.role,
            "dbname": "app",
            "pid": self.pid,
            "remote_host": "127.0.0.1",
            "remote_port": 1024 + self.pid % 60_000,
            "session_id": self.session_id,
            "line_num": next(self._numbers),
            "session_start": f"{self.started:%Y-%m-%d %H:%M:%S} UTC",
            "txid": 0,
            "error_severity": severity,
            **({"state_code": state_code} if state_code is not None else {}),
            "message": message,
            **others,
            "backend_type": "client backend",
        }

    def received(self) -> Record:
        port = 1024 + self.pid % 60_000
        record = dict(self.entry("LOG", f"connection received: host=127.0.0.1 port={port}"))
        del record["user"], record["dbname"]
        return record | {"backend_type": "not initialized"}

    def authenticated(self, identity: str) -> Record:
        return self.entry(
            "LOG", f'connection authenticated: identity="{identity}" method=oauth ({HBA}:{HBA_LINE})', ps="startup"
        )

    def failed(self) -> Record:
        detail = (
            f'Connection matched file "{HBA}" line {HBA_LINE}: "host all all 127.0.0.1/32 oauth issuer="…" scope=""'
        )
        return self.entry("FATAL", f'OAuth bearer authentication failed for user "{self.role}"', "28000", detail=detail)

    def let_in(self, identity: str) -> Iterator[Record]:
        """The shim said yes, and the server found nothing against it."""
        yield self.authenticated(identity)
        yield self.entry("LOG", f"connection authorized: user={self.role} database=app application_name=psql")
        yield self.entry(
            "LOG", "connection ready: setup total=4.133 ms, fork=0.507 ms, authentication=0.907 ms", ps="startup"
        )
        yield self.entry(
            "LOG", f"disconnection: session time: 0:00:00.004 user={self.role} database=app host=127.0.0.1 port=57990"
        )

    def mismatched(self, identity: str) -> Iterator[Record]:
        """The shim said yes, and the token is another's."""
        yield self.authenticated(identity)
        said = f"provided user name ({self.role}) and authenticated user name ({identity}) do not match"
        yield self.entry("LOG", said)
        yield self.failed()

    def roleless(self, identity: str) -> Iterator[Record]:
        """The shim said yes, and there is no such role."""
        yield self.authenticated(identity)
        yield self.entry("LOG", f"connection authorized: user={self.role} database=app application_name=psql")
        yield self.entry("FATAL", f'role "{self.role}" does not exist', "28000")

    def refused(self, reply: Mapping[str, Any]) -> Iterator[Record]:
        """The shim said no, as the daemon did."""
        yield self._shim(reply["reason"], reply["message"], reply["remedy"])
        if reply["authn_id"] is not None:
            yield self.authenticated(reply["authn_id"])
        yield self.entry(
            "LOG",
            f'OAuth bearer authentication failed for user "{self.role}"',
            detail="Validator failed to authorize the provided token.",
        )
        yield self.failed()

    def unjudged(self, reason: str) -> Iterator[Record]:
        """The shim has got no answer."""
        yield self._shim(reason, "The server could not reach pgoauthd on its socket: it is away.", "Start pgoauthd.")
        yield self.entry("WARNING", "internal error in OAuth validator module", "XX000")
        yield self.failed()

    def as_in(self, template: Template) -> Iterator[Record]:
        """The entries of a real login, said by this session now."""
        own = {
            "pid": self.pid,
            "session_id": self.session_id,
            "session_start": f"{self.started:%Y-%m-%d %H:%M:%S} UTC",
        }
        for record in template.records:
            yield {**record, **own, "timestamp": stamp(datetime.now(UTC))}

    def _shim(self, reason: str, message: str, remedy: str) -> Record:
        return self.entry("LOG", f"pgoauthd: refused [{reason}]: {message}", hint=remedy)


def stamp(moment: datetime) -> str:
    """As the server writes %m."""
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03} UTC"


def as_stderr(record: Record) -> str:
    """The entry in stderr format with PREFIX."""
    who = f"{record.get('user', '[unknown]')}@{record.get('dbname', '[unknown]')}"
    prefix = f"{record['timestamp']} [{record['pid']}] {record['session_id']} {who} "
    said = [(str(record["error_severity"]), str(record["message"]))]
    said += [(mark, str(record[mark.lower()])) for mark in _MARKS if mark.lower() in record]
    return "\n".join(f"{prefix}{mark}:  {text}".replace("\n", "\n\t") for mark, text in said)


def _as_json(record: Record) -> str:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False)


RENDER = {"jsonlog": _as_json, "csvlog": lambda record: as_csv(dict(record)), "stderr": as_stderr}
EXTENSIONS = {"jsonlog": "json", "csvlog": "csv", "stderr": "log"}
