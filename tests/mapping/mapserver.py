"""A real PostgreSQL with maps of a test's choice: what it makes of a pg_ident.conf, and whom it lets in."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pgoauthd.demo.cluster import ClusterSettings, DemoCluster
from pgoauthd.runtime.pgclient import login
from tests.shim.fakedaemon import Call, FakeDaemon, accepted
from tests.shim.server import built_shim

RULE = 'host {database} all 127.0.0.1/32 oauth issuer="https://issuer.example.org" scope="openid" "map={map}"\n'
REFUSED = "OAuth bearer authentication failed"
CONCURRENT_LOGINS = 8


@dataclass(frozen=True, slots=True)
class Login:
    """An identity that asks for a role by way of a map."""

    map: str
    identity: str
    role: str


class Row(msgspec.Struct, frozen=True):
    """A row of pg_ident_file_mappings: the server's own reading of the file as it is on the disk."""

    file: str
    line: int
    map: str | None
    system: str | None
    role: str | None
    error: str | None


VIEW = """
SELECT coalesce(json_agg(json_build_object('file', file_name, 'line', line_number, 'map', map_name, 'system', sys_name,
                                  'role', pg_username, 'error', error)), '[]')
FROM pg_ident_file_mappings
"""


class MapServer:
    """A started server whose validator vouches for whatever identity the token spells."""

    def __init__(self, cluster: DemoCluster, maps: Sequence[str]) -> None:
        self.cluster = cluster
        self._database_of = {name: f"d{number}" for number, name in enumerate(maps)}

    @property
    def ident_path(self) -> Path:
        return self.cluster.directory / "etc" / "pg_ident.conf"

    async def view(self) -> list[Row]:
        """What the server would make of the file now; needs no reload."""
        return msgspec.json.decode(await self.cluster.run_sql(VIEW), type=list[Row])

    def write(self, path: Path, text: str) -> None:
        """Put a file where the server can read it."""
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        for made, mode in ((path, 0o640), (path.parent, 0o750)):
            os.chown(made, -1, self.ident_path.stat().st_gid)
            made.chmod(mode)

    async def lets_in(self, logins: Sequence[Login]) -> list[bool]:
        """Whether the server's map lets each of them in, whatever becomes of the login afterwards."""
        room = asyncio.Semaphore(CONCURRENT_LOGINS)
        async with FakeDaemon(self.cluster.validator_socket) as daemon:
            daemon.script = _vouch
            return list(await asyncio.gather(*(self._lets_in(one, room) for one in logins)))

    async def _lets_in(self, one: Login, room: asyncio.Semaphore) -> bool:
        database = self._database_of[one.map]  # there is no such database: a login that is mapped ends there
        async with room:
            token = one.identity.encode().hex()
            result = await login(self.cluster.tcp, role=one.role, database=database, token=token, deadline_seconds=30)
        assert not result.ok
        assert result.message is not None
        return REFUSED not in result.message


async def _vouch(call: Call) -> None:
    identity = bytes.fromhex(call.request.body["token"]).decode()
    call.writer.write(accepted(authn_id=identity))
    await call.writer.drain()


@contextlib.asynccontextmanager
async def map_server(ident: str, maps: Sequence[str], roles: str = "") -> AsyncIterator[MapServer]:
    """A server with this pg_ident.conf; each map has a rule of pg_hba.conf. `roles` is SQL that makes roles."""
    hba = "".join(RULE.format(database=f"d{number}", map=name) for number, name in enumerate(maps))
    settings = ClusterSettings(hba=hba or "# none\n", ident=ident, shim=built_shim())
    async with DemoCluster(settings) as cluster:
        await cluster.run_sql(roles)
        yield MapServer(cluster, maps)
