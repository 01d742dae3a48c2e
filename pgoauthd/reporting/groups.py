"""Gathers outcomes that are alike in all that has few values, so that most lines are counted once and not eight times.

It never holds many: when there are MAX_GROUPS of them, whoever asks takes them all.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pgoauthd.reporting.lines import Attempt

MAX_GROUPS = 2_000


class Group(msgspec.Struct, gc=False):
    """Outcomes with the same result, reason, method, cluster, issuer and client of the issuer."""

    newest: Attempt
    first: float
    last: float
    count: int = 0


class Groups:
    """The outcomes since they were last taken."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str | None, ...], Group] = {}

    @property
    def full(self) -> bool:
        """Time to take them."""
        return len(self._groups) >= MAX_GROUPS

    def add(self, attempt: Attempt, at: float) -> None:
        """Gather one outcome."""
        claims = attempt.claims
        key = (
            attempt.result,
            attempt.reason,
            attempt.method,
            attempt.cluster,
            attempt.issuer,
            claims.iss if claims is not None else None,
            claims.client_id if claims is not None else None,
        )
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(attempt, at, at)
        group.count += 1
        if at >= group.last:
            group.last, group.newest = at, attempt
        elif at < group.first:
            group.first = at

    def take(self) -> Iterator[Group]:
        """Each group, once."""
        groups, self._groups = self._groups, {}
        yield from groups.values()
