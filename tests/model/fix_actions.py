"""What can befall servers, logs and the daemon, as values, and how such histories are drawn at random."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from pgoauthd.logs.readers import LogFormat
from tests.logs.fix_corpus import EXTENSIONS
from tests.model.fix_logins import Kind
from tests.model.fix_server import Layout

Begun = tuple[Kind, int | None]
"""A login, and before which of its lines its verdict comes."""


class Write(NamedTuple):
    """Logins begin, and lines of any are written."""

    server: int
    kinds: tuple[Begun, ...]
    lines: int
    seed: int


class WriteHalf(NamedTuple):
    """A line is written up to some byte."""

    server: int
    cut: float
    seed: int


class Rotate(NamedTuple):
    """The file gets another name; `late`: the server writes to it for a while."""

    server: int
    late: bool


class CopyAndTruncate(NamedTuple):
    """The file is copied, so many lines are written, and it is truncated."""

    server: int
    lines_between: int


class Truncate(NamedTuple):
    """The file is emptied and, unless that is None, written to its old size and so far beyond."""

    server: int
    beyond: int | None


class RemoveOldest(NamedTuple):
    """The oldest file that was rotated away is deleted, or compressed."""

    server: int
    compress: bool


class Recreate(NamedTuple):
    """The file is deleted, and the server makes it again."""

    server: int


class Obstruct(NamedTuple):
    """The file gets another name, and a directory its own."""

    server: int


class MoveDirectory(NamedTuple):
    """The directory gets another name, or its own again."""

    server: int


class PutElsewhere(NamedTuple):
    """The file moves to another directory, and a symbolic link takes its place."""

    server: int


class Step(NamedTuple):
    """The daemon reads on for some turns of its loop."""

    turns: int


class Drain(NamedTuple):
    """The daemon reads all there is."""


class Save(NamedTuple):
    """So much time passes that the daemon saves; `full`: on a disk without room."""

    full: bool


class Pass(NamedTuple):
    """Time passes."""

    seconds: float


class Crash(NamedTuple):
    """The daemon is killed so many turns after it has begun to step, and perhaps to save, and started again."""

    turns: int
    saving: bool


class CrashAtCommit(NamedTuple):
    """The daemon is killed while it saves: before the transaction is committed, or when it is and nothing is told.

    `verdict`: of the first server's cluster, after the daemon has taken what it saves.
    """

    committed: bool
    verdict: bool


class Restart(NamedTuple):
    """The daemon is told to end, and started again."""


class Reload(NamedTuple):
    """`anew`: with another limit for lines, so that the logs are opened anew; else with what the tails do not need."""

    anew: bool


class Unfollow(NamedTuple):
    """The last server's cluster is taken out of the configuration, or put back."""


Action = (
    Write | WriteHalf | Rotate | CopyAndTruncate | Truncate | RemoveOldest | Recreate | Obstruct | MoveDirectory
    | PutElsewhere | Step | Drain | Save | Pass | Crash | CrashAtCommit | Restart | Reload | Unfollow
)  # fmt: skip


class Setting(NamedTuple):
    """Layout and format of each server's log, and how many bytes the daemon reads at once."""

    servers: tuple[tuple[Layout, LogFormat], ...]
    slice_bytes: int


_logs = st.tuples(st.sampled_from(Layout), st.sampled_from(sorted(EXTENSIONS)))
settings = st.builds(Setting, st.lists(_logs, min_size=1, max_size=2).map(tuple), st.sampled_from((124 * 1024, 700)))

_server = st.integers(0, 1)
_seed = st.integers(0, 1000)
_begun = st.tuples(st.sampled_from(Kind), st.sampled_from((0, 1, None)))
_write = st.builds(Write, _server, st.lists(_begun, max_size=4).map(tuple), st.integers(0, 12), _seed)
_half = st.builds(WriteHalf, _server, st.floats(0.0, 0.999), _seed)
_files = st.one_of(
    st.builds(Rotate, _server, st.booleans()),
    st.builds(Rotate, _server, st.booleans()),
    st.builds(CopyAndTruncate, _server, st.sampled_from((0, 0, 2))),
    st.builds(Truncate, _server, st.sampled_from((None, 0, 500))),
    st.builds(RemoveOldest, _server, st.booleans()),
    st.builds(RemoveOldest, _server, st.booleans()),
    st.builds(Recreate, _server),
    st.builds(Obstruct, _server),
    st.builds(MoveDirectory, _server),
    st.builds(PutElsewhere, _server),
)
_daemon = st.one_of(
    st.builds(Step, st.integers(0, 12)),
    st.builds(Step, st.integers(0, 12)),
    st.just(Drain()),
    st.just(Drain()),
    st.builds(Save, st.booleans()),
    st.builds(Save, st.just(value=False)),
    st.builds(Pass, st.sampled_from((0.1, 0.6, 5.0))),
)
_ends = st.one_of(
    st.builds(Crash, st.integers(0, 40), st.booleans()),
    st.builds(Crash, st.integers(0, 40), st.just(value=True)),
    st.builds(CrashAtCommit, st.booleans(), st.booleans()),
    st.just(Restart()),
    st.builds(Reload, st.booleans()),
    st.just(Unfollow()),
)
_one = st.one_of(_write, _write, _write, _half, _files, _files, _daemon, _daemon, _daemon, _ends)
_read_and_kept = st.tuples(_write, st.just(Drain()), st.just(Save(full=False)))
_rotated_unseen = st.tuples(_write, _files, _write, _files, _write)
_stopped_meanwhile = st.tuples(st.just(Save(full=False)), _write, _files, _write, _files, _ends, st.just(Drain()))
_some = st.one_of(_one.map(lambda it: (it,)), _read_and_kept, _rotated_unseen, _stopped_meanwhile)


def _together(parts: list[tuple[Action, ...]]) -> list[Action]:
    return [action for part in parts for action in part]


histories = st.one_of(
    st.lists(_one, max_size=30),
    st.lists(_some, min_size=4, max_size=12).map(_together),
    st.lists(_some, min_size=8, max_size=20).map(_together),
)
"""Long ones are rare among lists that may be empty, and what goes wrong takes several things that seldom meet."""
