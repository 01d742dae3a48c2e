"""The recipe of docs/kong.md, followed: a real Keycloak, a real PostgreSQL with TLS, its standby, and the daemon."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fix_daemon import DaemonProcess, free_port, until
from tests.real.fix_keycloak import SCOPE, WITHOUT_SCOPE, Keycloak, secret_of
from tests.real.fix_tlspostgres import HOST, Servers, servers

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "kong.md").read_text(encoding="utf-8")
PROOF = ROOT / "docs" / "proof" / "kong.txt"
ISSUER = "https://idp.example.org/realms/platform"
SECRET = secret_of("kong")
PROBES_EVERY_SECONDS = 5
USERS = """
CREATE ROLE alice LOGIN;
CREATE ROLE locked_out LOGIN;
REVOKE CONNECT ON DATABASE kong FROM PUBLIC;
GRANT CONNECT ON DATABASE kong TO kong, alice;
"""
IDENT = "kong service-account-kong locked_out\nkong alice alice\nkong service-account-elsewhere kong\n"


def block(kind: str, of: str) -> str:
    """The page's first block of this kind that has `of` in it."""
    blocks: list[str] = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return next(text for text in blocks if of in text)


@dataclass
class Place:
    """Where the recipe was followed."""

    servers: Servers
    keycloak: Keycloak
    daemon: DaemonProcess
    directory: Path
    runner: asyncio.Runner

    @property
    def state(self) -> Path:
        return self.directory / "state.db"

    def kong_conf(self, **changes: str) -> Path:
        """The page's kong.conf for these servers, with `changes` at its end: of a key, the last one counts."""
        text = block("ini", "pg_ssl_verify") + block("ini", "pg_ro_host")
        for there, here in (
            (ISSUER, self.keycloak.issuer),
            ("pg_host = db.example.org\npg_port = 5432", f"pg_host = {HOST}\npg_port = {self.servers.primary.port}"),
            (
                "pg_ro_host = replica.example.org\npg_ro_port = 5432",
                f"pg_ro_host = {HOST}\npg_ro_port = {self.servers.standby.port}",
            ),
            ("/etc/kong/db-ca.pem", self.servers.ca_file),
        ):
            assert there in text
            text = text.replace(there, here)
        path = self.directory / "kong.conf"
        lines = [f"{key} = {value}" for key, value in changes.items()]
        path.write_text("\n".join([text, *lines]) + "\n", encoding="utf-8")
        return path

    def probe(
        self, *words: str, secret: str = SECRET, form: str = "--json", **changes: str
    ) -> subprocess.CompletedProcess[str]:
        """The command, as it is run on Kong's host, with Kong's secret where kong.conf says that it is."""
        command = [sys.executable, "-m", "pgoauthd", "probe", "--kong-conf", str(self.kong_conf(**changes)), form]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KONG_")}
        return subprocess.run(
            [*command, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment | {"KONG_CLIENT_SECRET": secret, "PYTHONIOENCODING": "utf-8"},
        )

    def probe_primary(self, *words: str, **settings: str) -> dict[str, Any]:
        """What came of the primary, with the history of our own side."""
        done = self.probe("--server", "primary", "--state", str(self.state), *words, **settings)
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if found["ok"] else 1), done.stderr
        assert SECRET not in done.stdout + done.stderr
        assert "eyJ" not in done.stdout + done.stderr
        return found


