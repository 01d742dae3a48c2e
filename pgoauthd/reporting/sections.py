"""The sections of the page: tables with their headings, each row named by its first cell; trusts no text."""

from __future__ import annotations

from pgoauthd.reporting.markup import Child, Markup, element, joined
from pgoauthd.reporting.plots import STACK, round_up, share_bar, stacked_bars, swatch
from pgoauthd.reporting.values import Cause, Causes, Counts, Durations, IdentityRow, OverTime, Ranking, Report
from pgoauthd.reporting.wording import (
    NAMED,
    TITLES,
    UNNAMED,
    actor,
    addresses_of,
    cut,
    moment,
    others,
    percent,
    rankings,
    roles_of,
    seconds,
    short_moment,
    step,
)

RESULTS = ("success", "refused", "abandoned")
COUNTS = ("attempts", *RESULTS)
MAX_ADVICE = 500
"""Characters."""

_NUMBERS = frozenset({*COUNTS, "discoveries", "count", "time"})
"""Columns of numbers."""


def sections(report: Report) -> list[Markup]:
    """All that there is something to say about: how much, when, why not, who, and how long it took."""
    found = [_figures(report)]
    if report.over_time is not None and any(bar.attempts for bar in report.over_time.bars):
        found.append(_plot(report.over_time))
    if report.causes.rows:
        found.append(_causes(report.causes))
    found += [_ranking(member, ranking) for member, ranking in rankings(report)]
    return found + _durations(report)


def _figures(report: Report) -> Markup:
    shown = {
        "OAuth success": percent(report.oauth.success_ratio),
        "Successes": f"{report.totals.success:,}",
        "Refused": f"{report.totals.refused:,}",
        "Abandoned": f"{report.totals.abandoned:,}",
        "Discoveries": f"{report.totals.discoveries:,}",
    }
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in shown.items()),
        class_="figures",
    )


