"""Every metric of pgoauthd, declared in one place: the only module that imports prometheus_client; never decides.

Label values come from closed enums or from the configuration, never from users (docs/metrics.md).
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pgoauthd import __version__
from pgoauthd.correlation.mapped import Agreement
from pgoauthd.correlation.outcome import Outcome, Result, Unmatched
from pgoauthd.logs.readers import LogFormat
from pgoauthd.telemetry.kept import KeptCounter, KeptGauge, KeptHistogram
from pgoauthd.telemetry.ledger import Entries, Ledger, Series
from pgoauthd.tokens.reasons import Reason, Stage

METHODS = (
    "oauth",
    "scram-sha-256",
    "md5",
    "password",
    "cert",
    "trust",
    "peer",
    "ident",
    "gss",
    "sspi",
    "ldap",
    "radius",
    "pam",
    "bsd",
    "unknown",
)
"""Values of the `method` label: the words of pg_hba.conf, and `unknown` where the log does not say."""

DURATION_BUCKETS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
"""Seconds, 0.1 ms to 10 s."""

FETCH_OUTCOMES = ("success", "unreachable", "timeout", "error", "invalid", "client_refused")
ENDPOINTS = ("metadata", "jwks", "introspection")
CACHE_RESULTS = ("hit", "negative_hit", "joined", "miss")
KEY_CHANGES = ("added", "removed")
RELOAD_OUTCOMES = ("applied", "unchanged", "refused")
HISTORY = "history"
"""The `sink` label of outcomes that the history lacks."""
DELETE_CAUSES = ("age", "size")
PROBE_STEPS = ("token", "connect", "tls", "sasl", "ready")
SHED_KINDS = ("connections", "connections_per_uid", "uid", "size", "deadline", "request")


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """What a metric is, for docs/metrics.md and for the tests of rules and dashboards."""

    name: str
    """As exposed: a counter's ends in `_total`; a histogram's series add `_bucket`, `_sum` and `_count`."""
    kind: str
    """counter, gauge, histogram."""
    text: str
    labels: tuple[str, ...]
    kept: bool = False
    """It goes on after a restart from where it was; others begin at 0."""


class _Registered:
    """The registry, with how each metric was declared and, of one that is kept, what shows its entries."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series for each counter that nobody reads
        self.registry = CollectorRegistry()
        self.declarations: list[Declaration] = []
        self.ledger = Ledger(self._show)
        self._shown_by: dict[str, Callable[[tuple[str, ...], float], None]] = {}

    def counter(self, name: str, text: str, *labels: str, kept: bool = False) -> Counter:
        self._note("counter", f"{name}_total", text, labels, kept=kept)
        return Counter(f"pgoauthd_{name}", text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, *labels: str, kept: bool = False) -> Gauge:
        self._note("gauge", name, text, labels, kept=kept)
        return Gauge(f"pgoauthd_{name}", text, labels, registry=self.registry)

    def histogram(self, name: str, text: str, *labels: str) -> Histogram:
        self._note("histogram", name, text, labels)
        return Histogram(f"pgoauthd_{name}", text, labels, buckets=DURATION_BUCKETS, registry=self.registry)

    def kept_counter(self, name: str, text: str, *labels: str) -> KeptCounter:
        shown = self.counter(name, text, *labels, kept=True)
        self._shown_by[name] = lambda values, amount: shown.labels(*values).inc(amount)
        return KeptCounter(name, self.ledger)

    def kept_gauge(self, name: str, text: str, *labels: str) -> tuple[KeptGauge, Gauge]:
        """What sets it, and what is shown."""
        shown = self.gauge(name, text, *labels, kept=True)
        self._shown_by[name] = lambda values, value: shown.labels(*values).set(value)
        return KeptGauge(name, self.ledger), shown

    def kept_histogram(self, name: str, text: str, *labels: str) -> KeptHistogram:
        self._note("histogram", name, text, labels, kept=True)
        histogram = KeptHistogram(name, labels, DURATION_BUCKETS, self.ledger)
        self.registry.register(_Shown(histogram, f"pgoauthd_{name}", text, labels))
        self._shown_by[histogram.bucket_series] = histogram.show_bucket
        self._shown_by[histogram.sum_series] = histogram.show_sum
        return histogram

    def _note(self, kind: str, name: str, text: str, labels: tuple[str, ...], *, kept: bool = False) -> None:
        declaration = Declaration(name=f"pgoauthd_{name}", kind=kind, text=text, labels=labels, kept=kept)
        self.declarations.append(declaration)

    def _show(self, entries: Entries) -> None:
        """Those of metrics that there are no more are passed over."""
        for kind in entries:
            for (name, labels), value in kind.items():
                if (show := self._shown_by.get(name)) is not None:
                    show(labels, value)


