from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from pgoauthd.config.values import Cluster
from pgoauthd.correlation.engine import EngineState, Known
from pgoauthd.correlation.outcome import Outcome, Unmatched
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.logs.events import Saying
from pgoauthd.mapping.prediction import Expected
from pgoauthd.runtime.identfiles import IdentFiles
from pgoauthd.runtime.observation import UNKNOWN_CLUSTER, Observation
from pgoauthd.runtime.store import ClusterState, Saved
from pgoauthd.telemetry.ledger import Entries
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
    """An observation, what it published and what it counted; with `saved` it goes on from there."""

    def __init__(self, *clusters: Cluster, validates: bool = True, saved: Saved | None = None) -> None:
        self.clock = SteppedClock(START)
        self.metrics = Metrics()
        self.outcomes: list[Outcome] = []
        self.observation = Observation(publish=[self.outcomes.append], metrics=self.metrics, clock=self.clock)
        if saved is not None:
            self.observation.restore(saved)
        self.observation.use(clusters, validates=validates)
        self.tails = {cluster.name: Tail() for cluster in clusters}

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.observation.tick(self.tails)

    def waiting(self) -> int:
        """How many verdicts wait that were not asked for before, or still do."""
        return len(self.observation.take_changes()[1].added)

    def save(self) -> Saved:
        """All that there is, as of a first save."""
        engines, verdicts = self.observation.take_changes()
        return left(
            {name: EngineState(open=it.open, silenced=it.silenced, known=it.known) for name, it in engines.items()},
            verdicts.added,
        )

    def unmatched(self, cluster: str, kind: Unmatched) -> float:
        sample = {"cluster": cluster, "kind": kind.value}
        return self.metrics.registry.get_sample_value("pgoauthd_correlation_unmatched_total", sample) or 0.0


def left(
    engines: dict[str, EngineState] | None = None,
    verdicts: tuple[SessionVerdict, ...] = (),
    since: tuple[SessionVerdict, ...] = (),
    *,
    verdicts_lost: bool = False,
) -> Saved:
    """What a run has left."""
    return Saved(
        clusters={name: ClusterState(engine=engine) for name, engine in (engines or {}).items()},
        verdicts=verdicts,
        verdicts_since=since,
        counters=Entries({}, {}),
        clean=not verdicts_lost,
        verdicts_lost=verdicts_lost,
    )


LOGIN = [received(), authenticated(), authorized(), ready()]


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
    assert room.observation.on_verdict(verdict()) is None
    assert room.waiting() == 0


def test_the_open_sessions_are_a_gauge() -> None:
    room = Room(MAIN)
    room.observation.on_events("main", [received(), received(pid=2)])
    room.tick()
    assert room.metrics.registry.get_sample_value("pgoauthd_sessions_open", {"cluster": "main"}) == 2


def test_the_state_of_one_run_is_the_start_of_the_next() -> None:
    first = Room(MAIN)
    first.observation.on_events("main", [received(), authenticated()])
    first.observation.on_verdict(verdict())
    second = Room(MAIN, saved=first.save())
    second.observation.on_events("main", [authorized(), ready()])
    assert [(o.reason, o.identity, o.validation_seconds) for o in second.outcomes] == [(Reason.OK, "alice", 0.0004)]


def test_what_was_restored_is_not_to_be_saved_again_before_it_changes() -> None:
    first = Room(MAIN)
    first.observation.on_events("main", [received(), received(pid=2)])
    first.observation.on_verdict(verdict())
    second = Room(MAIN, saved=first.save())
    engines, verdicts = second.observation.take_changes()
    assert not engines["main"].matter
    assert not verdicts.matter


def test_verdicts_that_came_after_the_last_save_wait_again_and_are_to_be_saved() -> None:
    room = Room(MAIN, saved=left({"main": EngineState()}, (verdict(pid=1),), (verdict(),)))
    assert room.observation.take_changes()[1].added == (verdict(),)
    room.observation.on_events("main", LOGIN)
    assert [outcome.validation_seconds for outcome in room.outcomes] == [0.0004]


def test_the_age_of_restored_verdicts_is_counted_from_the_start() -> None:
    room = Room(MAIN, saved=left({}, (verdict(at=-5_000),)))
    room.tick(80)
    assert room.unmatched("main", Unmatched.VALIDATED_NOT_LOGGED) == 0
    room.tick(20)
    assert room.unmatched("main", Unmatched.VALIDATED_NOT_LOGGED) == 1


@pytest.mark.parametrize(("lost", "findings"), [(False, 1), (True, 0)], ids=["as it should be", "verdicts are lost"])
def test_a_login_before_the_start_needs_no_verdict_only_where_verdicts_are_lost(lost: bool, findings: int) -> None:
    known = EngineState(known=Known(validated_since=START - 1_000))
    room = Room(MAIN, saved=left({"main": known}, verdicts_lost=lost))
    earlier = [msgspec.structs.replace(line, time=line.time - 10) for line in LOGIN]
    room.observation.on_events("main", earlier)
    room.tick()
    assert room.unmatched("main", Unmatched.LOGGED_NOT_VALIDATED) == findings


def test_where_verdicts_are_lost_a_login_after_the_start_needs_one() -> None:
    known = EngineState(known=Known(validated_since=START - 1_000))
    room = Room(MAIN, saved=left({"main": known}, verdicts_lost=True))
    room.observation.on_events("main", [msgspec.structs.replace(line, time=line.time + 10) for line in LOGIN])
    room.tick()
    assert room.unmatched("main", Unmatched.LOGGED_NOT_VALIDATED) == 1


def test_the_sessions_of_a_cluster_that_is_not_configured_wait_for_its_return() -> None:
    first = Room(MAIN, OTHER)
    first.observation.on_events("other", LOGIN[:2])
    second = Room(MAIN, saved=first.save())
    second.tick(1)
    second.observation.use((MAIN, OTHER), validates=True)
    second.observation.on_events("other", LOGIN[2:])
    assert [(outcome.cluster, outcome.identity) for outcome in second.outcomes] == [("other", "alice")]


def test_a_cluster_that_goes_and_comes_back_in_one_run_goes_on_where_it_was() -> None:
    room = Room(MAIN, OTHER)
    room.observation.on_events("other", LOGIN[:2])
    room.observation.use((MAIN,), validates=True)
    room.observation.use((MAIN, OTHER), validates=True)
    room.observation.on_events("other", LOGIN[2:])
    assert [outcome.cluster for outcome in room.outcomes] == ["other"]


def test_there_is_room_until_somebody_says_otherwise() -> None:
    assert Room(MAIN).observation.room.is_set()


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
    assert room.waiting() == 1


def test_verdicts_do_not_wait_for_ever_for_a_log_that_cannot_be_read() -> None:
    room = Room(MAIN)
    room.tails["main"].caught_up = False
    room.observation.on_verdict(verdict())
    room.tick(590)
    assert room.unmatched("main", Unmatched.EVICTED) == 0
    room.tick(20)
    assert room.waiting() == 0
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
            publish=[outcomes.append],
            metrics=metrics,
            clock=clock,
            ident=IdentFiles([cluster], metrics=metrics, log=logger, clock=clock),
        )
        observation.use((cluster,), validates=True)
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
