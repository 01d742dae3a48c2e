"""Lists the log files that a configuration names, with their facts; never opens one."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from pgoauthd.logs.follow import FileFacts, is_compressed, is_log_name, is_poor, richer_than, richest

OnError = Callable[[str, OSError], None]


def facts_of(found: os.stat_result) -> FileFacts:
    """What following needs of a stat."""
    return FileFacts(found.st_dev, found.st_ino, found.st_size, found.st_mtime, found.st_ctime)


class LogDirectory:
    """The files behind `logs` of a cluster: files, globs and directories, each entry of the log once."""

    def __init__(self, entries: tuple[str, ...], on_error: OnError) -> None:
        self._entries = entries
        self._on_error = on_error
        self._names: frozenset[str] | None = None
        """What the last look found."""
        self.outranked: dict[str, tuple[FileFacts, list[FileFacts]]] = {}
        """Files whose entries others hold in a richer format, with the facts of those, as of the last look."""
        self.empty_entries: tuple[str, ...] = ()
        """Those that named no file at the last look."""

    @property
    def directories(self) -> frozenset[str]:
        """Where files may appear."""
        named = {entry if is_directory(entry) else str(Path(entry).parent) for entry in self._entries}
        return frozenset(directory for directory in named if is_directory(directory))

    def look(self) -> dict[str, FileFacts]:
        """The files to follow now, longest unchanged first."""
        named = {entry: self._expand(entry) for entry in self._entries}
        paths = sorted({path for expanded in named.values() for path in expanded})
        kept = richest(paths)
        self.outranked = self._with_richer(paths)
        # A server opens the files of one base name one after the other: a richer one may be about to appear.
        known, self._names = self._names, frozenset(kept)
        settled = [path for path in kept if known is None or path in known or not is_poor(path)]
        found = [(path, facts) for path in settled if (facts := self.facts(path)) is not None]
        there = {path for path, _ in found}.union(set(paths).difference(settled))
        self.empty_entries = tuple(entry for entry, expanded in named.items() if there.isdisjoint(expanded))
        return dict(sorted(found, key=lambda item: item[1].modified))

    def _with_richer(self, paths: list[str]) -> dict[str, tuple[FileFacts, list[FileFacts]]]:
        outranked = {}
        for path, richer in richer_than(paths).items():
            facts, others = self.facts(path), [facts for it in richer if (facts := self.facts(it)) is not None]
            if facts is not None and others:
                outranked[path] = facts, others
        return outranked

    def siblings(self, path: str) -> Iterator[tuple[str, FileFacts]]:
        """What lies beside a file and could be what it was renamed or copied to."""
        directory = Path(path).parent
        try:
            names = sorted(directory.iterdir())
        except OSError as error:
            self._on_error(str(directory), error)
            return
        for sibling in map(str, names):
            if not is_compressed(sibling) and (facts := self.facts(sibling)) is not None:
                yield sibling, facts

    def facts(self, path: str) -> FileFacts | None:
        """What stat says of a regular file; None if there is none."""
        try:
            found = os.stat(path)  # noqa: PTH116 - of perhaps a thousand files at every look
        except FileNotFoundError:
            return None
        except OSError as error:
            self._on_error(path, error)
            return None
        return facts_of(found) if stat.S_ISREG(found.st_mode) else None

    def _expand(self, entry: str) -> list[str]:
        if is_directory(entry):
            try:
                return [str(path) for path in Path(entry).iterdir() if is_log_name(path.name)]
            except OSError as error:
                self._on_error(entry, error)
                return []
        if glob.has_magic(entry):
            found = glob.glob(entry)  # noqa: PTH207 - Path.glob takes no absolute pattern
            return [path for path in found if not is_compressed(path)] or [entry]
        return [entry]


def is_directory(path: str) -> bool:
    """Whether it is one, and can be seen to be."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False
