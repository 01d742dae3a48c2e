"""Replay beside grep on the same file, in one run: how much does it cost to understand a log instead of counting lines?

    make bench   or   python -m bench.bench_replay [megabytes] [share of login lines]

Whole processes, start-up included, are timed in turn (A B A B …); medians and the ratio pair by pair are printed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.make_log import write

ROUNDS = 7
PATTERN = (
    "connection (received|authenticated|authorized|ready)|FATAL|OAuth bearer|internal error in OAuth|no match in "
    "usermap|provided user name|pgoauthd: refused|could not (receive|send)|starting PostgreSQL|database system is shut"
)
"""Counts the lines that replay has to understand."""
PREFIX = "%m [%p] %q%u@%d "


def seconds(*command: str) -> float:
    """Wall clock of one run. The output goes into a pipe: into /dev/null grep would stop at the first match."""
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - started


def compare(log_format: str, path: Path) -> None:
    """One row of the table."""
    replay = (sys.executable, "-m", "pgoauthd", "replay", "--json", "--prefix", PREFIX, str(path))
    grep = ("grep", "-cE", PATTERN, str(path))
    seconds(*replay)
    seconds(*grep)
    pairs = [(seconds(*replay), seconds(*grep)) for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    lines = int(subprocess.run(["wc", "-l", str(path)], capture_output=True, text=True, check=True).stdout.split()[0])
    print(f"{log_format:8} {lines:>9,} lines  replay {ours:6.3f} s  grep {theirs:6.3f} s  ratio {ratio:5.2f}  "
          f"{lines / ours:>11,.0f} lines/s")  # fmt: skip


def main() -> None:
    """All three formats."""
    megabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 200
    share = float(sys.argv[2]) if len(sys.argv) > 2 else 0.1  # noqa: PLR2004 - the second argument
    print(f"{megabytes:g} MB, {share:.1%} of the lines belong to logins; median of {ROUNDS} runs in turn")
    with tempfile.TemporaryDirectory() as directory:
        for log_format in ("jsonlog", "csvlog", "stderr"):
            path = Path(directory) / f"log.{log_format}"
            write(log_format, megabytes, share, path)
            compare(log_format, path)
            path.unlink()


if __name__ == "__main__":
    main()
