"""A report as values, the same for every format; its JSON is a contract, `docs/report.md`. It never counts anything.

Moments are RFC 3339 in UTC with milliseconds, as in outcomes; durations are seconds.
"""

from __future__ import annotations

import msgspec

VERSION = 1
"""Members are only ever added within a version."""
KIND = "pgoauthd report"
"""Stands near the beginning of a report in every format, so that a report is known as one."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How login attempts ended. A discovery is no attempt: libpq makes one before logins that succeed."""

    attempts: int = 0
    """success + refused + abandoned."""
    success: int = 0
    refused: int = 0
    abandoned: int = 0
    discoveries: int = 0


class Row(Counts, frozen=True, kw_only=True):
    """One name (a role, an address, …) and what became of its attempts."""

    name: str
    last_refusal: str | None
    """Reason code of the newest refusal."""
    first_seen: str
    last_seen: str


class IdentityRow(Row, frozen=True, kw_only=True):
    """One identity, with what it used."""

    roles: tuple[str, ...]
    """Asked for, in the order in which they were first seen."""
    more_roles: bool
    """There were others, which were not kept."""
    client_addrs: int
    more_client_addrs: bool
    """There were others, which were not counted."""
    last_client_addr: str | None


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """The names with the most attempts; rows, others and unnamed together are all that was counted."""

    rows: tuple[Row, ...] | tuple[IdentityRow, ...]
    distinct: int
    """Different names; where `exact` is false there were more."""
    succeeded: int
    """Of them, those with at least one success."""
    exact: bool
    """False: there were too many names to keep, and those with the fewest attempts went into `others`."""
    undercounted_by_at_most: int
    """What a row may lack, because its name had been given up before it came again."""
    others: Counts
    """Of names that have no row."""
    unnamed: Counts
    """Of outcomes that do not say the name."""


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One reason for which attempts did not succeed."""

    reason: str
    result: str
    stage: str
    fault: str
    """Who has to act."""
    remedy: str
    count: int
    first_seen: str
    last_seen: str
    example: str
    """The message of the newest such attempt."""


class Causes(msgspec.Struct, frozen=True, kw_only=True):
    """Why attempts were refused or abandoned, most frequent first."""

    rows: tuple[Cause, ...]
    distinct: int
    others: int
    """Attempts with reasons that have no row."""


class Bar(Counts, frozen=True, kw_only=True):
    """The attempts of one step of time."""

    start: str


class OverTime(msgspec.Struct, frozen=True, kw_only=True):
    """The period in equal steps, the empty ones included."""

    step_seconds: int
    bars: tuple[Bar, ...]


class Durations(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles within 1 % of the true ones; `min` and `max` are exact."""

    count: int
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, null where it was left open, and what was found."""

    since: str | None
    until: str | None
    history_begins: str | None
    """The oldest outcome that is kept, null where that is not known."""
    first: str | None
    last: str | None


class LinesRead(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the lines that were read."""

    counted: int
    left_out: int
    """Outside the period, or of another cluster."""
    unreadable: int
    """No outcome of docs/outcome.md."""


class Logins(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts with one method that came to an end."""

    success: int
    refused: int
    success_ratio: float | None
    """success / (success + refused), null without any."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that is said of a period."""

    version: int = VERSION
    kind: str = KIND
    generated: str
    period: Period
    asked_clusters: tuple[str, ...]
    """Only these were counted; none: all."""
    lines: LinesRead
    totals: Counts
    oauth: Logins
    over_time: OverTime | None
    causes: Causes
    identities: Ranking
    roles: Ranking
    client_addrs: Ranking
    issuers: Ranking
    client_ids: Ranking
    methods: Ranking
    clusters: Ranking
    validation_seconds: Durations | None
    server_authentication_seconds: Durations | None
