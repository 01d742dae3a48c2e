"""A token in a server's log is counted and told, once a login, without a piece of it."""

from __future__ import annotations

import io
import json

from structlog.typing import FilteringBoundLogger

from pgoauthd.config.values import Cluster
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.logs.events import AuthEvent, Saying
from pgoauthd.runtime.observation import Observation
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.reasons import Reason
from tests.fix_clock import SteppedClock
from tests.fix_events import START, cause, fatal, received, verdict
from tests.fix_log import logging_to

OURS = Cluster(name="main", logs=("/log",))
THEIRS = Cluster(name="erp", logs=("/erp",), validated_here=False)


class Room:
    """An observation of two clusters, one of which has another validator."""

    def __init__(self, log: FilteringBoundLogger | None = None) -> None:
        self.metrics = Metrics()
        self.metrics.declare(clusters=("main", "erp"), issuers=(), sinks=())
        self.outcomes: list[Outcome] = []
        self.observation = Observation(
            publish=[self.outcomes.append], metrics=self.metrics, clock=SteppedClock(START), log=log
        )
        self.observation.use((OURS, THEIRS), validates=True)

    def counted(self, cluster: str) -> float | None:
        return self.metrics.registry.get_sample_value("pgoauthd_log_leaked_tokens_total", {"cluster": cluster})


def leak(pid: int) -> AuthEvent:
    return cause(Saying.FOREIGN, pid=pid, reason_code="token_opaque", detail="x: [redacted]", leaked=True)


def test_the_warning_says_where_and_what_to_do() -> None:
    said = io.StringIO()
    with logging_to(said) as log:
        room = Room(log)
        room.observation.on_events("erp", [received(pid=1), leak(1), leak(1), received(pid=2), leak(2)])
        room.observation.on_events("erp", [leak(1), fatal(pid=1)])
    (line,) = [json.loads(line) for line in said.getvalue().splitlines()]
    assert (line["event"], line["level"]) == ("token_leaked", "warning")
    assert (line["cluster"], line["logins"], line["pid"]) == ("erp", 2, 2)
    assert "revoke" in line["remedy"]


def test_logins_are_counted_by_cluster_from_nought_on() -> None:
    room = Room()
    assert (room.counted("main"), room.counted("erp")) == (0, 0)
    room.observation.on_events("erp", [received(pid=1), leak(1), received(pid=2), leak(2), leak(2)])
    assert (room.counted("main"), room.counted("erp")) == (0, 2)


def test_a_cluster_with_another_validator_gets_no_verdict_of_ours() -> None:
    room = Room()
    room.observation.on_verdict(verdict(Reason.SCOPE_MISSING))
    room.observation.on_events("erp", [received(), fatal()])
    room.observation.on_events("main", [received(), fatal()])
    assert [(one.cluster, one.reason) for one in room.outcomes] == [
        ("erp", Reason.DISCOVERY),
        ("main", Reason.SCOPE_MISSING),
    ]
