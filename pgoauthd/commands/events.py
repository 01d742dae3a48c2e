"""`pgoauthd events`: how logins ended, as a table or as JSON lines, and those to come; `runtime.history` reads them."""

from __future__ import annotations

import difflib
import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Protocol

import click
import msgspec

from pgoauthd.commands.moments import parse_moment
from pgoauthd.errors import StateError
from pgoauthd.runtime.history import ANY, History, Wanted
from pgoauthd.tokens.reasons import BY_CODE

DEFAULT_COUNT = 50
"""Shown where neither a time nor a number is asked for."""
POLL_SECONDS = 0.3
PATIENCE_SECONDS = 5.0
"""How long a state file may be away before it is said that we wait for it."""

_LIKE_AN_ADDRESS = re.compile(r"[0-9.]+|[0-9a-fA-F.]*:[0-9a-fA-F.:]*")


@dataclass(frozen=True, slots=True)
class EventsOptions:
    """The command's options, as given."""

    state: Path
    since: str | None
    until: str | None
    clusters: tuple[str, ...]
    results: tuple[str, ...]
    reasons: tuple[str, ...]
    methods: tuple[str, ...]
    roles: tuple[str, ...]
    identities: tuple[str, ...]
    clients: tuple[str, ...]
    last: int | None
    everything: bool
    follow: bool
    as_json: bool


def show_events(options: EventsOptions) -> None:
    """Print what is asked for; StateError goes up to the command line, as does a KeyboardInterrupt that ends --follow.

    A reader who has seen enough and closes the pipe ends it, too, and that is no error.
    """
    wanted = read_question(options, time.time())
    try:
        _show(options, wanted)
    except BrokenPipeError:
        # what is left in the buffer must not fail once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_question(options: EventsOptions, now: float) -> Wanted:
    """What is wanted; UsageError where an option cannot be used."""
    _check_combination(options)
    wanted = Wanted(
        since=_moment("--since", options.since, now),
        until=_moment("--until", options.until, now),
        clusters=options.clusters,
        results=options.results,
        reasons=tuple(map(_reason, options.reasons)),
        methods=options.methods,
        roles=options.roles,
        identities=options.identities,
        clients=tuple(map(_client, options.clients)),
    )
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise click.UsageError("--until is not after --since: nothing can be between them")
    return wanted


def _check_combination(options: EventsOptions) -> None:
    if options.everything and (options.last is not None or options.since is not None):
        raise click.UsageError("--all is everything that is kept: leave it out where you give --last or --since")
    if options.follow and options.until is not None:
        raise click.UsageError("--follow waits for what is to come: leave out --until")


