"""A directory with all that a daemon has: configuration, state, logs, and an issuer that answers."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.fix_load import KEY
from tests.crash.fix_logins import PREFIX
from tests.fix_daemon import free_port
from tests.fix_issuer import LocalIssuer, running_issuer
from tests.fix_tokens import AUDIENCE, key_set


@dataclass
class Place:
    """A directory with all that a daemon has."""

    directory: Path
    issuer: LocalIssuer
    state: Path
    listen: str
    silence_seconds: float = 60.0

    @property
    def config_path(self) -> Path:
        return self.state.parent / "pgoauthd.toml"

    @property
    def said(self) -> Path:
        """The daemon's own log."""
        return self.state.parent / "daemon.log"

    @property
    def outcomes(self) -> Path:
        return self.state.parent / "outcomes.jsonl"

    @property
    def socket(self) -> str:
        return f"{self.state.parent}/run/pgoauthd.sock"

    @property
    def logs(self) -> Path:
        return self.directory / "log"

    def write_config(self) -> None:
        self.config_path.write_text(
            f"""
[callout]
socket = "{self.socket}"
[web]
listen = "{self.listen}"
[state]
path = "{self.state}"
[outcomes]
path = "{self.outcomes}"
[reload]
watch = false
[[issuers]]
name = "main"
issuer = "{self.issuer.issuer}"
audiences = ["{AUDIENCE}"]
algorithms = ["EdDSA"]
allow_loopback_http = true
[[clusters]]
name = "main"
logs = ["{self.logs}"]
log_line_prefix = "{PREFIX}"
start = "beginning"
authentication_timeout_seconds = {self.silence_seconds}
""",
            encoding="utf-8",
        )


@asynccontextmanager
async def placed(directory: Path, of_state: Path, *, silence_seconds: float) -> AsyncIterator[Place]:
    """A configuration with an issuer that answers while the block runs."""
    async with running_issuer() as issuer:
        issuer.keys = key_set(KEY)
        listen = f"127.0.0.1:{free_port()}"
        place = Place(directory, issuer, of_state / "state.db", listen, silence_seconds)
        place.write_config()
        yield place


def history_of(state: Path) -> list[dict[str, Any]]:
    """All outcomes of a state that no daemon uses, by id."""
    with contextlib.closing(sqlite3.connect(state)) as connection:
        rows = connection.execute("SELECT id, body FROM outcome ORDER BY id").fetchall()
    outcomes = [json.loads(body) for _, body in rows]
    assert [it["id"] for it in outcomes] == [number for number, _ in rows]
    return outcomes
