"""The log files of one cluster that are being read: finds them, knows them again, begins with each where it must.

It opens files and reads their heads; what is in them it leaves to `runtime.tail`. Every loss that it notices is
counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from structlog.typing import FilteringBoundLogger

from pgoauthd.config.values import Cluster
from pgoauthd.logs.follow import FileFacts, Finding, age_of, came_after, is_copy_of, is_rest_of, judge, original_name
from pgoauthd.logs.position import Position
from pgoauthd.logs.prefix import compile_prefix
from pgoauthd.logs.readers import LogFormat, LogReader, open_reader
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.tailing.logdir import LogDirectory, is_directory
from pgoauthd.runtime.tailing.logfile import LogFile
from pgoauthd.runtime.tailing.outranked import Outranked
from pgoauthd.telemetry.metrics import Metrics

OPEN_FILES = 16
"""Of more files than that, those that are idle are closed, oldest first, and opened again when they change."""


class FollowedLogs:
    """The files, in `files` in the order in which they are to be read: older first."""

    def __init__(
        self, cluster: Cluster, saved: Sequence[Position], *, metrics: Metrics, log: FilteringBoundLogger, clock: Clock
    ) -> None:
        """Follow `cluster.logs` from the positions `saved` by the last run; LogFormatError for a bad prefix."""
        self.files: list[LogFile] = []
        self.saved = list(saved)
        """Positions whose files were not found again yet."""
        self.looked = False
        self.problems: set[str] = set()
        """Paths that could not be read since the last look began."""
        self._newest_saved: dict[str, float] = {}
        """By directory: when the file was written that the server was writing."""
        for position in saved:
            if position.outranked:
                continue
            directory = str(Path(position.path).parent)
            self._newest_saved[directory] = max(position.modified, self._newest_saved.get(directory, 0.0))
        self._cluster = cluster
        self._clock = clock
        self._metrics = metrics
        self._log = log.bind(cluster=cluster.name)
        self._prefix = compile_prefix(cluster.log_line_prefix)
        self._zone = ZoneInfo(cluster.log_timezone)
        self._directory = LogDirectory(cluster.logs, self.fail)
        self._outranked = Outranked()
        self._silent: dict[tuple[int, int], FileFacts] = {}
        """Files that are not read, as richer ones hold their entries, by the last look."""
        self._alone: dict[tuple[int, int], FileFacts] = {}
        """Files that are read although there are richer ones, which are written no more."""
        self._found: dict[str, FileFacts] = {}
        """By the last look."""
        self._left: list[tuple[Position, LogFile | None]] = []
        """Saved positions of which only the rest was found, or nothing; emptied by every look."""
        self._first_sizes: dict[tuple[int, int], int] = {}
        """Of files that the first look found and could not open."""
        self._missing: set[str] = set()
        """Entries of the configuration that named no file at the last look."""
        self._reported: set[str] = set()
        """Paths of whose problems the log has been told."""

    @property
    def directories(self) -> frozenset[str]:
        """Where files may appear."""
        return self._directory.directories

    def is_outranked(self, file: LogFile) -> bool:
        """Whether another file holds the same entries in a richer format."""
        return file.facts.identity in self._silent

    def look(self) -> None:
        """Find out what there is, and what has become of what there was."""
        self.problems.clear()
        self._found = self._directory.look()
        self._tell_missing()
        known = {file.facts.identity: file for file in self.files}
        self._find_outranked(known)
        before = {file.path: file for file in self.files if file.named}
        if not self.problems:  # what cannot be looked at is not gone
            self._unname()
        for path, facts in self._found.items():
            file = known.get(facts.identity) or self._adopt(path, facts)
            if file is not None:
                known[facts.identity] = file
                self._name(file, path, facts)
        if not self.problems:
            self._settle_saved(known)
        for path, file in before.items():
            if not file.named and path in self._found and file in self.files:
                self._adopt_between(file.position, after=file)
        for position, rest in self._left:
            self._adopt_between(position, after=rest)
        self._left.clear()
        self._limit()
        self.looked = True

    def outranked_positions(self) -> Iterable[Position]:
        """Of the files that are not read for the sake of richer ones: what a restart must know."""
        return self._outranked.positions()

    def _find_outranked(self, known: Mapping[tuple[int, int], LogFile]) -> None:
        """Follow those that a richer file outranked, and that are written alone now; the others are silent."""
        outranked = self._directory.outranked
        alone = self._outranked.look(outranked, self.saved, self._clock.monotonic())
        for facts in alone.values():
            file = known.get(facts.identity)
            if file is not None and facts.identity in self._silent:  # it was not let go yet
                self.let_go(file)
        self._silent = {facts.identity: facts for path, (facts, _) in outranked.items() if path not in alone}
        self._alone = {facts.identity: facts for facts in alone.values()}
        self._found = dict(sorted((self._found | alone).items(), key=lambda item: item[1].modified))

    def _limit(self) -> None:
        """Beside a richer file read no further than is known to be that one's: nothing twice."""
        for file in self.files:
            identity = file.facts.identity
            if (silent := self._silent.get(identity)) is not None:
                file.limit = silent.size if file.limit is None else file.limit
            else:
                file.limit = self._alone[identity].size if identity in self._alone else None

    def start_over(self, file: LogFile, before: Position, rest: LogFile | None) -> list[LogFile]:
        """Begin again with a file that was truncated, and count that; what was not handed on of it is in `rest`.

        The files that came before what it holds now, in the order in which they are to be read.
        """
        self._count_truncation(before, rest)
        older = self._adopt_between(before, after=rest)
        file.begin(0, b"")
        return [rest, *older] if rest is not None else older

    def before(self, file: LogFile) -> list[LogFile]:
        """The older files of its directory."""
        older = self.files[: self.files.index(file)]
        return [other for other in older if _directory(other) == _directory(file)]

    def let_go(self, file: LogFile) -> None:
        """Follow a file no more."""
        file.close()
        self.files.remove(file)

    def rest_of(self, position: Position) -> LogFile | None:
        """The file with what was not read yet of one that is not under its name any more; followed from now on."""
        for path, facts in self._directory.siblings(position.path):
            if facts.inode != position.inode and original_name(path) != position.path:
                continue
            if (peeked := self._peek(path)) is None:
                continue
            file, head = peeked
            followed = self._followed(facts)
            is_rest = is_rest_of(position, path, file.facts, head)
            if followed is not None or not is_rest:
                file.close()
            else:
                file.begin(position.offset, head, position.log_format)
                file.named = False
                self.files.insert(0, file)
            if is_rest:
                return followed or file
        return None

    def fail(self, path: str, error: OSError) -> None:
        """Count every failure; say it once until the path can be read again."""
        self._metrics.log_errors.labels(self._cluster.name).inc()
        self.problems.add(path)
        if path not in self._reported:
            self._reported.add(path)
            remedy = "put pgoauthd's user into the group of the log, with log_file_mode = 0640 and directories to match"
            self._log.warning("log_unreadable", path=path, problem=error.strerror, remedy=remedy)

    def _tell_missing(self) -> None:
        """Count every look that finds no log under a name of the configuration; say it once until there is one."""
        missing = set(self._directory.empty_entries) - self.problems
        if missing:
            self._metrics.log_errors.labels(self._cluster.name).inc()
        for entry in sorted(missing - self._missing):
            remedy = "correct clusters.logs, or look at log_directory and log_filename of the server"
            self._log.warning("log_missing", path=entry, remedy=remedy)
        for entry in sorted(self._missing - missing):
            self._log.info("log_found", path=entry)
        self._missing = missing

    def succeed(self, path: str) -> None:
        """A file can be read that bears this name, or did: what bears it now may be another that cannot."""
        if path not in self.problems:
            self._reported.discard(path)

    def _unname(self) -> None:
        """Until it is found again no file has a name, but for those whose directory is away."""
        there = {directory for directory in set(map(_directory, self.files)) if is_directory(directory)}
        for file in self.files:
            file.named = file.named and _directory(file) not in there

    def _name(self, file: LogFile, path: str, facts: FileFacts) -> None:
        """Note under which name a file was found; of several it keeps the first."""
        if not file.named:
            file.path, file.named = path, True
        if file.resting and facts != file.facts:
            file.idle_since = None

    def _adopt(self, path: str, facts: FileFacts) -> LogFile | None:
        """Begin with a file that is not followed yet: where it was left, or where the configuration says."""
        if not self.looked and self._cluster.start == "end":
            self._first_sizes[facts.identity] = facts.size
        if (peeked := self._peek(path)) is None:
            return None
        file, head = peeked
        if self._take_over(file, head):
            return file
        try:
            taken = self._take_up(file, head)
        except OSError as error:
            self.fail(path, error)
            taken = False
        if taken:
            self.files.append(file)
        if not taken or len(self.files) > OPEN_FILES:
            file.close()
        return file if taken else None

    def _take_over(self, file: LogFile, head: bytes) -> bool:
        """Go on with it in the place of a file that is the same, on a device that has another number now."""
        for place, other in enumerate(self.files):
            if _is_remounted(other, file) and judge(other.position, file.facts, head) is Finding.CONTINUE:
                file.begin(other.position.offset, head, other.log_format)
                self.files[place] = file
                if other.resting:
                    file.close()
                other.close()
                return True
        return False

    def _take_up(self, file: LogFile, head: bytes) -> bool:
        """Set the file to where reading begins; False if it cannot be read yet."""
        for position in self.saved:
            finding = judge(position, file.facts, head)
            if finding is Finding.CONTINUE:
                file.begin(position.offset, head, position.log_format)
                self.saved.remove(position)
                return True
            if finding is Finding.TRUNCATED:
                file.begin(0, head)
                self.saved.remove(position)
                self._find_rest(position, truncated=True)
                return True
        if (offset := self._outranked.offset_of(file.path, file.facts)) is not None:
            file.begin_at_end(offset, head)
            return True
        original = original_name(file.path)
        if any(other.path == original and _is_copy(file.path, head, other) for other in self.files):
            # read when the other turns out to be truncated, from where the other was left
            return False
        self._begin_unknown(file, head)
        return True

    def _begin_unknown(self, file: LogFile, head: bytes) -> None:
        """`start` is for what the first look found, in directories not followed before."""
        size = self._first_sizes.pop(file.facts.identity, None)
        known = str(Path(file.path).parent) in self._newest_saved
        if (self.looked and size is None) or known:
            self._metrics.log_rotations.labels(self._cluster.name).inc()
        if size is None or known:
            file.begin(0, head)
        else:
            file.begin_at_end(min(size, file.facts.size), head)

    def _settle_saved(self, known: dict[tuple[int, int], LogFile]) -> None:
        """Find what the last run was reading and no followed name leads to now, or count it as lost."""
        waiting = {facts.inode for facts in self._found.values() if facts.identity not in known}
        for position in reversed(tuple(self.saved)):  # each rest that is found comes before what was found already
            directory = str(Path(position.path).parent)
            if position.inode in waiting or not is_directory(directory):
                continue
            self.saved.remove(position)
            if not position.outranked:
                self._find_rest(position, truncated=False)

    def _find_rest(self, position: Position, *, truncated: bool) -> None:
        """A file that the last run was reading is not what it was: find what was not read of it, or count the loss."""
        rest = self.rest_of(position)
        self._left.append((position, rest))
        if truncated:
            self._count_truncation(position, rest)
        elif rest is None:
            was_written = position.modified >= self._newest_saved[str(Path(position.path).parent)]
            self._count_loss(position, known=was_written or position.size > position.offset)

    def _adopt_between(self, known: Position, *, after: LogFile | None) -> list[LogFile]:
        """Follow files that came after `known` under its name and were rotated away before anybody looked."""
        adopted: list[LogFile] = []
        place = self.files.index(after) + 1 if after is not None else 0
        siblings = dict(self._directory.siblings(known.path))
        left = (item for item in siblings.items() if after is not None and item[1].identity == after.facts.identity)
        rest = next(left, None)
        newer = [
            (age_of(path, facts), path)
            for path, facts in siblings.items()
            if original_name(path) == known.path and came_after(known, rest, path, facts)
            if path not in self._found and self._followed(facts) is None
        ]
        for _, path in sorted(newer, reverse=True):
            if (peeked := self._peek(path)) is None:
                continue
            file, head = peeked
            if is_copy_of(known, path, head):
                file.close()
                continue
            file.begin(0, head)
            file.named = False
            adopted.insert(0, file)
            self._metrics.log_rotations.labels(self._cluster.name).inc()
        self.files[place:place] = adopted
        return adopted

    def _followed(self, facts: FileFacts) -> LogFile | None:
        return next((file for file in self.files if file.facts.identity == facts.identity), None)

    def _peek(self, path: str) -> tuple[LogFile, bytes] | None:
        """Open a file and read its head."""
        try:
            file = LogFile(path, prefix=self._prefix, open_reader=self._open_reader)
        except OSError as error:
            self.fail(path, error)
            return None
        try:
            return file, file.head()
        except OSError as error:
            self.fail(path, error)
            file.close()
            return None

    def _open_reader(self, log_format: LogFormat) -> LogReader:
        return open_reader(
            log_format, prefix=self._prefix, timezone=self._zone, max_line_bytes=self._cluster.max_line_bytes
        )

    def _count_truncation(self, position: Position, rest: LogFile | None) -> None:
        """A file is shorter than it was, or begins differently; `rest` is the file that has what it had."""
        self._metrics.log_truncations.labels(self._cluster.name).inc()
        if rest is None:
            self._count_loss(position, known=position.size > position.offset)

    def _count_loss(self, position: Position, *, known: bool) -> None:
        """What was not read of a file cannot be had any more: at least one line, if there is known to be any."""
        if known:
            self._metrics.log_lost.labels(self._cluster.name).inc()
            self._log.warning("log_lines_lost", path=position.path, unread_bytes=position.size - position.offset)


def _directory(file: LogFile) -> str:
    return file.path.rpartition("/")[0] or "."


def _is_remounted(known: LogFile, file: LogFile) -> bool:
    """Whether its name may lead to the same file still, and only the device has another number."""
    (device, inode), now = known.facts.identity, file.facts
    return not known.named and known.path == file.path and inode == now.inode and device != now.device


def _is_copy(path: str, head: bytes, other: LogFile) -> bool:
    """Whether a file named after another is its copy, or a part of that still."""
    known = other.position
    too_short = len(head) < known.fingerprint.length
    return is_copy_of(known, path, head) or (too_short and other.head().startswith(head))
