"""How much memory the daemon takes: idle, after millions of lines, and with very many logins open at once.

    python -m bench.bench_memory --lines 10000000 --sessions 100000

The daemon is a process of its own. Lines come as csvlog in files of a million, which are deleted when they are read.
The open sessions are so many `connection received` without an end; a share of them has a verdict that waits.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from bench.make_log import as_csv, records
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.runtime.store import Store
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import KeptClaims, Verdict

LINES_A_FILE = 1_000_000
SESSIONS_BEGIN = b"6b02"
"""How every session id of bench.make_log begins, and no time or number: other digits make other sessions."""
START = int(datetime(2026, 11, 22, 1, 11, 56, tzinfo=UTC).timestamp())
PIDS = range(1000, 30_000)
DEADLINE_SECONDS = 300.0
READ_LATE = 8192
"""The last bytes of csvlog count as read when more has come, or when the file is over."""
STATE = "state.db"
VERDICTS = "verdicts"


class Daemon:
    """`pgoauthd run` over the csvlogs in `logs`, seen from outside; a context manager."""

    def __init__(self, directory: Path) -> None:
        """`directory` holds its files, and perhaps the state of another run."""
        self.logs = directory / "log"
        self.logs.mkdir(exist_ok=True)
        self._state = directory / STATE
        self._config = directory / "pgoauthd.toml"
        self._listen = f"127.0.0.1:{_free_port()}"
        self._config.write_text(
            f"""
