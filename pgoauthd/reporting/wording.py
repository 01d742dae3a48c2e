"""What a report says in words, the same on a terminal and on the page; it counts nothing."""

from __future__ import annotations

from pgoauthd.reporting.values import Cause, Counts, IdentityRow, OverTime, Ranking, Report
from pgoauthd.telemetry.log import printable

MAX_SHOWN_NAME = 80
"""Characters of a name in a table."""
UNNAMED = "(not known)"

TITLES = {
    "identities": "Identities",
    "roles": "Roles",
    "client_addrs": "Client addresses",
    "issuers": "Issuers",
    "client_ids": "Clients of the issuers",
    "methods": "Methods",
    "clusters": "Clusters",
}
"""The rankings, in the order in which they are shown."""

NAMED = {
    "identities": ("identity", "identities"),
    "roles": ("role", "roles"),
    "client_addrs": ("address", "addresses"),
    "issuers": ("issuer", "issuers"),
    "client_ids": ("client", "clients"),
    "methods": ("method", "methods"),
    "clusters": ("cluster", "clusters"),
}
"""One and many of what a ranking ranks."""

_STEPS = ((604_800, "week"), (86_400, "day"), (3_600, "hour"), (60, "minute"))


def rankings(report: Report) -> list[tuple[str, Ranking]]:
    """Those that say something, by member."""
    found = [(member, getattr(report, member)) for member in TITLES]
    return [(member, ranking) for member, ranking in found if ranking.rows]


def cut(text: str, length: int = MAX_SHOWN_NAME) -> str:
    """Safe to show: controls and changes of direction made visible, and no longer than `length`."""
    shown = printable(text[: length + 1])
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"


def moment(rfc3339: str) -> str:
    """To the second, as people write it; the report says once that it is UTC."""
    return rfc3339[:19].replace("T", " ")


def short_moment(rfc3339: str, step_seconds: int) -> str:
    """As exact as a step of this length needs it."""
    return rfc3339[:10] if step_seconds >= 86_400 else rfc3339[:16].replace("T", " ")  # noqa: PLR2004 - a day


def period(report: Report) -> str:
    """What was asked for, and where nothing was, what was found."""
    since = report.period.since or report.period.first
    until = report.period.until or report.period.last
    if since is None or until is None:
        return "no login attempts"
    return f"{moment(since)} to {moment(until)} UTC"


def many(count: int, one: str, more: str) -> str:
    """A number and what is counted."""
    return f"{count:,} {one if count == 1 else more}"


def percent(ratio: float | None) -> str:
    """A share, never rounded up to all of it nor down to nothing."""
    if ratio is None:
        return "-"
    if 0 < ratio < 0.0005:  # noqa: PLR2004 - what one decimal cannot show
        return "<0.1 %"
    if 0.9995 <= ratio < 1:  # noqa: PLR2004 - the same
        return ">99.9 %"
    return f"{100 * ratio:.1f} %"


def seconds(duration: float) -> str:
    """With the unit that suits it."""
    if duration < 0.001:  # noqa: PLR2004 - a millisecond
        return f"{duration * 1e6:.0f} µs"
    if duration < 1:
        return f"{duration * 1e3:.3g} ms"
    return f"{duration:,.1f} s" if duration < 1e6 else f"{duration:.1e} s"  # noqa: PLR2004 - eleven days


def step(over_time: OverTime) -> str:
    """The length of a step."""
    for length, unit in _STEPS:
        if over_time.step_seconds % length == 0:
            count = over_time.step_seconds // length
            return unit if count == 1 else f"{count:,} {unit}s"
    return f"{over_time.step_seconds} seconds"


def answer(report: Report) -> str:
    """Who logged in, from where, and why others were not let in: one paragraph."""
    totals = report.totals
    if not totals.attempts + totals.discoveries:
        return "There was no login attempt."
    people, addresses = _counted(report, "identities"), _counted(report, "client_addrs")
    sentences = [
        (
            f"{many(totals.attempts, 'attempt', 'attempts')} to log in: "
            f"{many(totals.success, 'success', 'successes')}, {totals.refused:,} refused, "
            f"{totals.abandoned:,} abandoned by the client."
        )
    ]
    if totals.success:
        sentences.append(f"{people} and {addresses} had a success.")
    if report.causes.rows:
        worst = report.causes.rows[0]
        share = percent(worst.count / (totals.refused + totals.abandoned))
        sentences.append(f"The most frequent reason why not was {worst.reason} ({share} of them).")
    return " ".join(sentences)


def _counted(report: Report, member: str) -> str:
    ranking: Ranking = getattr(report, member)
    counted = many(ranking.succeeded, *NAMED[member])
    return counted if ranking.exact else f"at least {counted}"


def notes(report: Report) -> list[str]:
    """What has to be known to read the figures rightly."""
    found = []
    if report.totals.discoveries:
        counted = many(report.totals.discoveries, "discovery is", "discoveries are")
        why = "libpq asks for the issuer before logins that succeed."
        found.append(f"{counted} no attempt and not among them: {why}")
    since, begins = report.period.since, report.period.history_begins
    if since is not None and begins is not None and since < begins:
        found.append(f"The history begins at {moment(begins)} UTC: what was before is not kept.")
    if report.asked_clusters:
        found.append(f"Only of {', '.join(cut(name) for name in report.asked_clusters)}.")
    if report.lines.unreadable:
        found.append(f"{many(report.lines.unreadable, 'line was', 'lines were')} no outcome and could not be counted.")
    found += [_inexact(member, ranking) for member, ranking in rankings(report) if not ranking.exact]
    return found


def _inexact(member: str, ranking: Ranking) -> str:
    more = NAMED[member][1]
    return (
        f"There were more {more} than can be kept, at least {ranking.distinct:,}: those with the fewest attempts are "
        f"counted together, and a row may lack up to {ranking.undercounted_by_at_most:,}."
    )


def others(ranking: Ranking) -> str | None:
    """What the names without a row are called; None where there is none."""
    without_row = ranking.distinct - len(ranking.rows)
    if not without_row:
        return None
    counted = f"{without_row:,} other{'s' * (without_row > 1)}"
    return f"({counted if ranking.exact else f'at least {counted}'})"


def roles_of(row: IdentityRow) -> str:
    """The roles that an identity asked for."""
    return ", ".join([*(cut(role, 40) for role in row.roles), *(["…"] if row.more_roles else [])])


def addresses_of(row: IdentityRow) -> tuple[str, str]:
    """The newest address of an identity, and how many others there are."""
    if row.last_client_addr is None:
        return "", ""
    more = row.client_addrs - 1
    if more <= 0 and not row.more_client_addrs:
        return cut(row.last_client_addr, 45), ""
    return cut(row.last_client_addr, 45), f"and {'at least ' * row.more_client_addrs}{max(more, 1):,} more"


def actor(cause: Cause) -> str:
    """Who has to act."""
    return cut(cause.fault.replace("_", " ")) if cause.fault != "none" else "nobody"


def is_empty(counts: Counts) -> bool:
    """Nothing was counted."""
    return not counts.attempts + counts.discoveries
