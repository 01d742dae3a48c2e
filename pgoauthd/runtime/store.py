"""What survives a restart, whatever ends the daemon: positions, open sessions, verdicts, counters, and the outcomes.

All of one moment is written in one transaction, in a thread beside the work. It never decides what is saved or when,
and never throws a state away: one that cannot be used is kept under another name.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import msgspec

from pgoauthd.correlation.engine import EngineState, Known, Silenced
from pgoauthd.correlation.session import Session, State
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.errors import StateError
from pgoauthd.logs.position import Position
from pgoauthd.runtime.history import History, Wanted
from pgoauthd.runtime.pace import Pace
from pgoauthd.runtime.retention import Retention, Tidied, tidy
from pgoauthd.runtime.statefile import DamagedError, NewerError, keep_aside, lock, note_damage, open_state, remember
from pgoauthd.runtime.staterows import CLEAN, VERDICTS_IN_STATE, Rows, StateChanges
from pgoauthd.runtime.verdictfile import Numbered, VerdictFile
from pgoauthd.telemetry.ledger import Entries

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
"""How long a save is waited for: a disk that hangs must hang nothing else."""


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """The saved state of one cluster."""

    positions: tuple[Position, ...] = ()
    engine: EngineState = EngineState()


class Saved(NamedTuple):
    """What the last run has left."""

    clusters: dict[str, ClusterState]
    verdicts: tuple[SessionVerdict, ...]
    """Those that waited when the state was last saved."""
    verdicts_since: tuple[SessionVerdict, ...]
    """Those that came later."""
    counters: Entries
    clean: bool
    """The last run has ended by itself, so nothing is left to be made good."""
    verdicts_lost: bool
    """Verdicts of the last seconds are gone, as after a power failure."""


class Store:
    """The state, open and locked for this process; a second process that opens it gets a StateError."""

    def __init__(
        self,
        path: Path,
        verdicts_path: Path,
        *,
        pace: Pace | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`verdicts_path`: the file for verdicts between two saves; `patience_seconds`: how long a save is waited for.

        StateError if the state is another process's, or no state, or its files cannot be opened.
        """
        self._path = path
        self._patience_seconds = patience_seconds
        self._pace = pace or Pace()
        self.kept_aside: Path | None = None
        """Where the state is now that was found and could not be used."""
        self.why_kept_aside = ""
        self.saved: Saved
        """What the last run has left, as it was found."""
        with ExitStack() as opened:
            self._lock = lock(path)
            opened.callback(os.close, self._lock.descriptor)
            self._connection = self._open()
            opened.callback(self._close_connection)
            self._verdict_file = _open_verdicts(verdicts_path)
            opened.callback(self._verdict_file.close)
            self._read()
            remember(self._lock)
            opened.pop_all()
        self._unwritten = Rows()
        self._left_out = 0
        """Outcomes that no save has written."""
        self._working: asyncio.Task[Any] | None = None
        """What the disk was last given to do."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A write that hangs keeps file and lock until the process ends."""
        if self._working is None or self._working.done():
            self._close_connection()
            os.close(self._lock.descriptor)
        self._verdict_file.close()

    def _close_connection(self) -> None:
        self._connection.close()

    def forget_saved(self) -> None:
        """Nobody asks for `saved` any more: what has ended since would stay in memory for it."""
        self.saved = self.saved._replace(clusters={}, verdicts=(), verdicts_since=())

    def keep(self, verdict: SessionVerdict) -> None:
        """Have a verdict survive at once; OSError if that cannot be, and the next save has it."""
        self._verdict_number += 1
        self._verdict_file.append(Numbered(self._verdict_number, verdict))

    @property
    def verdict_number(self) -> int:
        """The number of the verdict that was kept last."""
        return self._verdict_number

    def next_id(self) -> int:
        """A number for an outcome, higher than any before."""
        self._last_id += 1
        return self._last_id

    def outcomes_before(self, after: int) -> Iterator[bytes]:
        """The JSON lines of what former runs have decided after an id; StateError if they cannot be read."""
        with History(self._path) as history:
            yield from history.outcomes(Wanted(), after=after, upto=self._last_id_before)

    async def save(self, changes: StateChanges) -> None:
        """Write what has changed, in one transaction, with all that could not be written before; encoded at leisure.

        StateError when that cannot be, or not soon: the file is as it was, and the next save tries again.
        """
        rows = Rows()
        await self._pace.in_slices(rows.add(changes))
        self._unwritten.absorb(rows)
        await self._beside(self._write_unwritten())
        if rows.problem:
            raise StateError(f"{self._path}: a part of the state could not be saved ({rows.problem}); report this")

    def mark_clean(self) -> None:
        """Note, at the end, that the daemon ends by itself; StateError if that cannot be, or a save failed."""
        if self._working is not None and not self._working.done():
            raise StateError(f"{self._path}: the disk does not answer; look whether it does")
        try:
            self._connection.execute("INSERT OR REPLACE INTO head VALUES (?, ?)", (CLEAN, b"1"))
        except sqlite3.Error as error:
            raise StateError(f"{self._path}: the state could not be saved ({error}); check the disk") from error

    async def tidy(self, retention: Retention) -> Tidied:
        """Delete outcomes that are too old or too many, as many as can be soon; StateError as of `save`."""
        now = time.time()
        return await self._beside(asyncio.to_thread(tidy, self._connection, retention, now))

    def take_left_out(self) -> int:
        """How many outcomes the history lacks since this was last asked, because the state could not be saved."""
        count = self._left_out + self._unwritten.left_out
        self._left_out = self._unwritten.left_out = 0
        return count

    async def _beside(self, work: Coroutine[None, None, T]) -> T:
        """Have the disk do something; StateError if that fails or takes too long, and then it goes on."""
        try:
            await self._wait_until_free()
        except BaseException:
            work.close()
            raise
        self._working = working = asyncio.create_task(work)
        working.add_done_callback(_look_at)
        await self._wait_until_free()
        try:
            return working.result()
        except Exception as error:
            # Not the text of any error, which may have a piece of the state in it.
            what = str(error) if isinstance(error, sqlite3.Error | OSError) else type(error).__name__
            raise StateError(f"{self._path}: the state could not be saved ({what}); check the disk") from error

    async def _wait_until_free(self) -> None:
        while (working := self._working) is not None and not working.done():
            await asyncio.wait([working], timeout=self._patience_seconds)
            if not working.done():
                raise StateError(f"{self._path}: the disk does not answer; look whether it does")

    async def _write_unwritten(self) -> None:
        """What cannot be written stays to be written."""
        rows, self._unwritten = self._unwritten, Rows()
        try:
            await asyncio.to_thread(self._commit, rows)
        except BaseException as error:
            rows.absorb(self._unwritten)
            self._unwritten = rows
            note_damage(self._path, error)
            raise
        self._left_out += rows.left_out
        self._verdict_file.saved_up_to(int(rows.head.get(VERDICTS_IN_STATE, b"0")))

    def _commit(self, rows: Rows) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            rows.write(self._connection)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    # opening

    def _open(self) -> sqlite3.Connection:
        try:
            return _open_again(self._path) if self._lock.known else open_state(self._path)
        except DamagedError as error:
            if not self._lock.known:
                raise StateError(
                    f"{self._path}: is not a state file of pgoauthd ({error}); give state.path another name"
                ) from error
            self._keep_aside(error)
            return open_state(self._path)

    def _keep_aside(self, error: DamagedError) -> None:
        why = "newer" if isinstance(error, NewerError) else "damaged"
        self.kept_aside = keep_aside(self._path, why, time.time())
        self.why_kept_aside = str(error)

    def _read(self) -> None:
        """Read what is there; a state that cannot be read is kept aside."""
        since = self._verdict_file.read()
        try:
            self.saved = self._load(since)
        except (msgspec.MsgspecError, sqlite3.DatabaseError, ValueError, TypeError, OverflowError) as error:
            self._connection.close()
            self._keep_aside(DamagedError(type(error).__name__))
            self._connection = open_state(self._path)
            self.saved = self._load(since)

    def _load(self, numbered: list[Numbered]) -> Saved:
        head = dict(self._rows("SELECT name, body FROM head"))
        in_state = int(head.get(VERDICTS_IN_STATE, b"0"))
        self._verdict_number = max([in_state, *(it.number for it in numbered)])
        self._last_id: int = next(iter(self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'outcome'")), (0,))[0]
        self._last_id_before = self._last_id
        verdicts = (_decode(body, SessionVerdict) for (body,) in self._rows("SELECT body FROM verdict"))
        clean = head.get(CLEAN, b"1") == b"1"
        return Saved(
            clusters=self._clusters(),
            verdicts=tuple(sorted(verdicts, key=lambda it: it.time)),
            verdicts_since=tuple(it.verdict for it in numbered if it.number > in_state),
            counters=self._counters(),
            clean=clean,
            verdicts_lost=not clean and in_state > 0 and not self._verdict_file.was_there,
        )

    def _clusters(self) -> dict[str, ClusterState]:
        sessions, silenced = defaultdict[str, list[Session]](list), defaultdict[str, list[Silenced]](list)
        for name, body in self._rows("SELECT cluster, body FROM session"):
            sessions[name].append(_decode_session(body))
        for name, key, place, state in self._rows("SELECT cluster, key, place, state FROM silenced"):
            silenced[name].append(Silenced(key, place, State(state)))
        return {
            name: ClusterState(
                positions=_decode(positions, tuple[Position, ...]),
                engine=EngineState(
                    open=tuple(sessions[name]), silenced=tuple(silenced[name]), known=_decode(known, Known)
                ),
            )
            for name, positions, known in self._rows("SELECT name, positions, engine FROM cluster")
        }

    def _counters(self) -> Entries:
        """Which of them are set and which are counted, the metrics know."""
        rows = self._rows("SELECT name, labels, value FROM counter")
        return Entries(
            {(name, msgspec.json.decode(labels, type=tuple[str, ...])): value for name, labels, value in rows}, {}
        )

    def _rows(self, query: str) -> sqlite3.Cursor:
        """One after the other: all rows of a large state at once take as much memory as the state."""
        return self._connection.execute(query)


def _open_again(path: Path) -> sqlite3.Connection:
    """Open what was a state: SQLite would take an empty file for a new one, and nobody would hear of the loss."""
    if path.is_file() and path.stat().st_size <= 1:
        raise DamagedError("it is empty")
    return open_state(path)


def _open_verdicts(path: Path) -> VerdictFile:
    try:
        return VerdictFile(path)
    except OSError as error:
        what = error.strerror or str(error)
        raise StateError(
            f"{path}: the file for verdicts cannot be opened ({what}); check that the directory is there and writable"
        ) from error


def _look_at(working: asyncio.Task[Any]) -> None:
    """Nobody may wait any more for what went wrong, and it is told with the next save."""
    if not working.cancelled():
        working.exception()


def _decode_session(body: bytes) -> Session:
    """A session, whose last line is in memory once, as it was when it was read."""
    session = _decode(body, Session)
    for line in (session.cause, session.authorized, session.authenticated, session.received):
        if line is not None and line == session.last:
            session.last = line
            break
    return session


def _decode(body: bytes, kind: type[T]) -> T:
    return msgspec.msgpack.decode(body, type=kind)
