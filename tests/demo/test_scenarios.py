"""The scripted day: whole, and true where a server or the core alone can tell."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import jwt
import pytest

from pgoauthd.config.reader import parse
from pgoauthd.config.values import Config
from pgoauthd.correlation.outcome import Result
from pgoauthd.demo.attempts import Attempt, Condition, perform
from pgoauthd.demo.cluster import ClusterSettings, DemoCluster
from pgoauthd.demo.issuer import DemoIssuer
from pgoauthd.demo.scenarios import scripted_day
from pgoauthd.demo.scene import IDENT, SETUP_SQL, Issuers, daemon_config, hba
from pgoauthd.tokens.bearer import BearerToken, UnverifiedToken, decode
from pgoauthd.tokens.issuers import IssuerPolicy, choose_issuer
from pgoauthd.tokens.judge import judge
from pgoauthd.tokens.keys import KeySet, read_key_set
from pgoauthd.tokens.reasons import Reason, Stage
from pgoauthd.tokens.verdict import LoginRequest, Refusal, Verdict
from tests.shim.server import built_shim

DAY = {attempt.name: attempt for attempt in scripted_day()}

WITHOUT_DAEMON = [
    attempt.name
    for attempt in DAY.values()
    if attempt.reason.stage in (Stage.HANDSHAKE, Stage.DISCOVERY)
    or attempt.reason in (Reason.HBA_NO_ENTRY, Reason.HBA_REJECTED, Reason.VALIDATOR_UNAVAILABLE)
    or attempt.reason in (Reason.TOKEN_EMPTY, Reason.TOKEN_MALFORMED, Reason.TOKEN_NOT_BEARER)
]
"""What the server decides by itself."""

BY_THE_CORE = [
    attempt.name
    for attempt in DAY.values()
    if attempt.token is not None
    and attempt.role != "courier"  # its tokens are for its issuer to judge
    and attempt.reason.stage is not Stage.IDP
    and (attempt.name not in WITHOUT_DAEMON or attempt.reason.stage is Stage.TOKEN_FORMAT)
]
"""What the validator has a say in, once it has keys."""

LATER = (Stage.ROLE, Stage.DATABASE)
"""Stages that a good token reaches."""


@pytest.fixture(scope="module")
def issuers(tmp_path_factory: pytest.TempPathFactory) -> Issuers:
    """Started, so that they have names, and stopped again: nothing here asks them."""
    secret = tmp_path_factory.mktemp("secret") / "client-secret"
    secret.touch()
    issuers = Issuers(DemoIssuer(), DemoIssuer(), DemoIssuer(), secret)
    with asyncio.Runner() as runner:
        for issuer in issuers.all:
            runner.run(issuer.start())
            runner.run(issuer.stop())
    return issuers


@pytest.fixture(scope="module")
def cluster(issuers: Issuers) -> Iterator[DemoCluster]:
    """Without a daemon."""
    settings = ClusterSettings(hba=hba(issuers), ident=IDENT, shim=built_shim(), authentication_timeout_seconds=1)
    with asyncio.Runner() as runner:  # the loop of a test would be gone when the server stops
        cluster = DemoCluster(settings)
        runner.run(cluster.start())
        runner.run(cluster.run_sql(SETUP_SQL))
        yield cluster
        runner.run(cluster.stop())


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(attempt.name for attempt in scripted_day()).items() if count > 1] == []


def test_names_fit_into_application_name() -> None:
    assert all(attempt.name.isascii() and len(attempt.name) < 64 for attempt in DAY.values())


def test_the_day_has_every_kind_of_result() -> None:
    assert {attempt.result for attempt in DAY.values()} == set(Result)


def test_the_day_has_a_login_for_every_stage() -> None:
    assert {attempt.reason.stage for attempt in DAY.values()} == set(Stage)


def test_only_successes_are_without_a_reason_to_fail() -> None:
    for attempt in DAY.values():
        assert (attempt.result is Result.SUCCESS) == (attempt.reason is Reason.OK), attempt.name


def test_only_refusals_and_discoveries_tell_the_client_anything() -> None:
    for attempt in DAY.values():
        told = attempt.result in (Result.REFUSED, Result.DISCOVERY) and not attempt.stalls
        assert (attempt.sqlstate is not None) == told, attempt.name


def test_attempts_show_no_token() -> None:
    assert "eyJ" not in repr(scripted_day())


async def test_the_server_accepts_every_line_of_pg_hba(cluster: DemoCluster) -> None:
    rules = await cluster.run_sql("SELECT error FROM pg_hba_file_rules WHERE file_name LIKE '%/pg_hba.conf'")

    assert rules == "\n" * 8


async def test_the_server_accepts_every_line_of_pg_ident(cluster: DemoCluster) -> None:
    assert await cluster.run_sql("SELECT error FROM pg_ident_file_mappings") == "\n" * 2


def test_the_daemon_accepts_its_configuration(cluster: DemoCluster, issuers: Issuers, tmp_path: Path) -> None:
    text = daemon_config(cluster, issuers, state=tmp_path / "state.db", outcomes=tmp_path / "outcomes")

    config = parse(text)

    assert config.callout.socket == str(cluster.validator_socket)
    assert config.callout.allowed_users == (cluster.server_uid,)
    assert [issuer.issuer for issuer in config.issuers] == [issuer.issuer for issuer in issuers.all]
    assert config.clusters[0].logs == (str(cluster.log_directory),)
    assert config.clusters[0].authentication_timeout_seconds == 1
    assert config.outcomes.path == str(tmp_path / "outcomes")


def test_outcomes_need_not_be_written(cluster: DemoCluster, issuers: Issuers, tmp_path: Path) -> None:
    assert parse(daemon_config(cluster, issuers, state=tmp_path / "s")).outcomes.path is None


@pytest.mark.parametrize("name", WITHOUT_DAEMON)
async def test_the_server_by_itself_ends_it_as_the_attempt_says(
    cluster: DemoCluster, issuers: Issuers, name: str
) -> None:
    result = await perform(DAY[name], cluster, issuers)

    assert (result.ok, result.sqlstate) == (False, DAY[name].sqlstate)


@pytest.mark.parametrize("name", BY_THE_CORE)
async def test_the_core_judges_its_token_as_the_attempt_says(
    cluster: DemoCluster, issuers: Issuers, tmp_path: Path, name: str
) -> None:
    attempt = DAY[name]
    config = parse(daemon_config(cluster, issuers, state=tmp_path / "state.db"))

    verdict = judged(attempt, issuers, config, await request_of(attempt, cluster))

    if attempt.reason in (Reason.IDENTITY_MISMATCH, Reason.USERMAP_NO_MATCH) or attempt.reason.stage in LATER:
        assert verdict.authorized, "PostgreSQL has the last word"
    else:
        assert verdict.reason == attempt.reason
    assert verdict.authn_id == attempt.identity


async def request_of(attempt: Attempt, cluster: DemoCluster) -> LoginRequest:
    """What the shim would say of the line of pg_hba.conf that matches."""
    rules = json.loads(
        await cluster.run_sql(
            "SELECT json_agg(r ORDER BY rule_number) FROM pg_hba_file_rules r WHERE auth_method = 'oauth'"
        )
    )
    rule = next(rule for rule in rules if {attempt.role, "all"} & set(rule["user_name"]))
    options = dict(option.split("=", 1) for option in rule["options"])
    return LoginRequest(
        role=attempt.role,
        issuer=options["issuer"],
        required_scopes=tuple(options["scope"].split()),
        delegated=options.get("delegate_ident_mapping") == "true",
    )


def judged(attempt: Attempt, issuers: Issuers, config: Config, request: LoginRequest) -> Verdict:
    """The core's verdict, with the keys that the main issuer has now."""
    assert attempt.token is not None
    policy = choose_issuer(request.issuer, tuple(issuer.policy for issuer in config.issuers))
    bearer = BearerToken.read(attempt.token(issuers), max_bytes=config.callout.max_token_bytes)
    token = bearer if isinstance(bearer, Refusal) else decode(bearer)
    keys = read_key_set({"keys": [key.public_jwk() for key in issuers.main.keys]})
    for refused in (policy, token, keys):
        if isinstance(refused, Refusal):
            return Verdict.refused(refused)
    assert isinstance(policy, IssuerPolicy)
    assert isinstance(token, UnverifiedToken)
    assert isinstance(keys, KeySet)
    return judge(token, request, policy, keys, issuers.main.clock())


async def test_the_outage_of_an_attempt_ends_with_it(cluster: DemoCluster, issuers: Issuers) -> None:
    attempt = next(attempt for attempt in DAY.values() if attempt.condition is Condition.ISSUER_DOWN)
    async with DemoIssuer() as main:
        await perform(attempt, cluster, dataclasses.replace(issuers, main=main))

        async with aiohttp.ClientSession() as session, session.get(f"{main.issuer}/jwks") as response:
            assert response.status == 200


async def test_a_rotation_comes_before_the_token(cluster: DemoCluster, issuers: Issuers) -> None:
    attempt = next(attempt for attempt in DAY.values() if attempt.condition is Condition.KEYS_ROTATED)
    before = issuers.main.keys[0].kid

    await perform(attempt, cluster, issuers)

    assert attempt.token is not None
    assert jwt.get_unverified_header(attempt.token(issuers))["kid"] != before