[web]
listen = "{self._listen}"
[state]
path = "{self._state}"
verdicts_path = "{directory / VERDICTS}"
[log]
level = "error"
[[clusters]]
name = "main"
logs = ["{self.logs}"]
start = "beginning"
authentication_timeout_seconds = 600
""",
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, "-m", "pgoauthd", "run", "--config", str(self._config)])
        self.wait_until(self._answers)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    def wait_until(self, fact: Callable[[], bool]) -> None:
        """Wait for something about it."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not fact():
            if self._process.poll() is not None or time.monotonic() > end:
                self._process.kill()
                raise TimeoutError("the daemon has ended, or does not get on")
            time.sleep(0.1)

    def read(self, content: bytes, name: str) -> None:
        """Have it read a file of its own, which is deleted then."""
        hidden, path = self.logs / f".{name}", self.logs / name
        hidden.write_bytes(content)
        goal = self._bytes_read() + len(content) - READ_LATE
        hidden.rename(path)
        self.wait_until(lambda: self._bytes_read() >= goal)
        path.unlink()

    def saved_sessions(self) -> int:
        """How many open sessions are in the state."""
        with closing(sqlite3.connect(f"file:{self._state}?mode=ro", uri=True)) as state:
            return int(state.execute("SELECT count(*) FROM session").fetchone()[0])

    def resident(self) -> float:
        """Memory in use, in MB."""
        return self._memory("VmRSS")

    def most_resident(self) -> float:
        """The most that it ever took, in MB."""
        return self._memory("VmHWM")

    def forget_most(self) -> None:
        """Begin anew with the most that it took."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5", encoding="ascii")

    def _answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://{self._listen}/healthz", timeout=10):
            return True
        return False

    def _bytes_read(self) -> float:
        """Of logs since it began, as it exposes them."""
        series = 'pgoauthd_log_read_bytes_total{cluster="main"} '
        with urllib.request.urlopen(f"http://{self._listen}/metrics", timeout=30) as reply:
            lines = reply.read().decode().splitlines()
        return next(float(line.removeprefix(series)) for line in lines if line.startswith(series))

    def _memory(self, name: str) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(f"{name}:"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def million(share: float, lines: int = LINES_A_FILE) -> bytes:
    """So many lines of csvlog, of which a share belongs to logins."""
    return "".join(f"{as_csv(record)}\n" for record in itertools.islice(records(share), lines)).encode()


def renewed(content: bytes, number: int) -> bytes:
    """The same with other sessions."""
    return content.replace(SESSIONS_BEGIN, b"%04x" % (int(SESSIONS_BEGIN, 16) + number))


def sessions(count: int) -> Iterator[tuple[int, int]]:
    """Start and process id of so many sessions."""
    return itertools.islice(((START + later, pid) for later in itertools.count() for pid in PIDS), count)


def received(count: int) -> bytes:
    """`connection received` of so many sessions, as csvlog."""
    return "".join(
        f"2026-11-22 01:{11 + number // 60000 % 48}:{number // 1000 % 60:02}.{number % 1000:03} UTC,,,{pid},"
        f'"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:{20000 + number % 40000}",{start:x}.{pid:x},1,"",'
        f'2026-11-22 01:11:56 UTC,,0,LOG,00000,"connection received: host=10.{number >> 16 & 255}.{number >> 8 & 255}.'
        f'{number & 255} port={20000 + number % 40000}",,,,,,,,,"","not initialized",,0\n'
        for number, (start, pid) in enumerate(sessions(count))
    ).encode()


def leave_verdicts(directory: Path, count: int) -> None:
    """Leave so many verdicts as if the daemon had been killed right after it gave them."""
    with Store(directory / STATE, directory / VERDICTS) as store:
        for number, (start, pid) in enumerate(sessions(count)):
            store.keep(_verdict(number, start, pid))


def _verdict(number: int, start: int, pid: int) -> SessionVerdict:
    """As one looks on a token of Keycloak."""
    subject = f"{number:08x}-7c1e-4b52-9d3f-0a6b8c2d4e5f"
    claims = KeptClaims(
        iss="https://idp.example.org/realms/main",
        sub=subject,
        aud=("postgres",),
        client_id="psql",
        scope=("openid", "profile", "postgres"),
        jti=f"onrtac:{subject}",
        iat=START - 10.0,
        exp=START + 290.0,
        auth_time=START - 11.0,
    )
    verdict = Verdict(authorized=True, reason=Reason.OK, message=Reason.OK.sentence, authn_id=subject, claims=claims)
    return SessionVerdict(
        session_id=f"{start:x}.{pid:x}",
        pid=pid,
        time=START + 0.2,
        seconds=0.0004,
        verdict=verdict,
        role=f"user{number % 1000}",
        database="app",
        client_addr="10.0.0.7",
        client_port=50001,
        hba_file="/etc/postgresql/18/main/pg_hba.conf",
        hba_line=7,
        issuer="https://idp.example.org/realms/main",
    )


def measure_reading(lines: int, share: float) -> None:
    """Resident memory after every million lines."""
    content = million(share)
    print(f"\n{lines:,} lines of csvlog, {share:.0%} of logins, {len(content) / 1e6:,.0f} MB a million")
    with tempfile.TemporaryDirectory() as name, Daemon(Path(name)) as daemon:
        print(f"{'idle':>12} {daemon.resident():7.1f} MB")
        for number in range(lines // LINES_A_FILE):
            daemon.read(renewed(content, number), f"postgresql-{number:04}.csv")
            print(f"{(number + 1) * LINES_A_FILE:12,} {daemon.resident():7.1f} MB", flush=True)
        print(f"{'at most':>12} {daemon.most_resident():7.1f} MB")


def measure_sessions(count: int, verdicts: int) -> None:
    """Resident memory with so many sessions open, and after a restart with them."""
    print(f"\n{count:,} sessions open, {verdicts:,} of them with a verdict that waits")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        leave_verdicts(directory, verdicts)
        with Daemon(directory) as daemon:
            idle = daemon.resident()
            print(f"{'before':>22} {idle:7.1f} MB")
            daemon.read(received(count), "postgresql.csv")
            print(f"{'read':>22} {daemon.resident():7.1f} MB")
            daemon.wait_until(lambda: daemon.saved_sessions() == count)
            time.sleep(5)
            resident = daemon.resident()
            print(f"{'saved':>22} {resident:7.1f} MB, {(resident - idle) * 2**20 / count:,.0f} bytes a session")
            print(f"{'at most':>22} {daemon.most_resident():7.1f} MB")
        with Daemon(directory) as daemon:
            time.sleep(5)
            print(f"{'started again':>22} {daemon.resident():7.1f} MB, at most {daemon.most_resident():.1f} MB")
            daemon.forget_most()
            daemon.read(received(count), "postgresql-2.csv")
            time.sleep(10)
            print(f"{'each received again':>22} {daemon.resident():7.1f} MB, at most {daemon.most_resident():.1f} MB")


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--verdicts", type=int, default=20_000)
    wanted = parser.parse_args()
    if wanted.sessions:
        measure_sessions(wanted.sessions, 0)
        measure_sessions(wanted.sessions, wanted.verdicts)
    if wanted.lines:
        measure_reading(wanted.lines, wanted.share)


if __name__ == "__main__":
    main()
