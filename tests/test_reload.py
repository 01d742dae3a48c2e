"""A reload as those who ask and those who read see it: what is new counts at once, what is wrong changes nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pgoauthd.config.reader import load
from pgoauthd.runtime import reloadwatch
from tests.fix_callout import connected, http, parse, read_all, token_for
from tests.fix_client import RegisteredClient
from tests.fix_daemon import DaemonProcess, free_port, until
from tests.fix_issuer import JWKS, OAUTH, OPENID, LocalIssuer, running_issuer, says
from tests.fix_reload import Reloading, cluster_table, issuer_table
from tests.fix_tokens import good_claims

CORPUS = Path(__file__).parent / "data" / "pg-logs" / "18.6-default" / "postgresql.json"


@pytest.fixture
def daemon(tmp_path: Path) -> Reloading:
    return Reloading(tmp_path)


@pytest.fixture
async def provider() -> AsyncIterator[LocalIssuer]:
    async with running_issuer() as issuer:
        yield issuer


@pytest.fixture
async def other() -> AsyncIterator[LocalIssuer]:
    async with running_issuer() as issuer:
        yield issuer


def opaque_issuer(provider: LocalIssuer, secret: Path) -> str:
    """An issuer that is asked about tokens by a client with a secret in a file."""
    provider.client = RegisteredClient(client_id="pgoauthd", secret="right", audience=provider.issuer)
    provider.tokens["an-opaque-token"] = good_claims(time.time(), iss=provider.issuer)
    return (
        issuer_table(provider) + f'[issuers.introspection]\nclient_id = "pgoauthd"\nclient_secret_file = "{secret}"\n'
    )


def connect_as(uid: int, path: str) -> socket.socket:
    """A connection of another user: who connects is who it is for ever (unix(7), SO_PEERCRED)."""
    for place in Path(path).parents[:4]:
        place.chmod(0o711)
    Path(path).chmod(0o777)
    connection = socket.socket(socket.AF_UNIX)
    os.seteuid(uid)
    try:
        connection.connect(path)
    finally:
        os.seteuid(0)
    return connection


# what is new counts


async def test_a_changed_audience_is_judged_at_once(daemon: Reloading, provider: LocalIssuer) -> None:
    daemon.write(issuer_table(provider))
    async with daemon.running():
        token = token_for(provider)
        assert [await daemon.judge(token, provider) for _ in range(2)] == ["ok", "ok"]
        daemon.write(issuer_table(provider, audiences=["another"]))
        assert await daemon.hang_up() == "applied"
        assert await daemon.judge(token, provider) == "audience_mismatch"


async def test_a_new_issuer_works_without_a_restart(
    daemon: Reloading, provider: LocalIssuer, other: LocalIssuer
) -> None:
    daemon.write(issuer_table(provider))
    async with daemon.running():
        assert await daemon.judge(token_for(other), other) == "hba_issuer_unknown"
        daemon.write(issuer_table(provider), issuer_table(other, "other"))
        assert await daemon.hang_up() == "applied"
        assert await daemon.judge(token_for(other), other) == "ok"
        assert await daemon.judge(token_for(provider), provider) == "ok"


async def test_tokens_of_a_removed_issuer_are_refused_although_they_were_verified_before(
    daemon: Reloading, provider: LocalIssuer, other: LocalIssuer
) -> None:
    daemon.write(issuer_table(provider), issuer_table(other, "other"))
    async with daemon.running():
        token = token_for(other)
        assert [await daemon.judge(token, other) for _ in range(2)] == ["ok", "ok"]
        daemon.write(issuer_table(provider))
        assert await daemon.hang_up() == "applied"
        assert await daemon.judge(token, other) == "hba_issuer_unknown"


async def test_of_a_removed_issuer_no_gauge_is_left_to_alert_for_ever(
    daemon: Reloading, provider: LocalIssuer, other: LocalIssuer
) -> None:
    daemon.write(issuer_table(provider), issuer_table(other, "other"))
    async with daemon.running():
        await daemon.judge(token_for(other), other)
        assert daemon.value("jwks_keys", issuer="other") == 1
        daemon.write(issuer_table(provider))
        await daemon.hang_up()

        async def forgotten() -> bool:
            return 'issuer="other"' not in "".join(
                line
                for line in daemon.metrics.expose("")[0].decode().splitlines()
                if "_total" not in line and "_seconds_" not in line
            )

        await until(forgotten, "the gauges are gone")
        assert daemon.value("jwks_keys", issuer="main") is not None


async def test_without_the_last_issuer_every_token_is_refused(daemon: Reloading, provider: LocalIssuer) -> None:
    daemon.write(issuer_table(provider), cluster_table(daemon.directory))
    async with daemon.running():
        assert await daemon.judge(token_for(provider), provider) == "ok"
        daemon.write(cluster_table(daemon.directory))
        assert await daemon.hang_up() == "applied"
        assert await daemon.judge(token_for(provider), provider) == "hba_issuer_unknown"


async def test_the_first_issuer_opens_the_socket(daemon: Reloading, provider: LocalIssuer) -> None:
    daemon.write(cluster_table(daemon.directory))
    async with daemon.running():
        daemon.write(cluster_table(daemon.directory), issuer_table(provider))
        assert await daemon.hang_up() == "applied"
        assert await daemon.judge(token_for(provider), provider) == "ok"


async def test_a_smaller_limit_holds_for_the_next_request(daemon: Reloading, provider: LocalIssuer) -> None:
    daemon.write(issuer_table(provider))
    async with daemon.running():
        token = token_for(provider, padding="x" * 2_000)
        assert await daemon.judge(token, provider) == "ok"
        daemon.write(issuer_table(provider), callout="max_token_bytes = 1024")
        await daemon.hang_up()
        assert await daemon.judge(token, provider) == "token_too_large"


async def test_connections_that_are_open_count_for_a_new_limit(daemon: Reloading, provider: LocalIssuer) -> None:
    daemon.write(issuer_table(provider))
    async with daemon.running(), connected(daemon.socket) as (reader, writer):
        writer.write(http("GET", "/v1/healthz")[:-2])
        await writer.drain()
        assert await daemon.judge(token_for(provider), provider) == "ok"
        daemon.write(issuer_table(provider), callout="max_connections = 1")
        await daemon.hang_up()
        assert await daemon.judge(token_for(provider), provider) == "validator_overloaded"
        writer.write(b"\r\n")
        assert parse(await read_all(reader)).status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as somebody else")
async def test_a_user_who_may_not_ask_any_more_is_turned_away_on_the_connection_that_it_has(
    daemon: Reloading, provider: LocalIssuer
) -> None:
    daemon.write(issuer_table(provider), callout="allowed_users = [54321]")
    async with daemon.running():
        asked = http("GET", "/v1/healthz").replace(b"Connection: close\r\n", b"")
        reader, writer = await asyncio.open_unix_connection(sock=connect_as(54_321, daemon.socket))
        writer.write(asked)
        assert b"200 OK" in await reader.readuntil(b"}")
        daemon.write(issuer_table(provider))
        await daemon.hang_up()
        writer.write(asked)
        assert parse(await read_all(reader)).reason == "peer_forbidden"
        writer.close()
        assert daemon.value("callout_rejected_total", kind="uid") == 1


async def test_a_secret_that_has_changed_in_its_file_is_used(daemon: Reloading, provider: LocalIssuer) -> None:
    secret = daemon.directory / "secret"
    secret.write_text("wrong")
    daemon.write(opaque_issuer(provider, secret))
    async with daemon.running():
        assert await daemon.judge("an-opaque-token", provider) != "ok"
        secret.write_text("right")
        assert await daemon.hang_up() == "applied"
        assert await daemon.judge("an-opaque-token", provider) == "ok"
        assert daemon.log("config_reloaded")[0]["changes"] == [f"file {secret} changed"]


# nothing is lost


async def test_keys_survive_a_reload_while_the_issuer_is_down(daemon: Reloading, provider: LocalIssuer) -> None:
    daemon.write(issuer_table(provider))
    async with daemon.running():
        assert await daemon.judge(token_for(provider), provider) == "ok"
        provider.script |= {endpoint: says(503) for endpoint in (OPENID, OAUTH, JWKS)}
        daemon.write(issuer_table(provider, leeway_seconds=29))
        assert await daemon.hang_up() == "applied"
        assert await daemon.judge(token_for(provider, jti="another"), provider) == "ok"


async def test_a_request_that_waits_for_the_issuer_gets_its_verdict_after_the_reload(
    daemon: Reloading, provider: LocalIssuer
) -> None:
    daemon.write(issuer_table(provider))
    provider.hold()
    async with daemon.running(), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(daemon.judge(token_for(provider), provider))
        await provider.wait_asked(OPENID, 1)
        for leeway in (29, 28):
            daemon.write(issuer_table(provider, leeway_seconds=leeway))
            assert await daemon.hang_up() == "applied"
        provider.release()
        assert await waiting == "ok"


async def test_a_request_that_waits_for_an_issuer_that_is_removed_is_answered_as_it_was_begun(
    daemon: Reloading, provider: LocalIssuer, other: LocalIssuer
) -> None:
    daemon.write(issuer_table(provider), issuer_table(other, "other"))
    other.hold()
    async with daemon.running(), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(daemon.judge(token_for(other), other))
        await other.wait_asked(OPENID, 1)

        async def waits() -> bool:
            return daemon.value("issuer_waiting", issuer="other") == 1

        await until(waits, "the token waits")
        daemon.write(issuer_table(provider))
        await daemon.hang_up()
        other.release()
        assert await waiting == "ok"


async def test_300_logins_during_20_reloads_all_get_their_verdict(daemon: Reloading, provider: LocalIssuer) -> None:
    tokens = {"ok": token_for(provider), "expired": token_for(provider, exp=int(time.time()) - 400)}
    tokens["scope_missing"] = token_for(provider, scope="other")
    daemon.write(issuer_table(provider, required_scopes=["postgres"]))
    async with daemon.running():
        for number in range(20):
            daemon.write(issuer_table(provider, required_scopes=["postgres"], leeway_seconds=number))
            before = daemon.reloads()
            daemon.hangup.set()
            expected = list(tokens) * 5
            assert await asyncio.gather(*(daemon.judge(tokens[reason], provider) for reason in expected)) == expected
            assert await daemon.reloaded(before) == "applied"
        assert daemon.value("validations_total", reason="internal_error", stage="validator") == 0


async def test_lines_written_during_reloads_give_exactly_one_outcome_each(
    daemon: Reloading, provider: LocalIssuer
) -> None:
    lines = CORPUS.read_bytes().splitlines(keepends=True)
    rounds = [lines[start : start + 15] for start in range(0, len(lines), 15)]
    daemon.write(issuer_table(provider), cluster_table(daemon.directory))
    async with daemon.running():
        for number, part in enumerate(rounds):
            table = cluster_table(daemon.directory, max_line_bytes=1_048_576 - number - 1)
            daemon.write(issuer_table(provider), table)
            reload = asyncio.create_task(daemon.hang_up())
            with (daemon.directory / "main" / "postgresql.json").open("ab", buffering=0) as log:
                for line in part:
                    log.write(line[: len(line) // 2])
                    await asyncio.sleep(0)
                    log.write(line[len(line) // 2 :])
            assert await reload == "applied"

        async def all_ended() -> bool:
            return len(daemon.outcomes) >= 62

        await until(all_ended, "62 outcomes")
        sessions = [outcome.session_id for outcome in daemon.outcomes]
        assert len(sessions) == len(set(sessions)) == 62
        assert daemon.value("log_parse_failures_total", cluster="main", format="jsonlog") == 0


async def test_a_session_that_is_open_stays_open_when_its_cluster_changes(daemon: Reloading) -> None:
    lines = CORPUS.read_bytes().splitlines(keepends=True)
    daemon.write(cluster_table(daemon.directory))
    log = daemon.directory / "main" / "postgresql.json"
    async with daemon.running():
        log.write_bytes(b"".join(lines[:40]))

        async def read() -> bool:
            return daemon.value("log_lag_bytes", cluster="main") == 0 and bool(daemon.outcomes)

        await until(read, "the log is read")
        daemon.write(cluster_table(daemon.directory, authentication_timeout_seconds=600, settle_seconds=60))
        assert await daemon.hang_up() == "applied"
        with log.open("ab") as out:
            out.writelines(lines[40:])

        async def all_ended() -> bool:
            return len(daemon.outcomes) >= 62

        await until(all_ended, "62 outcomes")
        assert len({outcome.session_id for outcome in daemon.outcomes}) == len(daemon.outcomes) == 62


async def test_the_first_cluster_is_followed_and_its_state_saved(daemon: Reloading, provider: LocalIssuer) -> None:
    daemon.write(issuer_table(provider))
    table = cluster_table(daemon.directory)
    (daemon.directory / "main" / "postgresql.json").write_bytes(CORPUS.read_bytes())
    async with daemon.running():
        daemon.write(issuer_table(provider), table)
        assert await daemon.hang_up() == "applied"

        async def all_ended() -> bool:
            return len(daemon.outcomes) >= 62

        await until(all_ended, "62 outcomes")
    async with daemon.running():

        async def read() -> bool:
            return daemon.value("log_lag_bytes", cluster="main") == 0

        await until(read, "the log is read")
    assert len(daemon.outcomes) == 62


async def test_a_cluster_that_was_removed_goes_on_where_it_was_left_when_it_returns(daemon: Reloading) -> None:
    lines = CORPUS.read_bytes().splitlines(keepends=True)
    other, main = cluster_table(daemon.directory, "other"), cluster_table(daemon.directory)
    log = daemon.directory / "main" / "postgresql.json"
    daemon.write(other, main)
    async with daemon.running():
        log.write_bytes(b"".join(lines[:150]))

        async def read() -> bool:
            return daemon.value("log_lag_bytes", cluster="main") == 0 and bool(daemon.outcomes)

        await until(read, "the log is read")
        daemon.write(other)
        assert await daemon.hang_up() == "applied"
        assert daemon.value("sessions_open", cluster="main") is None
        seen = len(daemon.outcomes)
        log.write_bytes(b"".join(lines[:200]))
    assert len(daemon.outcomes) == seen
    async with daemon.running():
        daemon.write(other, main)
        assert await daemon.hang_up() == "applied"
        log.write_bytes(b"".join(lines))

        async def all_ended() -> bool:
            return len(daemon.outcomes) >= 62

        await until(all_ended, "62 outcomes")
    assert len({outcome.session_id for outcome in daemon.outcomes}) == len(daemon.outcomes) == 62


# what is wrong changes nothing


async def test_a_bad_file_is_refused_with_all_its_problems_and_logins_go_on(
    daemon: Reloading, provider: LocalIssuer
) -> None:
    good = daemon.write(issuer_table(provider))
    async with daemon.running():
        daemon.write(issuer_table(provider, audiences=[], leeway_secnds=1))
        assert await daemon.hang_up() == "refused"
        (said,) = daemon.log("config_refused")
        assert [problem.split(": ")[0] for problem in said["problems"]] == [
            "line 11, issuers[0].audiences",
            "line 15, issuers[0].leeway_secnds",
        ]
        assert daemon.value("config_last_reload_successful") == 0
        assert await daemon.judge(token_for(provider), provider) == "ok"
        daemon.config_path.write_text(good)
        assert await daemon.hang_up() == "unchanged"
        assert daemon.value("config_last_reload_successful") == 1


async def test_what_only_a_restart_can_change_refuses_the_whole_file(daemon: Reloading, provider: LocalIssuer) -> None:
    daemon.write(issuer_table(provider))
    async with daemon.running():
        daemon.write(issuer_table(provider, audiences=["another"]), state="elsewhere.db")
        assert await daemon.hang_up() == "refused"
        (said,) = daemon.log("config_refused")
        assert said["problems"] == [
            "state.path: cannot change while the daemon runs; restart to change it, or take it back"
        ]
        assert await daemon.judge(token_for(provider), provider) == "ok"


async def test_a_certificate_that_cannot_be_used_leaves_everything_as_it_was(
    daemon: Reloading, provider: LocalIssuer
) -> None:
    daemon.write(issuer_table(provider), cluster_table(daemon.directory))
    bad = daemon.directory / "ca.pem"
    bad.write_text("no certificate")
    async with daemon.running():
        daemon.write(
            issuer_table(provider, audiences=["another"], ca_file=str(bad)),
            cluster_table(daemon.directory),
            cluster_table(daemon.directory, "second"),
        )
        assert await daemon.hang_up() == "refused"
        assert "ca_file" in daemon.log("config_refused")[0]["problems"][0]
        assert await daemon.judge(token_for(provider), provider) == "ok"
        assert daemon.value("sessions_open", cluster="second") is None


async def test_a_socket_that_cannot_be_opened_leaves_everything_as_it_was(
    daemon: Reloading, provider: LocalIssuer
) -> None:
    daemon.write(cluster_table(daemon.directory))
    async with daemon.running():
        Path(daemon.socket).parent.mkdir()
        with socket.socket(socket.AF_UNIX) as occupied:
            occupied.bind(daemon.socket)
            occupied.listen()
            daemon.write(issuer_table(provider))
            assert await daemon.hang_up() == "refused"
            assert "another process listens" in daemon.log("config_refused")[0]["problems"][0]
        assert await daemon.hang_up() == "applied"


async def test_a_deleted_file_keeps_what_there_is(daemon: Reloading, provider: LocalIssuer) -> None:
    daemon.write(issuer_table(provider))
    async with daemon.running():
        daemon.config_path.unlink()
        assert await daemon.hang_up() == "refused"
        assert await daemon.judge(token_for(provider), provider) == "ok"


async def test_no_secret_is_said_when_a_secret_is_wrong(daemon: Reloading, provider: LocalIssuer) -> None:
    secret = daemon.directory / "secret"
    secret.write_text("right")
    daemon.write(opaque_issuer(provider, secret))
    async with daemon.running():
        secret.write_text("hunter2\nhunter3")
        assert await daemon.hang_up() == "refused"
        assert "more than one line" in daemon.log("config_refused")[0]["problems"][0]
        assert "hunter" not in daemon.said.getvalue()
        assert await daemon.judge("an-opaque-token", provider) == "ok"


async def test_on_a_hangup_an_unchanged_file_has_the_keys_fetched_anew(
    daemon: Reloading, provider: LocalIssuer
) -> None:
    daemon.write(issuer_table(provider))
    async with daemon.running():
        assert await daemon.judge(token_for(provider), provider) == "ok"
        asked = provider.asked[JWKS]
        assert await daemon.hang_up() == "unchanged"
        await provider.wait_asked(JWKS, asked + 1)


# what has changed is noticed


async def test_a_change_is_used_without_a_signal(daemon: Reloading, provider: LocalIssuer) -> None:
    daemon.write(issuer_table(provider), watch=True)
    async with daemon.running():
        before = daemon.reloads()
        daemon.write(issuer_table(provider, audiences=["another"]), watch=True)
        assert await daemon.reloaded(before) == "applied"
        assert await daemon.judge(token_for(provider), provider) == "audience_mismatch"


async def test_a_change_between_the_reading_and_the_start_is_noticed(daemon: Reloading, provider: LocalIssuer) -> None:
    daemon.write(issuer_table(provider), watch=True)
    config = load(daemon.config_path)
    daemon.write(issuer_table(provider, audiences=["another"]), watch=True)
    async with daemon.running(config):
        assert await daemon.reloaded(Counter()) == "applied"


async def test_what_cannot_be_read_is_refused_once_and_used_when_what_it_lacked_has_come(
    daemon: Reloading, provider: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloadwatch, "POLL_SECONDS", 0.2)
    daemon.write(issuer_table(provider), watch=True)
    secret = daemon.directory / "secrets" / "secret"
    async with daemon.running():
        before = daemon.reloads()
        daemon.write(opaque_issuer(provider, secret), watch=True)
        assert await daemon.reloaded(before) == "refused"
        before = daemon.reloads()
        secret.parent.mkdir()
        secret.write_text("right")
        assert await daemon.reloaded(before) == "applied"
        assert await daemon.judge("an-opaque-token", provider) == "ok"
        assert len(daemon.log("config_refused")) == 1


async def test_a_hundred_writes_at_once_are_one_reload(daemon: Reloading, provider: LocalIssuer) -> None:
    daemon.write(issuer_table(provider), watch=True)
    async with daemon.running():
        before = daemon.reloads()
        for number in range(100):
            daemon.write(issuer_table(provider, leeway_seconds=number), watch=True)
            await asyncio.sleep(0)
        assert await daemon.reloaded(before) == "applied"
        assert [said["changes"] for said in daemon.log("config_reloaded")] == [["issuer main changed: leeway_seconds"]]


async def test_where_nobody_watches_only_a_signal_reloads(daemon: Reloading, provider: LocalIssuer) -> None:
    (daemon.directory / "watching").mkdir()
    watching = Reloading(daemon.directory / "watching")
    daemon.write(issuer_table(provider), watch=False)
    watching.write(issuer_table(provider), watch=True)
    async with daemon.running(), watching.running():
        daemon.write(issuer_table(provider, audiences=["another"]), watch=False)
        for audience in ("another", "a third"):  # twice the time in which the first could have noticed its own
            before = watching.reloads()
            watching.write(issuer_table(provider, audiences=[audience]), watch=True)
            assert await watching.reloaded(before) == "applied"
        assert daemon.reloads() == Counter()
        assert await daemon.hang_up() == "applied"


# who is told


async def test_the_log_says_in_words_what_has_changed(
    daemon: Reloading, provider: LocalIssuer, other: LocalIssuer
) -> None:
    daemon.write(issuer_table(provider))
    async with daemon.running():
        daemon.write(
            issuer_table(provider, leeway_seconds=1), issuer_table(other, "other"), cluster_table(daemon.directory)
        )
        await daemon.hang_up()
        assert daemon.log("config_reloaded")[0]["changes"] == [
            "issuer other added",
            "issuer main changed: leeway_seconds",
            "cluster main added",
        ]


async def test_the_service_manager_hears_of_the_beginning_and_the_end(
    daemon: Reloading, provider: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.write(issuer_table(provider))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(daemon.directory / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(daemon.directory / "notify"))
        async with daemon.running():
            began = time.monotonic()
            await daemon.hang_up()
            assert manager.recv(4096) == b"READY=1\nSTATUS=1 issuers, 0 clusters"
            reloading, _, at = manager.recv(4096).decode().partition("\nMONOTONIC_USEC=")
            assert reloading == "RELOADING=1"
            assert began <= int(at) / 1e6 <= time.monotonic()
            assert manager.recv(4096) == b"READY=1\nSTATUS=1 issuers, 0 clusters"


async def test_the_daemon_as_a_process_reloads_on_sighup_and_refuses_what_is_wrong(tmp_path: Path) -> None:
    async with running_issuer() as provider:
        daemon, listen = Reloading(tmp_path), f"127.0.0.1:{free_port()}"
        text = daemon.write(issuer_table(provider)).replace("127.0.0.1:0", listen)
        async with DaemonProcess(text, tmp_path, listen) as process:

            async def reloads(outcome: str) -> bool:
                return (outcome,) in await process.samples("pgoauthd_config_reloads_total")

            assert await daemon.judge(token_for(provider), provider) == "ok"
            process.config_path.write_text(text.replace("pg-cluster", "another"))
            process.hang_up()
            await until(lambda: reloads("applied"), "the reload")
            assert await daemon.judge(token_for(provider), provider) == "audience_mismatch"
            process.config_path.write_text("nonsense")
            process.hang_up()
            await until(lambda: reloads("refused"), "the refusal")
            assert await daemon.judge(token_for(provider), provider) == "audience_mismatch"
