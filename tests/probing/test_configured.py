"""[[probes]] tables: what is wrong with them is said, and what is right becomes parameters."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pgoauthd.config.oauthclient import AuthMethod, GrantType
from pgoauthd.config.reader import parse
from pgoauthd.errors import ConfigError, Problem
from pgoauthd.probing.configured import configured
from pgoauthd.probing.parameters import Parameters, Server
from tests.fix_log import logging_to


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("a secret text\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def table(secret: Path, **changes: str | None) -> str:
    known: dict[str, str | None] = {
        "name": '"kong"',
        "host": '"db.example.org"',
        "database": '"kong"',
        "user": '"kong"',
        "oauth_client_id": '"kong"',
        "oauth_client_secret_file": f'"{secret}"',
        "oauth_token_endpoint": '"https://idp.example.org/token"',
    }
    lines = [f"{key} = {value}" for key, value in (known | changes).items() if value is not None]
    return "\n".join(["[[probes]]", *lines])


def read(secret: Path, **changes: str | None) -> Parameters:
    (probe,) = parse(table(secret, **changes)).probes
    with logging_to(io.StringIO()) as log:
        return configured(probe, log)


def only_problem(secret: Path, **changes: str | None) -> Problem:
    with pytest.raises(ConfigError) as raised:
        parse(table(secret, **changes))
    (problem,) = raised.value.problems
    return problem


def test_a_configuration_may_have_nothing_but_probes(secret: Path) -> None:
    found = read(secret)
    assert (found.name, found.server, found.port, found.tls.verify) == ("kong", Server.PRIMARY, 5432, True)
    assert found.tls.trusted == found.idp_trusted == ("system",)
    assert found.oauth.secrets == ("a secret text",)
    assert not found.allow_loopback_http


def test_what_is_set_is_taken(secret: Path) -> None:
    found = read(
        secret,
        server='"replica"',
        sslrootcert=f'"{secret}"',
        oauth_grant_type='"password"',
        oauth_token_endpoint_auth_method='"client_secret_basic"',
        oauth_username='"EXAMPLE\\\\kong"',
        oauth_password_file=f'"{secret}"',
        oauth_resource='"r"',
        timeout_seconds="2",
    )
    assert (found.server, found.tls.trusted, found.step_seconds) == (Server.REPLICA, (str(secret),), 2.0)
    assert (found.oauth.grant_type, found.oauth.auth_method) == (GrantType.PASSWORD, AuthMethod.BASIC)
    assert (found.oauth.username, found.oauth.resource) == ("EXAMPLE\\kong", "r")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"host": None}, "host"),
        ({"oauth_client_id": None}, "oauth_client_id"),
        ({"oauth_client_secret_file": None}, "oauth_client_secret_file"),
        ({"oauth_client_secret_file": '"/nowhere"'}, "oauth_client_secret_file"),
        ({"oauth_client_secret_file": '"a secret"'}, "oauth_client_secret_file"),
        ({"oauth_token_endpoint": None}, "oauth_token_endpoint"),
        ({"oauth_token_endpoint": '"http://idp.example.org/token"'}, "oauth_token_endpoint"),
        ({"oauth_token_endpoint": '"http://127.0.0.1/token"'}, "oauth_token_endpoint"),
        ({"oauth_discovery_endpoint": '"idp.example.org"'}, "oauth_discovery_endpoint"),
        ({"oauth_grant_type": '"implicit"'}, "oauth_grant_type"),
        ({"oauth_resource": '"r"'}, "oauth_resource"),
        ({"oauth_client_secret": '"a secret"'}, "oauth_client_secret"),
        ({"sslrootcert": '"/nowhere"'}, "sslrootcert"),
        ({"server": '"standby"'}, "server"),
        ({"interval_seconds": "1"}, "interval_seconds"),
        ({"name": '"k o n g"'}, "name"),
        ({"proxy": '"https://proxy"'}, "proxy"),
    ],
)
def test_what_is_wrong_is_named_with_a_remedy(secret: Path, changes: dict[str, str | None], where: str) -> None:
    problem = only_problem(secret, **changes)
    assert problem.where.endswith(f"probes[0].{where}")
    assert problem.remedy
    assert "a secret" not in str(problem)


def test_a_name_stands_once(secret: Path) -> None:
    with pytest.raises(ConfigError, match="is given twice"):
        parse(f"{table(secret)}\n{table(secret)}")
