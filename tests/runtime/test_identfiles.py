"""The files of maps on a disk: read again when they change, compared with what the server did."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pgoauthd.config.values import Cluster
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.mapping.prediction import Expected, MapPrediction
from pgoauthd.runtime.identfiles import LOOK_SECONDS, MAX_FILE_BYTES, IdentFiles, may_read
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.reasons import Reason
from tests.fix_clock import SteppedClock
from tests.fix_events import verdict
from tests.fix_log import logging_to
from tests.fix_outcomes import AT, outcome

LONG_AGO = 1_600_000_000


class Room:
    """Clusters with files, what is said of them, and what was logged and counted."""

    def __init__(self, directory: Path, stream: io.StringIO, log: Any) -> None:  # noqa: ANN401 - structlog's
        self.directory = directory
        self.metrics = Metrics()
        self.clock = SteppedClock(AT)
        self._stream = stream
        self._log = log

    def write(self, text: str, name: str = "main/pg_ident.conf", *, at: float = LONG_AGO) -> Path:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        os.utime(path, (at, at))
        return path

    def cluster(self, name: str = "main", *, ident_file: bool = True) -> Cluster:
        path = str(self.directory / name / "pg_ident.conf") if ident_file else None
        return Cluster(name=name, logs=("/log",), ident_file=path)

    def open(self, *clusters: Cluster) -> IdentFiles:
        return IdentFiles(clusters or [self.cluster()], metrics=self.metrics, log=self._log, clock=self.clock)

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]

    def readable(self, cluster: str = "main") -> float | None:
        return self.metrics.registry.get_sample_value("pgoauthd_ident_file_readable", {"cluster": cluster})

    def predictions(self, result: str) -> float:
        labels = {"cluster": "main", "result": result}
        return self.metrics.registry.get_sample_value("pgoauthd_usermap_predictions_total", labels) or 0.0


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    stream = io.StringIO()
    with logging_to(stream) as log:
        yield Room(tmp_path, stream, log)


def said(files: IdentFiles, role: str = "app") -> Expected | None:
    prediction = files.predict("main", "people", "bob", role)
    return prediction.expected if prediction is not None else None


def test_a_file_is_read_before_the_first_login(room: Room) -> None:
    room.write("people bob app\n")
    files = room.open()

    assert said(files) is Expected.MATCH
    assert room.readable() == 1


async def test_a_changed_file_is_read_again(room: Room) -> None:
    room.write("people bob app\n")
    files = room.open()
    room.write("people bob dba\n", at=LONG_AGO + 1)
    await files.look()

    assert (said(files), said(files, "dba")) == (Expected.NO_MATCH, Expected.MATCH)


async def test_a_changed_include_is_read_again(room: Room) -> None:
    room.write("people bob app\n", "main/more.conf")
    room.write("include more.conf\n")
    files = room.open()
    room.write("people bob dba\n", "main/more.conf", at=LONG_AGO + 1)
    await files.look()

    assert said(files, "dba") is Expected.MATCH


async def test_a_new_file_in_an_included_directory_is_read(room: Room) -> None:
    room.write("people carol app\n", "maps/10.conf")
    room.write("include_dir ../maps\n")
    files = room.open()
    room.write("people bob app\n", "maps/20.conf")
    await files.look()

    assert said(files) is Expected.MATCH


async def test_an_include_that_was_missing_is_read_when_it_comes(room: Room) -> None:
    room.write("include_if_exists more.conf\n")
    files = room.open()
    assert said(files) is Expected.NO_MATCH
    room.write("people bob app\n", "main/more.conf")
    await files.look()

    assert said(files) is Expected.MATCH


async def test_a_file_that_has_not_changed_is_not_read_again(room: Room) -> None:
    room.write("people bob app\n")
    room.clock.jump(10 * 365 * 86_400)  # its last change was just now
    files = room.open()
    kept = files._loaded["main"]  # noqa: SLF001 - that it is the same one cannot be seen otherwise
    await files.look()

    assert files._loaded["main"] is kept  # noqa: SLF001


async def test_a_file_that_has_just_changed_is_read_again_even_if_it_looks_the_same(room: Room) -> None:
    room.write("people bob app\n")
    files = room.open()
    kept = files._loaded["main"]  # noqa: SLF001 - two changes within one time stamp cannot be made on purpose
    room.write("people bob dba\n")
    kept.disk.signatures.clear()
    await files.look()

    assert said(files, "dba") is Expected.MATCH


async def test_it_looks_once_a_second(room: Room) -> None:
    room.write("people bob app\n")
    files = room.open()
    task = asyncio.create_task(files.run())
    assert await room.clock.asleep() == LOOK_SECONDS
    room.write("people bob dba\n", at=LONG_AGO + 1)
    room.clock.advance(LOOK_SECONDS)
    await room.clock.asleep()
    task.cancel()

    assert said(files, "dba") is Expected.MATCH


async def test_what_cannot_be_used_is_logged_once_and_again_when_it_can(room: Room) -> None:
    room.write("people bob\n")
    files = room.open()
    await files.look()
    assert said(files) is Expected.UNKNOWN
    assert room.readable() == 0
    assert ["must have three fields" in line["problem"] for line in room.logged("ident_file_unusable")] == [True]

    room.write("people bob app\n", at=LONG_AGO + 1)
    await files.look()
    assert said(files) is Expected.MATCH
    assert room.readable() == 1
    assert len(room.logged("ident_file_usable_again")) == 1


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "large"])
def test_what_is_no_file_to_read_is_unknown(room: Room, kind: str) -> None:
    path = room.directory / "main" / "pg_ident.conf"
    path.parent.mkdir()
    match kind:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "large":
            path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
        case _:
            pass
    files = room.open()

    assert said(files) is Expected.UNKNOWN
    assert room.readable() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
@pytest.mark.parametrize("line", ["people @{} app", "include {}", "include_if_exists {}", 'people bob "@{}"'])
def test_no_line_shows_a_file_that_the_owner_of_the_first_cannot_read(room: Room, line: str) -> None:
    secret = room.write("canary\n", "client-secret")
    secret.chmod(0o640)
    os.chown(room.write(f"{line.format(secret)}\n"), 12_345, 12_345)
    prediction = room.open().predict("main", "people", "alice", "app")

    assert prediction is not None
    assert prediction.expected is (Expected.NO_MATCH if '"@' in line else Expected.UNKNOWN)
    assert "canary" not in str(prediction)


OWNED = 0o640, 1_000, 1_000


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "may"),
    [
        (*OWNED, True),
        (0o600, 1_000, 7, True),
        (0o640, 7, 1_000, True),
        (0o644, 7, 7, True),
        (0o640, 7, 7, False),
        (0o600, 7, 1_000, False),
        (0o400, 0, 0, False),
    ],
)
def test_an_included_file_is_read_where_the_owner_of_the_first_can_read_it(
    mode: int, uid: int, gid: int, *, may: bool
) -> None:
    assert may_read(status(*OWNED), status(mode, uid, gid)) is may


def status(mode: int, uid: int, gid: int) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


async def test_a_missing_file_is_read_when_it_comes(room: Room) -> None:
    files = room.open()
    room.write("people bob app\n")
    await files.look()

    assert said(files) is Expected.MATCH


def test_the_cluster_is_the_one_in_whose_directory_pg_hba_conf_lies(room: Room) -> None:
    for name in ("main", "other"):
        room.write("", f"{name}/pg_ident.conf")
    files = room.open(room.cluster("main"), room.cluster("other"))

    assert files.cluster_of(str(room.directory / "other" / "pg_hba.conf")) == "other"
    assert files.cluster_of(str(room.directory / "other" / "hba.d" / "10.conf")) == "other"
    assert files.cluster_of(str(room.directory / "third" / "pg_hba.conf")) is None
    assert files.cluster_of(None) is None


def test_a_single_cluster_is_it_wherever_pg_hba_conf_lies(room: Room) -> None:
    room.write("")
    assert room.open().cluster_of("/elsewhere/pg_hba.conf") == "main"
    assert room.open(room.cluster(), room.cluster("other", ident_file=False)).cluster_of("/elsewhere/x") is None
    assert room.open(room.cluster(ident_file=False)).cluster_of("/elsewhere/x") is None


def test_a_verdict_gets_what_the_map_says(room: Room) -> None:
    room.write("people alice alice\n")
    seen = room.open().foresee(msgspec.structs.replace(verdict(), usermap="people"))

    assert seen.mapping is not None
    assert seen.mapping.expected is Expected.MATCH


@pytest.mark.parametrize(
    "change", [{"usermap": None}, {"usermap": ""}, {"delegated": True}, {"verdict": verdict(Reason.EXPIRED).verdict}]
)
def test_a_verdict_that_no_map_decides_on_gets_none(room: Room, change: dict[str, Any]) -> None:
    room.write("people alice alice\n")
    asked = msgspec.structs.replace(verdict(), **({"usermap": "people"} | change))

    assert room.open().foresee(asked) is asked


MATCH = MapPrediction(expected=Expected.MATCH, map="people", message="Line 1", file="/f", line=1)
NO_MATCH = MapPrediction(expected=Expected.NO_MATCH, map="people", message="No line")
UNKNOWN = MapPrediction(expected=Expected.UNKNOWN, map="people", message="Who knows")


@pytest.mark.parametrize(
    ("mapping", "reason", "result"),
    [
        (MATCH, Reason.OK, "agreed"),
        (MATCH, Reason.ROLE_MISSING, "agreed"),
        (MATCH, Reason.DATABASE_NO_CONNECT, "agreed"),
        (MATCH, Reason.USERMAP_NO_MATCH, "disagreed"),
        (NO_MATCH, Reason.USERMAP_NO_MATCH, "agreed"),
        (NO_MATCH, Reason.OK, "disagreed"),
        (NO_MATCH, Reason.DATABASE_MISSING, "disagreed"),
        (UNKNOWN, Reason.OK, "unknown"),
        (UNKNOWN, Reason.USERMAP_NO_MATCH, "unknown"),
    ],
)
def test_what_was_said_is_compared_with_what_the_server_did(
    room: Room, mapping: MapPrediction, reason: Reason, result: str
) -> None:
    room.write("")
    room.open().settle(outcome(reason, mapping=mapping))

    assert {name: room.predictions(name) for name in ("agreed", "disagreed", "unknown")} == dict.fromkeys(
        ("agreed", "disagreed", "unknown"), 0.0
    ) | {result: 1.0}
    assert len(room.logged("usermap_differs")) == (result == "disagreed")


@pytest.mark.parametrize("reason", [Reason.CLIENT_GONE, Reason.HANDSHAKE_TIMEOUT, Reason.TOO_MANY_CONNECTIONS])
def test_a_login_that_ended_before_its_map_was_asked_is_not_counted(room: Room, reason: Reason) -> None:
    room.write("")
    room.open().settle(outcome(reason, mapping=MATCH))

    assert room.predictions("agreed") + room.predictions("disagreed") == 0


async def test_a_difference_is_logged_once_for_each_state_of_the_file(room: Room) -> None:
    room.write("people bob app\n")
    files = room.open()
    for _ in range(3):
        files.settle(outcome(Reason.USERMAP_NO_MATCH, mapping=MATCH))
    assert "without a reload" in room.logged("usermap_differs")[0]["remedy"]
    assert len(room.logged("usermap_differs")) == 1

    room.write("people bob dba\n", at=LONG_AGO + 1)
    await files.look()
    files.settle(outcome(Reason.USERMAP_NO_MATCH, mapping=MATCH))
    assert len(room.logged("usermap_differs")) == 2


def refused(room: Room, *, seconds_later: float, **fields: Any) -> Outcome:  # noqa: ANN401 - any field
    """A login without a verdict, so many seconds after the file was written."""
    path = room.write("people alice@example.org dba\n")
    known = {"time": path.stat().st_ctime + seconds_later}
    return room.open().settle(outcome(Reason.USERMAP_NO_MATCH, **(known | fields)))


def test_a_login_that_only_the_log_knows_of_is_looked_up(room: Room) -> None:
    seen = refused(room, seconds_later=5)

    assert seen.mapping is not None
    assert seen.message.endswith('conf: it gives the role "dba", asked was "app".')
    assert room.predictions("agreed") == 1


@pytest.mark.parametrize("fields", [{"seconds_later": -5}, {"method": "cert"}, {"identity": None}, {"usermap": None}])
def test_but_not_where_the_file_is_newer_or_something_is_not_known(room: Room, fields: dict[str, Any]) -> None:
    assert refused(room, **({"seconds_later": 5} | fields)).mapping is None


def test_other_clusters_can_be_used_from_now_on(room: Room) -> None:
    room.write("people bob app\n")
    room.write("people bob dba\n", "other/pg_ident.conf")
    files = room.open()
    files.use([room.cluster("other")])

    assert said(files) is None
    assert room.readable() is None
    assert room.readable("other") == 1
    prediction = files.predict("other", "people", "bob", "dba")
    assert prediction is not None
    assert prediction.expected is Expected.MATCH
