"""The daemon's log, written where a test can read it; what the process logged to before is restored afterwards."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TextIO

from structlog.typing import FilteringBoundLogger

from pgoauthd.telemetry.log import configure


@contextlib.contextmanager
def logging_to(stream: TextIO) -> Iterator[FilteringBoundLogger]:
    """Log everything to `stream`, as JSON."""
    with logging_restored():
        yield configure("debug", "json", stream)


@contextlib.contextmanager
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.handlers = handlers
        root.setLevel(level)
