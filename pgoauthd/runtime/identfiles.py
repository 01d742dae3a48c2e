"""Keeps the pg_ident.conf of each cluster read, and asks it about logins; what its lines mean `mapping` knows.

Files are looked at and read in a thread beside the work: no login waits for a disk, only for what is in memory.
"""

from __future__ import annotations

import asyncio
import errno
import os
import posixpath
import stat
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
from structlog.typing import FilteringBoundLogger

from pgoauthd.config.values import Cluster
from pgoauthd.correlation.mapped import Agreement, agreement, with_mapping
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.mapping.evaluation import predict
from pgoauthd.mapping.identfile import Unreadable, read_ident_file
from pgoauthd.mapping.identmap import IdentMap
from pgoauthd.mapping.prediction import MapPrediction
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.readable import opened_to_read, read_up_to
from pgoauthd.telemetry.metrics import Metrics

LOOK_SECONDS = 1.0
"""How long after a change the old map may be asked at most, but for the time that reading takes."""
MAX_FILE_BYTES = 1 << 20
FRESH_NANOSECONDS = 2_000_000_000
"""A file that changed so shortly before it was read may change again without another time stamp."""

Signature = tuple[int, ...]
"""What of a file changes when its content does."""


class Disk:
    """Reads files and directories for `mapping.identfile`, and remembers them as they were.

    Who writes a pg_ident.conf chooses what it includes, and what is in there ends in messages. So after the first file
    only those are read that who owns it can read, too: not the secrets of the daemon's user.
    """

    def __init__(self) -> None:
        self._first: os.stat_result | None = None
        self.signatures: dict[str, Signature] = {}
        self.newest_change_ns = 0

    def read(self, path: str) -> str | Unreadable:
        """The text of a regular file of at most MAX_FILE_BYTES."""
        try:
            with opened_to_read(path) as (descriptor, status):
                self._remember(path, status)
                if not stat.S_ISREG(status.st_mode):
                    return Unreadable("is not a regular file")
                self._first = self._first or status
                if not may_read(self._first, status):
                    return Unreadable("is for other users than the owner of the file that it would be a part of")
                content = read_up_to(descriptor, MAX_FILE_BYTES + 1)
        except OSError as error:
            return self._unreadable(path, error)
        if len(content) > MAX_FILE_BYTES:
            return Unreadable(f"is larger than {MAX_FILE_BYTES:,} bytes")
        return content.decode("utf-8", "surrogateescape")

    def list_directory(self, path: str) -> list[str] | Unreadable:
        """The names of what is in it, without directories."""
        try:
            self._remember(path, os.stat(path))  # noqa: PTH116 - paths are text here
            with os.scandir(path) as found:
                return [entry.name for entry in found if not entry.is_dir()]
        except OSError as error:
            return self._unreadable(path, error)

    def has_changed(self) -> bool:
        """Whether anything that was read, or was not there to read, is different now."""
        return any(_signature(path) != before for path, before in self.signatures.items())

    def _remember(self, path: str, status: os.stat_result) -> None:
        self.signatures[path] = _of(status)
        self.newest_change_ns = max(self.newest_change_ns, status.st_mtime_ns, status.st_ctime_ns)

    def _unreadable(self, path: str, error: OSError) -> Unreadable:
        self.signatures[path] = _signature(path)
        return Unreadable(error.strerror or str(error), missing=error.errno == errno.ENOENT)


def may_read(first: os.stat_result, other: os.stat_result) -> bool:
    """Whether the owner of the first file can read the other one, as far as their owners, groups and modes tell."""
    by_group = other.st_gid == first.st_gid and other.st_mode & stat.S_IRGRP
    return bool(other.st_uid == first.st_uid or by_group or other.st_mode & stat.S_IROTH)


def read_ident_map(path: str, disk: Disk) -> IdentMap:
    """The file and what it includes; what is wrong with them is in the map's `bad`."""
    return IdentMap(path, read_ident_file(path, disk.read, disk.list_directory))


class Loaded(NamedTuple):
    """A cluster's map as it was read."""

    ident_map: IdentMap
    disk: Disk
    is_fresh: bool
    """Read so shortly after a change that it must be read again."""


def _load(path: str, now_ns: int) -> Loaded:
    disk = Disk()
    ident_map = read_ident_map(path, disk)
    return Loaded(ident_map, disk, is_fresh=now_ns - disk.newest_change_ns < FRESH_NANOSECONDS)


