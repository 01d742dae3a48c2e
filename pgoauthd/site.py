"""What every part of the daemon is built with, whatever the configuration."""

from __future__ import annotations

from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from pgoauthd.runtime.background import Background
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.pace import Pace
from pgoauthd.telemetry.metrics import Metrics


class Site(NamedTuple):
    """One a daemon, for as long as it runs."""

    metrics: Metrics
    log: FilteringBoundLogger
    clock: Clock
    background: Background
    pace: Pace
    """Of all work that can wait, so that logins need not."""