class Metrics:
    """The registry and what is in it; one instance a daemon, made by `daemon.py`, so tests never share counters.

    What follows from a log is kept: it goes through `ledger`, is saved with the positions in that log, and goes on from
    there after a restart.
    """

    def __init__(self) -> None:
        registered = _Registered()
        self.registry = registered.registry
        self.declarations = registered.declarations
        self.ledger = registered.ledger
        self._unclaimed: dict[str, Entries] = {}
        """What the last run has saved of clusters that are not configured (yet), by cluster."""
        counter, kept_counter = registered.counter, registered.kept_counter
        gauge, histogram = registered.gauge, registered.histogram
        self.attempts = kept_counter(
            "login_attempts",
            "Login attempts by how they ended.",
            "cluster",
            "method",
            "result",
            "stage",
            "reason",
        )
        self.server_authentication = registered.kept_histogram(
            "server_authentication_seconds",
            "Authentication time as the server measured it (connection ready).",
            "cluster",
        )
        self.last_success, self._last_success_shown = registered.kept_gauge(
            "last_success_timestamp_seconds", "When an OAuth login last succeeded.", "cluster"
        )
        self.validations = counter("validations", "Tokens judged, by reason.", "reason", "stage")
        self.validation_duration = histogram(
            "validation_duration_seconds",
            "Time from the request on the socket to the reply, by stage.",
            "stage",
        )
        self.callout_shed = counter("callout_rejected", "Requests on the socket turned away unjudged.", "kind")
        self.callout_connections = gauge("callout_connections", "Open connections on the validation socket.")
        self.issuer_fetches = counter(
            "issuer_fetches", "Fetches from an identity provider.", "issuer", "endpoint", "outcome"
        )
        self.issuer_fetch_duration = histogram(
            "issuer_fetch_duration_seconds", "Time that a fetch from an identity provider took.", "issuer", "endpoint"
        )
        self.issuer_waiting = gauge(
            "issuer_waiting", "Tokens that wait for an answer of an identity provider.", "issuer"
        )
        self.issuer_breaker_open = gauge(
            "issuer_breaker_open",
            "1 while an endpoint has failed and is not asked again before a delay is over.",
            "issuer",
            "endpoint",
        )
        self.introspection_cache = counter(
            "introspection_cache",
            "Introspections by where the answer came from: held (hit, negative_hit), a request under way, a new one.",
            "issuer",
            "result",
        )
        self.verified_cache = counter(
            "verified_cache",
            "Tokens whose signature was known to be right (hit) or had to be verified (miss).",
            "result",
        )
        self.jwks_changes = counter(
            "jwks_changes", "Signing keys that came and went, as a rotation does.", "issuer", "change"
        )
        self.jwks_stale = gauge(
            "jwks_stale", "1 while keys serve past their life because the identity provider cannot be asked.", "issuer"
        )
        self.jwks_refreshed = gauge(
            "jwks_last_refresh_timestamp_seconds", "When the key set was last fetched successfully.", "issuer"
        )
        self.jwks_keys = gauge("jwks_keys", "Usable signing keys held.", "issuer")
        self.unknown_kid_limited = counter(
            "jwks_unknown_kid_limited",
            "Refetches for an unknown kid not made because of the rate limit.",
            "issuer",
        )
        self.log_read = kept_counter("log_read_bytes", "Log bytes read.", "cluster")
        self.log_lag = gauge("log_lag_bytes", "Log bytes written but not read yet.", "cluster")
        self.log_parse_failures = kept_counter(
            "log_parse_failures", "Log entries that could not be read as their format.", "cluster", "format"
        )
        self.log_overlong = kept_counter("log_overlong_lines", "Log lines cut because they were too long.", "cluster")
        self.log_lost = kept_counter("log_lost_lines", "Log lines known to be lost.", "cluster")
        self.log_rotations = kept_counter("log_rotations", "Changes to a new log file.", "cluster")
        self.log_truncations = kept_counter("log_truncations", "Log files found shorter than what was read.", "cluster")
        self.log_errors = kept_counter("log_errors", "Failures to open or read a log file.", "cluster")
        self.log_leaked_tokens = kept_counter(
            "log_leaked_tokens", "Logins whose token the server's validator wrote into the log.", "cluster"
        )
        self.matched = kept_counter("correlation_matched", "Outcomes joined with their verdict.", "cluster")
        self.unmatched = kept_counter("correlation_unmatched", "What could not be joined, by kind.", "cluster", "kind")
        self.sessions_open = gauge("sessions_open", "Login attempts begun and not ended.", "cluster")
        self.predictions = kept_counter(
            "usermap_predictions",
            "Logins with a user name map, by whether the server decided as pg_ident.conf said it would.",
            "cluster",
            "result",
        )
        self.ident_readable = gauge(
            "ident_file_readable", "1 while pg_ident.conf could be read and understood.", "cluster"
        )
        self.reloads = counter("config_reloads", "Reloads of the configuration by outcome.", "outcome")
        self.reload_successful = gauge("config_last_reload_successful", "1 where the last reload could be used.")
        self.reloaded = gauge("config_last_reload_success_timestamp_seconds", "When the configuration in use was read.")
        self.notifications = counter("notifications", "Notifications sent by the daemon itself.", "sink", "outcome")
        self.sink_dropped = counter("sink_dropped", "Outcomes that a sink could not take.", "sink")
        self._register_state(registered)
        self._register_probes(registered)
        self.build = gauge("build_info", "1; version in the labels.", "version", "python")
        self.build.labels(__version__, platform.python_version()).set(1)
        self._declare_closed_sets()

    def _register_state(self, registered: _Registered) -> None:
        self.state_saved = registered.gauge(
            "state_last_save_timestamp_seconds", "When positions, sessions, counters and outcomes were last saved."
        )
        self.state_failures = registered.counter(
            "state_save_failures", "Saves of the state that failed or took too long."
        )
        self.state_save_duration = registered.histogram(
            "state_save_duration_seconds", "Time that a save of the state took."
        )
        self.state_size = registered.gauge("state_size_bytes", "Bytes in use in the state file, the history included.")
        self.state_kept_aside = registered.gauge(
            "state_kept_aside", "1 where the state could not be used at the start and was kept under another name."
        )
        self.history_deleted = registered.counter(
            "history_deleted_outcomes", "Outcomes deleted from the history for their age or its size.", "cause"
        )

    def _register_probes(self, registered: _Registered) -> None:
        self.probe_success = registered.gauge(
            "probe_success", "1 where the last probe got through all steps.", "probe", "server"
        )
        self.probe_step_duration = registered.gauge(
            "probe_step_duration_seconds",
            "Time that a step of the last probe took; there only where it was begun.",
            "probe",
            "server",
            "step",
        )
        self.probe_failures = registered.counter(
            "probe_failures", "Probes that failed, by the step that did.", "probe", "server", "step"
        )
        self.probe_last_success = registered.gauge(
            "probe_last_success_timestamp_seconds", "When a probe last got through all steps.", "probe", "server"
        )

    def _declare_closed_sets(self) -> None:
        """Every series that is known beforehand starts at 0, so that a first increase is an increase."""
        for reason in Reason:
            self.validations.labels(reason, reason.stage)
        for stage in Stage:
            self.validation_duration.labels(stage)
        for kind in SHED_KINDS:
            self.callout_shed.labels(kind)
        self.sink_dropped.labels(HISTORY)
        for cause in DELETE_CAUSES:
            self.history_deleted.labels(cause)
        for result in ("hit", "miss"):
            self.verified_cache.labels(result)
        for outcome in RELOAD_OUTCOMES:
            self.reloads.labels(outcome)
        self.reload_successful.set(1)

    def restore(self, saved: Entries) -> None:
        """Go on from what the last run has saved: of each cluster, once it is declared."""
        for name, of_kind in zip(Entries._fields, saved, strict=True):
            for (metric, labels), value in of_kind.items():
                if labels:
                    entries = self._unclaimed.setdefault(labels[0], Entries({}, {}))
                    kind: dict[Series, float] = getattr(entries, name)
                    kind[metric, labels] = value

    def declare(self, *, clusters: Iterable[str], issuers: Iterable[str], sinks: Iterable[str]) -> None:
        """Start the series of the configured names at 0."""
        for cluster in clusters:
            self._declare_cluster(cluster)
        for issuer in issuers:
            self._declare_issuer(issuer)
        for sink in sinks:
            self.sink_dropped.labels(sink)
            for outcome in ("sent", "failed"):
                self.notifications.labels(sink, outcome)

    def forget(self, *, clusters: Iterable[str] = (), issuers: Iterable[str] = ()) -> None:
        """Drop the gauges of names that are configured no more: nobody would ever bring them up to date.

        Counters and histograms stay: what they say of the past is true, and a name that comes back goes on from there.
        """
        for cluster in clusters:
            for gauge in (self._last_success_shown, self.log_lag, self.sessions_open, self.ident_readable):
                _drop(gauge, cluster)
        for issuer in issuers:
            for gauge in (self.jwks_keys, self.jwks_stale, self.jwks_refreshed, self.issuer_waiting):
                _drop(gauge, issuer)
            for endpoint in ENDPOINTS:
                _drop(self.issuer_breaker_open, issuer, endpoint)

    def declare_probes(self, probes: Iterable[tuple[str, str]]) -> None:
        """Start the counters of probes, each with its name and server, at 0; a gauge before a result would lie."""
        for probe, server in probes:
            for step in PROBE_STEPS:
                self.probe_failures.labels(probe, server, step)

    def forget_probes(self, probes: Iterable[tuple[str, str]]) -> None:
        """Drop the gauges of probes that are made no more."""
        for probe, server in probes:
            for gauge in (self.probe_success, self.probe_last_success):
                _drop(gauge, probe, server)
            for step in PROBE_STEPS:
                _drop(self.probe_step_duration, probe, server, step)

    def count_probe(
        self, probe: tuple[str, str], *, failed_step: str | None, seconds: Mapping[str, float], now: float
    ) -> None:
        """Count one probe, by name and server; `seconds` are those of the steps that were begun."""
        self.probe_success.labels(*probe).set(failed_step is None)
        for step in PROBE_STEPS:
            if step in seconds:
                self.probe_step_duration.labels(*probe, step).set(seconds[step])
            else:
                _drop(self.probe_step_duration, *probe, step)
        if failed_step is None:
            self.probe_last_success.labels(*probe).set(now)
        else:
            self.probe_failures.labels(*probe, failed_step).inc()

    def _declare_issuer(self, issuer: str) -> None:
        for endpoint in ENDPOINTS:
            for outcome in FETCH_OUTCOMES:
                self.issuer_fetches.labels(issuer, endpoint, outcome)
            self.issuer_fetch_duration.labels(issuer, endpoint)
            self.issuer_breaker_open.labels(issuer, endpoint)
        for result in CACHE_RESULTS:
            self.introspection_cache.labels(issuer, result)
        for change in KEY_CHANGES:
            self.jwks_changes.labels(issuer, change)
        for metric in (self.unknown_kid_limited, self.jwks_keys, self.jwks_stale, self.issuer_waiting):
            metric.labels(issuer)

    def _declare_cluster(self, cluster: str) -> None:
        for reason in Reason:
            self._begin(self.attempts, cluster, "oauth", result_of(reason), reason.stage, reason)
        for kind in Unmatched:
            self._begin(self.unmatched, cluster, kind)
        for log_format in LogFormat:
            self._begin(self.log_parse_failures, cluster, log_format)
        for prediction in Agreement:
            self._begin(self.predictions, cluster, prediction)
        for metric in (
            self.matched,
            self.log_read,
            self.log_overlong,
            self.log_lost,
            self.log_rotations,
            self.log_truncations,
            self.log_errors,
            self.log_leaked_tokens,
        ):
            self._begin(metric, cluster)
        self.sessions_open.labels(cluster)
        self.log_lag.labels(cluster)
        self.server_authentication.declare(cluster)
        self._show_saved(self._unclaimed.pop(cluster, Entries({}, {})))

    def _show_saved(self, saved: Entries) -> None:
        """What this version declares otherwise, or what cannot have been counted, is passed over."""
        for of_kind in saved:
            for series, value in of_kind.items():
                with suppress(ValueError):
                    self.ledger.show(Entries({series: value}, {}))

    def _begin(self, metric: KeptCounter, *labels: str) -> None:
        """Start a series of a kept counter at 0."""
        self.ledger.show(Entries({(metric.name, labels): 0.0}, {}))

    def count_outcome(self, outcome: Outcome) -> None:
        """Count one ended attempt."""
        method = outcome.method if outcome.method in METHODS else "unknown"
        self.attempts.labels(outcome.cluster, method, outcome.result, outcome.stage, outcome.reason).inc()
        if outcome.server_authentication_seconds is not None:
            self.server_authentication.observe(outcome.server_authentication_seconds, outcome.cluster)
        if outcome.result is Result.SUCCESS and method == "oauth":
            self.last_success.put(outcome.time, outcome.cluster)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type, as the Accept header of a scrape asks for it, else as plain text."""
        try:
            encode, content_type = choose_encoder(accept)
            return encode(self.registry), content_type
        except (TypeError, ValueError):  # of a version that is no number
            encode, content_type = choose_encoder("")
            return encode(self.registry), content_type


class _Shown(Collector):
    """A kept histogram as prometheus_client exposes one."""

    def __init__(self, histogram: KeptHistogram, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._histogram = histogram
        self._name = name
        self._text = text
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        """The histogram with all its series."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for labels, buckets, total in self._histogram.shown():
            family.add_metric(labels, buckets, total)
        yield family


def _drop(gauge: Gauge, *labels: str) -> None:
    with suppress(KeyError):  # it was never set
        gauge.remove(*labels)


def result_of(reason: Reason) -> Result:
    """The result that a reason usually comes with (a reason has one result but for rare races)."""
    match reason:
        case Reason.OK:
            return Result.SUCCESS
        case Reason.DISCOVERY:
            return Result.DISCOVERY
        case Reason.CLIENT_GONE | Reason.CONNECTION_LOST | Reason.SILENT:
            return Result.ABANDONED
        case _:
            return Result.REFUSED
