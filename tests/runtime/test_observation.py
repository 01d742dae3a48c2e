from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from pgoauthd.config.values import Cluster
from pgoauthd.correlation.outcome import Outcome, Unmatched
from pgoauthd.logs.events import Saying
from pgoauthd.mapping.prediction import Expected
from pgoauthd.runtime.identfiles import IdentFiles
from pgoauthd.runtime.observation import UNKNOWN_CLUSTER, Observation
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.reasons import Reason
from tests.fix_clock import SteppedClock
from tests.fix_events import START, authenticated, authorized, cause, fatal, ready, received, verdict
from tests.fix_log import logging_to

MAIN = Cluster(name="main", logs=("/log",))
OTHER = Cluster(name="other", logs=("/other",))


@dataclass
class Tail:
    caught_up: bool = True


class Room:
    """An observation, what it published and what it counted."""

    def __init__(self, *clusters: Cluster, validates: bool = True) -> None:
        self.clock = SteppedClock(START)
        self.metrics = Metrics()
        self.outcomes: list[Outcome] = []
        self.observation = Observation(
            clusters,
            states={},
            verdicts=(),
            validates=validates,
            publish=[self.outcomes.append],
            metrics=self.metrics,
            clock=self.clock,
        )
        self.tails = {cluster.name: Tail() for cluster in clusters}

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.observation.tick(self.tails)

    def unmatched(self, cluster: str, kind: Unmatched) -> float:
        sample = {"cluster": cluster, "kind": kind.value}
        return self.metrics.registry.get_sample_value("pgoauthd_correlation_unmatched_total", sample) or 0.0


def test_an_outcome_joins_log_and_verdict_and_is_counted_as_matched() -> None:
    room = Room(MAIN)
    room.observation.on_verdict(verdict())
    room.observation.on_events("main", [received(), authenticated(), authorized(), ready()])
    room.tick()
    assert [outcome.reason for outcome in room.outcomes] == [Reason.OK]
    matched = room.metrics.registry.get_sample_value("pgoauthd_correlation_matched_total", {"cluster": "main"})
    assert matched == 1


def test_a_verdict_finds_its_session_whichever_cluster_logs_it() -> None:
    room = Room(MAIN, OTHER)
    room.observation.on_verdict(verdict(Reason.EXPIRED))
    room.observation.on_events("other", [received()])
    room.tick(66)
    assert [(outcome.cluster, outcome.reason) for outcome in room.outcomes] == [("other", Reason.EXPIRED)]


def test_silence_in_a_log_that_is_not_read_to_its_end_says_nothing() -> None:
    room = Room(MAIN)
    room.observation.on_events("main", [received()])
    room.tails["main"].caught_up = False
    room.tick(1000)
    assert room.outcomes == []
    room.tails["main"].caught_up = True
    room.tick()
    assert [outcome.reason for outcome in room.outcomes] == [Reason.CLIENT_GONE]


@pytest.mark.parametrize(("clusters", "label"), [((MAIN,), "main"), ((MAIN, OTHER), UNKNOWN_CLUSTER)])
def test_a_verdict_that_no_line_asks_for_is_a_logging_gap(clusters: tuple[Cluster, ...], label: str) -> None:
    room = Room(*clusters)
    room.observation.on_verdict(verdict())
    room.tick(80)
    assert room.unmatched(label, Unmatched.VALIDATED_NOT_LOGGED) == 0
    room.tick(20)
    assert room.unmatched(label, Unmatched.VALIDATED_NOT_LOGGED) == 1
    room.tick(20)
    assert room.unmatched(label, Unmatched.VALIDATED_NOT_LOGGED) == 1


def test_without_clusters_verdicts_are_not_kept() -> None:
    room = Room()
    room.observation.on_verdict(verdict())
    assert room.observation.waiting_verdicts() == ()


def test_the_open_sessions_are_a_gauge() -> None:
    room = Room(MAIN)
    room.observation.on_events("main", [received(), received(pid=2)])
    room.tick()
    assert room.metrics.registry.get_sample_value("pgoauthd_sessions_open", {"cluster": "main"}) == 2


