"""A server that logs, and administrators at its files, with a tally of what nobody can read any more."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path

from pgoauthd.config.values import Cluster
from pgoauthd.logs.readers import LogFormat
from tests.logs.fix_corpus import EXTENSIONS
from tests.logs.fix_lines import DEFAULT_PREFIX, render
from tests.model.fix_logins import Kind, Login, make_login, noise

LATE_SECONDS = 25.0
"""How long a server may go on writing to a file that was renamed."""


class Layout(StrEnum):
    """What `logs` of the cluster names."""

    FILE = "file"
    DIRECTORY = "directory"
    GLOB = "glob"
    DATED = "dated"
    """The directory, in which each file has a name of its own for ever."""


@dataclass(eq=False)
class Content:
    """What was written to one file since it was made or truncated, and who knows of it."""

    path: Path | None
    """None once no name leads to it."""
    lines: list[Login | None] = field(default_factory=list)
    """Whose line each is; None for one that is nobody's."""
    size: int = 0
    read: int = 0
    """Lines that the daemon has certainly read,"""
    kept: int = 0
    """and those of which it knows after a crash."""
    held: bool = False
    """The daemon has it open, so that it can read what no name leads to."""
    known: bool = False
    """The daemon has read of it, or it is in the state that it began with."""
    kept_known: bool = False
    kept_held: bool = False
    """The state has a position in it."""
    anew: bool = False
    """It was truncated, and the daemon has not seen that yet: what is written to it now may come and go unseen."""
    kept_anew: bool = False
    missed: bool = False
    """It was there at a look that had no reason to open it."""
    is_copy: bool = False
    """Only who had read of the file before can tell whose copy it is."""


@dataclass
class Loss:
    """Lines that were destroyed unread, of a file that the daemon knew."""

    logins: list[Login]
    content: Content
    counted_before: float


