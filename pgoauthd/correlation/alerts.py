"""When are refused logins news? Groups outcomes by cluster and reason into alerts; never posts, waits or stores."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from pgoauthd.correlation.outcome import Outcome, Result
from pgoauthd.tokens.reasons import Fault, Reason, Stage

MAX_ALERTS_A_POST = 64
MAX_TEXT = 300
"""Characters of one text in an example."""
GIVE_UP_SECONDS = 86_400.0
"""A receiver that was away for longer is not told what it missed."""


class Severity(StrEnum):
    """How soon somebody has to look, in the words of the Prometheus rules in dashboards/rules."""

    WARNING = "warning"
    """Somebody cannot log in."""
    CRITICAL = "critical"
    """Nobody can, or soon nobody will."""


class Status(StrEnum):
    """Alertmanager's two words."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is news, and how often. Times in seconds."""

    reasons: frozenset[Reason]
    group_interval: float = 60.0
    """At most one post per cluster and reason in this time."""
    resolve_after: float = 300.0
    """An alert is over after this time without another such outcome."""
    max_groups: int = 1_000
    max_examples: int = 5


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One of the attempts, for a person to start from. Texts come from users: cut to MAX_TEXT, never a label."""

    time: float
    """By the server's clock, seconds since the epoch."""
    role: str | None
    database: str | None
    identity: str | None
    client_addr: str | None
    session_id: str | None
    message: str
    remedy: str
    count: int
    """How many attempts had this role, database, identity and address; the other members are those of the last."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be told about one cluster and reason now. Times are seconds since the epoch, by our own clock."""

    status: Status
    cluster: str
    reason: Reason
    severity: Severity
    count: int
    """Attempts since `starts_at`."""
    starts_at: float
    last_seen_at: float
    ends_at: float
    """Resolved: when it was over. Firing: when a receiver that hears nothing more may think that it is over."""
    examples: tuple[Example, ...]
    """The last few different ones, oldest first."""


ExampleKey = tuple[str | None, str | None, str | None, str | None]


@dataclass(slots=True)
class _Group:
    """One cluster and reason. With `count` 0 nothing is wrong, and it is kept only to remember `not_before`."""

    starts_at: float
    last_seen_at: float
    not_before: float
    """When the next post is allowed."""
    count: int = 0
    told: int = 0
    """How many of `count` the receiver knows of."""
    examples: OrderedDict[ExampleKey, tuple[Example, float]] = field(default_factory=OrderedDict)
    """With the time of ours at which each was seen last."""


