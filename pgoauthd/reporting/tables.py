"""The Report as tables for a terminal or a text file; shows no text from users as it is, and counts nothing."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgoauthd.reporting.values import KIND, Causes, Counts, Durations, IdentityRow, OverTime, Ranking, Report
from pgoauthd.reporting.wording import (
    NAMED,
    TITLES,
    UNNAMED,
    actor,
    addresses_of,
    answer,
    cut,
    is_empty,
    moment,
    notes,
    others,
    percent,
    period,
    rankings,
    roles_of,
    seconds,
    short_moment,
    step,
)

RESULT_STYLES = {"success": "green", "refused": "red", "abandoned": "yellow"}
BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH_FOR_REMEDIES = 110
WIDTH_FOR_DETAILS = 130
"""Roles and addresses of an identity beside its counts."""
_TITLE_WIDTH = 10


def print_report(console: Console, report: Report) -> None:
    """All of it, in the order in which it is asked: who and how often, when, why not, in detail."""
    console.print(Text(f"{KIND}, {period(report)}", style="bold"))
    console.print(Text(answer(report)))
    for note in notes(report):
        console.print(Text(note, style="dim"))
    if is_empty(report.totals):
        return
    _print_totals(console, report)
    if report.over_time is not None and len(report.over_time.bars) > 1:
        _print_over_time(console, report.over_time)
    if report.causes.rows:
        _print_titled(console, "Why not", _causes_table(report.causes, remedies=console.width >= WIDTH_FOR_REMEDIES))
    for member, ranking in rankings(report):
        table = _ranking_table(member, ranking, details=console.width >= WIDTH_FOR_DETAILS)
        _print_titled(console, TITLES[member], table)
    _print_durations(console, report)


def _print_titled(console: Console, title: str, table: Table) -> None:
    console.print(Text(f"\n{title}", style="bold"))
    console.print(table)


def _table(*columns: tuple[str, bool]) -> Table:
    """Each column is its title and whether it holds numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, is_number in columns:
        table.add_column(title, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    return table


def _print_totals(console: Console, report: Report) -> None:
    totals, oauth = report.totals, report.oauth
    table = _table(*((title, True) for title in ("attempts", *RESULT_STYLES, "discoveries", "success ratio of OAuth")))
    table.add_row(*_cells(totals), f"{totals.discoveries:,}", percent(oauth.success_ratio))
    console.print(table)


def _cells(counts: Counts) -> list[Text]:
    """Attempts and how they ended; nothing stays nothing, so that the eye finds what is something."""
    shown = [Text(f"{counts.attempts:,}")]
    for result, style in RESULT_STYLES.items():
        count: int = getattr(counts, result)
        shown.append(Text(f"{count:,}", style=style) if count else Text("-", style="dim"))
    return shown


def _print_over_time(console: Console, over_time: OverTime) -> None:
    bars = over_time.bars
    ends = [short_moment(bar.start, over_time.step_seconds) for bar in (bars[0], bars[-1])]
    console.print(Text(f"\nAttempts per {step(over_time)}, {ends[0]} to {ends[1]} UTC", style="bold"))
    if console.options.ascii_only:
        return
    room = max(console.width - _TITLE_WIDTH - 16, 10)
    for result, style in RESULT_STYLES.items():
        counts = _squeezed([getattr(bar, result) for bar in bars], room)
        if most := max(counts):
            line = Text(f"{result:<{_TITLE_WIDTH}}").append(_spark(counts, most), style=style)
            console.print(line.append(f" at most {max(getattr(bar, result) for bar in bars):,}", style="dim"))


def _squeezed(counts: Sequence[int], room: int) -> list[int]:
    """At most `room` sums of neighbours."""
    width = -(-len(counts) // room)
    return [sum(counts[at : at + width]) for at in range(0, len(counts), width)]


def _spark(counts: Sequence[int], most: int) -> str:
    """A column of blocks for each count; what is not zero is seen."""
    return "".join(BLOCKS[-(-count * (len(BLOCKS) - 1) // most)] for count in counts)


def _causes_table(causes: Causes, *, remedies: bool) -> Table:
    table = _table(("why", False), ("count", True), ("who has to act", False), ("first and last seen (UTC)", False))
    if remedies:
        table.add_column("what to do, and an example", ratio=1, overflow="fold")
    for cause in causes.rows:
        reason = Text(cut(cause.reason), style=RESULT_STYLES.get(cause.result, "")).append(
            f"\nat {cut(cause.stage)}", style="dim"
        )
        when = f"{moment(cause.first_seen)}\n{moment(cause.last_seen)}"
        advice = Text(cut(cause.remedy, 300)).append(f"\n{cut(cause.example, 300)}", style="dim")
        table.add_row(reason, f"{cause.count:,}", Text(actor(cause)), when, *([advice] if remedies else []))
    if causes.others:
        table.add_row(f"({causes.distinct - len(causes.rows)} other reasons)", f"{causes.others:,}")
    return table


def _ranking_table(member: str, ranking: Ranking, *, details: bool) -> Table:
    numbers = [(title, True) for title in ("attempts", *RESULT_STYLES)]
    last = [("last seen (UTC)", False), ("last refused for", False)]
    people = [("roles", False), ("from", False)] if details and member == "identities" else []
    table = _table((NAMED[member][0], False), *numbers, *last, *people)
    for row in ranking.rows:
        extra = _use_of(row) if people and isinstance(row, IdentityRow) else []
        table.add_row(
            Text(cut(row.name)), *_cells(row), moment(row.last_seen), Text(cut(row.last_refusal or "")), *extra
        )
    if (called := others(ranking)) is not None:
        table.add_row(Text(called, style="dim"), *_cells(ranking.others))
    if ranking.unnamed.attempts:
        table.add_row(Text(UNNAMED, style="dim"), *_cells(ranking.unnamed))
    return table


def _use_of(row: IdentityRow) -> list[Text]:
    return [Text(roles_of(row)), Text(" ".join(addresses_of(row)).rstrip())]


def _print_durations(console: Console, report: Report) -> None:
    table = _table(
        ("what took so long", False), *((title, True) for title in ("count", *Durations.__struct_fields__[2:]))
    )
    named = {
        "validation here": report.validation_seconds,
        "authentication, as the server measured it": report.server_authentication_seconds,
    }
    for name, durations in named.items():
        if durations is not None:
            values = (durations.p50, durations.p90, durations.p95, durations.p99, durations.max)
            table.add_row(name, f"{durations.count:,}", *(seconds(value) for value in values))
    if table.row_count:
        _print_titled(console, "How long logins took", table)
