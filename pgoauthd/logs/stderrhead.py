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
        self._prefix = prefix
        self._groups = tuple(prefix.line.groupindex[part] for part in PARTS)
        self._timestamps = timestamps

    def read(self, head: re.Match[bytes], texts: dict[bytes, str]) -> tuple[Record, float]:
        """The record and its time; `texts` are those of the entry, by severity or by DETAIL, CONTEXT, ….

        ValueError: numbers or times that are none.
        """
        (
            role, database, application, host, port, backend, pid, leader,
            milli, second, epoch, start, session, line, state, verbose_state,
        ), names = self._parts(head)  # fmt: skip
        session_id = session.decode() if session else None
        process = int(pid) if pid else int((session_id or ".0").split(".")[1], 16)
        if session_id is None and start:
            session_id = f"{int(self._timestamps.read_second(start.decode())):x}.{process:x}"
        state = state or verbose_state
        severity = head["severity"]
        record = Record(
            role=_name(role),
            database=_name(database),
            pid=process,
            client_addr=_name(host),
            client_port=int(port) if port else None,
            session_id=session_id,
            line_num=int(line) if line else None,
            severity=LEVELS[severity],
            sqlstate=state.decode() if state and state != _NO_ERROR else None,
            message=texts[severity],
            detail=texts.get(b"DETAIL"),
            context=texts.get(b"CONTEXT"),
            application_name=_name(application),
            backend_type=self._backend(leader, backend, role or database or application or host),
            names=names,
        )
        return record, self._time(milli, epoch, second, session_id)

    def _parts(self, head: re.Match[bytes]) -> tuple[tuple[bytes | None, ...], Names]:
        """The parts of the prefix. What separates role and database may be part of their names, too."""
        parts = head.group(*self._groups)
        role, database = parts[:2]
        if role and database:
            between = head.string[head.end("role") : head.start("database")]
            if between and between in database:
                again = self._prefix.names.fullmatch(head.string, head.start(), head.start("severity"))
                longest = again.groupdict() if again is not None else {}
                return tuple(longest.get(name, part) for name, part in zip(PARTS, parts, strict=True)), Names.AMBIGUOUS
        return parts, Names.READ

    def _backend(self, leader: bytes | None, backend: bytes | None, filled: bytes | None) -> str | None:
        """The process's type. Without %b, empty names betray one without a session: a session has "[unknown]"."""
        if leader:
            return "parallel worker"
        if backend:
            return backend.decode("utf-8", "replace")
        return NO_SESSION if self._prefix.tells_sessions and not filled else None

    def _time(self, milli: bytes | None, epoch: bytes | None, second: bytes | None, session_id: str | None) -> float:
        """When it was logged; a prefix without %m, %t and %n leaves the session's start to go by."""
        if milli:
            return self._timestamps.read(milli.decode())
        if epoch:
            return float(epoch)
        if second:
            return self._timestamps.read_second(second.decode())
        return float(int((session_id or "").split(".")[0], 16))


def _name(text: bytes | None) -> str | None:
    return text.decode("utf-8", "replace") if text and text != _UNKNOWN else None
