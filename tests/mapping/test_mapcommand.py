"""`pgoauthd map` as people and scripts use it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

IDENT = r"""# people
people  /^(.*)@example\.org$  \1
people  bob@example.org       app
people  bob@example.org       +staff
people  bob@example.org       /^dev_
include more.conf
"""


@pytest.fixture
def ident_file(tmp_path: Path) -> Path:
    path = tmp_path / "pg_ident.conf"
    path.write_text(IDENT, encoding="utf-8")
    (tmp_path / "more.conf").write_text("people carol@example.com all\nother bob@example.org all\n", encoding="utf-8")
    return path


def ask(path: Path, identity: str, *words: str, map_name: str = "people") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pgoauthd", "map", "--ident-file", str(path), "--map", map_name]
    return subprocess.run(
        [*command, "--identity", identity, *words], capture_output=True, text=True, check=False, timeout=60
    )


def test_it_lists_the_roles_that_an_identity_can_be_for_sure(ident_file: Path) -> None:
    done = ask(ident_file, "bob@example.org")

    answer = json.loads(done.stdout)
    assert done.returncode == 0
    assert answer["roles"] == ["bob", "app"]
    assert [line["does"] for line in answer["lines"]] == [
        'lets it be "bob"',
        'lets it be "app"',
        'lets it be every member of "staff"',
        "lets it be every role that its expression matches",
        'its identity "carol@example.com" is another',
    ]
    assert (answer["lines"][4]["file"], answer["lines"][4]["line"]) == (str(ident_file.parent / "more.conf"), 1)


def test_a_line_for_all_is_every_role(ident_file: Path) -> None:
    answer = json.loads(ask(ident_file, "carol@example.com").stdout)
    assert (answer["roles"], answer["every_role"]) == (["all"], True)


def test_a_role_that_is_named_all_is_not_every_role(tmp_path: Path) -> None:
    path = tmp_path / "pg_ident.conf"
    path.write_text('m bob "all"\n', encoding="utf-8")

    answer = json.loads(ask(path, "bob", map_name="m").stdout)
    assert (answer["roles"], answer["every_role"]) == (["all"], False)
    assert "Can be for sure: all" in ask(path, "bob", "--table", map_name="m").stdout


def test_roles_behind_a_line_where_the_server_stops_are_none(tmp_path: Path) -> None:
    path = tmp_path / "pg_ident.conf"
    path.write_text("m bob a\nm /^bob \\1\nm bob all\n", encoding="utf-8")

    assert json.loads(ask(path, "bob", map_name="m").stdout)["roles"] == ["a"]


@pytest.mark.parametrize(
    ("identity", "role", "expected", "status"),
    [
        ("bob@example.org", "app", "match", 0),
        ("bob@example.org", "dba", "unknown", 1),
        ("dave@example.com", "dba", "no_match", 1),
    ],
)
def test_the_exit_status_says_whether_it_matches(
    ident_file: Path, identity: str, role: str, expected: str, status: int
) -> None:
    done = ask(ident_file, identity, "--role", role)

    assert (json.loads(done.stdout)["prediction"]["expected"], done.returncode) == (expected, status)


def test_nobody_is_nothing(ident_file: Path) -> None:
    done = ask(ident_file, "dave@example.com")

    assert (json.loads(done.stdout)["roles"], done.returncode) == ([], 1)


def test_a_table_shows_each_line_and_an_answer(ident_file: Path) -> None:
    shown = ask(ident_file, "bob@example.org", "--role", "app", "--table").stdout

    assert "more.conf:1" in shown
    assert 'lets it be "app"' in shown
    assert f'Line 3 of {ident_file}: map "people" lets "bob@example.org" be "app".' in shown.replace("\n", "")


def test_a_table_says_that_a_line_for_all_is_every_role(ident_file: Path) -> None:
    assert "Can be for sure: every role" in ask(ident_file, "carol@example.com", "--table").stdout


def test_a_map_that_is_not_there_is_answered_with_those_that_are(ident_file: Path) -> None:
    done = ask(ident_file, "bob@example.org", "--table", map_name="poeple")

    assert done.returncode == 1
    assert f'There is no map "poeple" in {ident_file}; maps there: other, people.' in done.stdout.replace("\n", "")


def test_a_table_shows_controls_and_markup_as_they_are(ident_file: Path) -> None:
    shown = ask(ident_file, "[red]\x1b[31mbob", "--table").stdout

    assert "\x1b[31m" not in shown
    assert "[red]\\x1b[31mbob" in shown


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    done = ask(tmp_path / "nowhere", "bob")

    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tmp_path / 'nowhere'}: No such file or directory" in done.stderr


def test_all_errors_of_a_file_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "pg_ident.conf"
    path.write_text("m bob\nm bob all\nm /( all\n", encoding="utf-8")
    done = ask(path, "bob", map_name="m")

    assert (done.returncode, done.stdout) == (1, "")
    assert f"line 1 of {path}: it must have three fields" in done.stderr
    assert f'line 3 of {path}: invalid regular expression "("' in done.stderr
