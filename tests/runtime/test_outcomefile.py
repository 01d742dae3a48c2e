from __future__ import annotations

import asyncio
import io
import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.typing import FilteringBoundLogger

from pgoauthd.correlation import outcome_json
from pgoauthd.errors import StateError
from pgoauthd.runtime.outcomefile import OUTCOME_FILE, OutcomeFile
from pgoauthd.telemetry.metrics import Metrics
from tests.fix_outcomes import outcome
from tests.runtime.fix_sinks import DEADLINE, running, stop, until, value


class Written:
    """An encoder that tells when an outcome was encoded, which is when a batch is about to be written."""

    def __init__(self) -> None:
        self.encoded: asyncio.Queue[str | None] = asyncio.Queue()

    def __call__(self, ended: Any) -> bytes:  # noqa: ANN401 - an Outcome
        self.encoded.put_nowait(ended.role)
        return outcome_json.encode(ended)

    async def wait_for(self, role: str) -> None:
        async with asyncio.timeout(DEADLINE):
            while await self.encoded.get() != role:
                pass


def roles(path: Path) -> list[str]:
    return [json.loads(line)["role"] for line in path.read_text(encoding="utf-8").splitlines()]


async def start(sink: OutcomeFile) -> asyncio.Task[None]:
    """Run the sink up to its first wait: a task that is cancelled before it begins runs nothing, not even a finally."""
    task = asyncio.create_task(sink.run())
    await asyncio.sleep(0)
    return task


async def test_outcomes_are_appended_one_json_object_a_line(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger
) -> None:
    path = tmp_path / "outcomes.jsonl"
    path.write_text('{"role":"before"}\n', encoding="utf-8")
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
    task = await start(sink)
    for role in ("one", "two", "three"):
        sink.offer(outcome(role=role))
    await stop(task)
    assert roles(path) == ["before", "one", "two", "three"]
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[1])["reason"] == "usermap_no_match"


@pytest.mark.parametrize("umask", [0o000, 0o077])
async def test_the_file_is_made_for_its_owner_and_group(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, umask: int
) -> None:
    path = tmp_path / "outcomes.jsonl"
    before = os.umask(umask)
    try:
        sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
        task = await start(sink)
        sink.offer(outcome())
        await stop(task)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == 0o640


async def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger) -> None:
    path = tmp_path / "outcomes.jsonl"
    path.touch()
    path.chmod(0o600)
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
    task = await start(sink)
    sink.offer(outcome())
    await stop(task)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert roles(path) == ["app"]


async def test_a_file_that_is_moved_away_while_open_is_made_anew(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger
) -> None:
    path, moved, written = tmp_path / "outcomes.jsonl", tmp_path / "outcomes.jsonl.1", Written()
    sink = OutcomeFile(path, written, metrics=metrics, log=log)
    async with running(sink) as task:
        sink.offer(outcome(role="one"))
        await written.wait_for("one")
        sink.offer(outcome(role="two"))
        await written.wait_for("two")
        path.rename(moved)
        sink.offer(outcome(role="three"))
        await written.wait_for("three")
        await stop(task)
    assert roles(moved)[:1] == ["one"]
    assert roles(moved) + roles(path) == ["one", "two", "three"]
    assert roles(path)[-1:] == ["three"]


async def test_a_file_that_was_deleted_is_made_anew(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger
) -> None:
    path, written = tmp_path / "outcomes.jsonl", Written()
    sink = OutcomeFile(path, written, metrics=metrics, log=log)
    async with running(sink) as task:
        sink.offer(outcome(role="one"))
        await written.wait_for("one")
        sink.offer(outcome(role="two"))
        await written.wait_for("two")
        path.unlink()
        sink.offer(outcome(role="three"))
        await stop(task)
    assert roles(path)[-1:] == ["three"]


async def test_outcomes_beyond_the_bound_are_dropped_and_counted(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger
) -> None:
    path = tmp_path / "outcomes.jsonl"
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log, max_waiting=3)
    for number in range(5):
        sink.offer(outcome(role=str(number)))
    await stop(await start(sink))
    assert roles(path) == ["0", "1", "2"]
    assert value(metrics, "sink_dropped", sink=OUTCOME_FILE) == 2


