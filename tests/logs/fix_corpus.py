"""The real logs of tests/data/pg-logs, as bytes and as events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.readers import LogFormat
from tests.logs.fix_wrapped import cnpg_lines, journal_lines, with_foreign_entries, with_foreign_pod_lines

CORPUS = Path(__file__).parent.parent / "data" / "pg-logs"
RUNS = ("18.6-default", "19rc1-default")
EXTENSIONS = {LogFormat.STDERR: "log", LogFormat.CSVLOG: "csv", LogFormat.JSONLOG: "json"}
"""Of the server's own formats."""


@cache
def corpus(run: str, log_format: LogFormat) -> bytes:
    """The run in a format; those that others make have lines of others in between."""
    if log_format is LogFormat.CNPG:
        return with_foreign_pod_lines(cnpg_lines(corpus(run, LogFormat.CSVLOG)))
    if log_format is LogFormat.JOURNAL:
        return with_foreign_entries(journal_lines(corpus(run, LogFormat.STDERR)))
    return (CORPUS / run / f"postgresql.{EXTENSIONS[log_format]}").read_bytes()


def by_session(events: Iterable[AuthEvent]) -> dict[int, list[AuthEvent]]:
    """Events by process id: in no run did one come round again."""
    sessions: dict[int, list[AuthEvent]] = defaultdict(list)
    for event in events:
        sessions[event.pid].append(event)
    return sessions


def as_stderr_says(event: AuthEvent) -> AuthEvent:
    """The event without what the prefix of the corpus has no escape for."""
    return replace(
        event,
        session_id=None,
        line_num=None,
        sqlstate=None,
        client_addr=None,
        client_port=None,
        application_name=None,
    )
