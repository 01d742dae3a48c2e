"""PostgreSQL 18 and 19 as Debian has them, from a tree that the project's own script unpacks once below .real/."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from pgoauthd.demo.place import find_server_user
from pgoauthd.demo.shimbuild import find_sources

ROOT = Path(__file__).parents[2]
TREE = ROOT / ".real" / "debian"
VERSIONS = (18, 19)


@functools.cache
def _problem() -> str | None:
    """Why there is no tree whose programs the server's user can run."""
    if not (TREE / "stamp").is_file():
        return "there is no tree of Debian; tests/install-real-parts.sh makes it and says what it lacks"
    user = find_server_user()
    identity = {"user": user.uid, "group": user.gid, "extra_groups": []} if user.switch else {}
    for version in VERSIONS:
        words = [str(installation_of(version) / "bin" / "postgres"), "-V"]
        try:
            run = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/", timeout=60, **identity)  # type: ignore[call-overload]
        except OSError as error:
            return f"{words[0]} cannot be run: {error.strerror}"
        if run.returncode != 0:
            return f"no namespaces for a user of his own here? {run.stderr[-300:]}"
    return None


def installation_of(version: int) -> Path:
    return TREE / str(version)


def debian(version: int) -> Path:
    """The directory of bin of this version, for DemoCluster; the test is skipped, loudly, where it cannot be had."""
    if (problem := _problem()) is not None:
        pytest.skip(f"NOT TESTED with Debian's PostgreSQL {version}: {problem}")
    return installation_of(version)


def psql(version: int) -> Path:
    return debian(version) / "bin" / "psql"


def packages() -> dict[str, list[str]]:
    """Versions in the tree, by the package's name."""
    found: dict[str, list[str]] = {}
    for line in (TREE / "packages").read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition(" ")
        found.setdefault(name, []).append(version)
    return found


def make(version: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make in a copy of shim/, with the compiler and the development package of the tree."""
    debian(version)
    with tempfile.TemporaryDirectory(prefix="pgoauthd-pgxs-") as directory:
        sources = shutil.copytree(find_sources(), Path(directory) / "shim")
        tools = ["CC=gcc", f"PG_CONFIG=/usr/lib/postgresql/{version}/bin/pg_config"]
        command = [str(TREE / "run"), "make", "--no-print-directory", "-C", str(sources), *tools, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
