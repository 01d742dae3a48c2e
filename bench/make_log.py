"""Makes a large PostgreSQL log by repeating the logins of a real one between lines of ordinary work.

    python -m bench.make_log jsonlog 200 0.1 /tmp/big.json

writes 200 MB of jsonlog in which one line in ten belongs to a login. Sessions get ids and times of their own, so
that every repetition is a login of its own.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

CORPUS = Path(__file__).parent.parent / "tests" / "data" / "pg-logs" / "18.6-default" / "postgresql.json"
SHIFT_SECONDS = 60
WORK = (
    "duration: {:.3f} ms  execute <unnamed>: SELECT o.id, o.total FROM orders o WHERE o.created_at > $1 LIMIT 100",
    "duration: {:.3f} ms  statement: UPDATE inventory SET amount = amount - 1 WHERE sku = 'A-4711' AND amount > 0",
    "duration: {:.3f} ms  parse <unnamed>: INSERT INTO audit (actor, action, at) VALUES ($1, $2, now())",
    'automatic vacuum of table "app.public.orders": index scans: {:.0f}, pages: 0 removed, 4711 remain, 812 scanned',
)


def login_lines() -> list[dict[str, object]]:
    """The lines of logins of the corpus, in order."""
    records = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    return [record for record in records if record["backend_type"] in ("client backend", "not initialized")]


def records(share: float, seed: int = 18) -> Iterator[dict[str, object]]:
    """For ever: lines of logins, with `1/share - 1` lines of work after each on average."""
    chance = random.Random(seed)  # noqa: S311 - a benchmark's data
    logins = login_lines()
    round_number, number = 0, 0
    while True:
        round_number += 1
        for login in logins:
            yield moved(login, round_number)
            while chance.random() > share:
                number += 1
                yield work(login, number, round_number, chance)


def moved(login: dict[str, object], round_number: int) -> dict[str, object]:
    """The same line in the life of another session."""
    start, pid = str(login["session_id"]).split(".")
    later = round_number * SHIFT_SECONDS
    session = f"{int(start, 16) + later:x}.{pid}"
    return login | {"session_id": session, "timestamp": shifted(str(login["timestamp"]), later)}


def shifted(timestamp: str, seconds: int) -> str:
    """A timestamp some whole minutes later, wrapping at midnight (only its cost matters here)."""
    day, clock, zone = timestamp.split(" ")
    hours, minutes, rest = clock.split(":")
    total = (int(hours) * 60 + int(minutes) + seconds // 60) % 1440
    return f"{day} {total // 60:02}:{total % 60:02}:{rest} {zone}"


def work(login: dict[str, object], number: int, round_number: int, chance: random.Random) -> dict[str, object]:
    """A line of ordinary work."""
    return {
        "timestamp": shifted(str(login["timestamp"]), round_number * SHIFT_SECONDS),
        "user": "app", "dbname": "app", "pid": 20000 + number % 300, "remote_host": "10.0.3.17", "remote_port": 41000,
        "session_id": f"6b024000.{20000 + number % 300:x}", "line_num": number, "ps": "SELECT",
        "session_start": "2026-11-22 01:11:00 UTC", "vxid": f"12/{number}", "txid": 0, "error_severity": "LOG",
        "message": chance.choice(WORK).format(chance.random() * 50), "application_name": "orders-service",
        "backend_type": "client backend", "query_id": 4711,
    }  # fmt: skip


def as_csv(record: dict[str, object]) -> str:
    """The record as the server writes csvlog (26 columns)."""

    def quoted(name: str) -> str:
        return '"' + str(record[name]).replace('"', '""') + '"' if name in record else ""

    def plain(name: str, default: str = "") -> str:
        return str(record.get(name, default))

    host = record.get("remote_host")
    client = f'"{host}:{record["remote_port"]}"' if "remote_port" in record else (f'"{host}"' if host else "")
    columns = (
        plain("timestamp"), quoted("user"), quoted("dbname"), plain("pid"), client, plain("session_id"),
        plain("line_num"), quoted("ps"), plain("session_start"), plain("vxid"), plain("txid", "0"),
        plain("error_severity"), plain("state_code", "00000"), quoted("message"), quoted("detail"), quoted("hint"),
        "", "", quoted("context"), quoted("statement"), "", "", quoted("application_name") or '""',
        quoted("backend_type"), "", plain("query_id", "0"),
    )  # fmt: skip
    return ",".join(columns)


def as_stderr(record: dict[str, object]) -> str:
    """The record as stderr log with the prefix `%m [%p] %q%u@%d `."""
    who = f"{record.get('user', '[unknown]')}@{record.get('dbname', '[unknown]')} "
    prefix = f"{record['timestamp']} [{record['pid']}] {who}"
    lines = [f"{prefix}{record['error_severity']}:  {record['message']}"]
    if "detail" in record:
        lines.append(f"{prefix}DETAIL:  {record['detail']}")
    return "\n".join(line.replace("\n", "\n\t") for line in lines)


RENDER = {"jsonlog": lambda record: json.dumps(record, separators=(",", ":")), "csvlog": as_csv, "stderr": as_stderr}


def write(log_format: str, megabytes: float, share: float, path: Path) -> None:
    """Write at least `megabytes` to `path`."""
    render = RENDER[log_format]
    written = 0
    with path.open("w", encoding="utf-8") as out:
        for record in records(share):
            written += out.write(render(record) + "\n")
            if written >= megabytes * 1e6:
                return


if __name__ == "__main__":
    write(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
