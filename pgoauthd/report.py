"""Outcomes for people: tables on a terminal. Decides nothing and never shows a token, because an Outcome has none."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgoauthd.correlation.outcome import Outcome, Result
from pgoauthd.telemetry.log import printable
from pgoauthd.tokens.reasons import Fault, Reason

STYLES: dict[Result, str] = {
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

COLUMNS = ("time", "role", "identity", "client", "outcome", "why", "what to do")
_WIDTHS = (12, 10, 22, 15, 10, 27, 60)
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


class LiveRows:
    """Prints outcomes as rows of one table while they come; without a terminal the rows are plain text."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._widths = _fit(console.width)

    def header(self) -> None:
        """The column titles."""
        self._console.print(self._row(COLUMNS, "bold"))

    def add(self, outcome: Outcome) -> None:
        """One row; what does not fit is cut and marked with an ellipsis."""
        cells = (
            datetime.fromtimestamp(outcome.time, UTC).strftime("%H:%M:%S.%f")[:12],
            _plain(outcome.role),
            _plain(outcome.identity),
            _plain(outcome.client_addr),
            outcome.result.value,
            outcome.reason.value if outcome.reason is not Reason.OK else "",
            outcome.remedy if outcome.result is not Result.SUCCESS else "",
        )
        self._console.print(self._row(cells, STYLES[outcome.result]))

    def _row(self, cells: Iterable[str], style: str) -> Text:
        row = Text(no_wrap=True, overflow="ellipsis")
        for title, width, cell in zip(COLUMNS, self._widths, cells, strict=True):
            shown = Text(cell, style=style if title in ("outcome", "why") or style == "bold" else "")
            shown.truncate(width, overflow="ellipsis", pad=True)
            row.append_text(shown).append(" ")
        row.rstrip()
        return row


def _fit(console_width: int) -> tuple[int, ...]:
    """The last column takes what is left, but is never narrower than it can be read."""
    fixed = sum(_WIDTHS[:-1]) + len(_WIDTHS)
    return (*_WIDTHS[:-1], max(20, console_width - fixed))


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


def open_console() -> Console:
    """Standard output; where that is no terminal, wide enough that nothing is cut."""
    return Console() if sys.stdout.isatty() else Console(width=WIDTH_WITHOUT_TERMINAL)
