"""Where the clients log in: cases with the reason each must end with, and the outcome of each connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgoauthd.correlation.outcome import Result
from pgoauthd.demo.attempts import TokenFactory
from pgoauthd.demo.cluster import DemoCluster
from pgoauthd.tokens.reasons import Reason
from tests.e2e.test_day import Play
from tests.fix_daemon import until
from tests.real.fix_clients import Client, Login, log_in

AUTHENTICATION_TIMEOUT_SECONDS = 5
DISCOVERY = (Result.DISCOVERY.value, Reason.DISCOVERY.value)
SUCCESS = (Result.SUCCESS.value, Reason.OK.value)
GONE = (Result.ABANDONED.value, Reason.CLIENT_GONE.value)


@dataclass(frozen=True, slots=True)
class Case:
    """A login with a token, and the reason that it must end with."""

    token: TokenFactory | None
    reason: Reason
    role: str = "alice"

    @property
    def ends(self) -> tuple[str, str]:
        return (SUCCESS[0] if self.reason is Reason.OK else Result.REFUSED.value), self.reason.value


CASES = {
    "a good token": Case(lambda i: i.main.mint("alice"), Reason.OK),
    "expired": Case(lambda i: i.main.mint("alice", issued_ago=3600), Reason.EXPIRED),
    "for another audience": Case(lambda i: i.main.mint("alice", audience="shop"), Reason.AUDIENCE_MISMATCH),
    "without the scope": Case(lambda i: i.main.mint("alice", scope="openid"), Reason.SCOPE_MISSING),
    "of somebody else": Case(lambda i: i.main.mint("bob"), Reason.IDENTITY_MISMATCH),
    "whose name the map lacks": Case(lambda i: i.main.mint("bob"), Reason.USERMAP_NO_MATCH, "reporting"),
}
REFUSED = [name for name, case in CASES.items() if case.reason is not Reason.OK]
NO_TOKEN = Case(None, Reason.DISCOVERY)
NO_DEMAND = Case(lambda i: i.main.mint("alice"), Reason.OK, "unguarded")
OTHERS = {"no token at all": NO_TOKEN, "a server that wants no token": NO_DEMAND}


@dataclass
class Place:
    """A server with a daemon, and the logins that were made there."""

    play: Play
    settings: Mapping[str, str]
    logins: dict[tuple[str, str], Login] = field(default_factory=dict)

    async def log_in(self, client: Client, case: Case, **settings: str) -> Login:
        issuers, cluster = self.play.stage.issuers, self.play.stage.cluster
        whole = {"user": case.role, "require_auth": "oauth", **self.settings}
        if client.is_libpq:
            whole |= {"oauth_issuer": issuers.main.issuer, "oauth_client_id": "app"}
        token = None if case.token is None else case.token(issuers)
        return await log_in(client, cluster.port, whole | settings, token)

    async def outcomes(self, login: Login) -> list[dict[str, Any]]:
        """Of each connection of the login, in order."""

        def found() -> dict[int, dict[str, Any]]:
            return {one["client_port"]: one for one in self.play.daemon.outcomes()}

        async def all_there() -> bool:
            return found().keys() >= set(login.ports)

        await until(all_there, f"the outcomes of {login.ports}", 60)
        return [found()[port] for port in login.ports]

    async def ends(self, login: Login) -> list[tuple[str, str]]:
        return [(one["result"], one["reason"]) for one in await self.outcomes(login)]


def handshake(client: Client) -> list[tuple[str, str]]:
    """What comes before the login itself: libpq asks the server for the issuer."""
    return [DISCOVERY] if client.is_libpq else []


async def reload(cluster: DemoCluster) -> None:
    """When this returns, new connections meet the new settings."""
    before = await cluster.run_sql("SELECT pg_conf_load_time()")
    await cluster.run_sql("SELECT pg_reload_conf()")

    async def loaded() -> bool:
        return await cluster.run_sql("SELECT pg_conf_load_time()") != before

    await until(loaded, "the server has loaded its settings")
