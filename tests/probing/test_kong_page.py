"""docs/kong.md against the readers: its examples are good, and its tables have every key."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from pgoauthd.config.reader import parse
from pgoauthd.errors import ConfigError, Problem
from pgoauthd.probing.kongconf import read_conf
from pgoauthd.probing.kongparameters import read_parameters
from pgoauthd.probing.parameters import OAuth, Parameters, Server, Tls
from pgoauthd.probing.probejson import as_members
from pgoauthd.probing.steps import Probed, Seen
from pgoauthd.probing.tokenfacts import TokenFacts
from pgoauthd.runtime.idp.credentials import Secret

PAGE = (Path(__file__).parents[2] / "docs" / "kong.md").read_text(encoding="utf-8")
ENVIRONMENT = {"KONG_CLIENT_SECRET": "s", "KONG_PASSWORD": "p"}


def blocks(kind: str, of: str) -> list[str]:
    found = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [block for block in found if of in block]


def problems(text: str) -> tuple[Problem, ...]:
    try:
        parse(text, as_service=False)
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("block", blocks("toml", "="))
def test_every_configuration_is_good(block: str) -> None:
    assert [problem for problem in problems(block) if "is not a file" not in problem.what] == []


@pytest.mark.parametrize("block", blocks("ini", "pg_oauth_auth"))
def test_every_kong_conf_is_good(block: str) -> None:
    (found,) = read_parameters(read_conf(block), ENVIRONMENT, (Server.PRIMARY,), "kong.conf")
    assert found.oauth.client_id


def test_each_provider_has_its_block() -> None:
    assert len(blocks("ini", "pg_oauth_auth")) == len(blocks("toml", "[[issuers]]")) == 4
    assert len(blocks("text", "hostssl")) == 4


def test_the_table_of_parameters_has_those_that_are_read() -> None:
    described = set(re.findall(r"pg_[a-z_]+", PAGE.partition("| parameter | default | |")[2]))
    own = {"client_id", "client_secret", "token_endpoint", "discovery_endpoint", "scope", "audience", "grant_type"}
    own |= {"username", "password", "resource", "token_endpoint_auth_method"}
    assert {f"pg_oauth_{name}" for name in own} <= described
    assert len(own) == len(OAuth.__struct_fields__)


def test_the_members_of_the_json_are_described() -> None:
    parameters = Parameters(
        name="x",
        server=Server.PRIMARY,
        host="h",
        port=1,
        database="d",
        user="u",
        tls=Tls(),
        oauth=OAuth(client_id="c", client_secret=Secret("s")),
    )
    probed = Probed(parameters=parameters, steps=(), token=TokenFacts(form="JWT"), outcome={})
    described = set(re.findall(r"`(\w+)`", PAGE.partition("## The JSON")[2]))
    members = as_members(probed)
    assert members.keys() <= described
    assert set(TokenFacts.__struct_fields__) <= described
    assert set(Seen.__struct_fields__) <= described
    assert members["outcome"].keys() <= described
    msgspec.json.encode(members)
