"""Metrics that go on after a restart, as a scrape sees them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from pgoauthd.telemetry.kept import KeptCounter, KeptHistogram
from pgoauthd.telemetry.ledger import Entries, Ledger, Series
from pgoauthd.telemetry.metrics import DURATION_BUCKETS, Metrics
from pgoauthd.tokens.reasons import Reason
from tests.fix_events import START
from tests.fix_outcomes import outcome

SUCCESS = {"cluster": "main", "method": "oauth", "result": "success", "stage": "done", "reason": "ok"}


class File:
    """What the saves of all runs have written."""

    def __init__(self) -> None:
        self.values: dict[Series, float] = {}

    def run(self, *clusters: str) -> Metrics:
        """The metrics of the next run."""
        metrics = Metrics()
        metrics.restore(Entries(dict(self.values), {}))
        metrics.ledger.hold_back()
        metrics.declare(clusters=clusters, issuers=(), sinks=())
        return metrics

    def save(self, metrics: Metrics) -> None:
        taken = metrics.ledger.take()
        for series, amount in taken.added.items():
            self.values[series] = self.values.get(series, 0.0) + amount
        self.values |= taken.put
        metrics.ledger.show(taken)


def sample(metrics: Metrics, name: str, labels: dict[str, str]) -> float | None:
    return metrics.registry.get_sample_value(f"pgoauthd_{name}", labels)


def attempts(metrics: Metrics, cluster: str = "main") -> float | None:
    stage = {"stage": str(Reason.OK.stage)}
    return sample(metrics, "login_attempts_total", SUCCESS | stage | {"cluster": cluster})


def test_a_counter_is_shown_when_it_is_saved_and_goes_on_after_a_restart() -> None:
    file = File()
    for run in range(3):
        metrics = file.run("main")
        assert attempts(metrics) == 2 * run
        for _ in range(2):
            metrics.count_outcome(outcome(Reason.OK))
        assert attempts(metrics) == 2 * run
        file.save(metrics)
        assert attempts(metrics) == 2 * run + 2


def test_what_was_counted_after_the_last_save_was_never_shown_and_is_not_there_after_a_crash() -> None:
    file = File()
    metrics = file.run("main")
    metrics.count_outcome(outcome(Reason.OK))
    file.save(metrics)
    metrics.count_outcome(outcome(Reason.OK))
    assert attempts(metrics) == 1
    assert attempts(file.run("main")) == 1


def test_a_gauge_is_set_to_what_it_was() -> None:
    file = File()
    for run in range(2):
        metrics = file.run("main")
        metrics.count_outcome(outcome(Reason.OK, time=START + run))
        file.save(metrics)
    assert sample(file.run("main"), "last_success_timestamp_seconds", {"cluster": "main"}) == START + 1


def test_the_buckets_the_sum_and_the_count_of_a_histogram_go_on() -> None:
    file = File()
    for seconds in (0.0003, 0.3, 99.0):
        metrics = file.run("main")
        metrics.count_outcome(outcome(Reason.OK, server_authentication_seconds=seconds))
        file.save(metrics)
    metrics = file.run("main")
    name = "server_authentication_seconds"
    found = [
        sample(metrics, f"{name}_bucket", {"cluster": "main", "le": le}) for le in ("0.00025", "0.0005", "0.5", "+Inf")
    ]
    assert found == [0, 1, 2, 3]
    assert sample(metrics, f"{name}_sum", {"cluster": "main"}) == pytest.approx(99.3003)
    assert sample(metrics, f"{name}_count", {"cluster": "main"}) == 3


def test_what_an_older_version_has_counted_and_this_one_does_not_is_passed_over() -> None:
    file = File()
    file.values = {("of_an_older_version", ("main",)): 7.0, ("without_labels", ()): 8.0}
    metrics = file.run("main")
    assert attempts(metrics) == 0
    assert b"of_an_older_version" not in metrics.expose("")[0]


@pytest.mark.parametrize(
    ("series", "value"),
    [
        (("login_attempts", ("main", "of a version with fewer labels")), 7.0),
        (("server_authentication_seconds_bucket", ("main", "no number")), 7.0),
        (("log_lost_lines", ("main",)), -1.0),
    ],
    ids=["labels", "bucket", "negative"],
)
def test_what_cannot_be_shown_as_this_version_declares_it_is_passed_over(series: Series, value: float) -> None:
    file = File()
    file.values = {series: value}
    assert attempts(file.run("main")) == 0


def test_a_cluster_that_is_not_configured_is_not_shown_until_it_is_and_keeps_its_counts_meanwhile() -> None:
    file = File()
    first = file.run("main", "other")
    for cluster in ("main", "other", "other"):
        first.count_outcome(outcome(Reason.OK, cluster=cluster))
    file.save(first)
    second = file.run("main")
    second.count_outcome(outcome(Reason.OK))
    file.save(second)
    assert (attempts(second), attempts(second, "other")) == (2, None)
    assert b'"other"' not in second.expose("")[0]
    second.declare(clusters=["other"], issuers=(), sinks=())
    assert attempts(second, "other") == 2
    assert attempts(file.run("other"), "other") == 2


def test_a_cluster_that_is_declared_again_is_not_counted_twice() -> None:
    file = File()
    metrics = file.run("main")
    metrics.count_outcome(outcome(Reason.OK))
    file.save(metrics)
    metrics = file.run("main")
    metrics.declare(clusters=["main"], issuers=(), sinks=())
    assert attempts(metrics) == 1


def test_to_count_nothing_is_no_entry() -> None:
    ledger = Ledger(lambda _: None)
    ledger.hold_back()
    KeptCounter("log_lost", ledger).labels("main").inc(0)
    assert ledger.take() == ({}, {})


@given(values=st.lists(st.one_of(st.floats(0, 20), st.sampled_from(DURATION_BUCKETS))))
def test_a_kept_histogram_counts_as_one_of_prometheus_does(values: list[float]) -> None:
    theirs = Histogram("h", "h", buckets=DURATION_BUCKETS, registry=CollectorRegistry())
    ours = KeptHistogram("h", (), DURATION_BUCKETS, ledger := Ledger(lambda _: None))
    ledger.hold_back()
    for value in values:
        theirs.observe(value)
        ours.observe(value)
    show(ours, ledger.take())
    ours.declare()
    ((_, buckets, total),) = ours.shown()
    (family,) = theirs.collect()
    expected = {one.labels["le"]: one.value for one in family.samples if one.name == "h_bucket"}
    assert dict(buckets) == expected
    assert total == pytest.approx(sum(values))


def test_a_bucket_that_there_is_no_more_counts_as_the_next_larger_one() -> None:
    old = KeptHistogram("h", (), (0.1, 0.2, 0.3, 4.0), ledger := Ledger(lambda _: None))
    ledger.hold_back()
    for value in (0.05, 0.15, 0.25, 3.0, 9.0):
        old.observe(value)
    new = KeptHistogram("h", (), (0.1, 0.3, 1.0), ledger)
    show(new, ledger.take())
    ((_, buckets, _),) = new.shown()
    assert dict(buckets) == {"0.1": 1, "0.3": 3, "1.0": 3, "+Inf": 5}


def show(histogram: KeptHistogram, entries: Entries) -> None:
    for (name, labels), amount in entries.added.items():
        (histogram.show_sum if name == histogram.sum_series else histogram.show_bucket)(labels, amount)


def test_the_exposition_of_a_restored_histogram_can_be_read() -> None:
    file = File()
    metrics = file.run("main")
    metrics.count_outcome(outcome(Reason.OK, server_authentication_seconds=0.2))
    file.save(metrics)
    body, _ = file.run("main").expose("")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    family = families["pgoauthd_server_authentication_seconds"]
    assert family.type == "histogram"
    assert {one.name.rpartition("_")[2] for one in family.samples} == {"bucket", "sum", "count"}
