"""Counts outcomes line by line, with bounded memory, and makes the Report; reads no files and asks for no time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pgoauthd.correlation.outcome_json import rfc3339
from pgoauthd.reporting.board import Board, CauseEntry, Entry, Person
from pgoauthd.reporting.groups import Group, Groups
from pgoauthd.reporting.lines import Attempt, read_attempt
from pgoauthd.reporting.overtime import Clockwork
from pgoauthd.reporting.pairs import Pairs
from pgoauthd.reporting.spread import Spread
from pgoauthd.reporting.values import (
    Bar,
    Cause,
    Causes,
    Counts,
    IdentityRow,
    LinesRead,
    Logins,
    OverTime,
    Period,
    Ranking,
    Report,
    Row,
)

MAX_IDENTITIES = 100_000
MAX_NAMES = 100_000
"""Roles, and client addresses: clients choose these without any token."""
MAX_PAIRS = 300_000
"""Identities with the addresses that they came from."""
MAX_FEW = 1_000
"""Clusters, methods, reasons, issuers and clients of issuers."""
MAX_EXAMPLE = 500
"""Characters of a message."""
LEAST_FILLED = 0.1
"""Of the period asked for. Where the first and last outcome are nearer, the plot shows only what is between them."""

E = TypeVar("E", bound=Entry)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which outcomes count."""

    since: float | None = None
    until: float | None = None
    """Those at this moment do not count any more."""
    clusters: tuple[str, ...] = ()
    """None: all."""
    history_begins: float | None = None
    """The oldest outcome that is kept, where that is known."""


class Aggregation:
    """Takes lines in any order; `report` can be asked for at any time."""

    def __init__(
        self, asked: Asked | None = None, *, max_identities: int = MAX_IDENTITIES, max_names: int = MAX_NAMES
    ) -> None:
        self._asked = asked or Asked()
        self._since = self._asked.since if self._asked.since is not None else float("-inf")
        self._until = self._asked.until if self._asked.until is not None else float("inf")
        self._clusters_asked = frozenset(self._asked.clusters)
        self._left_out = 0
        self._unreadable = 0
        self._total: Entry | None = None
        """None until something was counted."""
        self._clock = Clockwork()
        self._groups = Groups()
        self._identities = Board(Person, max_identities)
        self._roles = Board(Entry, max_names)
        self._addresses = Board(Entry, max_names)
        self._pairs = Pairs(MAX_PAIRS)
        """Of identities and addresses."""
        self._causes = Board(CauseEntry, MAX_FEW)
        self._issuers, self._client_ids = Board(Entry, MAX_FEW), Board(Entry, MAX_FEW)
        self._methods, self._clusters = Board(Entry, MAX_FEW), Board(Entry, MAX_FEW)
        self._validation, self._server_authentication = Spread(), Spread()

    def add(self, line: bytes) -> None:
        """Count one line, or that it was none; what lies outside of what was asked for is left out."""
        attempt = read_attempt(line)
        if attempt is None:
            self._unreadable += 1
            return
        at = attempt.time.timestamp()
        if not self._since <= at < self._until or (
            self._clusters_asked and attempt.cluster not in self._clusters_asked
        ):
            self._left_out += 1
            return
        self._count(attempt, at)

    def add_unreadable(self) -> None:
        """Count a line that could not even be held."""
        self._unreadable += 1

    def _count(self, attempt: Attempt, at: float) -> None:
        self._clock.add(at, attempt.result)
        self._groups.add(attempt, at)
        if self._groups.full:
            self._count_groups()
        self._count_person(attempt, at)
        if attempt.validation_seconds is not None:
            self._validation.add(attempt.validation_seconds)
        if attempt.server_authentication_seconds is not None:
            self._server_authentication.add(attempt.server_authentication_seconds)

    def _count_person(self, attempt: Attempt, at: float) -> None:
        """Identity, role and address; an identity refers to the texts of the two others, so each is kept once."""
        result, reason = attempt.result, attempt.reason
        role = self._roles.add(attempt.role, result, reason, at)
        address = self._addresses.add(attempt.client_addr, result, reason, at)
        person = self._identities.add(attempt.identity, result, reason, at)
        if person is None:
            return
        if role is not None:
            person.asked_for(role.name)
        if address is not None:
            person.came_from(address.name, self._pairs)

    def _count_groups(self) -> None:
        for group in self._groups.take():
            newest, claims = group.newest, group.newest.claims
            if self._total is None:
                self._total = Entry("", group.first, group.first)
            self._total.count_group(group)
            self._methods.add_group(newest.method, group)
            self._clusters.add_group(newest.cluster, group)
            self._issuers.add_group(newest.issuer or (claims.iss if claims is not None else None), group)
            self._client_ids.add_group(claims.client_id if claims is not None else None, group)
            if newest.result in ("refused", "abandoned"):
                self._count_cause(group)

    def _count_cause(self, group: Group) -> None:
        newest = group.newest
        cause = self._causes.entry(newest.reason, group.first)
        cause.count_group(group)
        if group.last >= cause.last:
            cause.result, cause.stage, cause.fault = newest.result, newest.stage, newest.fault
            cause.remedy, cause.example = newest.remedy[:MAX_EXAMPLE], newest.message[:MAX_EXAMPLE]

    def report(self, *, now: float, top: int) -> Report:
        """What was counted so far, with at most `top` rows in each table."""
        self._count_groups()
        total = self._total or Entry("", 0.0, 0.0)
        return Report(
            generated=rfc3339(now),
            period=self._period(),
            asked_clusters=self._asked.clusters,
            lines=LinesRead(counted=total.outcomes, left_out=self._left_out, unreadable=self._unreadable),
            totals=_counts(total),
            oauth=_logins(self._methods.entries.get("oauth")),
            over_time=self._over_time(),
            causes=_causes(self._causes, top),
            identities=_ranking(self._identities, tuple(_identity_row(e) for e in self._identities.top(top))),
            roles=_rows_of(self._roles, top),
            client_addrs=_rows_of(self._addresses, top),
            issuers=_rows_of(self._issuers, top),
            client_ids=_rows_of(self._client_ids, top),
            methods=_rows_of(self._methods, top),
            clusters=_rows_of(self._clusters, top),
            validation_seconds=self._validation.durations(),
            server_authentication_seconds=self._server_authentication.durations(),
        )

    def _period(self) -> Period:
        asked, total = self._asked, self._total
        return Period(
            since=rfc3339(asked.since) if asked.since is not None else None,
            until=rfc3339(asked.until) if asked.until is not None else None,
            history_begins=rfc3339(asked.history_begins) if asked.history_begins is not None else None,
            first=rfc3339(total.first) if total is not None else None,
            last=rfc3339(total.last) if total is not None else None,
        )

    def _over_time(self) -> OverTime | None:
        if self._total is None:
            return None
        first, last = self._total.first, self._total.last
        begin = self._asked.since if self._asked.since is not None else first
        end = max(last, self._asked.until - 1e-3) if self._asked.until is not None else last
        if last - first < LEAST_FILLED * (end - begin):
            begin, end = first, last
        step, bars = self._clock.bars(begin, end)
        return OverTime(step_seconds=step, bars=tuple(_bar(start, counts) for start, counts in bars))


