"""Module and daemon on PostgreSQL 19, and on 18 as Debian builds it: the same day, and what 19 has beyond 18.

With PGOAUTHD_WRITE_PROOF set, both days are written side by side to docs/proof/.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pgoauthd.correlation.outcome import Result
from pgoauthd.demo.attempts import Attempt, Condition
from pgoauthd.demo.cluster import DemoCluster, LogDestination
from pgoauthd.demo.issuer import AUDIENCE
from pgoauthd.demo.scenarios import scripted_day
from pgoauthd.runtime.pgclient import LoginResult, login
from pgoauthd.tokens.reasons import Reason
from tests.e2e.test_day import Play, assert_as_scripted, assert_no_token, joined, make_the_day, playing
from tests.real import fix_debian
from tests.real.fix_debian import debian
from tests.shim.fakedaemon import FakeDaemon, accepted, refused, says
from tests.shim.server import CANARY, ISSUER, SCOPE, ServerLog, refusals, running_cluster

PROOF = Path(__file__).parents[2] / "docs" / "proof" / "postgresql-18-and-19.txt"
NEXT = 19
PREFIXES = {LogDestination.JSONLOG: "%m [%p] ", LogDestination.STDERR: "%m [%p] %q%u@%d "}
PLAYED = [(18, LogDestination.JSONLOG), (NEXT, LogDestination.JSONLOG), (NEXT, LogDestination.STDERR)]

SILENT_ON_19 = frozenset({"discovery", "port-check", "gone-at-startup", "gone-when-asked"})
"""PostgreSQL 19 logs their connection and no more: nobody can tell a discovery from a client that went away."""


def as_on(version: int, attempt: Attempt) -> Attempt:
    """The attempt with the outcome that this server's log allows."""
    if version < NEXT or attempt.name not in SILENT_ON_19:
        return attempt
    return dataclasses.replace(attempt, result=Result.ABANDONED, reason=Reason.SILENT)


@pytest.fixture(scope="module")
def proof() -> Iterator[dict[str, dict[int, str]]]:
    """By the attempt's name and the server's version: how it ended."""
    days: dict[str, dict[int, str]] = {}
    yield days
    if os.environ.get("PGOAUTHD_WRITE_PROOF") and all(len(day) == len(fix_debian.VERSIONS) for day in days.values()):
        had = fix_debian.packages()
        rows = [("", *(f"postgresql-{version} {had[f'postgresql-{version}'][0]}" for version in fix_debian.VERSIONS))]
        rows += [(name, *(day[version] for version in fix_debian.VERSIONS)) for name, day in days.items()]
        lines = [f"{name:24}{old:45}{new}".rstrip() for name, old, new in rows]
        PROOF.parent.mkdir(exist_ok=True)
        PROOF.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(("version", "destination"), PLAYED)
async def test_every_attempt_of_the_day_has_the_outcome_that_its_server_lets_be_known(
    version: int, destination: LogDestination, proof: dict[str, dict[int, str]]
) -> None:
    async with playing(destination, PREFIXES[destination], installation=debian(version)) as play:
        made = await make_the_day(play)
        outcomes = await play.outcomes(len(made))
        assert len(outcomes) == len(made)
        for attempt, result, outcome in joined(made, outcomes):
            assert_as_scripted(as_on(version, attempt), result, outcome)
            proof.setdefault(attempt.name, {})[version] = f"{outcome['result']} {outcome['reason']}"
        assert_no_token(play, await play.daemon.exposition())
        await assert_no_silence_is_a_failure(play)

        assert await play.daemon.stop() == 0
        (down,) = [attempt for attempt in scripted_day() if attempt.condition is Condition.DAEMON_DOWN]
        result = await play.perform(down)
        await play.daemon.start()
        outcomes = await play.outcomes(len(made) + 1)
        ((_, _, outcome),) = joined([(down, result)], outcomes)
        assert_as_scripted(down, result, outcome)


