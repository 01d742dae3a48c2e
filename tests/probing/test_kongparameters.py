from __future__ import annotations

from collections.abc import Mapping

import pytest

from pgoauthd.config.oauthclient import AuthMethod, GrantType
from pgoauthd.errors import ConfigError, Problem
from pgoauthd.probing.kongparameters import has_replica, read_parameters
from pgoauthd.probing.parameters import Parameters, Server, TlsVersion

SETTINGS = {
    "pg_host": "db.example.org",
    "pg_oauth_auth": "on",
    "pg_oauth_client_id": "kong",
    "pg_oauth_client_secret": "a secret",
    "pg_oauth_token_endpoint": "https://idp.example.org/token",
}


def read(server: Server = Server.PRIMARY, **changes: str) -> Parameters:
    return read_with({}, server, **changes)


def read_with(environment: Mapping[str, str], server: Server, **changes: str) -> Parameters:
    (found,) = read_parameters(SETTINGS | changes, environment, (server,), "kong.conf")
    return found


def problems(without: str = "", **changes: str) -> dict[str, Problem]:
    settings = {key: value for key, value in (SETTINGS | changes).items() if key != without}
    with pytest.raises(ConfigError) as raised:
        read_parameters(settings, {}, (Server.PRIMARY, Server.REPLICA), "kong.conf")
    assert "a secret" not in str(raised.value)
    return {problem.where: problem for problem in raised.value.problems}


def test_what_is_not_set_is_as_for_kong() -> None:
    found = read()
    assert (found.port, found.database, found.user, found.step_seconds) == (5432, "kong", "kong", 5.0)
    assert found.oauth.grant_type is GrantType.CLIENT_CREDENTIALS
    assert found.oauth.auth_method is AuthMethod.POST
    assert found.tls.verify is False
    assert found.tls.trusted == found.idp_trusted == ("system",)


def test_what_is_set_is_taken() -> None:
    found = read(
        pg_port="6432",
        pg_timeout="1500",
        pg_ssl_verify="on",
        pg_ssl_version="tlsv1_3",
        lua_ssl_trusted_certificate="system, /etc/ca.pem",
        pg_oauth_grant_type="password",
        pg_oauth_token_endpoint_auth_method="client_secret_basic",
        pg_oauth_username="EXAMPLE\\kong",
        pg_oauth_password="p",
        pg_oauth_scope="openid db",
        pg_oauth_audience="a",
        pg_oauth_resource="r",
    )
    assert (found.port, found.step_seconds) == (6432, 1.5)
    assert (found.tls.verify, found.tls.version, found.tls.trusted) == (
        True,
        TlsVersion.V1_3,
        ("system", "/etc/ca.pem"),
    )
    assert found.oauth.secrets == ("a secret", "p")
    assert (found.oauth.username, found.oauth.scope, found.oauth.audience, found.oauth.resource) == (
        "EXAMPLE\\kong",
        "openid db",
        "a",
        "r",
    )


def test_a_replica_is_as_the_primary_where_nothing_else_is_said() -> None:
    settings = {"pg_ro_host": "replica.example.org", "pg_ro_oauth_scope": "read", "pg_oauth_scope": "write"}
    assert has_replica(SETTINGS | settings)
    found = read_with({}, Server.REPLICA, **settings)
    assert (found.host, found.oauth.scope, found.oauth.client_id) == ("replica.example.org", "read", "kong")
    assert read_with({}, Server.PRIMARY, **settings).oauth.scope == "write"


def test_a_kong_without_a_replica_has_none() -> None:
    assert not has_replica(SETTINGS)


@pytest.mark.parametrize("key", ["pg_oauth_client_id", "pg_oauth_client_secret", "pg_oauth_token_endpoint"])
def test_what_is_missing_is_named_once(key: str) -> None:
    found = problems(without=key)
    assert list(found) == [key]
    assert "is required" in found[key].what


def test_the_password_grant_needs_a_user_and_no_secret() -> None:
    found = problems(without="pg_oauth_client_secret", pg_oauth_grant_type="password")
    assert list(found) == ["pg_oauth_username", "pg_oauth_password"]


def test_the_discovery_endpoint_is_enough() -> None:
    settings = {key: value for key, value in SETTINGS.items() if key != "pg_oauth_token_endpoint"}
    settings["pg_oauth_discovery_endpoint"] = "https://idp.example.org/.well-known/openid-configuration"
    (found,) = read_parameters(settings, {}, (Server.PRIMARY,), "kong.conf")
    assert found.oauth.token_endpoint is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pg_oauth_auth", "off"),
        ("pg_port", "0"),
        ("pg_port", "70000"),
        ("pg_timeout", "soon"),
        ("pg_ssl_version", "tlsv1_1"),
        ("pg_oauth_grant_type", "authorization_code"),
        ("pg_oauth_token_endpoint_auth_method", "private_key_jwt"),
        ("database", "off"),
    ],
)
def test_what_cannot_be_used_is_named_with_a_remedy(key: str, value: str) -> None:
    found = problems(**{key: value})
    assert list(found) == [key]
    assert found[key].remedy


def test_a_secret_in_a_vault_of_the_environment_is_found() -> None:
    found = read_with({"KONG_SECRET": "from there"}, Server.PRIMARY, pg_oauth_client_secret="{vault://env/kong-secret}")
    assert found.oauth.secrets == ("from there",)


def test_a_secret_in_another_vault_is_asked_for() -> None:
    found = problems(pg_oauth_client_secret="{vault://hcv/kong/secret}")
    (problem,) = found.values()
    assert "vault" in problem.what
    assert "--oauth-client-secret-file" in problem.remedy
    assert "KONG_PG_OAUTH_CLIENT_SECRET" in problem.remedy


def test_no_repr_shows_a_secret() -> None:
    assert "a secret" not in repr(read())