def _bar(start: int, counts: list[int]) -> Bar:
    success, refused, abandoned, discoveries = counts
    return Bar(
        start=rfc3339(start),
        attempts=success + refused + abandoned,
        success=success,
        refused=refused,
        abandoned=abandoned,
        discoveries=discoveries,
    )


def _counts(entry: Entry) -> Counts:
    return Counts(
        attempts=entry.attempts,
        success=entry.success,
        refused=entry.refused,
        abandoned=entry.abandoned,
        discoveries=entry.discoveries,
    )


def _logins(entry: Entry | None) -> Logins:
    if entry is None or not entry.success + entry.refused:
        return Logins(success=0, refused=0, success_ratio=None)
    ratio = round(entry.success / (entry.success + entry.refused), 6)
    return Logins(success=entry.success, refused=entry.refused, success_ratio=ratio)


def _causes(board: Board[CauseEntry], top: int) -> Causes:
    shown = board.top(top)
    everything = sum(entry.attempts for entry in board.entries.values()) + board.given_up.attempts
    rows = tuple(
        Cause(
            reason=entry.name,
            result=entry.result,
            stage=entry.stage,
            fault=entry.fault,
            remedy=entry.remedy,
            count=entry.attempts,
            first_seen=rfc3339(entry.first),
            last_seen=rfc3339(entry.last),
            example=entry.example,
        )
        for entry in shown
    )
    return Causes(rows=rows, distinct=board.distinct, others=everything - sum(row.count for row in rows))


def _rows_of(board: Board[Entry], top: int) -> Ranking:
    return _ranking(
        board,
        tuple(
            Row(
                name=entry.name,
                attempts=entry.attempts,
                success=entry.success,
                refused=entry.refused,
                abandoned=entry.abandoned,
                discoveries=entry.discoveries,
                last_refusal=entry.last_refusal,
                first_seen=rfc3339(entry.first),
                last_seen=rfc3339(entry.last),
            )
            for entry in board.top(top)
        ),
    )


def _identity_row(person: Person) -> IdentityRow:
    return IdentityRow(
        name=person.name,
        attempts=person.attempts,
        success=person.success,
        refused=person.refused,
        abandoned=person.abandoned,
        discoveries=person.discoveries,
        last_refusal=person.last_refusal,
        first_seen=rfc3339(person.first),
        last_seen=rfc3339(person.last),
        roles=person.roles,
        more_roles=person.more_roles,
        client_addrs=person.addresses,
        more_client_addrs=person.more_addresses,
        last_client_addr=person.last_address,
    )


def _ranking(board: Board[E], rows: tuple[Row, ...] | tuple[IdentityRow, ...]) -> Ranking:
    others = Entry("", 0.0, 0.0)
    others.take(board.given_up)
    shown = {row.name for row in rows}
    for name, entry in board.entries.items():
        if name not in shown:
            others.take(entry)
    return Ranking(
        rows=rows,
        distinct=board.distinct,
        succeeded=sum(entry.success > 0 for entry in board.entries.values()),
        exact=board.exact,
        undercounted_by_at_most=board.undercount,
        others=_counts(others),
        unnamed=_counts(board.unnamed),
    )
