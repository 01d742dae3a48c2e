"""A real Prometheus that scrapes a real exposition of the daemon's metrics, in which something happens all the time."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prometheus_client

from pgoauthd.correlation.mapped import Agreement
from pgoauthd.correlation.outcome import Unmatched
from pgoauthd.logs.readers import LogFormat
from pgoauthd.telemetry import metrics
from pgoauthd.telemetry.kept import CountedSeries
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.reasons import Reason
from tests.dashboards.fix_promql import RULES
from tests.fix_outcomes import outcome

DEADLINE_SECONDS = 60.0
SCRAPE_INTERVAL = "200ms"
SCRAPES = 8
"""Enough for every rate and increase to see one."""


class Exposition:
    """The daemon's metrics over HTTP; before each scrape every counter moves."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.metrics.declare(clusters=("main",), issuers=("corp",), sinks=("outcome_file", "ops"))
        self.metrics.declare_probes([("kong", "primary")])
        self.scraped = threading.Condition()
        self.scrapes = 0
        exposition = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                exposition.happen()
                body, content_type = exposition.metrics.expose(self.headers.get("Accept", ""))
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.end_headers()
                self.wfile.write(body)
                with exposition.scraped:
                    exposition.scrapes += 1
                    exposition.scraped.notify_all()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def happen(self) -> None:
        """Logins of every fate, and everything else that can be counted."""
        for reason in Reason:
            self.metrics.count_outcome(outcome(reason, time=time.time(), server_authentication_seconds=0.004))
            self.metrics.validations.labels(reason, reason.stage).inc()
            self.metrics.validation_duration.labels(reason.stage).observe(0.0007)
        self.metrics.jwks_refreshed.labels("corp").set(time.time() - 90)
        self.metrics.callout_connections.set(3)
        for counter in self._counters():
            counter.inc()
        for gauge in (self.metrics.log_lag, self.metrics.sessions_open):
            gauge.labels("main").set(5)
        self.metrics.jwks_keys.labels("corp").set(2)
        self.metrics.issuer_waiting.labels("corp").set(3)
        self.metrics.ident_readable.labels("main").set(1)
        self.metrics.reloaded.set(time.time() - 60)
        self.metrics.state_saved.set(time.time() - 1)
        self.metrics.state_size.set(1 << 20)
        self.metrics.state_kept_aside.set(1)
        self.metrics.state_save_duration.observe(0.004)
        seconds = dict.fromkeys(metrics.PROBE_STEPS, 0.01)
        for failed in (None, *metrics.PROBE_STEPS):
            self.metrics.count_probe(("kong", "primary"), failed_step=failed, seconds=seconds, now=time.time() - 30)
        for endpoint in metrics.ENDPOINTS:
            self.metrics.issuer_fetch_duration.labels("corp", endpoint).observe(0.02)

    def _counters(self) -> Iterator[prometheus_client.Counter | CountedSeries]:
        made = self.metrics
        for counter in (
            made.log_read,
            made.log_overlong,
            made.log_lost,
            made.log_rotations,
            made.log_truncations,
            made.log_errors,
            made.log_leaked_tokens,
            made.matched,
        ):
            yield counter.labels("main")
        yield from (made.callout_shed.labels(kind) for kind in metrics.SHED_KINDS)
        yield from (made.unmatched.labels("main", kind) for kind in Unmatched)
        yield from (made.log_parse_failures.labels("main", kind) for kind in LogFormat)
        yield from (
            made.issuer_fetches.labels("corp", endpoint, ending)
            for endpoint in metrics.ENDPOINTS
            for ending in metrics.FETCH_OUTCOMES
        )
        yield made.unknown_kid_limited.labels("corp")
        yield from (made.introspection_cache.labels("corp", result) for result in metrics.CACHE_RESULTS)
        yield from (made.verified_cache.labels(result) for result in ("hit", "miss"))
        yield from (made.jwks_changes.labels("corp", change) for change in metrics.KEY_CHANGES)
        yield from (made.predictions.labels("main", result) for result in Agreement)
        yield from (made.reloads.labels(ending) for ending in metrics.RELOAD_OUTCOMES)
        yield from (made.notifications.labels("ops", ending) for ending in ("sent", "failed"))
        yield made.sink_dropped.labels("ops")
        yield made.state_failures
        yield from (made.history_deleted.labels(cause) for cause in metrics.DELETE_CAUSES)

    def wait_for(self, scrapes: int) -> None:
        with self.scraped:
            assert self.scraped.wait_for(lambda: self.scrapes >= scrapes, DEADLINE_SECONDS), (
                "Prometheus does not scrape"
            )


class Prometheus:
    """Its HTTP API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expr: str) -> list[Any]:
        """The series of an instant query; AssertionError with Prometheus' own words if it is wrong."""
        answer = self.get("/api/v1/query", query=expr)
        assert answer["status"] == "success", f"{expr}: {answer.get('error')}"
        return list(answer["data"]["result"])

    def get(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON
        url = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=DEADLINE_SECONDS) as response:  # noqa: S310 - our own URL
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)


@contextlib.contextmanager
def exposed() -> Iterator[Exposition]:
    exposition = Exposition()
    thread = threading.Thread(target=exposition.server.serve_forever)
    thread.start()
    try:
        yield exposition
    finally:
        exposition.server.shutdown()
        thread.join()
        exposition.server.server_close()


@contextlib.contextmanager
def running(program: str, directory: Path, target: str) -> Iterator[Prometheus]:
    """A Prometheus with our rules on a port of its own; it is gone afterwards."""
    (directory / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": SCRAPE_INTERVAL, "scrape_timeout": SCRAPE_INTERVAL},
                "rule_files": [str(RULES)],
                "scrape_configs": [{"job_name": "pgoauthd", "static_configs": [{"targets": [target]}]}],
            }
        ),
        encoding="utf-8",
    )
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    command = (
        program,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        timer = threading.Timer(DEADLINE_SECONDS, process.kill)
        timer.start()
        said = []
        drain = threading.Thread(target=process.stderr.read)
        try:
            for line in process.stderr:
                said.append(line)
                if "Server is ready to receive web requests" in line:
                    break
            else:
                raise AssertionError("Prometheus did not start:\n" + "".join(said))
            timer.cancel()
            drain.start()  # a full pipe would stop it
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            timer.cancel()
            process.terminate()
            if drain.is_alive():
                drain.join()
