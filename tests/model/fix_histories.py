"""Plays histories over real files, with a daemon that is stepped, killed and started again, and judges what came of it.

A login whose lines all survived gives one outcome with the right reason, which is told once and counted once. Of a
login of which a line was destroyed unread there is at most one, and where it is missing or wrong, a loss was counted
after that line was destroyed.
"""

from __future__ import annotations

import io
import itertools
import json
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple, assert_never

import pytest
from msgspec.structs import replace
from structlog.typing import FilteringBoundLogger

from pgoauthd.config.values import Cluster
from pgoauthd.correlation.outcome import Unmatched
from pgoauthd.logs.readers import LogFormat
from pgoauthd.runtime.tailing import tail
from tests.fix_log import logging_to
from tests.logs.fix_lines import START
from tests.model.fix_actions import (
    Action,
    CopyAndTruncate,
    Crash,
    CrashAtCommit,
    Drain,
    MoveDirectory,
    Obstruct,
    Pass,
    PutElsewhere,
    Recreate,
    Reload,
    RemoveOldest,
    Restart,
    Rotate,
    Save,
    Setting,
    Step,
    Truncate,
    Unfollow,
    Write,
    WriteHalf,
)
from tests.model.fix_lives import STATE, Life, Told
from tests.model.fix_logins import Kind, Login
from tests.model.fix_server import Server

SECONDS = 40.0
"""How much time passes at most before the end, so that no attempt falls silent that goes on."""
SAVE_SECONDS = 1.5
"""Within so much time everything is saved."""
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
"""Where states are: it takes what a disk would take for their being kept for good, of which no history makes use."""
LONG_ENOUGH = 200.0
"""Until every attempt has fallen silent, and every verdict is given up."""


class Row(NamedTuple):
    """An outcome in the state."""

    id: int
    cluster: str
    pid: int
    reason: str
    has_verdict: bool


def play(setting: Setting, actions: Sequence[Action], *, forgiving: bool = True) -> None:
    """Play a history to its end, and judge; `forgiving` of what test_known.py has."""
    said = io.StringIO()
    with ExitStack() as directories:
        base, states = (Path(directories.enter_context(tempfile.TemporaryDirectory(dir=it))) for it in (None, MEMORY))
        with pytest.MonkeyPatch.context() as patch, logging_to(said) as log:
            patch.setattr(tail, "READ_BYTES", setting.slice_bytes)
            history = History(base, states, setting, log, forgiving=forgiving)
            try:
                for action in actions:
                    history.play(action)
                history.finish()
            finally:
                history.close()
        history.judge()
        for trouble in ("unforeseen", "state_kept_aside", "verdicts_lost", "verdict_not_kept"):
            assert trouble not in said.getvalue(), said.getvalue()