async def assert_no_silence_is_a_failure(play: Play) -> None:
    counted = await play.daemon.samples("pgoauthd_login_attempts_total")
    silent = {(method, result, stage) for (_, method, reason, result, stage) in counted if reason == Reason.SILENT}
    assert {result for _, result, _ in silent} <= {Result.ABANDONED.value}
    assert await play.daemon.samples("pgoauthd_correlation_unmatched_total") == {}


@pytest.mark.parametrize("version", fix_debian.VERSIONS)
def test_the_module_builds_with_debians_development_package_without_a_warning(version: int) -> None:
    built = fix_debian.make(version, "install", "COPT=-Werror", "DESTDIR=/tmp/pgoauthd-nowhere", "--dry-run")
    assert f"/usr/lib/postgresql/{version}/lib/pgoauthd.so" in built.stdout, built.stderr
    built = fix_debian.make(version, "all", "COPT=-Werror")
    assert (built.returncode, built.stderr) == (0, "")


OAUTH = f'oauth issuer="{ISSUER}" scope="{SCOPE}"'
LINES = f"""\
host all apart      127.0.0.1/32 {OAUTH} validator.socket="{{second}}"
host all narrow     127.0.0.1/32 {OAUTH} validator.audience="payroll"
host all narrowmap  127.0.0.1/32 {OAUTH} validator.audience="payroll" map=people
host all nowhere    127.0.0.1/32 {OAUTH} validator.socket=""
host all nobody     127.0.0.1/32 {OAUTH} validator.audience=""
host all twice      127.0.0.1/32 {OAUTH} validator.audience="first" validator.audience="second"
host all misspelt   127.0.0.1/32 {OAUTH} validator.sokcet="/run/x.sock"
host all profiled   127.0.0.1/32 {OAUTH} validator.profile="entra"
host all all        127.0.0.1/32 {OAUTH}
"""


@pytest.fixture(scope="module")
def second_socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("second")
    for path in (directory, *directory.parents[:2]):
        path.chmod(0o755)  # for the server's user
    return directory / "s.sock"


@pytest.fixture(scope="module")
def cluster(second_socket: Path) -> Iterator[DemoCluster]:
    hba = LINES.format(second=second_socket)
    with running_cluster(installation=debian(NEXT), hba=hba, pgoauthd__timeout="5s") as cluster:
        yield cluster


@pytest.fixture
async def daemon(cluster: DemoCluster) -> AsyncIterator[FakeDaemon]:
    async with FakeDaemon(cluster.validator_socket) as daemon:
        yield daemon


@pytest.fixture
async def log(cluster: DemoCluster) -> AsyncIterator[ServerLog]:
    async with ServerLog(cluster.log_directory).watched() as log:
        yield log


async def log_in(cluster: DemoCluster, role: str = "alice", token: str | None = CANARY) -> LoginResult:
    return await login(cluster.tcp, role=role, database="postgres", token=token)


