"""Where the scripted day plays: roles, databases, pg_hba.conf, pg_ident.conf and the daemon's configuration, as texts.

It starts nothing. Each role stands for one way to log in, or to fail, and `demo.scenarios` tries them all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pgoauthd.demo.cluster import DemoCluster
from pgoauthd.demo.issuer import AUDIENCE, DEFAULT_SCOPE, INTROSPECTION_CLIENT, DemoIssuer

ETL_SUBJECT = "0fc72b6f-6221-4ed8-a916-069e7a081d14"
"""Identity providers like to name service accounts by a UUID; pg_ident.conf gives this one a role."""

UNTRUSTED_ISSUER = "https://login.example.org/realms/guests"
"""Named in pg_hba.conf, but not in the daemon's configuration."""

MAX_TOKEN_BYTES = 16_384

SETUP_SQL = """\
CREATE ROLE alice LOGIN;
CREATE ROLE "données" LOGIN;
CREATE ROLE "ops ""night""\" LOGIN;
CREATE ROLE reporting LOGIN;
CREATE ROLE etl LOGIN;
CREATE ROLE billing LOGIN;
CREATE ROLE courier LOGIN;
CREATE ROLE partner LOGIN;
CREATE ROLE guest LOGIN;
CREATE ROLE kiosk LOGIN;
CREATE ROLE contractor NOLOGIN;
CREATE ROLE batch LOGIN CONNECTION LIMIT 0;
CREATE DATABASE app;
CREATE DATABASE payroll;
REVOKE CONNECT ON DATABASE payroll FROM PUBLIC;
"""
"""For DemoCluster.run_sql. There is no role intern and no database archive."""

IDENT = rf"""# MAP       IDENTITY                                DATABASE ROLE
services    /^.+@dashboards\.example$               reporting
services    {ETL_SUBJECT}    etl
"""
"""Text of pg_ident.conf."""


@dataclass(frozen=True, slots=True)
class Issuers:
    """The identity providers of the scene."""

    main: DemoIssuer
    down: DemoIssuer
    """Never reachable while the daemon runs; its tokens come from before."""
    opaque: DemoIssuer
    """Issues tokens that only it can read."""
    client_secret_file: Path
    """Holds the secret of the client that asks `opaque` about its tokens."""

    @property
    def all(self) -> tuple[DemoIssuer, ...]:
        """Each of them."""
        return self.main, self.down, self.opaque


def hba(issuers: Issuers) -> str:
    """Text of pg_hba.conf, for issuers that have been started."""
    main = f'oauth issuer="{issuers.main.issuer}" scope="{DEFAULT_SCOPE}"'
    down = f'oauth issuer="{issuers.down.issuer}" scope="{DEFAULT_SCOPE}"'
    opaque = f'oauth issuer="{issuers.opaque.issuer}" scope="{DEFAULT_SCOPE}"'
    guests = f'oauth issuer="{UNTRUSTED_ISSUER}" scope="{DEFAULT_SCOPE}"'
    return f"""\
# TYPE  DATABASE             USER           ADDRESS       METHOD
host    all                  kiosk          127.0.0.1/32  reject
host    app                  reporting,etl  127.0.0.1/32  {main} map=services
host    app                  billing        127.0.0.1/32  {main} delegate_ident_mapping=1
host    app                  partner        127.0.0.1/32  {down}
host    app                  courier        127.0.0.1/32  {opaque}
host    app                  guest          127.0.0.1/32  {guests}
host    app,payroll,archive  all            127.0.0.1/32  {main}
local   app                  all                          {main}
"""


def daemon_config(
    cluster: DemoCluster,
    issuers: Issuers,
    *,
    state: Path,
    listen: str = "127.0.0.1:9713",
    outcomes: Path | None = None,
    start: str = "beginning",
    cluster_name: str = "demo",
) -> str:
    """The daemon's configuration in TOML, for this cluster and these issuers, which have been started.

    Metrics at `listen`, positions and counters at `state`, outcomes as JSON lines at `outcomes`.
    """
    settings = cluster.settings
    outcomes_table = "" if outcomes is None else f"[outcomes]\npath = {_toml(outcomes)}\n\n"
    return f"""\
[callout]
socket = {_toml(cluster.validator_socket)}
allowed_users = [{cluster.server_uid}]
max_token_bytes = {MAX_TOKEN_BYTES}

[web]
listen = {_toml(listen)}

[state]
path = {_toml(state)}

{outcomes_table}[[issuers]]
name = "main"
issuer = {_toml(issuers.main.issuer)}
audiences = [{_toml(AUDIENCE)}]
allow_loopback_http = true
unknown_kid_interval_seconds = 1

[[issuers.role_rules]]
action = "deny"
claim = "groups"
value = "temporary"
roles = ["billing"]

[[issuers.role_rules]]
identity = "invoices"
roles = ["billing"]

[[issuers.role_rules]]
claim = "groups"
value_regex = "db-(.+)"
roles = ['\\1']

[[issuers]]
name = "partner"
issuer = {_toml(issuers.down.issuer)}
audiences = [{_toml(AUDIENCE)}]
allow_loopback_http = true

[[issuers]]
name = "opaque"
issuer = {_toml(issuers.opaque.issuer)}
audiences = [{_toml(AUDIENCE)}]
allow_loopback_http = true

[issuers.introspection]
client_id = {_toml(INTROSPECTION_CLIENT)}
client_secret_file = {_toml(issuers.client_secret_file)}

[[clusters]]
name = {_toml(cluster_name)}
ident_file = {_toml(cluster.ident_path)}
logs = [{_toml(cluster.log_directory)}]
log_line_prefix = {_toml(settings.log_line_prefix)}
start = {_toml(start)}
authentication_timeout_seconds = {settings.authentication_timeout_seconds}
"""


def _toml(value: str | Path) -> str:
    """A basic string; TOML took JSON's escapes."""
    return json.dumps(str(value), ensure_ascii=False)