async def test_outcomes_wait_while_the_file_cannot_be_written(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, said: io.StringIO
) -> None:
    path = tmp_path / "not yet" / "outcomes.jsonl"
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log, retry_seconds=0.01)
    async with running(sink):
        sink.offer(outcome(role="one"))
        await until(lambda: "outcome_file_not_written" in said.getvalue())
        path.parent.mkdir()
        await until(lambda: "outcome_file_written_again" in said.getvalue())
    assert roles(path) == ["one"]
    assert value(metrics, "sink_dropped", sink=OUTCOME_FILE) == 0
    assert said.getvalue().count("outcome_file_not_written") == 1


@pytest.mark.parametrize("kind", ["directory", "fifo"])
async def test_only_a_regular_file_is_written_to(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, said: io.StringIO, kind: str
) -> None:
    path = tmp_path / "outcomes.jsonl"
    if kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
    task = await start(sink)
    sink.offer(outcome())
    await stop(task)
    assert value(metrics, "sink_dropped", sink=OUTCOME_FILE) == 1
    assert "outcomes_lost_at_shutdown" in said.getvalue()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
async def test_a_device_is_no_outcome_file(metrics: Metrics, log: FilteringBoundLogger, said: io.StringIO) -> None:
    sink = OutcomeFile(Path("/dev/full"), outcome_json.encode, metrics=metrics, log=log)
    task = await start(sink)
    sink.offer(outcome())
    await stop(task)
    assert "is not a regular file" in said.getvalue()


async def test_an_outcome_that_is_no_json_is_dropped_alone(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger
) -> None:
    path = tmp_path / "outcomes.jsonl"
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
    task = await start(sink)
    for role in ("one", "lone \udc80", "three"):
        sink.offer(outcome(role=role))
    await stop(task)
    assert roles(path) == ["one", "three"]
    assert value(metrics, "sink_dropped", sink=OUTCOME_FILE) == 1


async def test_half_a_batch_is_taken_back_and_written_again_whole(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, said: io.StringIO
) -> None:
    path = tmp_path / "outcomes.jsonl"
    batch = [outcome(role=str(number)) for number in range(3)]
    room = int(1.5 * len(outcome_json.encode(batch[0])))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log, retry_seconds=0.01)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # as if the disk were full after that
    try:
        async with running(sink):
            for ended in batch:
                sink.offer(ended)
            await until(lambda: "outcome_file_not_written" in said.getvalue())
            left = path.read_bytes()
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            await until(lambda: "outcome_file_written_again" in said.getvalue())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left == b""
    assert roles(path) == ["0", "1", "2"]


async def test_a_large_backlog_is_written_whole_and_in_order(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger
) -> None:
    path = tmp_path / "outcomes.jsonl"
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
    task = await start(sink)
    for number in range(3_500):
        sink.offer(outcome(role=str(number)))
    await stop(task)
    assert roles(path) == [str(number) for number in range(3_500)]


class UnforeseenError(Exception):
    """Nothing that an encoder is known to raise."""


@pytest.mark.parametrize("error", [OverflowError, OSError, RecursionError, UnforeseenError])
async def test_outcomes_that_cannot_be_encoded_are_counted_told_once_and_keep_no_other_back(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, said: io.StringIO, error: type[Exception]
) -> None:
    path = tmp_path / "outcomes.jsonl"

    def encode(ended: Any) -> bytes:  # noqa: ANN401 - an Outcome
        if ended.role == "bad":
            raise error("hidden")
        return outcome_json.encode(ended)

    sink = OutcomeFile(path, encode, metrics=metrics, log=log)
    for role in ("a", "bad", "bad", "b"):
        sink.offer(outcome(role=role))
    async with running(sink) as task:
        await until(path.exists)
        await stop(task)
    assert roles(path) == ["a", "b"]
    assert value(metrics, "sink_dropped", sink=OUTCOME_FILE) == 2
    assert said.getvalue().count("outcome_not_encoded") == 1
    assert "hidden" not in said.getvalue()