@pytest.fixture(scope="module")
def place(keycloak: Keycloak, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    keycloak.add_client("kong", {"secret": SECRET})
    with asyncio.Runner() as runner:  # the loop of a test would be gone when the servers stop
        hba = block("text", ISSUER).replace(ISSUER, keycloak.issuer).replace("10.0.0.0/8", "127.0.0.1/32")
        hba += hba.replace("kong  kong  ", "kong  alice,locked_out  ")
        ident = block("text", "DATABASE ROLE") + IDENT
        sql = block("sql", "CREATE ROLE") + USERS
        both = servers(tmp_path_factory.mktemp("postgresql"), hba=hba, ident=ident, sql=sql)
        started = runner.run(_run(both.__aenter__()))
        try:
            directory = started.primary.directory
            daemon = DaemonProcess(*_daemon(started, keycloak, directory))
            runner.run(daemon.start())
            try:
                yield Place(started, keycloak, daemon, directory, runner)
            finally:
                runner.run(daemon.stop())
        finally:
            runner.run(_run(both.__aexit__(None, None, None)))


async def _run(awaitable: Any) -> Any:  # noqa: ANN401 - what an asynchronous context manager gives
    return await awaitable


def _daemon(started: Servers, keycloak: Keycloak, directory: Path) -> tuple[str, Path, str]:
    """The page's configuration for these servers, and what a test needs besides."""
    listen = f"127.0.0.1:{free_port()}"
    secret = directory / "kong-client-secret"
    secret.write_text(SECRET + "\n", encoding="utf-8")
    secret.chmod(0o600)
    primary, standby = started.primary, started.standby
    text = block("toml", "[[clusters]]") + block("toml", "[[probes]]")
    ports = iter((primary.port, standby.port))
    text = re.sub(r'^host = ".*"$', lambda _: f'host = "{HOST}"\nport = {next(ports)}', text, flags=re.MULTILINE)
    text = text.replace(
        "[[probes]]\n", f"[[probes]]\nallow_loopback_http = true\ninterval_seconds = {PROBES_EVERY_SECONDS}\n"
    )
    for there, here in (
        (ISSUER, keycloak.issuer),
        ("/etc/pgoauthd/db-ca.pem", started.ca_file),
        ("/etc/pgoauthd/kong-client-secret", str(secret)),
        ("/var/log/postgresql", str(primary.log_directory)),
        ("/etc/postgresql/18/main/pg_ident.conf", str(primary.ident_path)),
        ('profile = "keycloak"', 'profile = "keycloak"\nallow_loopback_http = true'),
    ):
        assert there in text
        text = text.replace(there, here)
    own = f"""
[callout]
socket = "{primary.validator_socket}"
allowed_users = [{primary.server_uid}]
[web]
listen = "{listen}"
[state]
path = "{directory}/state.db"

[[clusters]]
name = "replica"
logs = ["{standby.log_directory}"]
"""
    return own + text, directory, listen


def test_kong_logs_in_to_the_primary_and_to_the_replica(place: Place) -> None:
    done = place.probe()
    assert done.returncode == 0, done.stdout + done.stderr
    primary, replica = (json.loads(line) for line in done.stdout.splitlines())
    assert [(one["server"], one["ok"], one["seen"]["standby"]) for one in (primary, replica)] == [
        ("primary", True, False),
        ("replica", True, True),
    ]
    assert [step["step"] for step in primary["steps"] if step["ok"]] == ["token", "connect", "tls", "sasl", "ready"]
    assert primary["seen"]["tls_version"] == "TLSv1.3"
    assert "pg-cluster" in primary["token"]["audience"]
    assert primary["token"]["subject"] == "a UUID"


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
@pytest.mark.parametrize("grant", ["client_credentials", "password"])
def test_each_grant_works_with_each_method(place: Place, grant: str, method: str) -> None:
    people = {"pg_oauth_username": "alice", "pg_oauth_password": "alice", "pg_user": "alice"}
    found = place.probe_primary(
        pg_oauth_grant_type=grant,
        pg_oauth_token_endpoint_auth_method=method,
        **(people if grant == "password" else {}),
    )
    assert found["ok"], found


def test_the_discovery_endpoint_leads_to_the_token_endpoint(place: Place) -> None:
    discovery = f"{place.keycloak.issuer}/.well-known/openid-configuration"
    found = place.probe_primary(pg_oauth_token_endpoint="", pg_oauth_discovery_endpoint=discovery)
    assert found["ok"], found
    assert found["token_endpoint"] == f"{place.keycloak.issuer}/protocol/openid-connect/token"


def test_a_wrong_secret_fails_at_the_token(place: Place) -> None:
    found = place.probe_primary(secret="another secret")
    assert found["failed_step"] == "token"
    assert "refused with unauthorized_client (status 401)" in found["message"] or "invalid_client" in found["message"]
    assert "oauth_client_secret" in found["remedy"], found


def test_a_grant_that_the_client_may_not_use_fails_at_the_token(place: Place) -> None:
    place.keycloak.add_client("no-service", {"secret": SECRET, "serviceAccountsEnabled": False})
    found = place.probe_primary(pg_oauth_client_id="no-service")
    assert (found["failed_step"], "unauthorized_client" in found["message"]) == ("token", True), found
    assert "service accounts" in found["remedy"]


def test_an_unknown_scope_fails_at_the_token(place: Place) -> None:
    found = place.probe_primary(pg_oauth_scope="nobody-knows-it")
    assert (found["failed_step"], "invalid_scope" in found["message"]) == ("token", True), found
    assert "oauth_scope" in found["remedy"]


def test_a_wrong_password_fails_at_the_token(place: Place) -> None:
    found = place.probe_primary(
        pg_oauth_grant_type="password", pg_oauth_username="alice", pg_oauth_password="wrong", pg_user="alice"
    )
    assert (found["failed_step"], "invalid_grant" in found["message"]) == ("token", True), found


def test_a_token_for_another_audience_is_refused_with_our_own_reason(place: Place) -> None:
    found = place.probe_primary(
        pg_oauth_client_id=WITHOUT_SCOPE, pg_oauth_scope="profile", secret=secret_of(WITHOUT_SCOPE)
    )
    assert found["failed_step"] == "sasl"
    assert found["message"] == 'OAuth bearer authentication failed for user "kong"'
    assert found["seen"]["wanted"] == {
        "status": "invalid_token",
        "openid_configuration": f"{place.keycloak.issuer}/.well-known/openid-configuration",
        "scope": SCOPE,
    }
    assert found["outcome"]["reason"] == "audience_mismatch", found
    assert any("audience mapper" in hint for hint in found["hints"])


def test_a_token_without_the_scope_of_the_line_is_refused_with_our_own_reason(place: Place) -> None:
    place.keycloak.add_client("unscoped", {"secret": SECRET}, scoped=False)
    mapper = {"name": "db", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper"}
    config = {"included.custom.audience": "pg-cluster", "access.token.claim": "true"}
    place.keycloak.add_mapper("unscoped", {**mapper, "config": config})
    found = place.probe_primary(pg_oauth_client_id="unscoped", pg_oauth_scope="profile")
    assert (found["failed_step"], found["outcome"]["reason"]) == ("sasl", "scope_missing"), found
    assert any(f"lacks {SCOPE}" in hint for hint in found["hints"])


def test_a_name_that_maps_to_another_role_is_refused_with_our_own_reason(place: Place) -> None:
    found = place.probe_primary(
        pg_oauth_grant_type="password", pg_oauth_username="alice", pg_oauth_password="alice", pg_user="kong"
    )
    assert (found["failed_step"], found["outcome"]["reason"]) == ("sasl", "usermap_no_match"), found


def test_a_role_without_connect_fails_when_everything_else_is_done(place: Place) -> None:
    found = place.probe_primary(pg_user="locked_out")
    assert (found["failed_step"], found["seen"]["sqlstate"]) == ("ready", "42501")
    assert found["outcome"]["reason"] == "database_no_connect", found


def test_a_database_without_a_line_is_refused_before_the_token_is_shown(place: Place) -> None:
    found = place.probe_primary(pg_database="postgres")
    assert (found["failed_step"], found["seen"]["sqlstate"]) == ("sasl", "28000")
    assert "pg_hba.conf" in found["remedy"]


def test_a_server_of_another_authority_gets_no_token(place: Place) -> None:
    found = place.probe_primary(lua_ssl_trusted_certificate="system")
    assert (found["failed_step"], "not trusted" in found["message"]) == ("tls", True), found


def test_a_certificate_for_another_name_gets_no_token(place: Place) -> None:
    found = place.probe_primary(pg_host="127.0.0.1")
    assert (found["failed_step"], "IP address mismatch" in found["message"]) == ("tls", True), found


def test_without_a_check_of_the_certificate_it_is_said(place: Place) -> None:
    found = place.probe_primary(pg_host="127.0.0.1", pg_ssl_verify="off")
    assert found["ok"]
    assert any("whoever answers" in warning for warning in found["warnings"])


def test_tls_of_one_version_is_spoken_where_it_is_set(place: Place) -> None:
    assert place.probe_primary(pg_ssl_version="tlsv1_2")["seen"]["tls_version"] == "TLSv1.2"


def test_the_daemon_probes_primary_and_replica(place: Place) -> None:
    async def both_succeeded() -> bool:
        return await place.daemon.samples("pgoauthd_probe_success") == {
            ("kong", "primary"): 1.0,
            ("kong-replica", "replica"): 1.0,
        }

    place.runner.run(until(both_succeeded, "both probes of the daemon succeed", 30))
    steps = place.runner.run(place.daemon.samples("pgoauthd_probe_step_duration_seconds"))
    assert {key[2] for key in steps if key[0] == "kong"} == {"token", "connect", "tls", "sasl", "ready"}


def test_the_probes_logins_are_told_by_their_application_name(place: Place) -> None:
    assert place.probe_primary()["ok"]

    async def told() -> bool:
        words = [sys.executable, "-m", "pgoauthd", "events", "--state", str(place.state), "--role", "kong", "--json"]
        process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
        output, _ = await process.communicate()
        ended = [json.loads(line) for line in output.splitlines()]
        return any(one["application_name"] == "pgoauthd probe" for one in ended if one["result"] == "success")

    place.runner.run(until(told, "an outcome with the probe's application name", 20))


def test_the_page_shows_what_was_seen(place: Place) -> None:
    """Where PGOAUTHD_WRITE_PROOF is set, the transcript is written anew."""
    good = place.probe("--state", str(place.state), form="--table")
    bad = place.probe(
        *("--server", "primary", "--state", str(place.state)),
        form="--table",
        secret=secret_of(WITHOUT_SCOPE),
        pg_oauth_client_id=WITHOUT_SCOPE,
        pg_oauth_scope="profile",
    )
    assert (good.returncode, bad.returncode) == (0, 1), good.stdout + bad.stdout + good.stderr
    assert "✓ ready" in good.stdout
    assert "our own side says: audience_mismatch" in bad.stdout
    if os.environ.get("PGOAUTHD_WRITE_PROOF"):
        said = [
            "$ pgoauthd probe --kong-conf /etc/kong/kong.conf\n",
            good.stdout,
            "\n# the same with a client that nobody gave the client scope, on the database's host\n",
            "$ pgoauthd probe --kong-conf /etc/kong/kong.conf --server primary\n",
            bad.stdout,
        ]
        PROOF.parent.mkdir(exist_ok=True)
        PROOF.write_text("".join(said), encoding="utf-8")
