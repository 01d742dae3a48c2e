"""psql's own device flow, end to end: Keycloak, a browser, psql, PostgreSQL 18 and 19, module and daemon.

With PGOAUTHD_WRITE_PROOF set, what people and logs see of each flow is written to docs/proof/.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pgoauthd.demo.cluster import SUPERUSER, ClusterSettings, DemoCluster, LogDestination
from tests.fix_daemon import DaemonProcess, free_port
from tests.real import fix_debian
from tests.real.fix_browser import browser_version, browsing, chromium
from tests.real.fix_deviceflow import Shown, Verify, approve, deny, log_in_with_psql
from tests.real.fix_keycloak import VERSION as KEYCLOAK_VERSION
from tests.real.fix_keycloak import Keycloak, audience_mapper, secret_of
from tests.shim.server import built_shim

PROOF = Path(__file__).parents[2] / "docs" / "proof" / "psql-device-flow.txt"
REALM = "people"
SCOPE = "postgres"
QUIET_SCOPE = "quiet"
"""Granted, but not written into tokens: Keycloak's "include in token scope" is off."""
CLIENT = "postgres-client"
NEW_CLIENT = "new-client"
"""As a guide has it that forgets the audience."""
AUDIENCE = "pg-cluster"
PATIENCE_SECONDS = 5
"""authentication_timeout: a session that says nothing is given up then, which PostgreSQL 19's discoveries wait for."""

SETUP_SQL = """
CREATE ROLE alice LOGIN;
CREATE DATABASE by_map;
CREATE DATABASE by_rules;
CREATE DATABASE quiet_scope;
"""

HBA = """\
# DATABASE           USER   ADDRESS       METHOD
host by_map          alice  127.0.0.1/32  oauth issuer="{issuer}" scope="openid postgres" map=keycloak
host by_rules        alice  127.0.0.1/32  oauth issuer="{issuer}" scope="openid postgres" delegate_ident_mapping=1
host quiet_scope     alice  127.0.0.1/32  oauth issuer="{issuer}" scope="openid quiet" map=keycloak
"""

CONFIG = """\
[callout]
socket = {socket}
allowed_users = [{uid}]

[web]
listen = {listen}

[state]
path = {state}

[outcomes]
path = {outcomes}

[[issuers]]
name = "people"
profile = "keycloak"
issuer = {issuer}
audiences = ["pg-cluster"]
identity_claims = ["sub"]
allow_loopback_http = true

[[issuers.role_rules]]
claim = "preferred_username"
value_regex = "(.+)"
roles = ['\\1']

[[clusters]]
name = "main"
ident_file = {ident}
logs = [{logs}]
authentication_timeout_seconds = {patience}
"""


@pytest.fixture(scope="module")
def people(keycloak: Keycloak) -> Keycloak:
    """A realm set up as a guide to the device flow has it, and alice in it."""
    realm = Keycloak(keycloak.url, REALM)
    realm.add_realm_with_alice(oauth2DevicePollingInterval="1", oauth2DeviceCodeLifespan="120")
    realm.add_scope(SCOPE)
    realm.add_scope(QUIET_SCOPE, in_token=False)
    for client in (CLIENT, NEW_CLIENT):
        attributes = {"oauth2.device.authorization.grant.enabled": "true"}
        realm.add_client(client, {"secret": secret_of(client), "attributes": attributes}, scoped=False)
        realm.allow_scope(client, SCOPE)
        realm.allow_scope(client, QUIET_SCOPE)
    realm.add_mapper(CLIENT, audience_mapper(AUDIENCE))
    return realm


