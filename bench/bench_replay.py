"""Replay beside grep and others on the same files, in one run: what does it cost to understand a log?

    make bench   or   python -m bench.bench_replay [--megabytes 1000] [--formats stderr] [--shares 0.1]

Whole processes, start-up included, are timed in turn (A B A B …); medians and, of ratios, the medians of pairs are
printed. It is processor time, which other work on the machine does not stretch. pgBadger and mtail, where they are
installed, get a sample of each file, because they are slow.
"""

from __future__ import annotations

import argparse
import gc
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC
from pathlib import Path

from bench.make_log import write
from pgoauthd.logs.prefix import compile_prefix
from pgoauthd.logs.readers import READ_BYTES, LogFormat, open_reader

ROUNDS = 7
MAX_SECONDS = 20.0
"""After so long a file gets no further round."""
SAMPLE_BYTES = 5_000_000
PATTERN = (
    "connection (received|authenticated|authorized|ready)|FATAL|OAuth bearer|internal error in OAuth|no match in "
    "usermap|provided user name|pgoauthd: refused|could not (receive|send)|starting PostgreSQL|database system is shut"
)
"""Counts the lines that replay has to understand."""
MTAIL_PROGRAM = r"""
counter received
counter authenticated by method
counter fatal
/connection received: / {
  received++
}
/connection authenticated: .* method=(?P<method>[a-z0-9-]+)/ {
  authenticated[$method]++
}
/FATAL/ {
  fatal++
}
"""
"""Far less than replay does: it joins no lines."""
PREFIX = "%m [%p] %q%u@%d "
PGBADGER_FORMATS = {"stderr": "stderr", "csvlog": "csv", "jsonlog": "jsonlog"}


def seconds(*command: str) -> float:
    """Processor time of one run. Replay's output goes nowhere; grep's must not: it would stop at the first match."""
    output = subprocess.DEVNULL if command[0] == sys.executable else subprocess.PIPE
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=output, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def reading(log_format: str, path: Path) -> tuple[float, int]:
    """Seconds and events of the reader alone: nothing joined, nothing printed."""
    reader = open_reader(LogFormat(log_format), prefix=compile_prefix(PREFIX), timezone=UTC)
    events = 0
    started = time.process_time()
    with path.open("rb") as log:
        while chunk := log.read(READ_BYTES):
            events += len(reader.feed(chunk))
    return time.process_time() - started, events + len(reader.finish())


def in_turn(*timed: Callable[[], float]) -> list[tuple[float, ...]]:
    """Rounds of all in turn, after one to warm up."""
    deadline = time.perf_counter() + MAX_SECONDS
    for one in timed[1:]:
        one()
    rounds = [tuple(one() for one in timed)]
    while len(rounds) < ROUNDS and time.perf_counter() < deadline:
        rounds.append(tuple(one() for one in timed))
    return rounds


def compare(log_format: str, share: float, path: Path) -> None:
    """One row of the table."""
    rounds = in_turn(
        lambda: seconds(sys.executable, "-m", "pgoauthd", "replay", "--json", "--prefix", PREFIX, str(path)),
        lambda: seconds("grep", "-cE", PATTERN, str(path)),
        lambda: seconds("wc", "-l", str(path)),
        lambda: reading(log_format, path)[0],
    )
    replay, grep, count, read = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(ours / theirs for ours, theirs, *_ in rounds)
    alone = statistics.median(ours / theirs for _, theirs, _, ours in rounds)
    rate = path.stat().st_size / replay
    print(f"{log_format:8} {share:6.1%}  replay {replay:6.2f} s  reader {read:6.2f} s ({reading(log_format, path)[1]:,}"
          f" events)  grep {grep:5.2f} s  wc {count:5.2f} s  replay/grep {ratio:5.2f}  reader/grep {alone:5.2f}"
          f"{beside(log_format, path, rate)}", flush=True)  # fmt: skip


def beside(log_format: str, path: Path, rate: float) -> str:
    """How many times as fast as pgBadger and mtail replay is, by bytes per second."""
    sample = path.with_name("sample.log")
    programs = path.with_name("programs")
    programs.mkdir(exist_ok=True)
    (programs / "logins.mtail").write_text(MTAIL_PROGRAM, encoding="utf-8")
    with path.open("rb") as log:
        sample.write_bytes(log.read(SAMPLE_BYTES).rpartition(b"\n")[0] + b"\n")
    others = (
        ("pgbadger", "--quiet", "--format", PGBADGER_FORMATS[log_format], "--prefix", PREFIX,
         "--outfile", str(path.with_name("report.json")), "--extension", "json", str(sample)),
        ("mtail", "--one_shot", "--progs", str(programs), "--logs", str(sample)),
    )  # fmt: skip
    return "".join(
        f"  {command[0]} x {rate * seconds(*command) / sample.stat().st_size:5.1f}"
        for command in others
        if shutil.which(command[0])
    )


def arguments() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=200, help="size of each file")
    parser.add_argument("--formats", nargs="+", default=list(PGBADGER_FORMATS), choices=list(PGBADGER_FORMATS))
    parser.add_argument("--shares", nargs="+", type=float, default=[0.001, 0.1, 1.0], help="of lines about logins")
    return parser.parse_args()


def main() -> None:
    """Every format with every share."""
    gc.disable()
    asked = arguments()
    print(f"{asked.megabytes:g} MB each; medians of up to {ROUNDS} runs in turn")
    for name in ("pgbadger", "mtail"):
        if not shutil.which(name):
            print(f"SKIPPED: {name} is not installed (apt-get install {name})", file=sys.stderr)
    with tempfile.TemporaryDirectory() as directory:
        for log_format in asked.formats:
            for share in asked.shares:
                path = Path(directory) / f"log.{log_format}"
                write(log_format, asked.megabytes, share, path)
                compare(log_format, share, path)
                path.unlink()


if __name__ == "__main__":
    main()
