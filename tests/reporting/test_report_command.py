"""`pgoauthd report` as a person or a script uses it: real processes, real files, a real history."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from pgoauthd.reporting.aggregation import Aggregation
from pgoauthd.runtime.stateschema import TABLES, VERSION
from pgoauthd.tokens.reasons import Reason
from tests.fix_outcomes import AT
from tests.reporting.fix_reports import HOUR, a_day, line

LOG = Path(__file__).parents[1] / "data" / "pg-logs" / "18.6-default" / "postgresql.json"


def pgoauthd(*words: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "pgoauthd", *map(str, words)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60, input=given)


@pytest.fixture
def outcomes(tmp_path: Path) -> Path:
    path = tmp_path / "outcomes.jsonl"
    path.write_bytes(b"\n".join(a_day()) + b"\n")
    return path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(f"{TABLES}; PRAGMA user_version = {VERSION}; PRAGMA journal_mode = WAL")
        for seconds in (-10 * 86_400, -3_600, -60):
            body = line(time=time.time() + seconds)
            connection.execute(
                "INSERT INTO outcome (time, cluster, result, reason, method, body) VALUES (?, ?, ?, ?, ?, ?)",
                (time.time() + seconds, "main", "refused", "usermap_no_match", "oauth", body),
            )
    connection.close()
    return path


def test_a_replay_can_be_reported_through_a_pipe() -> None:
    lines = pgoauthd("replay", LOG).stdout
    done = pgoauthd("report", "--from", "-", given=lines)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["lines"] == {"counted": len(lines.splitlines()), "left_out": 0, "unreadable": 0}


def test_the_history_is_that_of_the_last_week_unless_another_time_is_given(state: Path) -> None:
    week = json.loads(pgoauthd("report", "--state", state).stdout)
    assert week["lines"]["counted"] == 2
    assert week["period"]["history_begins"] < week["period"]["since"] < week["period"]["first"]
    assert json.loads(pgoauthd("report", "--state", state, "--since", "30m").stdout)["lines"]["counted"] == 1


def test_the_history_is_found_by_the_configuration(state: Path, tmp_path: Path) -> None:
    config = tmp_path / "pgoauthd.toml"
    config.write_text(
        f'[state]\npath = "{state}"\n[[clusters]]\nname = "main"\nlogs = ["{tmp_path}"]\n', encoding="utf-8"
    )
    done = pgoauthd("report", "--config", config, "--since", "2026-01-01", "--format", "text")
    assert done.returncode == 0, done.stderr
    assert b"3 refused" in done.stdout


def test_files_are_read_as_a_whole_gzip_too_and_several_after_each_other(outcomes: Path, tmp_path: Path) -> None:
    older = tmp_path / "outcomes.jsonl.1.gz"
    older.write_bytes(gzip.compress(line(time=AT - 30 * 86_400) + b"\n"))
    report = json.loads(pgoauthd("report", "--from", older, "--from", outcomes).stdout)
    assert report["lines"]["counted"] == len(a_day()) + 1


def test_the_ending_of_the_output_decides_the_format_and_only_the_owner_may_read_it(
    outcomes: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    old_mask = os.umask(0)
    try:
        done = pgoauthd("report", "--from", outcomes, "-o", page)
    finally:
        os.umask(old_mask)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outcomes.jsonl", "report.html"]


@pytest.mark.parametrize("name", ["report.html", "report.json", "report.txt"])
def test_an_older_report_is_replaced(outcomes: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert pgoauthd("report", "--from", outcomes, "-o", path, "--top", "1").returncode == 0
    before = path.read_bytes()
    assert pgoauthd("report", "--from", outcomes, "-o", path, "--top", "9").returncode == 0
    assert path.read_bytes() != before


def test_what_is_no_report_is_not_replaced(outcomes: Path) -> None:
    before = outcomes.read_bytes()
    done = pgoauthd("report", "--from", outcomes, "-o", outcomes)
    assert done.returncode == 1
    assert b"is there and is no report" in done.stderr
    assert outcomes.read_bytes() == before


def test_a_symbolic_link_is_not_followed(outcomes: Path, tmp_path: Path) -> None:
    target, link = tmp_path / "target.html", tmp_path / "link.html"
    link.symlink_to(target)
    done = pgoauthd("report", "--from", outcomes, "-o", link)
    assert (done.returncode, target.exists(), link.is_symlink()) == (1, False, True)
    assert b"is a symbolic link" in done.stderr


def test_a_directory_that_is_not_there_is_named(outcomes: Path, tmp_path: Path) -> None:
    done = pgoauthd("report", "--from", outcomes, "-o", tmp_path / "missing" / "report.html")
    assert done.returncode == 1
    assert b"report.html: cannot be made: No such file or directory; check its directory" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--since", "yesterday"], b"--since: 'yesterday' is no moment; give how long ago"),
        (["--since", "1h", "--until", "2h"], b"--until is not after --since"),
        (["--state", "x.db"], b"--config, --state and --from each say where the outcomes are"),
        (["--top", "0"], b"0 is not in the range"),
    ],
)
def test_a_wrong_command_line_is_explained(outcomes: Path, words: list[str], told: bytes) -> None:
    done = pgoauthd("report", "--from", outcomes, *words)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_file_without_any_outcome_is_an_error_that_says_what_is_read() -> None:
    done = pgoauthd("report", "--from", "-", given=b"nothing\nof it\n\n")
    assert done.returncode == 1
    assert b"of 2 lines none is an outcome; --from takes what `pgoauthd replay --json`" in done.stderr


def test_lines_that_are_no_outcome_are_left_out_with_a_warning() -> None:
    overlong = b'{"version":1,"x":"' + b"x" * 3_000_000 + b'"}'
    done = pgoauthd("report", "--from", "-", given=b"\n".join([line(), b"torn", overlong, line()]))
    assert done.returncode == 0
    assert json.loads(done.stdout)["lines"] == {"counted": 2, "left_out": 0, "unreadable": 2}
    assert b"warning: 2 lines were no outcome" in done.stderr


WHOLE = gzip.compress(b"\n".join(a_day()))


@pytest.mark.parametrize(
    "content",
    [WHOLE[:-20], b"no gzip at all", WHOLE[:20] + b"\xff" * 40 + WHOLE[60:]],
    ids=["torn", "another format", "corrupt"],
)
def test_a_gzip_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    torn = tmp_path / "outcomes.gz"
    torn.write_bytes(content)
    done = pgoauthd("report", "--from", torn)
    assert done.returncode == 1
    assert f"{torn}: is no whole gzip file".encode() in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_line_that_is_nested_too_deeply_is_an_unreadable_line() -> None:
    deep = line()[:-1] + b',"x":' + b"[" * 200_000
    done = pgoauthd("report", "--from", "-", given=line() + b"\n" + deep)
    assert json.loads(done.stdout)["lines"] == {"counted": 1, "left_out": 0, "unreadable": 1}


def test_a_reader_who_closes_the_pipe_is_no_error(outcomes: Path) -> None:
    for form in ("text", "json"):
        words = [sys.executable, "-m", "pgoauthd", "report", "--from", str(outcomes), "--format", form]
        ours, theirs = os.pipe()
        os.close(ours)
        try:
            done = subprocess.run(words, stdout=theirs, stderr=subprocess.PIPE, check=False, timeout=60)
        finally:
            os.close(theirs)
        assert (done.returncode, done.stderr) == (0, b"")


def test_names_without_end_take_bounded_memory() -> None:
    aggregation = Aggregation(max_identities=1_000, max_names=1_000)
    template = line(Reason.USERMAP_NO_MATCH, time=AT + HOUR, identity="IDENTITY", role="ROLE", client_addr="ADDRESS")

    def feed(numbers: range) -> None:
        for number in numbers:
            names = {b"IDENTITY": b"i%d", b"ROLE": b"r%d", b"ADDRESS": b"a%d"}
            one = template
            for mark, name in names.items():
                one = one.replace(b'"%s"' % mark, b'"' + name % number + b"x" * 200 + b'"')
            aggregation.add(one)

    feed(range(3_000))
    tracemalloc.start()
    try:
        feed(range(3_000, 12_000))
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 3_000_000
    assert aggregation.report(now=AT, top=1).identities.distinct >= 1_000