async def test_a_refusal_is_one_entry_with_reason_and_remedy(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says(refused())

    result = await log_in(cluster)
    records = await log.login(result.local_port)

    assert result.message == 'OAuth bearer authentication failed for user "alice"'
    assert refusals(records) == []
    (failure,) = [record for record in records if record["error_severity"] != "LOG"]
    assert failure["error_severity"] == "FATAL"
    code, remedy, rule = failure["detail"].split("\n", 2)
    assert (code, remedy) == ("pgoauthd: refused [expired]: The token expired 62 s ago.", "Get a new token.")
    assert rule.startswith("Connection matched file")


async def test_a_daemon_that_is_not_there_is_said_in_the_servers_own_entries(
    cluster: DemoCluster, log: ServerLog
) -> None:
    records = await log.login((await log_in(cluster)).local_port)

    warning, fatal = (record for record in records if record["error_severity"] != "LOG")
    assert warning["message"] == "internal error in OAuth validator module"
    for entry in (warning, fatal):
        assert entry["detail"].startswith("pgoauthd: refused [validator_unavailable]: The server could not reach")


async def test_a_line_may_ask_another_daemon(cluster: DemoCluster, daemon: FakeDaemon, second_socket: Path) -> None:
    daemon.script = says(refused())
    async with FakeDaemon(second_socket) as second:
        os.chown(second_socket, cluster.server_uid, -1)
        second.script = says(accepted(authn_id="apart"))
        await cluster.run_sql("CREATE ROLE apart LOGIN")

        assert (await log_in(cluster, "apart")).ok
        assert (await second.next_request()).body["role"] == "apart"
    assert daemon.requests.empty()


async def test_a_line_whose_other_daemon_is_down_asks_nobody_else(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog, second_socket: Path
) -> None:
    records = await log.login((await log_in(cluster, "apart")).local_port)

    assert f'could not connect to "{second_socket}"' in records[-1]["detail"]
    assert daemon.requests.empty()


@pytest.mark.parametrize(
    ("role", "audience"), [("narrow", "payroll"), ("narrowmap", "payroll"), ("twice", "second"), ("alice", None)]
)
async def test_the_audience_of_a_line_is_asked_for(
    cluster: DemoCluster, daemon: FakeDaemon, role: str, audience: str | None
) -> None:
    daemon.script = says(refused())

    await log_in(cluster, role)

    assert (await daemon.next_request()).body["audience"] == audience


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ("nowhere", r"pgoauthd: refused \[validator_unavailable\]: .* the path of the socket is empty\."),
        ("nobody", r"pgoauthd: refused \[request_invalid\]: validator\.audience is empty .*"),
    ],
)
async def test_an_empty_option_refuses_and_asks_nobody(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog, role: str, said: str
) -> None:
    records = await log.login((await log_in(cluster, role)).local_port)

    assert re.match(said, records[-1]["detail"])
    assert daemon.requests.empty()


@pytest.mark.parametrize(("role", "option"), [("misspelt", "sokcet"), ("profiled", "profile")])
async def test_an_option_that_the_module_does_not_know_closes_its_line(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog, role: str, option: str
) -> None:
    result = await log_in(cluster, role)
    records = await log.login(result.local_port)

    assert not result.ok
    assert f'unrecognized authentication option name: "validator.{option}"' in records[-1]["detail"]
    assert daemon.requests.empty()


async def test_an_option_whose_name_is_none_is_an_error_of_the_reload(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    before = cluster.hba_file.read_text(encoding="utf-8")
    cluster.hba_file.write_text(f'host all alice 127.0.0.1/32 {OAUTH} validator.so*cket="x"\n{before}', "utf-8")
    try:
        await cluster.run_sql("SELECT pg_reload_conf()")
        await log.session(lambda _: True, until='invalid OAuth validator option name: "validator.so*cket"')
        daemon.script = says(accepted())
        assert (await log_in(cluster)).ok
    finally:
        cluster.hba_file.write_text(before, encoding="utf-8")
        await cluster.run_sql("SELECT pg_reload_conf()")


async def test_the_audience_of_a_line_narrows_what_the_daemon_lets_in() -> None:
    async with playing(LogDestination.JSONLOG, "%m [%p] ", installation=debian(NEXT)) as play:
        cluster, issuer = play.stage.cluster, play.stage.issuers.main
        line = f'host app alice 127.0.0.1/32 oauth issuer="{issuer.issuer}" scope="postgres"'
        text = cluster.hba_file.read_text(encoding="utf-8")
        cluster.hba_file.write_text(f'{line} validator.audience="payroll"\n{text}', encoding="utf-8")
        async with ServerLog(cluster.log_directory).watched() as log:
            await cluster.run_sql("SELECT pg_reload_conf()")
            await log.session(lambda _: True, until="received SIGHUP")
        for audience in (AUDIENCE, "payroll", [AUDIENCE, "payroll"]):
            await login(cluster.tcp, role="alice", database="app", token=issuer.mint("alice", aud=audience))
        outcomes = await play.outcomes(3)

    assert [outcome["reason"] for outcome in outcomes] == [Reason.AUDIENCE_MISMATCH, Reason.AUDIENCE_MISMATCH, "ok"]
    assert "validator.audience of the line of pg_hba.conf demands" in outcomes[0]["message"]
    assert "validator.audience" not in outcomes[1]["message"]