class History:
    """The servers, the daemon's lives, and what was told in them."""

    def __init__(
        self, base: Path, states: Path, setting: Setting, log: FilteringBoundLogger, *, forgiving: bool
    ) -> None:
        self._states = states
        self._log = log
        self._numbers = itertools.count(1001)
        self._told: list[Told] = []
        self._untold: set[int] = set()
        """Ids of outcomes that were saved by a daemon that was killed before it could tell."""
        self._disk_was_full = False
        """What was told since need not be saved."""
        self._seconds_left = SECONDS
        self._anew = self._slow = self._unfollowed = False
        self._now = START.timestamp() - 10.0
        self._life: Life | None = None
        self.servers = tuple(
            Server(
                f"c{place}",
                base,
                layout,
                log_format,
                numbers=self._numbers,
                deliver=self._deliver,
                counted=self._losses,
                seconds=self._time,
                forgiving=forgiving,
            )
            for place, (layout, log_format) in enumerate(setting.servers)
        )
        self._begin_life(self._new_state())
        self._drain()
        self._save()

    @property
    def life(self) -> Life:
        """The one that runs."""
        assert self._life is not None
        return self._life

    def play(self, action: Action) -> None:  # noqa: C901, PLR0912 - a table
        match action:
            case Write(server, kinds, lines, seed):
                self._server(server).write(kinds, lines, seed)
            case WriteHalf(server, cut, seed):
                self._server(server).write_half(cut, seed)
            case Rotate(server, late):
                self._server(server).rotate(late=late)
            case CopyAndTruncate(server, lines_between):
                # KNOWN: what is truncated and written again between two slices of one turn is not noticed.
                self.life.finish_step()
                self._server(server).copy_and_truncate(lines_between)
            case Truncate(server, beyond):
                self.life.finish_step()
                self._server(server).truncate(beyond=beyond)
            case RemoveOldest(server, compress):
                self._server(server).remove_oldest(compress=compress)
            case Recreate(server):
                self._server(server).recreate()
            case Obstruct(server):
                self._server(server).obstruct()
            case MoveDirectory(server):
                self._server(server).move_away()
            case PutElsewhere(server):
                self._server(server).put_elsewhere()
            case Step(turns):
                self.life.step(turns)
            case Drain():
                self._drain()
            case Save(full):
                self._save(full=full)
            case Pass(seconds):
                if self._spend(seconds):
                    self.life.pass_time(seconds)
            case Crash(turns, saving):
                self._crash(turns, saving=saving)
            case CrashAtCommit(committed, verdict):
                self._crash_at_commit(committed=committed, verdict=verdict)
            case Restart():
                self._restart()
            case Reload(anew):
                self._reload(anew=anew)
            case Unfollow():
                self._unfollow()
            case _:
                assert_never(action)

    def finish(self) -> None:
        """Let everything come to its end."""
        if self._unfollowed:
            self._unfollow()
        for server in self.servers:
            server.come_back()
            server.finish()
        self._drain()
        self.life.pass_time(LONG_ENOUGH, at_once=10.0)
        self._drain()
        self.life.pass_time(LONG_ENOUGH, at_once=50.0)
        self.life.end()
        self._expect_told()
        self._ended, self._life = self._life, None

    def close(self) -> None:
        """Leave nothing open, also after a failure."""
        if self._life is not None:
            self._life.die()

    # servers

    def _time(self) -> float:
        return self.life.clock.time()

    def _server(self, place: int) -> Server:
        return self.servers[place % len(self.servers)]

    def _deliver(self, login: Login) -> None:
        self.life.on_verdict(login.verdict)

    def _losses(self, cluster: str) -> float:
        return _losses(self.life, cluster)

    # the daemon

    @property
    def _followed(self) -> tuple[Server, ...]:
        return self.servers[:-1] if self._unfollowed else self.servers

    def _clusters(self) -> tuple[Cluster, ...]:
        return tuple(
            replace(
                server.cluster,
                max_line_bytes=100_000 if self._anew else 1_048_576,
                authentication_timeout_seconds=61.0 if self._slow else 60.0,
            )
            for server in self._followed
        )

    def _begin_life(self, directory: Path) -> None:
        self._life = Life(directory, self._clusters(), self._now, self._log, self._told)

    def _new_state(self) -> Path:
        directory = self._states / str(next(self._numbers))
        directory.mkdir()
        return directory

    def _drain(self) -> None:
        self.life.drain()
        for server in self._followed:
            server.was_read()

    def _spend(self, seconds: float) -> bool:
        """Whether there is so much time."""
        enough = self._seconds_left >= seconds
        self._seconds_left -= seconds if enough else 0.0
        return enough

    def _save(self, *, full: bool = False) -> None:
        if not self._spend(SAVE_SECONDS):
            return
        self.life.disk.full = full
        self.life.pass_time(SAVE_SECONDS)
        self.life.disk.full = False
        self._disk_was_full = full
        if not full:
            for server in self.servers:
                server.was_saved()

    def _crash(self, turns: int, *, saving: bool) -> None:
        if saving and self._spend(SAVE_SECONDS):
            self.life.clock.advance(SAVE_SECONDS)
        self.life.step(turns)
        self._die(may_not_tell=saving)

    def _crash_at_commit(self, *, committed: bool, verdict: bool) -> None:
        if not self._spend(SAVE_SECONDS):
            return
        self._drain()
        self.life.disk.held = True
        self.life.pass_time(SAVE_SECONDS)
        if verdict:
            self.servers[0].begin([(Kind.EXPIRED, 0)])
        if committed:
            self.life.disk.work()
        self._die(may_not_tell=committed)

    def _die(self, *, may_not_tell: bool) -> None:
        left = self._new_state()
        self._now = self.life.clock.time()
        for server in self.servers:
            server.was_forgotten()
        self.life.crash(left)
        self._check_after_crash(left, may_not_tell=may_not_tell)
        self._begin_life(left)

    def _check_after_crash(self, left: Path, *, may_not_tell: bool) -> None:
        told = {it.id for it in self._told}
        kept = {row.id for row in rows_in(left)}
        if untold := kept - told - self._untold:
            assert may_not_tell, f"saved and not told: {untold}"
            assert min(untold) > max(told, default=0), "told out of order"
            self._untold |= untold
        if early := told - kept:
            assert self._disk_was_full, f"told and not saved: {early}"
            self._told[:] = [it for it in self._told if it.id in kept]
        self._disk_was_full = False

    def _restart(self) -> None:
        self._now = self.life.clock.time()
        self.life.end()
        self._expect_told()
        for server in self.servers:
            server.was_saved()
            server.was_reopened()
        self._begin_life(self.life.directory)

    def _reload(self, *, anew: bool) -> None:
        if anew:
            self._anew = not self._anew
        else:
            self._slow = not self._slow
        self.life.use(self._clusters())
        for server in self._followed if anew else ():
            server.was_reopened()

    def _unfollow(self) -> None:
        if len(self.servers) == 1:  # a daemon without any log waits for none
            return
        self._unfollowed = not self._unfollowed
        self.life.use(self._clusters())
        if self._unfollowed:
            self.servers[-1].was_reopened()

    # judgement

    def _expect_told(self) -> None:
        """A daemon that has ended by itself has told all that it has saved, and the reverse."""
        told = [it.id for it in self._told]
        rows = rows_in(self.life.directory)
        kept = [row.id for row in rows if row.id not in self._untold]
        assert sorted(told) == kept, (told, kept)
        assert {(it.id, it.cluster, it.pid) for it in self._told} <= {(it.id, it.cluster, it.pid) for it in rows}
        self._disk_was_full = False

    def judge(self) -> None:
        """What must be true of the state in the end, and of the counters."""
        assert self._ended is not None
        rows = rows_in(self._ended.directory)
        for server in self.servers:
            self._judge_server(server, [row for row in rows if row.cluster == server.name], self._ended)
        attempts = self._ended.counted("login_attempts", "cluster", "reason")
        assert attempts == Counter((row.cluster, row.reason) for row in rows)
        matched = self._ended.counted("correlation_matched", "cluster")
        assert matched == Counter((row.cluster,) for row in rows if row.has_verdict)

    def _judge_server(self, server: Server, rows: list[Row], life: Life) -> None:
        of_login = {login.pid: [row for row in rows if row.pid == login.pid] for login in server.logins}
        assert sum(map(len, of_login.values())) == len(rows), "outcomes of nobody"
        counted = _losses(life, server.name)
        for login in server.logins:
            found = of_login[login.pid]
            if login.disordered:
                continue
            right = [(it.reason, it.has_verdict) for it in found] == [(login.reason, login.before is not None)]
            assert len(found) <= 1, (login, found)
            assert right or login.damaged, (login, found)
            losses = [loss for loss in server.losses if login in loss.logins]
            assert right or not losses or any(counted > it.counted_before for it in losses), (login, found, "silence")
        if not server.meddled:
            self._judge_counters(server, life)

    def _judge_counters(self, server: Server, life: Life) -> None:
        """Of a log of which nothing was destroyed."""
        for name in ("log_lost_lines", "log_parse_failures", "log_overlong_lines"):
            assert (name, life.counted(name, "cluster")[server.name,]) == (name, 0)
        if any(login.damaged or login.disordered for login in server.logins):
            return
        lacking = sum(login.lacks_verdict for login in server.logins)
        unmatched = {
            Unmatched(kind): count
            for (cluster, kind), count in life.counted("correlation_unmatched", "cluster", "kind").items()
            if cluster == server.name
        }
        assert unmatched == ({Unmatched.LOGGED_NOT_VALIDATED: lacking} if lacking else {})
        read = life.counted("log_read_bytes", "cluster")[server.name,]
        # The last bytes of csvlog count as read when an entry has ended in them.
        exactly = server.log_format is not LogFormat.CSVLOG
        assert read == server.bytes_written if exactly else read <= server.bytes_written, (read, server.bytes_written)


def _losses(life: Life, cluster: str) -> float:
    return sum(life.counted(metric, "cluster")[cluster,] for metric in ("log_lost_lines", "log_truncations"))


def rows_in(directory: Path) -> list[Row]:
    """All outcomes of a state that nobody writes, in order."""
    with closing(sqlite3.connect(directory / STATE)) as state:
        found = state.execute("SELECT id, cluster, reason, body FROM outcome ORDER BY id").fetchall()
    rows = []
    for number, cluster, reason, body in found:
        members = json.loads(body)
        assert (members["id"], members["cluster"], members["reason"]) == (number, cluster, reason)
        rows.append(Row(number, cluster, members["pid"], reason, members["validation_seconds"] is not None))
    return rows