async def test_a_symbolic_link_at_the_path_is_not_followed(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, said: io.StringIO
) -> None:
    path, target = tmp_path / "outcomes.jsonl", tmp_path / "other"
    target.write_bytes(b"kept")
    path.symlink_to(target)
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
    sink.offer(outcome())
    async with running(sink) as task:
        await until(lambda: "outcome_file_not_written" in said.getvalue())
        await stop(task)
    assert target.read_bytes() == b"kept"


async def test_a_link_that_takes_the_place_of_the_file_is_not_followed(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, said: io.StringIO
) -> None:
    path, moved = tmp_path / "outcomes.jsonl", tmp_path / "moved"
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
    async with running(sink) as task:
        sink.offer(outcome())
        await until(lambda: path.exists() and path.stat().st_size > 0)
        size = path.stat().st_size
        path.rename(moved)
        path.symlink_to(moved)
        sink.offer(outcome())
        await until(lambda: "outcome_file_not_written" in said.getvalue())
        await stop(task)
    assert moved.stat().st_size == size


def numbered(number: int, role: str) -> bytes:
    return outcome_json.encode(outcome(id=number, role=role))


async def caught_up(path: Path, sink: OutcomeFile, last: str) -> list[str]:
    async with running(sink):
        await until(lambda: path.exists() and last in path.read_text(encoding="utf-8", errors="replace"))
    return roles(path)


async def test_after_a_kill_what_the_history_has_beyond_the_last_line_comes_first(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger
) -> None:
    path = tmp_path / "outcomes.jsonl"
    path.write_bytes(numbered(6, "six") + b"\n" + numbered(7, "seven") + b"\n")
    asked: list[int] = []

    def missed(after: int) -> Iterator[bytes]:
        asked.append(after)
        yield from (numbered(8, "eight"), numbered(9, "nine"))

    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log, missed=missed)
    sink.offer(outcome(id=10, role="ten"))
    assert await caught_up(path, sink, "ten") == ["six", "seven", "eight", "nine", "ten"]
    assert asked == [7]


@pytest.mark.parametrize("torn", range(1, 60, 7))
async def test_a_line_that_a_kill_has_torn_is_cut_off(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, torn: int
) -> None:
    path = tmp_path / "outcomes.jsonl"
    path.write_bytes(numbered(7, "seven") + b"\n" + numbered(8, "eight")[:torn])

    def missed(after: int) -> Iterator[bytes]:
        yield from (numbered(it, f"r{it}") for it in range(after + 1, 10))

    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log, missed=missed)
    assert await caught_up(path, sink, "r9") == ["seven", "r8", "r9"]


@pytest.mark.parametrize("content", [None, b"", b"\n", b'{"role":"r"}\n', b"no JSON\n", b'{"id":"x"}\n'])
async def test_a_file_that_does_not_say_what_was_written_gets_nothing_of_before(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, content: bytes | None
) -> None:
    path = tmp_path / "outcomes.jsonl"
    if content is not None:
        path.write_bytes(content)

    def missed(after: int) -> Iterator[bytes]:
        yield numbered(after + 1, "before")

    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log, missed=missed)
    sink.offer(outcome(id=3, role="new"))
    async with running(sink):
        await until(lambda: path.exists() and b'"new"' in path.read_bytes())
    assert b"before" not in path.read_bytes()
    assert path.read_bytes().startswith(content or b"")


async def test_a_history_that_cannot_be_read_keeps_nothing_from_being_written(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger
) -> None:
    path = tmp_path / "outcomes.jsonl"
    path.write_bytes(numbered(7, "seven") + b"\n")

    def missed(after: int) -> Iterator[bytes]:
        yield numbered(after + 1, "eight")
        raise StateError("the history is damaged")

    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log, missed=missed)
    sink.offer(outcome(id=9, role="nine"))
    assert await caught_up(path, sink, "nine") == ["seven", "eight", "nine"]
