"""Processes, as /proc shows them: who is there, and when they have gone."""

from __future__ import annotations

import os
import select
from pathlib import Path


def processes_of(directory: Path) -> list[int]:
    """Processes that work in a directory or below it, or name it on their command line."""
    return [pid for pid in _all() if pid != os.getpid() and _mentions(pid, str(directory))]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def group_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_gid


def program_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/exe").readlink()


def wait_for_end(pids: list[int], seconds: float = 20.0) -> None:
    """Until all of them have ended; TimeoutError after `seconds` for one of them."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([descriptor], [], [], seconds)[0]:
                raise TimeoutError(f"process {pid} is still there")
        finally:
            os.close(descriptor)


def _all() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _mentions(pid: int, text: str) -> bool:
    try:
        place = str(Path(f"/proc/{pid}/cwd").readlink())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False
    return place.startswith(text) or text in words