def test_the_state_of_one_run_is_the_start_of_the_next() -> None:
    first = Room(MAIN)
    first.observation.on_events("main", [received(), authenticated()])
    first.observation.on_verdict(verdict())
    outcomes: list[Outcome] = []
    second = Observation(
        (MAIN,),
        states=first.observation.states(),
        verdicts=first.observation.waiting_verdicts(),
        validates=True,
        publish=[outcomes.append],
        metrics=Metrics(),
        clock=first.clock,
    )
    second.on_events("main", [authorized(), ready()])
    assert [(o.reason, o.identity, o.validation_seconds) for o in outcomes] == [(Reason.OK, "alice", 0.0004)]


def test_a_login_without_a_verdict_is_a_finding_where_tokens_are_judged_here() -> None:
    room = Room(MAIN)
    room.observation.on_events("main", [received(), authenticated(), authorized(), ready()])
    room.tick()
    assert room.unmatched("main", Unmatched.LOGGED_NOT_VALIDATED) == 1


@pytest.mark.parametrize(
    "room",
    [Room(MAIN, validates=False), Room(Cluster(name="main", logs=("/log",), validated_here=False))],
    ids=["only observed", "another validator"],
)
def test_a_login_without_a_verdict_is_none_where_they_are_not(room: Room) -> None:
    room.observation.on_events("main", [received(), authenticated(), authorized(), ready()])
    room.tick()
    assert room.unmatched("main", Unmatched.LOGGED_NOT_VALIDATED) == 0


def test_a_jump_of_the_wall_clock_makes_no_attempt_older() -> None:
    room = Room(MAIN)
    room.observation.on_events("main", [received()])
    room.observation.on_verdict(verdict())
    room.clock.jump(3600)
    room.tick(1)
    assert room.outcomes == []
    assert len(room.observation.waiting_verdicts()) == 1


def test_verdicts_do_not_wait_for_ever_for_a_log_that_cannot_be_read() -> None:
    room = Room(MAIN)
    room.tails["main"].caught_up = False
    room.observation.on_verdict(verdict())
    room.tick(590)
    assert len(room.observation.waiting_verdicts()) == 1
    room.tick(20)
    assert room.observation.waiting_verdicts() == ()
    assert room.unmatched("main", Unmatched.EVICTED) == 1


@pytest.mark.parametrize(
    ("role", "expected"), [("alice", Expected.MATCH), ("dba", Expected.NO_MATCH)], ids=["as it happened", "otherwise"]
)
def test_an_outcome_says_what_pg_ident_conf_said(tmp_path: Path, role: str, expected: Expected) -> None:
    (tmp_path / "pg_ident.conf").write_text(f"people alice {role}\n", encoding="utf-8")
    cluster = msgspec.structs.replace(MAIN, ident_file=str(tmp_path / "pg_ident.conf"))
    outcomes: list[Outcome] = []
    metrics, clock, log = Metrics(), SteppedClock(START), io.StringIO()
    with logging_to(log) as logger:
        observation = Observation(
            (cluster,),
            states={},
            verdicts=(),
            validates=True,
            publish=[outcomes.append],
            metrics=metrics,
            clock=clock,
            ident=IdentFiles([cluster], metrics=metrics, log=logger, clock=clock),
        )
        observation.on_verdict(msgspec.structs.replace(verdict(), usermap="people"))
        observation.on_events("main", [received(), authenticated(), authorized(), ready()])

    assert outcomes[0].mapping is not None
    assert outcomes[0].mapping.expected is expected
    assert ("usermap_differs" in log.getvalue()) is (expected is Expected.NO_MATCH)


def test_without_the_file_of_a_map_nothing_is_said_of_it() -> None:
    room = Room(MAIN)
    room.observation.on_verdict(msgspec.structs.replace(verdict(), usermap="people"))
    room.observation.on_events(
        "main", [received(), authenticated(), cause(Saying.USERMAP_NO_MATCH, usermap="people"), fatal()]
    )
    assert [(outcome.reason, outcome.mapping) for outcome in room.outcomes] == [(Reason.USERMAP_NO_MATCH, None)]
