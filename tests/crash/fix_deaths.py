"""A death at a chosen step of SQLite's work: what `kill -9` does, at a moment that a signal would rarely hit."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

STATEMENT = "statement"
"""Each row that is written is one, and BEGIN and COMMIT are."""
INSTRUCTION = "instruction"
"""Of SQLite's virtual machine."""


def die_at(kind: str, step: int) -> None:
    """Have this process killed as soon as its connections together have come to this step."""
    steps = itertools.count(1)

    def count(*_: object) -> None:
        if next(steps) >= step:
            os.kill(os.getpid(), signal.SIGKILL)

    sqlite3.connect = partial(_connect, sqlite3.connect, kind, count)


def _connect(connect: Callable[..., Any], kind: str, count: Callable[..., None], *args: Any, **kw: Any) -> Any:  # noqa: ANN401
    connection = connect(*args, **kw)
    if kind == STATEMENT:
        connection.set_trace_callback(count)
    else:
        connection.set_progress_handler(count, 1)
    return connection