class Alerts:
    """The alerts of one receiver: `add` outcomes, post what is `due`, and say whether that was `delivered`.

    Nothing counts as told before it is delivered, so what a receiver misses is in the next post. `now` is in seconds
    since the epoch. `given_up` counts the outcomes of which the receiver was never told and will not be.
    """

    def __init__(self, policy: Policy) -> None:
        self.given_up = 0
        self._policy = policy
        self._groups: OrderedDict[tuple[str, Reason], _Group] = OrderedDict()
        """The most recently seen last."""

    def __len__(self) -> int:
        """Groups held, the quiet ones included."""
        return len(self._groups)

    def add(self, outcome: Outcome, now: float) -> bool:
        """Take an outcome; whether it is news. Successes and discoveries never are: neither is a failure."""
        if outcome.reason not in self._policy.reasons or outcome.result in (Result.SUCCESS, Result.DISCOVERY):
            return False
        group = self._group((outcome.cluster, outcome.reason), now)
        if group.count == 0:
            group.starts_at = now
        group.count += 1
        group.last_seen_at = now
        self._keep_example(group, outcome, now)
        return True

    def due(self, now: float) -> tuple[Alert, ...]:
        """What to post now, at most MAX_ALERTS_A_POST; it stays due until it is delivered or rejected."""
        due = (key for key in self._groups if self._due_at(self._groups[key]) <= now)
        return tuple(self._alert(*key, self._groups[key], now) for key in itertools.islice(due, MAX_ALERTS_A_POST))

    def next_due(self) -> float | None:
        """When `due` will have something, if no outcome comes before; None for never."""
        times = [self._due_at(group) for group in self._groups.values() if group.count]
        return min(times, default=None)

    def delivered(self, alerts: Iterable[Alert], now: float) -> None:
        """The receiver has taken these."""
        for alert in alerts:
            group = self._groups.get((alert.cluster, alert.reason))
            if group is None:
                continue
            group.not_before = now + self._policy.group_interval
            if alert.status is Status.FIRING:
                group.told = alert.count
            else:
                _begin_anew(group, alert)

    def rejected(self, alerts: Iterable[Alert], now: float) -> None:
        """The receiver will never take these (4xx): not to be posted again, but counted as given up."""
        alerts = tuple(alerts)
        for alert in alerts:
            self.given_up += alert.count - self._told(alert)
        self.delivered(alerts, now)

    def missed(self, now: float) -> None:
        """The receiver is away: what was last seen more than a day ago is given up, the rest stays due."""
        for key in [key for key, group in self._groups.items() if now - group.last_seen_at > GIVE_UP_SECONDS]:
            self._give_up(key)

    def _group(self, key: tuple[str, Reason], now: float) -> _Group:
        group = self._groups.get(key)
        if group is None:
            self._make_room(now)
            group = self._groups[key] = _Group(starts_at=now, last_seen_at=now, not_before=now)
        self._groups.move_to_end(key)
        return group

    def _make_room(self, now: float) -> None:
        """Forget the quiet ones, and if that is not enough the one that was seen least recently."""
        for key in [key for key, group in self._groups.items() if not group.count and group.not_before <= now]:
            del self._groups[key]
        while len(self._groups) >= self._policy.max_groups:
            self._give_up(next(iter(self._groups)))

    def _give_up(self, key: tuple[str, Reason]) -> None:
        group = self._groups.pop(key)
        self.given_up += group.count - group.told

    def _told(self, alert: Alert) -> int:
        group = self._groups.get((alert.cluster, alert.reason))
        return group.told if group else 0

    def _keep_example(self, group: _Group, outcome: Outcome, now: float) -> None:
        key = (outcome.role, outcome.database, outcome.identity, outcome.client_addr)
        before = group.examples.pop(key, None)
        group.examples[key] = (_example(outcome, before[0].count + 1 if before else 1), now)
        if len(group.examples) > self._policy.max_examples:
            group.examples.popitem(last=False)

    def _due_at(self, group: _Group) -> float:
        """When this group is to be posted next; infinity while nothing is wrong."""
        if group.count == 0:
            return float("inf")
        if group.count > group.told:
            return group.not_before
        return max(group.not_before, group.last_seen_at + self._policy.resolve_after)

    def _alert(self, cluster: str, reason: Reason, group: _Group, now: float) -> Alert:
        over_at = group.last_seen_at + self._policy.resolve_after
        status = Status.RESOLVED if now >= over_at else Status.FIRING
        return Alert(
            status=status,
            cluster=cluster,
            reason=reason,
            severity=severity(reason),
            count=group.count,
            starts_at=group.starts_at,
            last_seen_at=group.last_seen_at,
            # A firing alert outlives two posts that go astray; then the receiver must think that we are gone.
            ends_at=over_at if status is Status.RESOLVED else max(now, over_at) + 2 * self._policy.group_interval,
            examples=tuple(example for example, _ in group.examples.values()),
        )


def severity(reason: Reason) -> Severity:
    """Critical where the machinery is broken (identity provider, validator) and so all logins are in danger."""
    if reason.stage is Stage.IDP or (reason.stage is Stage.VALIDATOR and reason.fault is not Fault.CLIENT):
        return Severity.CRITICAL
    return Severity.WARNING


def _begin_anew(group: _Group, resolved: Alert) -> None:
    """After a resolved alert the count starts at 0, or at what came while that was on its way."""
    group.count -= resolved.count
    group.told = 0
    group.starts_at = group.last_seen_at
    for key in [key for key, (_, seen_at) in group.examples.items() if seen_at <= resolved.last_seen_at]:
        del group.examples[key]


def _example(outcome: Outcome, count: int) -> Example:
    return Example(
        time=outcome.time,
        role=_cut(outcome.role),
        database=_cut(outcome.database),
        identity=_cut(outcome.identity),
        client_addr=_cut(outcome.client_addr),
        session_id=_cut(outcome.session_id),
        message=_cut(outcome.message) or "",
        remedy=_cut(outcome.remedy) or "",
        count=count,
    )


def _cut(text: str | None) -> str | None:
    """At most MAX_TEXT characters that JSON can carry: a lone surrogate of an undecodable log line cannot."""
    if text is None:
        return None
    whole = text.encode("utf-8", "replace").decode()
    return whole if len(whole) <= MAX_TEXT else whole[: MAX_TEXT - 1] + "…"
