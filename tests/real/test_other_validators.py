"""Servers with the validator of somebody else: real logs in every format, and one daemon that also validates."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pgoauthd.demo.cluster import SUPERUSER, DemoCluster
from pgoauthd.demo.scene import daemon_config
from pgoauthd.demo.stage import Stage, stage
from pgoauthd.logs.readers import LogFormat
from pgoauthd.runtime.pgclient import login
from pgoauthd.tokens.reasons import Reason
from tests.fix_daemon import DaemonProcess, free_port, until
from tests.logs.fix_wrapped import cnpg_lines, journal_lines
from tests.real.fix_othervalidator import CASES, PREFIX, Case, foreign_cluster

FILES = {LogFormat.STDERR: "log", LogFormat.CSVLOG: "csv", LogFormat.JSONLOG: "json"}
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnktd2hpY2gtbXVzdC1uZXZlci1zaG93"
OPAQUE = "short-canary"
"""Nothing in it looks like a token: only where it stands says what it is."""
LAST = "said-by-a-superuser"
LEAKS = sum(case.leaks for case in CASES)


async def try_all(cluster: DemoCluster) -> None:
    """Each case once, one after the other; the client must see what the log will say."""
    for case in CASES:
        token = OPAQUE if case.role == "t_dots" else JWT
        result = await login(cluster.tcp, role=case.role, database="postgres", token=token)
        assert result.ok == (case.reason is Reason.OK), (case.role, result)


@pytest.fixture(scope="module")
def logs() -> dict[LogFormat, bytes]:
    """What the server has logged, as it wrote it, and as others would have wrapped it."""

    async def written() -> dict[LogFormat, bytes]:
        async with foreign_cluster() as cluster:
            await try_all(cluster)
            return await whole(cluster)

    made = asyncio.run(written())
    made[LogFormat.CNPG] = cnpg_lines(made[LogFormat.CSVLOG])
    made[LogFormat.JOURNAL] = journal_lines(made[LogFormat.STDERR])
    return made


async def whole(cluster: DemoCluster) -> dict[LogFormat, bytes]:
    """The logs once they hold what a superuser says last."""
    await cluster.run_sql(f"DO $$ BEGIN RAISE LOG 'Invalid token: missing payload: {LAST}'; END $$")
    paths = {kind: cluster.log_directory / f"postgresql.{ending}" for kind, ending in FILES.items()}

    async def all_there() -> bool:
        return all(LAST.encode() in path.read_bytes() for path in paths.values())

    await until(all_there, "the last line of the log")
    return {kind: path.read_bytes() for kind, path in paths.items()}


def pgoauthd(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pgoauthd", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def assert_no_token(text: str) -> None:
    assert not [piece for piece in (OPAQUE, *JWT.split("."), JWT[:16], JWT[-16:]) if piece in text]


def assert_as_foretold(case: Case, outcome: dict[str, Any]) -> None:
    told = f"{case.role}: {outcome}"
    assert outcome["reason"] == case.reason, told
    assert outcome["result"] == ("success" if case.reason is Reason.OK else "refused"), told
    assert outcome["method"] == "oauth", told
    assert (outcome["claims"], outcome["issuer"]) == (None, None), told
    assert (outcome["identity"] or case.role) == case.role, told
    if case.reason is not Reason.OK and case.role != "t_scope":
        assert outcome["message"].startswith("The server's validator said: "), told


@pytest.mark.parametrize("log_format", LogFormat)
def test_every_line_of_a_real_log_gives_its_reason_in_every_format(
    logs: dict[LogFormat, bytes], log_format: LogFormat, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.write_bytes(logs[log_format])
    shown = pgoauthd("replay", "--json", "--prefix", PREFIX, path)
    outcomes = {one["role"]: one for one in map(json.loads, shown.stdout.splitlines()) if one["role"] != SUPERUSER}
    assert set(outcomes) == {case.role for case in CASES}
    for case in CASES:
        assert_as_foretold(case, outcomes[case.role])
    assert f"wrote into the log: {LEAKS};" in shown.stderr
    assert_no_token(shown.stdout + shown.stderr)


def test_the_real_log_holds_the_tokens_that_are_reported(logs: dict[LogFormat, bytes]) -> None:
    for data in logs.values():
        assert data.count(JWT.encode()) == LEAKS - 1
        assert data.count(OPAQUE.encode()) == len(next(case for case in CASES if case.role == "t_dots").lines)


@asynccontextmanager
async def both() -> AsyncIterator[tuple[Stage, DemoCluster, DaemonProcess]]:
    """One daemon: it validates for `demo`, and only reads the log of `foreign`."""
    async with stage() as scene, foreign_cluster() as foreign:
        directory, listen = scene.cluster.directory, f"127.0.0.1:{free_port()}"
        config = daemon_config(
            scene.cluster,
            scene.issuers,
            state=directory / "state.db",
            listen=listen,
            outcomes=directory / "outcomes.jsonl",
        )
        config += f"""
