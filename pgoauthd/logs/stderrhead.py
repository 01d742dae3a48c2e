"""Reads what stands before the message of a line in stderr format; what the message says is not its concern."""

from __future__ import annotations

import re

from pgoauthd.logs.marks import LEVELS
from pgoauthd.logs.prefix import PARTS, LinePrefix
from pgoauthd.logs.records import NO_ERROR, NO_SESSION, Names, Record
from pgoauthd.logs.times import Timestamps

_NO_ERROR = NO_ERROR.encode()
_UNKNOWN = b"[unknown]"


class HeadReader:
    """Makes the Record of an entry whose first line `prefix.line` has matched."""

    def __init__(self, prefix: LinePrefix, timestamps: Timestamps) -> None:
        self._names = prefix.names
        self._separator = prefix.separator
        self._tells_sessions = prefix.tells_sessions
        self._groups = tuple(prefix.line.groupindex[part] for part in PARTS)
        self._timestamps = timestamps

    def read(self, head: re.Match[bytes], severity: bytes, texts: dict[bytes, str]) -> tuple[Record, float]:
        """The record and its time; `texts` are those of the entry, by severity or by DETAIL, CONTEXT, ….

        ValueError: numbers or times that are none.
        """
        parts, names = head.group(*self._groups), Names.READ
        if parts[0] and parts[1] and self._are_ambiguous(head, parts[1]):
            parts, names = self._longest_role(head, parts), Names.AMBIGUOUS
        (
            role, database, application, host, port, backend, pid, leader,
            milli, second, epoch, start, session, line, state, verbose_state,
        ) = parts  # fmt: skip
        session_id = session.decode() if session else None
        process = int(pid) if pid else int((session_id or ".0").split(".")[1], 16)
        if session_id is None and start:
            session_id = f"{int(self._timestamps.read_second(start.decode())):x}.{process:x}"
        state = state or verbose_state
        record = Record(
            role=_name(role),
            database=_name(database),
            pid=process,
            client_addr=_name(host) if host else None,
            client_port=int(port) if port else None,
            session_id=session_id,
            line_num=int(line) if line else None,
            severity=LEVELS[severity],
            sqlstate=state.decode() if state and state != _NO_ERROR else None,
            message=texts[severity],
            detail=texts.get(b"DETAIL"),
            context=texts.get(b"CONTEXT"),
            application_name=_name(application) if application else None,
            backend_type=_backend_type(leader, backend) if leader or backend else None,
            names=names,
        )
        if self._tells_sessions and not (backend or leader or role or database or application or host):
            record.backend_type = NO_SESSION
        if milli:
            return record, self._timestamps.read(milli.decode())
        return record, self._time(epoch, second, session_id)

    def _are_ambiguous(self, head: re.Match[bytes], database: bytes) -> bool:
        """Whether what separates role and database is part of a name, too."""
        if self._separator is not None and self._separator not in database:
            return False
        role_group, database_group = self._groups[:2]
        between = head.string[head.end(role_group) : head.start(database_group)]
        return between != b"" and between in database

    def _longest_role(self, head: re.Match[bytes], parts: tuple[bytes | None, ...]) -> tuple[bytes | None, ...]:
        """The parts as they are where as much as possible is the role."""
        again = self._names.fullmatch(head.string, head.start(), head.start("severity"))
        longest = again.groupdict() if again is not None else {}
        return tuple(longest.get(name, part) for name, part in zip(PARTS, parts, strict=True))

    def _time(self, epoch: bytes | None, second: bytes | None, session_id: str | None) -> float:
        """When it was logged, without %m; a prefix without %t and %n, too, leaves the session's start to go by."""
        if epoch:
            return float(epoch)
        if second:
            return self._timestamps.read_second(second.decode())
        return float(int((session_id or "").split(".")[0], 16))


def _backend_type(leader: bytes | None, backend: bytes | None) -> str | None:
    if leader:
        return "parallel worker"
    return backend.decode("utf-8", "replace") if backend else None


def _name(text: bytes | None) -> str | None:
    return text.decode("utf-8", "replace") if text and text != _UNKNOWN else None
