"""Outcomes for people: tables on a terminal. Decides nothing and never shows a token, because an Outcome has none."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Self

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgoauthd.correlation.outcome import Outcome, Result
from pgoauthd.telemetry.log import printable
from pgoauthd.tokens.reasons import Fault, Reason

STYLES: dict[str, str] = {
    Result.SUCCESS: "green",
    Result.REFUSED: "red",
    Result.DISCOVERY: "blue",
    Result.ABANDONED: "yellow",
}

FAULTS: dict[Fault, str] = {
    Fault.NONE: "",
    Fault.CLIENT: "client",
    Fault.CONFIGURATION: "configuration",
    Fault.IDENTITY_PROVIDER: "identity provider",
    Fault.SERVER: "server",
}

_WIDTHS = {"UTC time": 12, "role": 10, "identity": 22, "client": 15, "outcome": 10, "why": 27}
_NARROW_WIDTHS = {"UTC time": 8, "role": 9, "identity": 17, "client": 15, "why": 27}
"""Fits 80 columns: "why" says the outcome, too, and there is no room for the cluster."""
_CLUSTER_WIDTH = 10
MIN_WIDTH_FOR_REMEDIES = 110
WIDTH_WITHOUT_TERMINAL = 160


class Tally:
    """Counts outcomes by result and reason, for the summary at the end."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Result, Reason]] = Counter()
        self.first: float | None = None
        self.last: float | None = None

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.counts[outcome.result, outcome.reason] += 1
        self.first = outcome.time if self.first is None else min(self.first, outcome.time)
        self.last = outcome.time if self.last is None else max(self.last, outcome.time)

    def of(self, result: Result) -> int:
        """How many ended so."""
        return sum(count for (ended, _), count in self.counts.items() if ended is result)


def summary_table(tally: Tally, *, remedies: bool) -> Table:
    """The counts, most frequent reason first within each result; with what to do, where there is room for it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("outcome")
    table.add_column("why", no_wrap=True)
    table.add_column("count", justify="right")
    table.add_column("who has to act", no_wrap=True)
    if remedies:
        table.add_column("what to do", ratio=1)
    order = list(Result)
    for (result, reason), count in sorted(
        tally.counts.items(), key=lambda item: (order.index(item[0][0]), -item[1], item[0][1])
    ):
        cells: list[Text | str] = [Text(result, style=STYLES[result]), reason, f"{count:,}", FAULTS[reason.fault]]
        table.add_row(*cells, *([Text(reason.remedy)] if remedies else []))
    return table


def _title(tally: Tally) -> str:
    total = tally.counts.total()
    parts = ", ".join(f"{tally.of(result):,} {result}" for result in Result if tally.of(result))
    if tally.first is None or tally.last is None:
        return "no login attempts"
    attempts = "login attempt" if total == 1 else "login attempts"
    return f"{total:,} {attempts}, {_moment(tally.first)} to {_moment(tally.last)} UTC: {parts}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a row shows of an outcome; its JSON has the members of the same names."""

    time: datetime
    cluster: str
    role: str | None
    identity: str | None
    client_addr: str | None
    result: str
    reason: str
    remedy: str

    @classmethod
    def of(cls, outcome: Outcome) -> Self:
        """Of an outcome that has not been saved."""
        return cls(
            time=datetime.fromtimestamp(outcome.time, UTC),
            cluster=outcome.cluster,
            role=outcome.role,
            identity=outcome.identity,
            client_addr=outcome.client_addr,
            result=outcome.result,
            reason=outcome.reason,
            remedy=outcome.remedy,
        )


class LiveRows:
    """Prints outcomes as rows of one table while they come; without a terminal the rows are plain text.

    The time is UTC. Where the day is another than in the row before, and at first than `today`, a line says it.
    """

    def __init__(self, console: Console, *, today: date | None = None, clusters: bool = False) -> None:
        self._console = console
        self._day = today if today is not None else datetime.now(UTC).date()
        self._widths = _fit(console.width, clusters=clusters)

    def header(self) -> None:
        """The column titles."""
        self._console.print(self._line({title: title for title in self._widths}, "bold", self._widths))

    def add(self, outcome: Outcome) -> None:
        """One row; what does not fit is cut and marked with an ellipsis."""
        self.show(Row.of(outcome))

    def show(self, row: Row) -> None:
        """As `add`."""
        if row.time.date() != self._day:
            self._day = row.time.date()
            self._console.print(Text(f"{self._day}", style="bold"))
        explained = row.reason != Reason.OK
        cells = {
            "UTC time": row.time.strftime("%H:%M:%S.%f")[: self._widths["UTC time"]],
            "cluster": row.cluster,
            "role": row.role,
            "identity": row.identity,
            "client": row.client_addr,
            "outcome": row.result,
            "why": row.reason if explained else "" if "outcome" in self._widths else row.result,
            "what to do": row.remedy if explained else "",
        }
        self._console.print(self._line(cells, STYLES.get(row.result, ""), ("outcome", "why")))

    def _line(self, cells: Mapping[str, str | None], style: str, styled: Container[str]) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        for title, width in self._widths.items():
            shown = Text(_plain(cells[title]), style=style if title in styled else "")
            shown.truncate(width, overflow="ellipsis", pad=True)
            line.append_text(shown).append(" ")
        line.rstrip()
        return line


def _fit(console_width: int, *, clusters: bool) -> Mapping[str, int]:
    """The columns for which there is room, and how wide they are. The last one takes what is left."""
    first = {"UTC time": _WIDTHS["UTC time"]} | ({"cluster": _CLUSTER_WIDTH} if clusters else {})
    wide = first | _WIDTHS
    if console_width >= MIN_WIDTH_FOR_REMEDIES:
        return wide | {"what to do": max(20, console_width - _width(wide))}
    return wide if console_width >= _width(wide) else _NARROW_WIDTHS


def _width(widths: Mapping[str, int]) -> int:
    """With a space after each column."""
    return sum(widths.values()) + len(widths)


def _plain(text: str | None) -> str:
    """Text from users, with what a terminal would obey made visible."""
    return printable(text) if text is not None else "-"


def print_summary(console: Console, tally: Tally, notes: Iterable[str] = (), *, remedies: bool = True) -> None:
    """The summary table and remarks on what was read."""
    console.print(Text(f"\n{_title(tally)}", style="bold"))
    console.print(summary_table(tally, remedies=remedies and console.width >= MIN_WIDTH_FOR_REMEDIES))
    for note in notes:
        console.print(Text(note, style="dim"))
    if remedies and console.width < MIN_WIDTH_FOR_REMEDIES and tally.counts:
        console.print(Text("a wider terminal shows what to do; docs/reasons.md says it too", style="dim"))


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command what a closed pipe means to it."""
        raise BrokenPipeError


def open_console() -> Console:
    """Standard output; where that is no terminal, wide enough that nothing is cut."""
    return _Console() if sys.stdout.isatty() else _Console(width=WIDTH_WITHOUT_TERMINAL)
