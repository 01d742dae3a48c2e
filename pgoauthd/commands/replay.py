"""`pgoauthd replay`: progress while it reads, then a summary, or outcomes as JSON lines; the reading is `replay`'s."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from pgoauthd.correlation.engine import Limits
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.correlation.outcome_json import encode
from pgoauthd.errors import LogFormatError
from pgoauthd.logs.follow import richest
from pgoauthd.logs.prefix import compile_prefix
from pgoauthd.logs.readers import LogFormat
from pgoauthd.replay import STDIN, Replay, ReplayReport, ReplaySettings


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The command's options, as given."""

    prefix: str
    timezone: str
    authentication_timeout: float
    cluster: str
    as_json: bool


def replay_files(paths: list[Path], options: ReplayOptions) -> None:
    """Replay and print; LogFormatError and OSError go up to the command line."""
    try:
        timezone = ZoneInfo(options.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise click.UsageError(f"--timezone: {options.timezone!r} is no time zone; use a name such as UTC") from error
    try:
        prefix = compile_prefix(options.prefix)
    except LogFormatError as error:
        raise click.UsageError(f"--prefix: {error}") from error
    limits = Limits(authentication_timeout=options.authentication_timeout)
    settings = ReplaySettings(cluster=options.cluster, prefix=prefix, timezone=timezone, limits=limits)
    kept = richest(paths)
    if left_out := [path for path in paths if path not in kept]:
        click.echo(f"left out, the same log is given in a richer format: {', '.join(map(str, left_out))}", err=True)
    # Reading makes millions of short-lived values and no cycles: looking for those would cost a fifth of the time.
    gc.disable()
    with _progress(kept) as advance:
        replay = Replay(settings, advance)
        outcomes = replay.outcomes(kept)
        if options.as_json:
            _print_json(outcomes)
            _warn(replay.report)
        else:
            _print_table(outcomes, replay.report)
    if replay.report.parse_failures and not replay.report.understood:
        raise LogFormatError(
            f"nothing could be understood with the prefix {options.prefix!r}; give the server's with --prefix"
        )


def _print_json(outcomes: Iterator[Outcome]) -> None:
    write = sys.stdout.buffer.write
    for outcome in outcomes:
        write(encode(outcome))
        write(b"\n")
    sys.stdout.buffer.flush()


def _print_table(outcomes: Iterator[Outcome], report: ReplayReport) -> None:
    # rich takes longer to import than a small log takes to read: only here
    from pgoauthd.report import Tally, open_console, print_summary  # noqa: PLC0415

    tally = Tally()
    for outcome in outcomes:
        tally.add(outcome)
    print_summary(open_console(), tally, _notes(report))


def _notes(report: ReplayReport) -> list[str]:
    formats = ", ".join(sorted(report.formats)) or "empty"
    notes = [f"files read: {report.files} ({formats}), {report.bytes_read:,} bytes"]
    if report.unfinished:
        notes.append(f"still open when the log ended: {report.unfinished}")
    return notes + _complaints(report)


def _complaints(report: ReplayReport) -> list[str]:
    complaints = []
    if report.parse_failures:
        why = "the log may be damaged or cut"
        if LogFormat.STDERR in report.formats:
            why = "is --prefix the server's log_line_prefix? SHOW log_line_prefix tells it"
        complaints.append(f"entries that could not be read: {report.parse_failures}; {why}")
    if report.overlong:
        complaints.append(f"{report.overlong} lines were longer than can be read and were left out")
    if report.leaked_tokens:
        complaints.append(
            f"logins whose token the server's validator wrote into the log: {report.leaked_tokens}; revoke those "
            "tokens, restrict who reads the log, and upgrade or replace the validator"
        )
    return complaints


def _warn(report: ReplayReport) -> None:
    for complaint in _complaints(report):
        click.echo(f"warning: {complaint}", err=True)


@contextmanager
def _progress(paths: list[Path]) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error where that is a terminal; advanced by bytes read."""
    total = sum(path.stat().st_size for path in paths if path != STDIN and path.exists())
    if not sys.stderr.isatty() or total < MIN_BYTES_FOR_PROGRESS:
        yield lambda _: None
        return
    with click.progressbar(length=total, label="reading", file=sys.stderr, width=40) as bar:
        yield bar.update


MIN_BYTES_FOR_PROGRESS = 50_000_000
"""A smaller log is read before a bar could be seen."""