def _moment(option: str, text: str | None, now: float) -> float | None:
    try:
        return parse_moment(text, now) if text is not None else None
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def _reason(text: str) -> str:
    if text in BY_CODE:
        return text
    close = difflib.get_close_matches(text, BY_CODE, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "docs/reasons.md lists them"
    raise click.UsageError(f"--reason: there is no reason {text!r}; {hint}")


def _client(text: str) -> str:
    """An address as PostgreSQL writes it, a network, or a name: the log may have host names, and [local]."""
    try:
        if "/" in text:
            return str(ip_network(text, strict=False))
        return str(ip_address(text)) if _LIKE_AN_ADDRESS.fullmatch(text) else text
    except ValueError:
        raise click.UsageError(
            f"--client: {text!r} is neither an address nor a network; give one such as 192.0.2.7, 192.0.2.0/24, "
            "2001:db8::/32, [local] or 192.0.2.*"
        ) from None


class Output(Protocol):
    """Where outcomes go."""

    def write(self, lines: Iterable[bytes]) -> int:
        """Print and flush them; how many there were."""


class JsonLines:
    """The lines as they are kept, byte for byte."""

    def write(self, lines: Iterable[bytes]) -> int:
        """See Output."""
        count = 0
        for count, line in enumerate(lines, 1):  # noqa: B007 - the last count is the answer
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()
        return count


class Table:
    """Rows for people; the titles come with the first of them."""

    def __init__(self, path: Path, *, clusters: bool) -> None:
        # rich takes longer to import than the history to read: only here
        from pgoauthd.report import LiveRows, Row, open_console  # noqa: PLC0415

        self._path = path
        self._console = open_console()
        self._rows = LiveRows(self._console, clusters=clusters)
        self._decode: Callable[[bytes], Row] = msgspec.json.Decoder(Row).decode
        self._titled = False

    def write(self, lines: Iterable[bytes]) -> int:
        """See Output."""
        count = 0
        for count, line in enumerate(lines, 1):  # noqa: B007 - the same
            if not self._titled:
                self._rows.header()
                self._titled = True
            try:
                row = self._decode(line)
            except msgspec.MsgspecError as error:
                raise StateError(f"{self._path}: has an outcome that cannot be read; --json shows it") from error
            self._rows.show(row)
        return count


def _show(options: EventsOptions, wanted: Wanted) -> None:
    with History(options.state) as history:
        position = history.newest_id()
        many = len(wanted.clusters) != 1 and len(history.clusters()) > 1
        output: Output = JsonLines() if options.as_json else Table(options.state, clusters=many)
        _show_kept(history, options, wanted, position, output)
        if options.follow:
            _follow(history, wanted, position, output)
    while options.follow:
        with _open_again(options.state) as history:
            _follow(history, wanted, 0, output)


def _show_kept(history: History, options: EventsOptions, wanted: Wanted, upto: int, output: Output) -> None:
    count = options.last
    if count is None and wanted.since is None and not options.everything:
        count = DEFAULT_COUNT
    if count is None:
        found = output.write(history.outcomes(wanted, upto=upto))
    else:
        lines = history.last(wanted, count + 1, upto=upto)
        found = len(lines)
        output.write(lines[max(found - count, 0) :])
        if found > count and options.last is None:
            _note(f"the last {count}; there are older ones: --last NUMBER, --since TIME or --all shows them")
    _note_limits(history, wanted, found)


def _note_limits(history: History, wanted: Wanted, found: int) -> None:
    """Say why there is nothing, or less than was asked for."""
    oldest, newest = history.oldest_time(), history.newest_time()
    if oldest is None or newest is None:
        _note("the history is empty: nothing was decided yet, or all of it was older than [history] keep_days allows")
        return
    if not found:
        _note(f"nothing fits; kept are outcomes from {_shown(oldest)} to {_shown(newest)} UTC")
        if unknown := set(wanted.clusters) - set(history.clusters()):
            known = ", ".join(history.clusters()) or "none"
            _note(f"there is no cluster {', '.join(map(repr, sorted(unknown)))} in it; there are: {known}")
        names = (*wanted.roles, *wanted.identities)
        if names and not any(ANY in name for name in names):
            _note(f"names are compared exactly; {ANY} stands for any text: '{names[0]}{ANY}'")
    elif wanted.since is not None and wanted.since < oldest:
        _note(f"the history begins at {_shown(oldest)} UTC; what was before is not kept")


def _shown(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _note(text: str) -> None:
    click.secho(text, err=True, dim=True)


def _follow(history: History, wanted: Wanted, position: int, output: Output) -> None:
    """Print what is committed after `position`, until another file has taken the place of this one."""
    replaced = False
    while not replaced:
        _wait()
        replaced = history.is_replaced()  # asked first: what was committed before that is still read
        if (newest := history.newest_id()) > position:
            output.write(history.outcomes(wanted, after=position, upto=newest))
            position = newest


def _open_again(path: Path) -> History:
    """The file that has taken the place of another, as soon as it can be read."""
    started, told = time.monotonic(), False
    while True:
        try:
            return History(path)
        except StateError as error:
            if not told and time.monotonic() - started > PATIENCE_SECONDS:
                told = True
                _note(f"waiting: {error}")
        _wait()


def _wait() -> None:
    """A moment; BrokenPipeError as soon as nobody reads what we write any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if poll.poll(POLL_SECONDS * 1000):
        raise BrokenPipeError
