"""Bounds of reading, and what the server's own view cannot show; the rest is test_reading_against_postgres.py."""

from __future__ import annotations

from pgoauthd.mapping.identfile import (
    MAX_CHARS,
    MAX_FILES,
    MAX_LINES,
    BadLine,
    IdentFile,
    Token,
    Unreadable,
    read_ident_file,
)
from tests.mapping.fix_maps import PATH, Files


def read(text: str, **others: str) -> IdentFile:
    files = Files(**others)
    files[PATH] = text
    return read_ident_file(PATH, files.read, files.list_directory)


def test_quotes_are_remembered_where_a_name_begins_with_one() -> None:
    (line,) = read('m "a b" a"b"\n').lines

    assert (line.system, line.role) == (Token("a b", quoted=True), Token("ab", quoted=False))


def test_a_continued_line_has_the_number_of_its_first_and_the_text_of_all() -> None:
    (_, line) = read("m a b\nm2 a \\\n  b\n").lines

    assert (line.number, line.text) == (2, "m2 a   b")


def test_an_error_in_an_included_file_is_of_that_file() -> None:
    assert read("include other\n", other="m a\n").bad[0].file == "/etc/postgresql/other"


def test_a_file_that_is_not_there_is_the_problem() -> None:
    found = read_ident_file(PATH, lambda _: Unreadable("Permission denied"), lambda _: [])

    assert found.bad == (BadLine(file=PATH, number=None, why="Permission denied"),)
    assert str(found.bad[0]) == f"{PATH}: Permission denied"


def test_a_missing_file_may_be_missing_only_where_that_is_said() -> None:
    assert read("include_if_exists gone\nm a b\n").bad == ()
    assert read("include gone\nm a b\n").bad != ()


def test_a_file_that_cannot_be_read_is_not_a_missing_one() -> None:
    found = read_ident_file(
        PATH,
        lambda path: "include_if_exists other\n" if path == PATH else Unreadable("Permission denied"),
        lambda _: [],
    )

    assert len(found.bad) == 1


def test_a_nul_character_is_an_error() -> None:
    assert "NUL" in read("m a b\0\n").bad[0].why


def test_files_that_include_each_other_end() -> None:
    assert "more than 10 deep" in read("include pg_ident.conf\n").bad[0].why


def test_files_that_include_others_many_times_end() -> None:
    others = {f"f{level}": f"include f{level + 1}\n" * 4 for level in range(9)}
    found = read("include f0\n", f9="", **others)

    assert found.lines == ()
    assert f"more than {MAX_FILES:,} files" in found.bad[0].why


def test_files_of_many_lines_end() -> None:
    assert f"more than {MAX_LINES:,} lines" in read("m a b\n" * (MAX_LINES + 1)).bad[0].why


def test_files_of_many_characters_end_whatever_is_in_them() -> None:
    part = "#" * (MAX_CHARS // 8) + "\n"
    found = read("include part\n" * 8, part=part)

    assert found.lines == ()
    assert f"more than {MAX_CHARS:,} characters" in found.bad[0].why


def test_many_quotes_take_no_longer_than_their_number() -> None:
    assert read("m " + '"' * 200_001 + " b\n").bad != ()
