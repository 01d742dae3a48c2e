"""Sets up everything that the scripted day needs, and takes it down again: server, shim, issuers, daemon.

It performs nothing itself; the demo and the end-to-end tests do that on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pgoauthd.demo.cluster import ClusterSettings, DemoCluster, LogDestination
from pgoauthd.demo.issuer import DemoIssuer, Outage
from pgoauthd.demo.place import find_installation
from pgoauthd.demo.scene import IDENT, SETUP_SQL, Issuers, hba
from pgoauthd.demo.shimbuild import build_shim


@dataclass(frozen=True, slots=True)
class Stage:
    """A running server with its issuers; the daemon is not part of it."""

    cluster: DemoCluster
    issuers: Issuers


@asynccontextmanager
async def stage(
    *,
    authentication_timeout_seconds: int = 2,
    log_destinations: tuple[LogDestination, ...] = (LogDestination.JSONLOG,),
    log_line_prefix: str = "%m [%p] ",
    log_connections: str = "all",
    installation: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Stage]:
    """Everything but the daemon; `say` is told what takes time. DemoError where something is missing.

    `installation` is another server's in place of the package's: the directory of bin.
    """
    installation = installation or find_installation()
    with TemporaryDirectory(prefix="pgoauthd-build-") as build:
        say("building the validator module")
        shim = await asyncio.to_thread(_build, installation, Path(build))
        async with (
            DemoIssuer(realm="demo") as main,
            DemoIssuer(realm="partner") as down,
            DemoIssuer(realm="opaque") as opaque,
        ):
            down.outage(Outage.DROPPED)
            issuers = Issuers(main, down, opaque, _write_secret(Path(build), opaque))
            settings = ClusterSettings(
                hba=hba(issuers),
                ident=IDENT,
                shim=shim,
                log_destinations=log_destinations,
                log_line_prefix=log_line_prefix,
                log_connections=log_connections,
                authentication_timeout_seconds=authentication_timeout_seconds,
            )
            say("starting PostgreSQL")
            async with DemoCluster(settings, installation=installation) as cluster:
                await cluster.run_sql(SETUP_SQL)
                yield Stage(cluster, issuers)


def _write_secret(directory: Path, issuer: DemoIssuer) -> Path:
    """The directory is open to others, for the server; the secret is not."""
    path = directory / "client-secret"
    path.touch(mode=0o600)
    path.write_text(issuer.client_secret + "\n", encoding="ascii")
    return path


def _build(installation: Path, directory: Path) -> Path:
    directory.chmod(0o755)  # the server may run as another user and must load the module from here
    return build_shim(installation / "bin" / "pg_config", directory)