class Proof:
    """What people and logs see of the flows, with what differs on every machine replaced.

    psql's trace is no part of it, nor are codes and secrets.
    """

    def __init__(self) -> None:
        self._sections: list[str] = []

    def add(self, place: Place, shown: Shown) -> None:
        test = os.environ["PYTEST_CURRENT_TEST"].partition("::")[2].partition(" ")[0]
        title = test.removeprefix("test_").replace("_", " ").capitalize()
        (database,) = {outcome["database"] for outcome in place.daemon.outcomes() if outcome["role"] == "alice"} - {
            None
        }
        line = next(line for line in HBA.splitlines() if line.startswith(f"host {database} "))
        log = (place.cluster.log_directory / "postgresql.log").read_text(encoding="utf-8").splitlines()
        outcomes = [json.dumps(one) for one in place.daemon.outcomes() if one["role"] != SUPERUSER]
        command = (
            f"psql -Atc … 'user=alice dbname={database} oauth_issuer=ISSUER oauth_client_id=… oauth_client_secret=…'"
        )
        prompt = "Visit ISSUER/device and enter the code: ████-████\n" * shown.prompts
        parts = {
            f"{title} (PostgreSQL {place.version})": "",
            "pg_hba.conf": line.format(issuer="ISSUER") + "\n",
            "psql": f"$ {command}\n{prompt}{shown.output}{shown.errors}",
            "the server's log": "".join(f"{entry}\n" for entry in _of_alice(log)),
            "pgoauthd's outcomes": "".join(f"{one}\n" for one in outcomes),
        }
        text = "".join(f"{'#' if not text else '##'} {head}\n\n{text}\n" for head, text in parts.items())
        self._sections.append(self._anonymous(text.replace("\n\n\n", "\n\n"), place))

    def _anonymous(self, text: str, place: Place) -> str:
        replaced = {
            place.people.issuer: "ISSUER",
            "ISSUER": "https://id.example.org/realms/people",
            str(place.cluster.directory): "/srv/postgresql",
            place.people.id_of_alice(): "7d3f8c1e-6b0a-4f51-9c55-0a1c2e9b4d10",
        }
        for found, shown in replaced.items():
            text = text.replace(found, shown)
        assert "eyJ" not in text
        assert "secret of" not in text
        return text

    def write(self) -> None:
        """Only where PGOAUTHD_WRITE_PROOF is set."""
        if not os.environ.get("PGOAUTHD_WRITE_PROOF") or not self._sections:
            return
        had = fix_debian.packages()
        versions = ", ".join(
            f"{name} {' and '.join(had[name])}" for name in ("postgresql-18", "postgresql-19", "libpq-oauth")
        )
        head = f"Keycloak {KEYCLOAK_VERSION}, {browser_version()}, {versions}\n\n"
        PROOF.parent.mkdir(exist_ok=True)
        PROOF.write_text(head + "\n".join(self._sections), encoding="utf-8")


def _of_alice(log: list[str]) -> list[str]:
    """Entries of her sessions: a continuation line belongs to the entry before."""
    kept: list[str] = []
    hers = False
    sessions = {line.partition("[")[2].partition("]")[0] for line in log if "alice" in line and "CREATE" not in line}
    for line in log:
        if not line.startswith("\t"):
            hers = line.partition("[")[2].partition("]")[0] in sessions
        if hers:
            kept.append(line)
    return kept


@dataclass
class Place:
    """A server of this version with module and daemon, whose users come from the realm."""

    version: int
    people: Keycloak
    cluster: DemoCluster
    daemon: DaemonProcess

    async def log_in(self, database: str, verify: Verify, client: str = CLIENT) -> Shown:
        """A person's way: psql's prompt, the browser, and psql again."""
        parameters = {"dbname": database, **self._parameters(client)}
        async with browsing() as page:
            return await log_in_with_psql(self.version, self.cluster, page, verify, parameters)

    async def outcomes(self, count: int) -> list[dict[str, Any]]:
        return await self.daemon.wait_for_outcomes(count, not_of=SUPERUSER)

    def _parameters(self, client: str) -> Mapping[str, str]:
        secret = secret_of(client).replace("\\", "\\\\").replace("'", "\\'")
        return {"oauth_issuer": self.people.issuer, "oauth_client_id": client, "oauth_client_secret": secret}


@asynccontextmanager
async def place(version: int, people: Keycloak) -> AsyncIterator[Place]:
    installation = fix_debian.debian(version)
    settings = ClusterSettings(
        hba=HBA.format(issuer=people.issuer),
        # what guides have people copy by hand from the provider's page about alice
        ident=f"keycloak {people.id_of_alice()} alice\n",
        shim=built_shim(installation),
        log_destinations=(LogDestination.JSONLOG, LogDestination.STDERR),
        authentication_timeout_seconds=PATIENCE_SECONDS,
    )
    async with DemoCluster(settings, installation=installation) as cluster:
        await cluster.run_sql(SETUP_SQL)
        listen = f"127.0.0.1:{free_port()}"
        paths = {
            "socket": cluster.validator_socket,
            "listen": listen,
            "state": cluster.directory / "state.db",
            "outcomes": cluster.directory / "outcomes.jsonl",
            "issuer": people.issuer,
            "ident": cluster.ident_path,
            "logs": cluster.log_directory / "postgresql.json",
        }
        config = CONFIG.format(
            **{name: json.dumps(str(value)) for name, value in paths.items()},
            uid=cluster.server_uid,
            patience=PATIENCE_SECONDS,
        )
        async with DaemonProcess(config, cluster.directory, listen) as daemon:
            yield Place(version, people, cluster, daemon)


@pytest.fixture
async def place18(people: Keycloak) -> AsyncIterator[Place]:
    chromium()
    async with place(18, people) as found:
        yield found


@pytest.fixture
async def place19(people: Keycloak) -> AsyncIterator[Place]:
    chromium()
    async with place(19, people) as found:
        yield found