def _plot(over_time: OverTime) -> Markup:
    bars, length = over_time.bars, over_time.step_seconds
    most = round_up(max(bar.attempts for bar in bars))
    middle = [bars[len(bars) // 2]] if len(bars) > 2 else []  # noqa: PLR2004 - else the ends are all
    ends = [bars[0], *middle, *([bars[-1]] if len(bars) > 1 else [])]
    plot = element(
        "div",
        element("div", *(element("span", f"{count:,}") for count in (most, most // 2, 0)), class_="scale"),
        stacked_bars(over_time),
        element("div", *(element("span", short_moment(bar.start, length)) for bar in ends), class_="times"),
        class_="plot",
    )
    key = element("ul", *(element("li", swatch(kind), kind) for kind in reversed(STACK)), class_="key")
    return element(
        "section",
        element("h2", f"Attempts per {step(over_time)}"),
        element("figure", key, plot),
        element("details", element("summary", "The figures as a table"), _plotted(over_time)),
    )


def _plotted(over_time: OverTime) -> Markup:
    rows = [
        _row(short_moment(bar.start, over_time.step_seconds), _numbers(bar), _number(bar.discoveries))
        for bar in over_time.bars
        if bar.attempts + bar.discoveries
    ]
    return _table(f"Attempts per {step(over_time)}", ["from (UTC)", *COUNTS, "discoveries"], rows)


def _causes(causes: Causes) -> Markup:
    most = causes.rows[0].count
    rows = [_cause(cause, cause.count / most) for cause in causes.rows]
    if causes.others:
        rest = f"({causes.distinct - len(causes.rows):,} other reasons)"
        rows.append(_row(rest, _number(causes.others), element("td", colspan=2), kind="rest"))
    columns = ["reason", "count", "who has to act", "what to do, and an example"]
    return element("section", element("h2", "Why not"), _table("Reasons, most frequent first", columns, rows, "causes"))


def _cause(cause: Cause, share: float) -> Markup:
    kind = cause.result if cause.result in RESULTS else "other"
    bar = share_bar(share, kind, f"{cut(cause.reason)}: {cause.count:,}")
    seen = f"First {moment(cause.first_seen)}, last {moment(cause.last_seen)} UTC"
    return _row(
        joined(element("code", cut(cause.reason)), element("div", bar, class_="bar")),
        _number(cause.count),
        element("td", actor(cause), element("br"), _soft(f"{cause.result} at {cut(cause.stage)}")),
        element(
            "td",
            element("bdi", cut(cause.remedy, MAX_ADVICE)),
            element("br"),
            _soft(element("bdi", cut(cause.example, MAX_ADVICE))),
            element("br"),
            _soft(seen),
            class_="advice",
        ),
    )


def _ranking(member: str, ranking: Ranking) -> Markup:
    columns = [NAMED[member][0], *COUNTS, "last seen (UTC)", "last refused for"]
    if member == "identities":
        columns += ["roles", "from"]
    empty = element("td", colspan=len(columns) - 1 - len(COUNTS))
    rows = []
    for row in ranking.rows:
        seen = element("td", moment(row.last_seen), class_="when")
        refusal = element("td", element("code", cut(row.last_refusal)) if row.last_refusal is not None else "")
        use = _use_of(row) if isinstance(row, IdentityRow) else []
        rows.append(_row(element("bdi", cut(row.name)), _numbers(row), seen, refusal, *use))
    if (called := others(ranking)) is not None:
        rows.append(_row(called, _numbers(ranking.others), empty, kind="rest"))
    if ranking.unnamed.attempts:
        rows.append(_row(UNNAMED, _numbers(ranking.unnamed), empty, kind="rest"))
    table = _table(f"{TITLES[member]}, most attempts first", columns, rows)
    return element("section", element("h2", TITLES[member]), table)


def _use_of(row: IdentityRow) -> list[Markup]:
    newest, more = addresses_of(row)
    return [
        element("td", element("bdi", roles_of(row)), class_="roles"),
        element("td", element("bdi", newest), " ", element("span", more), class_="from"),
    ]


def _durations(report: Report) -> list[Markup]:
    named = {
        "Validation here": report.validation_seconds,
        "Authentication, as the server measured it": report.server_authentication_seconds,
    }
    tables = [_duration_table(name, found) for name, found in named.items() if found is not None]
    return [element("section", element("h2", "How long logins took"), *tables)] if tables else []


def _duration_table(name: str, found: Durations) -> Markup:
    shares = {"half within": found.p50, "90 % within": found.p90, "95 % within": found.p95, "99 % within": found.p99}
    rows = [
        _row(
            label,
            element("td", seconds(value), class_="number"),
            element("td", share_bar(value / found.p99 if found.p99 else 0.0, "other", seconds(value)), class_="share"),
        )
        for label, value in shares.items()
    ]
    rows.append(_row("longest", element("td", seconds(found.max), class_="number"), element("td")))
    return joined(element("p", f"{name}: {found.count:,} measured"), _table(name, ["share", "time", ""], rows))


def _table(label: str, columns: list[str], rows: list[Markup], kind: str = "") -> Markup:
    """It can be scrolled sideways where it is wider than the page, by keyboard too."""
    heads = element("tr", *(_head(column) for column in columns))
    attributes = {"class_": kind} if kind else {}
    table = element("table", element("thead", heads), element("tbody", *rows), aria_label=label, **attributes)
    return element("div", table, class_="wide", role="region", aria_label=label, tabindex="0")


def _head(column: str) -> Markup:
    if not column:
        return element("td")
    return element("th", column, scope="col", **({"class_": "number"} if column in _NUMBERS else {}))


def _row(head: Child, *cells: Markup, kind: str = "") -> Markup:
    attributes = {"class_": kind} if kind else {}
    return joined("\n", element("tr", element("th", head, scope="row"), *cells, **attributes))


def _numbers(counts: Counts) -> Markup:
    return joined(*(_number(getattr(counts, name)) for name in COUNTS))


def _number(count: int) -> Markup:
    return element("td", f"{count:,}", class_="number" if count else "number none")


def _soft(text: Child) -> Markup:
    return element("span", text, class_="soft")