class IdentFiles:
    """The maps of all clusters that have an `ident_file`. `run` keeps them read; the rest is for the loop's thread."""

    def __init__(
        self, clusters: Iterable[Cluster], *, metrics: Metrics, log: FilteringBoundLogger, clock: Clock
    ) -> None:
        """Read every file once before it returns."""
        self._metrics = metrics
        self._log = log
        self._clock = clock
        self._paths: dict[str, str] = {}
        self._loaded: dict[str, Loaded] = {}
        self._problems: dict[str, str | None] = {}
        self._warned: dict[str, Loaded] = {}
        """Of each cluster the map that the server has been seen to differ from: it is said once."""
        self._failed = False
        self.use(clusters)

    def read_new(self, clusters: Iterable[Cluster]) -> dict[str, Loaded]:
        """Read the files that `use` of these clusters needs; in a thread, where logins go on meanwhile."""
        paths = _paths(clusters)
        return {name: _load(path, self._now_ns()) for name, path in paths.items() if self._paths.get(name) != path}

    def use(self, clusters: Iterable[Cluster], new: Mapping[str, Loaded] | None = None) -> None:
        """Keep the files of these clusters from now on; `new` is what `read_new` made of them, else it is read now."""
        clusters = tuple(clusters)
        new = self.read_new(clusters) if new is None else new
        paths = _paths(clusters)
        self._only = clusters[0].name if len(clusters) == 1 else None
        for name in self._paths:
            if name not in paths:
                self._metrics.ident_readable.remove(name)
        kept = {name for name, path in paths.items() if self._paths.get(name) == path}
        self._loaded = {name: loaded for name, loaded in self._loaded.items() if name in kept}
        self._problems = {name: problem for name, problem in self._problems.items() if name in kept}
        self._warned = {name: loaded for name, loaded in self._warned.items() if name in kept}
        self._paths = paths
        for name, loaded in new.items():
            self._take(name, loaded)

    async def run(self) -> None:
        """Read again what has changed, for ever."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Read again what has changed."""
        for name, path in list(self._paths.items()):
            before = self._loaded[name]
            loaded = await asyncio.to_thread(_reload, path, before, self._now_ns())
            if loaded is not None and self._loaded.get(name) is before:
                self._take(name, loaded)

    def foresee(self, verdict: SessionVerdict) -> SessionVerdict:
        """The verdict with what the map of its cluster says, where a map decides and is known."""
        if not verdict.usermap or verdict.delegated or verdict.verdict.authn_id is None:
            return verdict
        cluster = self.cluster_of(verdict.hba_file) if verdict.verdict.authorized else None
        if cluster is None:
            return verdict
        mapping = self.predict(cluster, verdict.usermap, verdict.verdict.authn_id, verdict.role)
        return verdict if mapping is None else msgspec.structs.replace(verdict, mapping=mapping)

    def settle(self, outcome: Outcome) -> Outcome:
        """Compare what the map said with what the server did, and count it; the outcome with what was compared.

        A login without a verdict is looked up now, unless the file has changed since.
        """
        outcome = self._looked_up(outcome)
        result = agreement(outcome)
        if result is not None:
            self._metrics.predictions.labels(outcome.cluster, result).inc()
        if result is Agreement.DISAGREED:
            self._tell_disagreement(outcome)
        return outcome

    def cluster_of(self, hba_file: str | None) -> str | None:
        """The cluster whose ident_file lies in the directory of this pg_hba.conf or above; else the only cluster."""
        directory = posixpath.dirname(hba_file or "")
        while directory not in {"", "/"}:
            for name, path in self._paths.items():
                if posixpath.dirname(path) == directory:
                    return name
            directory = posixpath.dirname(directory)
        return self._only if self._only in self._paths else None

    def predict(self, cluster: str, map_name: str, identity: str, role: str) -> MapPrediction | None:
        """What the cluster's map says; None where no file of it is known."""
        loaded = self._loaded.get(cluster)
        if loaded is None:
            return None
        try:
            return predict(loaded.ident_map, map_name, identity, role)
        except Exception:  # noqa: BLE001 - whatever is wrong with a prediction, the login must go on
            if not self._failed:
                self._failed = True
                self._log.exception("prediction_failed_unforeseen", cluster=cluster, map=map_name)
            return None

    def _looked_up(self, outcome: Outcome) -> Outcome:
        if outcome.mapping is not None or not outcome.usermap or outcome.delegated:
            return outcome
        loaded = self._loaded.get(outcome.cluster)
        if loaded is None or outcome.identity is None or outcome.role is None or outcome.method != "oauth":
            return outcome
        if outcome.time * 1e9 < loaded.disk.newest_change_ns:
            return outcome
        mapping = self.predict(outcome.cluster, outcome.usermap, outcome.identity, outcome.role)
        return outcome if mapping is None else with_mapping(outcome, mapping)

    def _take(self, name: str, loaded: Loaded) -> None:
        self._loaded[name] = loaded
        problem = loaded.ident_map.problem
        self._metrics.ident_readable.labels(name).set(problem is None)
        if name in self._problems and self._problems[name] == problem:
            return
        if problem is not None:
            remedy = "correct the file, or let the daemon's user read it; until then no map can be foreseen"
            self._log.warning("ident_file_unusable", cluster=name, problem=problem, remedy=remedy)
        elif self._problems.get(name) is not None:
            self._log.info("ident_file_usable_again", cluster=name, path=self._paths[name])
        self._problems[name] = problem

    def _tell_disagreement(self, outcome: Outcome) -> None:
        """Once for each state of the file: the metric counts the others."""
        loaded = self._loaded.get(outcome.cluster)
        if loaded is None or self._warned.get(outcome.cluster) is loaded or outcome.mapping is None:
            return
        self._warned[outcome.cluster] = loaded
        self._log.warning(
            "usermap_differs",
            cluster=outcome.cluster,
            session_id=outcome.session_id,
            reason=outcome.reason.value,
            expected=outcome.mapping.message,
            remedy="the file may have been changed without a reload of the server: SELECT pg_reload_conf(); "
            "if its log then has errors on lines of the file, correct them",
        )

    def _now_ns(self) -> int:
        return int(self._clock.time() * 1e9)


def _paths(clusters: Iterable[Cluster]) -> dict[str, str]:
    """By cluster, of those that have one."""
    return {cluster.name: cluster.ident_file for cluster in clusters if cluster.ident_file is not None}


def _reload(path: str, before: Loaded, now_ns: int) -> Loaded | None:
    """The map anew, where something has changed."""
    return _load(path, now_ns) if before.is_fresh or before.disk.has_changed() else None


def _signature(path: str) -> Signature:
    try:
        return _of(os.stat(path))  # noqa: PTH116 - paths are text here
    except OSError as error:
        return (error.errno or -1,)


def _of(status: os.stat_result) -> Signature:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode)