@pytest.fixture(scope="module")
def proof() -> Iterator[Proof]:
    collected = Proof()
    yield collected
    collected.write()


def ends(outcomes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(outcome["result"], outcome["reason"]) for outcome in outcomes]


async def assert_no_alarm(place: Place) -> None:
    """What a discovery leaves behind is no failure, no alert, no unmatched verdict."""
    counted = await place.daemon.samples("pgoauthd_login_attempts_total")
    assert {result for *_, result, _ in counted} <= {"success", "discovery", "abandoned"}
    assert await place.daemon.samples("pgoauthd_correlation_unmatched_total") == {}
    assert await place.daemon.samples("pgoauthd_alerts_total") == {}


DISCOVERY = ("discovery", "discovery")
SILENT = ("abandoned", "silent")
SUCCESS = ("success", "ok")


async def test_a_login_by_the_map_is_a_discovery_and_a_success(place18: Place, proof: Proof) -> None:
    shown = await place18.log_in("by_map", approve)
    uuid = place18.people.id_of_alice()

    assert (shown.status, shown.output) == (0, f"alice is oauth:{uuid}\n"), shown.errors
    outcomes = await place18.outcomes(2)
    assert ends(outcomes) == [DISCOVERY, SUCCESS]
    assert (outcomes[1]["identity"], outcomes[1]["usermap"]) == (uuid, "keycloak")
    await assert_no_alarm(place18)
    proof.add(place18, shown)


async def test_a_delegated_login_goes_by_the_role_rules(place18: Place, proof: Proof) -> None:
    shown = await place18.log_in("by_rules", approve)

    assert (shown.status, shown.prompts) == (0, 1), shown.errors
    outcomes = await place18.outcomes(2)
    assert ends(outcomes) == [DISCOVERY, SUCCESS]
    assert outcomes[1]["delegated"] is True
    await assert_no_alarm(place18)
    proof.add(place18, shown)


async def test_a_person_who_denies_consent_leaves_a_discovery_alone(place18: Place, proof: Proof) -> None:
    shown = await place18.log_in("by_map", deny)

    assert shown.status == 2
    assert "access_denied" in shown.errors
    assert ends(await place18.outcomes(1)) == [DISCOVERY]
    await assert_no_alarm(place18)
    proof.add(place18, shown)


async def test_a_scope_that_the_provider_does_not_write_into_the_token_is_missing(place18: Place, proof: Proof) -> None:
    shown = await place18.log_in("quiet_scope", approve)

    assert shown.status == 2
    outcomes = await place18.outcomes(2)
    assert ends(outcomes) == [DISCOVERY, ("refused", "scope_missing")]
    assert "'quiet'" in outcomes[1]["message"]
    proof.add(place18, shown)


async def test_keycloaks_own_audience_is_refused_until_a_mapper_adds_ours(place18: Place, proof: Proof) -> None:
    shown = await place18.log_in("by_map", approve, NEW_CLIENT)

    assert shown.status == 2
    outcomes = await place18.outcomes(2)
    assert ends(outcomes) == [DISCOVERY, ("refused", "audience_mismatch")]
    assert outcomes[1]["message"] == "the token's aud is 'account'; expected is one of 'pg-cluster'"
    assert "Keycloak an audience mapper" in outcomes[1]["remedy"], "what to do at the provider"
    assert "correct audiences" in outcomes[1]["remedy"], "what to do here"
    proof.add(place18, shown)

    place18.people.add_mapper(NEW_CLIENT, audience_mapper(AUDIENCE))
    shown = await place18.log_in("by_map", approve, NEW_CLIENT)
    assert shown.status == 0, shown.errors
    assert ends(await place18.outcomes(4))[2:] == [DISCOVERY, SUCCESS]


async def test_on_postgresql_19_the_discovery_is_silence_and_the_login_a_success(place19: Place, proof: Proof) -> None:
    shown = await place19.log_in("by_map", approve)

    assert (shown.status, shown.prompts) == (0, 1), shown.errors
    outcomes = await place19.outcomes(2)
    assert sorted(ends(outcomes)) == sorted([SILENT, SUCCESS])
    await assert_no_alarm(place19)
    proof.add(place19, shown)


async def test_postgresql_19_says_the_reason_in_its_own_entry(place19: Place, proof: Proof) -> None:
    shown = await place19.log_in("quiet_scope", approve)

    assert shown.status == 2
    outcomes = await place19.outcomes(2)
    assert ("refused", "scope_missing") in ends(outcomes)
    log = (place19.cluster.log_directory / "postgresql.json").read_text(encoding="utf-8")
    entries = [json.loads(line) for line in log.splitlines()]
    (fatal,) = [entry for entry in entries if entry["error_severity"] == "FATAL"]
    assert fatal["detail"].startswith("pgoauthd: refused [scope_missing]: ")
    proof.add(place19, shown)