[[clusters]]
name = "foreign"
logs = ["{foreign.log_directory}"]
log_line_prefix = "{PREFIX}"
validated_here = false
start = "beginning"
"""
        async with DaemonProcess(config, directory, listen) as daemon:
            yield scene, foreign, daemon


async def test_one_daemon_validates_for_one_cluster_and_reads_the_log_of_another() -> None:
    async with both() as (scene, foreign, daemon):
        issuer, ours = scene.issuers.main, scene.cluster
        assert (await login(ours.tcp, role="alice", database="app", token=issuer.mint("alice"))).ok
        expired = issuer.mint("alice", lifetime=60, issued_ago=3600)
        assert not (await login(ours.tcp, role="alice", database="app", token=expired)).ok
        await try_all(foreign)
        outcomes = await daemon.wait_for_outcomes(len(CASES) + 2, not_of=SUPERUSER)
        by_cluster = {name: [one for one in outcomes if one["cluster"] == name] for name in ("demo", "foreign")}

        assert [one["reason"] for one in by_cluster["demo"]] == ["ok", "expired"]
        assert all(one["issuer"] == issuer.issuer and one["claims"] for one in by_cluster["demo"])
        assert len(by_cluster["foreign"]) == len(CASES)
        for case in CASES:
            (outcome,) = [one for one in by_cluster["foreign"] if one["role"] == case.role]
            assert_as_foretold(case, outcome)
        assert await daemon.samples("pgoauthd_correlation_unmatched_total") == {}
        assert await daemon.samples("pgoauthd_correlation_matched_total") == {("demo",): 2.0}
        assert await daemon.samples("pgoauthd_log_leaked_tokens_total") == {("foreign",): float(LEAKS)}

        said = daemon.log_path.read_text(encoding="utf-8")
        told = [json.loads(line) for line in said.splitlines() if '"token_leaked"' in line]
        leaked = {one["session_id"] for one in by_cluster["foreign"] if by_role(one["role"]).leaks}
        assert sum(one["logins"] for one in told) == LEAKS
        assert {one["session_id"] for one in told} <= leaked
        assert all(one["cluster"] == "foreign" and "revoke" in one["remedy"] for one in told)

        exposed = await daemon.exposition()
        shown = [pgoauthd(*words, "--config", daemon.config_path) for words in (("events", "--json"), ("report",))]
        assert [it.returncode for it in shown] == [0, 0], shown
        assert "token_opaque" in shown[0].stdout
        await daemon.stop()
        written = [path for path in ours.directory.iterdir() if path.is_file()]
        assert {"state.db", "outcomes.jsonl", "daemon.log"} <= {path.name for path in written}
        assert_no_token("".join(path.read_bytes().decode("latin-1") for path in written))
        assert_no_token(exposed + "".join(it.stdout + it.stderr for it in shown))

        await daemon.start()
        assert await daemon.samples("pgoauthd_log_leaked_tokens_total") == {("foreign",): float(LEAKS)}


async def test_a_daemon_without_issuers_only_reads_logs(logs: dict[LogFormat, bytes], tmp_path: Path) -> None:
    (tmp_path / "postgresql.json").write_bytes(logs[LogFormat.JSONLOG])
    listen = f"127.0.0.1:{free_port()}"
    config = f"""
[web]
listen = "{listen}"

[state]
path = "{tmp_path}/state.db"

[outcomes]
path = "{tmp_path}/outcomes.jsonl"

[[clusters]]
name = "foreign"
logs = ["{tmp_path}/postgresql.json"]
start = "beginning"
"""
    async with DaemonProcess(config, tmp_path, listen) as daemon:
        outcomes = await daemon.wait_for_outcomes(len(CASES), not_of=SUPERUSER)
        assert {one["role"]: one["reason"] for one in outcomes} == {case.role: case.reason for case in CASES}
        assert await daemon.samples("pgoauthd_correlation_unmatched_total") == {}
        assert await daemon.samples("pgoauthd_log_leaked_tokens_total") == {("foreign",): float(LEAKS)}


def by_role(role: str) -> Case:
    return next(case for case in CASES if case.role == role)
