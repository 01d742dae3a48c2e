"""The real logs of tests/data/pg-logs, as bytes and as events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.readers import LogFormat

CORPUS = Path(__file__).parent.parent / "data" / "pg-logs"
RUNS = ("18.6-default", "19rc1-default")
EXTENSIONS = {LogFormat.STDERR: "log", LogFormat.CSVLOG: "csv", LogFormat.JSONLOG: "json"}


def corpus(run: str, log_format: LogFormat) -> bytes:
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
        session_start=None,
        line_num=None,
        sqlstate=None,
        client_addr=None,
        client_port=None,
        application_name=None,
    )