class Server:
    """One cluster's server. `deliver` has a verdict come, and `counted` says how many losses are shown."""

    def __init__(
        self,
        name: str,
        base: Path,
        layout: Layout,
        log_format: LogFormat,
        *,
        numbers: count[int],
        deliver: Callable[[Login], None],
        counted: Callable[[str], float],
        seconds: Callable[[], float],
        forgiving: bool,
    ) -> None:
        """`forgiving`: what is KNOWN to go wrong is forgiven."""
        self.name = name
        self.layout = layout
        self.log_format = log_format
        self.logins: list[Login] = []
        self.losses: list[Loss] = []
        self.meddled = False
        """Somebody has destroyed a file, so that a loss may be suspected where there was none."""
        self.bytes_written = 0
        self._forgiving = forgiving
        self._numbers = numbers
        self._deliver = deliver
        self._counted = counted
        self._seconds = seconds
        self._home = base / name
        self._away = base / f"{name}.away"
        self._elsewhere = base / f"{name}.elsewhere"
        self._home.mkdir()
        self._elsewhere.mkdir()
        self._open: list[Login] = []
        self._half = b""
        self._half_of: Login | None = None
        self._moment = 131
        self._followed = self._kept_followed = False
        """The daemon knows positions in this log."""
        self._older: list[Content] = []
        """Oldest first."""
        self._ghosts: list[Content] = []
        """Contents that are no more, as long as a crash makes the daemon forget that it has read them."""
        self._late: Content | None = None
        self._late_since = 0.0
        self._obstructed = False
        self._current = self._make()

    @property
    def cluster(self) -> Cluster:
        """Its table in the configuration."""
        entry = {
            Layout.FILE: self._home / self._base_name,
            Layout.GLOB: self._home / f"{self._base_name}*",
            Layout.DIRECTORY: self._home,
            Layout.DATED: self._home,
        }[self.layout]
        return Cluster(
            name=self.name,
            logs=(str(entry),),
            start="beginning",
            log_line_prefix=DEFAULT_PREFIX,
            settle_seconds=60.0,
        )

    # writing

    def write(self, kinds: Sequence[tuple[Kind, int | None]], lines: int, seed: int) -> None:
        """Begin these logins, each with the place of its verdict, and write so many lines of any."""
        self.begin(kinds)
        chance = random.Random(seed)  # noqa: S311 - which line comes next
        for _ in range(lines):
            self._append(*self._next_line(chance))

    def begin(self, kinds: Sequence[tuple[Kind, int | None]]) -> list[Login]:
        """Let clients connect, of whom nothing is written yet."""
        begun = []
        for kind, before in kinds:
            self._moment += 10
            made = make_login(
                self.name,
                kind,
                pid=next(self._numbers),
                moment=self._moment,
                log_format=self.log_format,
                before=before,
            )
            if made.before == 0:
                self._deliver(made)
            begun.append(made)
        self.logins += begun
        self._open += begun
        return begun

    def write_half(self, cut: float, seed: int) -> None:
        """Write a line up to some byte; whatever is written or done next begins with the rest of it."""
        self._complete()
        login, line = self._next_line(random.Random(seed))  # noqa: S311
        at = max(int(len(line) * cut), 1)
        self._put(line[:at])
        self._half, self._half_of = line[at:], login

    def finish(self) -> None:
        """Write all that is left to be written."""
        self._complete()
        chance = random.Random(len(self.logins))  # noqa: S311
        while self._open:
            self._append(*self._next_line(chance))
        self._append(None, noise(self.log_format, self._next_moment()))

    def _next_line(self, chance: random.Random) -> tuple[Login | None, bytes]:
        if not self._open or chance.random() < 0.15:
            return None, noise(self.log_format, self._next_moment())
        login = chance.choice(self._open)
        if login.written and login.before is not None and login.written == min(login.before, len(login.entries) - 1):
            self._deliver(login)
        line = render(self.log_format, login.entries[login.written])
        login.written += 1
        if login.written == len(login.entries):
            self._open.remove(login)
        return login, line

    def _next_moment(self) -> int:
        self._moment += 1
        return self._moment

    def _append(self, login: Login | None, line: bytes) -> None:
        self._complete()
        self._put(line)
        self._target.lines.append(login)

    def _complete(self) -> None:
        """A server does not leave a line unfinished when it turns to another file, or to another line."""
        if self._half:
            self._put(self._half)
            self._target.lines.append(self._half_of)
            self._half = b""
        if self._late is not None and self._seconds() - self._late_since > LATE_SECONDS:
            self._let_go()

    def _put(self, data: bytes) -> None:
        target = self._target
        self.bytes_written += len(data)
        target.size += len(data)
        assert target.path is not None
        with target.path.open("ab") as stream:
            stream.write(data)
        _touch(target.path)

    @property
    def _target(self) -> Content:
        return self._late or self._current

    # rotation

    def rotate(self, *, late: bool) -> None:
        """Give the file another name and make a new one; `late`: the server goes on with the old one for a while."""
        self._complete()
        self._let_go()
        old = self._current
        for content in self._older:
            self._note_copy(content, held=content.held)
        if self.layout is not Layout.DATED:
            self._shift()
            self._rename(old, self._directory / f"{self._base_name}.1")
        self._older.append(old)
        self._current = self._make()
        if late and old.path is not None:
            self._late, self._late_since = old, self._seconds()

    def copy_and_truncate(self, lines_between: int) -> None:
        """copytruncate, with lines that come after the copy and before the truncation."""
        self._complete()
        self._let_go()
        old = self._current
        if self.layout is Layout.DATED or old.path is None or not self._home.exists():
            return
        self._shift()
        copy = self._directory / f"{self._base_name}.1"
        shutil.copy(old.path, copy)
        _touch(copy)
        copied = Content(
            copy, list(old.lines), old.size, old.read, old.kept, known=old.known, kept_known=old.kept_known
        )
        copied.is_copy = self._forgiving
        self._note_copy(copied, held=old.held)
        if not old.known or (old.anew and self.layout is Layout.GLOB):
            self._note_unknown(old)
        self._older.append(copied)
        self.write((), lines_between, seed=lines_between)
        self.meddled |= bool(lines_between) or not (old.known and old.lines)
        lost = old.lines[len(copied.lines) :]
        self._count(lost, old)
        self._empty(old, [])

    def obstruct(self) -> None:
        """Put a directory where the log was, so that for a while there is none to be opened under its name."""
        self._complete()
        self._let_go()
        if self.layout in (Layout.DATED, Layout.GLOB):
            return
        self._shift()
        old = self._current
        path = self._directory / self._base_name
        self._rename(old, Path(f"{path}.1"))
        path.mkdir()
        # KNOWN: a file that comes and goes under a name that led nowhere at the last look is not looked for.
        self._lose_track()
        self._obstructed, self._late, self._late_since = True, old, self._seconds()

    def _note_unknown(self, old: Content) -> None:
        """KNOWN: of a file that was empty at the last look a copy is not known again, or is read after the file."""
        self._forgive(old)

    def _forgive(self, content: Content) -> None:
        """Who has unread lines in it may come out wrong."""
        for login in content.lines[content.read :]:
            if login is not None:
                login.disordered = self._forgiving

    def _note_copy(self, copy: Content, *, held: bool) -> None:
        """KNOWN: a copy that a glob finds, too, is read again from its beginning where the file was not followed."""
        if copy.is_copy and self.layout is Layout.GLOB and not held:
            self.meddled = True
            for login in copy.lines:
                if login is not None:
                    login.disordered = True

    def _note_late(self) -> None:
        """KNOWN: a file to which a server writes late is newer than the next one, and read after it after a restart."""
        if self._forgiving and self._late is not None and self.layout in (Layout.GLOB, Layout.DATED):
            self._complete()
            if self._late is not None:
                self._forgive(self._late)
            self._let_go()

    def _lose_track(self) -> None:
        if self._forgiving:
            self._followed = self._kept_followed = False

    def _let_go(self) -> None:
        """The server turns to the file that has the right name."""
        self._late = None
        if self._obstructed:
            self._obstructed = False
            (self._directory / self._base_name).rmdir()
            self._older.append(self._current)
            self._current = self._make()

    # destruction

    def truncate(self, *, beyond: int | None) -> None:
        """Empty the file, and write it up to its old size and `beyond`; nothing where that is None."""
        self._complete()
        self._let_go()
        old = self._current
        if old.path is None:
            return
        self.meddled = True
        size, lines = old.size, old.lines
        self._empty(old, lines)
        if beyond is not None:
            missing = size + beyond - len(noise(self.log_format, self._moment + 1))
            if missing >= 0:
                self._append(None, noise(self.log_format, self._next_moment(), size + beyond))

    def remove_oldest(self, *, compress: bool) -> None:
        """Delete the oldest of the files that were rotated away, or compress it."""
        self._complete()
        there = [content for content in self._older if content.path is not None and content is not self._late]
        if there:
            self._unlink(there[0], compress=compress)

    def recreate(self) -> None:
        """Delete the file, which the server makes again at once."""
        self._complete()
        self._let_go()
        self._unlink(self._current, compress=False)
        self._older.append(self._current)
        self._current = self._make()

    def _unlink(self, content: Content, *, compress: bool) -> None:
        if content.path is None:
            return
        self.meddled = True
        if compress:
            Path(f"{content.path}.{next(self._numbers)}.gz").write_bytes(gzip.compress(content.path.read_bytes(), 1))
        if self._forgiving and not (content.known and content.kept_known):
            # KNOWN: nothing tells a file of which nothing was read from a later one that has its inode.
            os.link(content.path, self._elsewhere / f"{next(self._numbers)}", follow_symlinks=False)
        content.path.unlink()
        content.path = None
        if not content.held:
            self._count(content.lines[content.read :], content)
            content.read = len(content.lines)

    def _empty(self, content: Content, lost: Sequence[Login | None]) -> None:
        """Truncate it; `lost`: what was in it and is nowhere else."""
        assert content.path is not None
        os.truncate(content.path, 0)
        _touch(content.path)
        self._count(lost[content.read :], content)
        ghost = Content(None, list(lost), read=len(lost), kept=min(content.kept, len(lost)))
        ghost.known, ghost.kept_known = content.known, content.kept_known
        ghost.anew, ghost.kept_anew = content.anew, content.kept_anew
        self._ghosts.append(ghost)
        content.lines, content.size, content.read, content.kept = [], 0, 0, 0
        content.anew = content.kept_anew = True

    def _count(self, lost: Sequence[Login | None], content: Content | None) -> None:
        """These lines can be read no more; of what the daemon did not know it is not asked to miss any."""
        logins = [login for login in lost if login is not None]
        for login in logins:
            login.damaged = True
        if content is not None and content.known and not content.anew and logins:
            self.losses.append(Loss(logins, content, self._counted(self.name)))

    # names

    def move_away(self) -> None:
        """Give the directory another name, or its own again."""
        self._complete()
        if self.layout is Layout.DIRECTORY:
            # KNOWN: of a log in a poor format the second look knows no more what the first one has found gone.
            self._lose_track()
        here, there = (self._home, self._away) if self._home.exists() else (self._away, self._home)
        here.rename(there)
        for content in (*self._older, self._current):
            if content.path is not None:
                content.path = there / content.path.name

    def come_back(self) -> None:
        """Have all in its place again."""
        if not self._home.exists():
            self.move_away()
        self._complete()
        self._let_go()

    def put_elsewhere(self) -> None:
        """Move the file to another directory and leave a symbolic link."""
        path = self._target.path
        if path is not None and not path.is_symlink():
            target = self._elsewhere / f"{next(self._numbers)}"
            path.rename(target)
            path.symlink_to(target)

    @property
    def _directory(self) -> Path:
        return self._home if self._home.exists() else self._away

    @property
    def _base_name(self) -> str:
        return f"postgresql.{EXTENSIONS[self.log_format]}"

    def _make(self) -> Content:
        name = self._base_name
        if self.layout is Layout.DATED:
            name = f"postgresql-2026-11-22_{next(self._numbers):06}.{EXTENSIONS[self.log_format]}"
        made = Content(self._directory / name)
        assert made.path is not None
        made.path.touch()
        _touch(made.path)
        return made

    def _shift(self) -> None:
        """.1 becomes .2 and so on."""
        for content in self._older:
            if content.path is not None:
                number = int(content.path.suffix[1:])
                self._rename(content, content.path.with_suffix(f".{number + 1}"))

    def _rename(self, content: Content, to: Path) -> None:
        if content.path is not None:
            content.path.rename(to)
            content.path = to
        if content.anew:
            # KNOWN: that a file was truncated is not noticed where it has another name at the next look.
            for login in (login for loss in self.losses if loss.content is content for login in loss.logins):
                login.disordered = self._forgiving

    # what the daemon knows

    def was_read(self) -> None:
        """The daemon has looked well, and read all that it could find."""
        reachable = self._home.exists()
        followed, self._followed = self._followed, self._followed or (reachable and not self._obstructed)
        for content in (*self._older, self._current):
            named = self.layout in (Layout.DATED, Layout.GLOB) or (content is self._current and not self._obstructed)
            found = named or content.known or (followed and not content.is_copy and not content.missed)
            if content.held or (content.path is not None and reachable and found):
                content.read, content.held = len(content.lines), content.path is not None or content.held
                content.known = bool(content.lines)
                content.anew = False
            elif reachable:  # it came and went while nobody looked
                content.missed = True
                self.meddled |= content.read < len(content.lines)
                self._count(content.lines[content.read :], None)

    def was_saved(self) -> None:
        """What was read is kept."""
        self._kept_followed = self._followed
        self._ghosts.clear()
        for content in (*self._older, self._current):
            content.kept, content.kept_known, content.kept_held = content.read, content.known, content.held
            content.kept_anew = content.anew

    def was_reopened(self) -> None:
        """The daemon follows the log anew, from where it was: what it had open is closed."""
        self._note_late()
        for content in (*self._older, self._current):
            self._note_copy(content, held=content.held)
            content.held = False
            if content.path is None:
                self._count(content.lines[content.read :], content)
                content.read = len(content.lines)

    def was_forgotten(self) -> None:
        """The daemon has crashed, and knows what was kept."""
        self._followed = self._kept_followed
        for content in (*self._older, *self._ghosts, self._current):
            content.read, content.known, content.held = content.kept, content.kept_known, False
            content.anew = content.kept_anew
        self._note_late()
        for content in (*self._older, *self._ghosts):
            if content.path is None:
                self._count(content.lines[content.read :], content)
                content.read = content.kept = len(content.lines)
            else:
                self._note_copy(content, held=content.kept_held)
                if content.is_copy and not content.known:
                    self._note_unknown(content)
        self._ghosts.clear()


def _touch(path: Path) -> None:
    """Let the file's time be now: file systems count in ticks, and a history does several things in one."""
    now = time.time_ns()
    os.utime(path, ns=(now, now))
