"""Histories that went wrong when they were found; the model forgives what still does (KNOWN in fix_server.py)."""

from __future__ import annotations

import pytest

from pgoauthd.logs.readers import LogFormat
from tests.model.fix_actions import (
    Action,
    CopyAndTruncate,
    Crash,
    Drain,
    Obstruct,
    Restart,
    Rotate,
    Save,
    Setting,
    Write,
)
from tests.model.fix_histories import play
from tests.model.fix_logins import Kind
from tests.model.fix_server import Layout

READ_BYTES = 124 * 1024


def play_strictly(log_format: LogFormat, *actions: Action, layout: Layout = Layout.FILE) -> None:
    play(Setting(((layout, log_format),), READ_BYTES), actions, forgiving=False)


def login(lines: int) -> Write:
    return Write(0, ((Kind.SUCCESS, 0),), lines, seed=0)


def more(lines: int) -> Write:
    return Write(0, (), lines, seed=0)


def test_the_last_entry_of_a_stderr_file_comes_before_those_of_the_next_file() -> None:
    play_strictly(LogFormat.STDERR, login(1), Rotate(0, late=False))


def test_files_that_were_rotated_away_are_read_in_their_order_after_a_crash() -> None:
    late = (login(0), Rotate(0, late=True), Drain(), Save(full=False), more(1))
    unseen = (Rotate(0, late=False), more(4), Rotate(0, late=False))
    play_strictly(LogFormat.CSVLOG, *late, *unseen, Crash(turns=0, saving=False))


def test_what_could_not_be_saved_is_saved_at_the_end_although_nothing_has_changed_since() -> None:
    play_strictly(LogFormat.CSVLOG, login(5), Drain(), Save(full=True), Restart())


@pytest.mark.xfail(strict=True, raises=AssertionError)
def test_a_copy_is_read_of_a_file_that_was_empty_at_the_last_look() -> None:
    play_strictly(LogFormat.CSVLOG, login(5), CopyAndTruncate(0, 0))


@pytest.mark.xfail(strict=True, raises=AssertionError)
def test_a_file_is_read_that_came_and_went_under_a_name_that_led_nowhere_at_the_last_look() -> None:
    play_strictly(LogFormat.CSVLOG, Obstruct(0), Drain(), Obstruct(0), login(5))


@pytest.mark.xfail(strict=True, raises=AssertionError)
def test_a_copy_that_a_glob_finds_is_not_read_again_after_a_restart() -> None:
    seen = (login(1), Drain(), Save(full=False))
    play_strictly(LogFormat.CSVLOG, *seen, CopyAndTruncate(0, 0), Restart(), layout=Layout.GLOB)
