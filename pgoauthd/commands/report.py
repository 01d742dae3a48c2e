"""`pgoauthd report`: who logged in, and why others could not, over a period; counting and wording is `reporting`'s."""

from __future__ import annotations

import gc
import gzip
import io
import os
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, assert_never, cast

import click

from pgoauthd.commands.moments import parse_moment
from pgoauthd.commands.reportfile import write_report
from pgoauthd.errors import PgoauthdError
from pgoauthd.reporting.aggregation import Aggregation, Asked
from pgoauthd.reporting.values import Report

STDIN = Path("-")
MAX_LINE_BYTES = 1_048_576
"""Of one outcome; those of the daemon are below 20 kB."""
READ_BYTES = 1_048_576
DEFAULT_SINCE = "7d"
"""Of the daemon's history; a file is read as a whole."""
WIDTH_IN_FILES = 160


class Format(StrEnum):
    """How a report is said."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


ROWS = {Format.TEXT: 20, Format.HTML: 100, Format.JSON: 1_000}
"""Of each table, where nobody says how many."""
_ENDINGS = {".html": Format.HTML, ".htm": Format.HTML, ".json": Format.JSON}


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """The command's options, as given."""

    state: Path | None
    """The daemon's history; None where there are files."""
    files: tuple[Path, ...]
    since: str | None
    until: str | None
    clusters: tuple[str, ...]
    form: Format | None
    output: Path | None
    """None: standard output."""
    top: int | None


def make_report(options: ReportOptions) -> None:
    """Read, count and write; UsageError, StateError and OSError go up to the command line."""
    now = time.time()
    asked = read_question(options, now)
    form = options.form or _form(options.output)
    # Reading makes millions of short-lived values and no cycles: looking for those would cost a fifth of the time.
    gc.disable()
    aggregation = _from_files(options.files, asked) if options.state is None else _from_history(options.state, asked)
    report = aggregation.report(now=now, top=options.top or ROWS[form])
    if not report.lines.counted and report.lines.unreadable:
        raise PgoauthdError(
            f"of {report.lines.unreadable:,} lines none is an outcome; --from takes what `pgoauthd replay --json`, "
            "`pgoauthd events --json` and the outcome file have (docs/outcome.md)"
        )
    if options.output is not None:
        write_report(options.output, _said(report, form))
    else:
        _print(report, form)
    if report.lines.unreadable and (form is not Format.TEXT or options.output is not None):
        click.echo(f"warning: {report.lines.unreadable:,} lines were no outcome and could not be counted", err=True)


def read_question(options: ReportOptions, now: float) -> Asked:
    """Which outcomes count; UsageError where a moment cannot be read."""
    since = options.since if options.since is not None or options.files else DEFAULT_SINCE
    asked = Asked(
        since=_moment("--since", since, now), until=_moment("--until", options.until, now), clusters=options.clusters
    )
    if asked.since is not None and asked.until is not None and asked.since >= asked.until:
        raise click.UsageError("--until is not after --since: nothing can be between them")
    return asked


def _moment(option: str, text: str | None, now: float) -> float | None:
    try:
        return parse_moment(text, now) if text is not None else None
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def _form(output: Path | None) -> Format:
    if output is not None:
        return _ENDINGS.get(output.suffix.lower(), Format.TEXT)
    return Format.TEXT if sys.stdout.isatty() else Format.JSON


def _from_history(state: Path, asked: Asked) -> Aggregation:
    # SQLite is not needed for files
    from pgoauthd.runtime.history import History, Wanted  # noqa: PLC0415

    with History(state) as history:
        known = Asked(asked.since, asked.until, asked.clusters, history.oldest_time())
        aggregation = Aggregation(known)
        wanted = Wanted(since=asked.since, until=asked.until, clusters=asked.clusters)
        # what is committed while we read would keep us from ever ending
        for line in history.outcomes(wanted, upto=history.newest_id()):
            aggregation.add(line)
    return aggregation


def _from_files(files: tuple[Path, ...], asked: Asked) -> Aggregation:
    aggregation = Aggregation(asked)
    for path in files:
        with _opened(path) as stream:
            for line in _lines(stream):
                if line is None:
                    aggregation.add_unreadable()
                else:
                    aggregation.add(line)
    return aggregation


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Each line that is not empty; None for one that is longer than an outcome can be."""
    begun, overlong = b"", False
    while chunk := stream.read(READ_BYTES):
        first, *others = chunk.split(b"\n")
        begun = begun + first if not overlong else b""
        for line in others:
            if overlong:
                yield None
            elif begun and not begun.isspace():
                yield begun
            begun, overlong = line, False
        if len(begun) > MAX_LINE_BYTES:
            begun, overlong = b"", True
    if overlong:
        yield None
    elif begun and not begun.isspace():
        yield begun


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if path == STDIN:
        yield sys.stdin.buffer
        return
    with cast("BinaryIO", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb") as stream:
        try:
            yield stream
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise PgoauthdError(f"{path}: is no whole gzip file ({error}); is it still being written?") from error


def _print(report: Report, form: Format) -> None:
    """On standard output; a reader who has seen enough and closes the pipe is no error."""
    try:
        if form is Format.TEXT:
            _print_tables(report)
        else:
            sys.stdout.buffer.write(_said(report, form).encode())
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # rich makes the one into the other
        # what is left in the buffer must not fail once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _said(report: Report, form: Format) -> str:
    match form:
        case Format.JSON:
            from pgoauthd.reporting.jsontext import to_json  # noqa: PLC0415 - each format needs its own

            return f"{to_json(report)}\n"
        case Format.HTML:
            from pgoauthd.reporting.page import to_page  # noqa: PLC0415

            return to_page(report)
        case Format.TEXT:
            from rich.console import Console  # noqa: PLC0415

            from pgoauthd.reporting.tables import print_report  # noqa: PLC0415

            text = io.StringIO()
            print_report(Console(file=text, width=WIDTH_IN_FILES, color_system=None), report)
            return text.getvalue()
        case _:
            assert_never(form)


def _print_tables(report: Report) -> None:
    from pgoauthd.report import open_console  # noqa: PLC0415 - rich takes long to import
    from pgoauthd.reporting.tables import print_report  # noqa: PLC0415

    print_report(open_console(), report)
