"""The module inside a real PostgreSQL 18: what it asks, and what becomes of each verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from pgoauthd import __version__
from pgoauthd.demo.cluster import DemoCluster
from pgoauthd.runtime.pgclient import LoginResult, login
from tests.shim.fakedaemon import Call, FakeDaemon, accepted, http, refused, says, says_slowly
from tests.shim.server import CANARY, ISSUER, SCOPE, ServerLog, refusals, running_cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[DemoCluster]:
    with running_cluster(cluster_name="west", pgoauthd__timeout="5s", pgoauthd__tiemout="1s") as cluster:
        yield cluster


async def log_in(
    cluster: DemoCluster, role: str = "alice", token: str = CANARY, database: str = "postgres"
) -> LoginResult:
    return await login(cluster.tcp, role=role, database=database, token=token)


async def test_an_authorized_token_logs_in(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    daemon.script = says(accepted())

    result = await log_in(cluster)

    assert result.ok
    assert result.rows == (("alice",),)


async def test_the_identity_of_an_authorized_token_is_what_the_server_logs(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says(accepted(authn_id="zoë@example.org"))

    records = await log.login((await log_in(cluster, "mapped")).local_port, until="connection ready")

    assert any('identity="zoë@example.org" method=oauth' in record["message"] for record in records)


async def test_an_authorized_login_adds_no_line_to_the_log(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says(accepted())

    records = await log.login((await log_in(cluster)).local_port, until="connection ready")

    assert refusals(records) == []


async def test_an_answer_that_comes_byte_by_byte_counts(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    daemon.script = says_slowly(accepted())

    assert (await log_in(cluster)).ok


async def test_new_members_of_an_answer_are_skipped(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    daemon.script = says(accepted(since="v1.7", detail={"a": [1, None, {"b": "c"}]}))

    assert (await log_in(cluster)).ok


async def test_an_identity_that_the_map_knows_logs_in(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    daemon.script = says(accepted(authn_id="bob@example.org"))

    assert (await log_in(cluster, "mapped")).ok


async def test_the_server_still_maps_an_authorized_identity(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says(accepted(authn_id="bob@elsewhere.org"))

    result = await log_in(cluster, "mapped")
    records = await log.login(result.local_port)

    assert not result.ok
    assert any("no match in usermap" in record["message"] for record in records)


@pytest.mark.parametrize("authn_id", [None, ""])
async def test_a_delegated_login_needs_no_identity(
    cluster: DemoCluster, daemon: FakeDaemon, authn_id: str | None
) -> None:
    daemon.script = says(accepted(authn_id=authn_id))

    assert (await log_in(cluster, "delegated")).ok


async def test_the_request_says_what_the_server_knows(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    result = await log_in(cluster, "mapped", token=f"{CANARY}.x-._~+/==", database='odd "name" ü')
    request = await daemon.next_request()

    pid, session_id = request.body.pop("pid"), request.body.pop("session_id")
    assert session_id.endswith(f".{pid:x}")
    assert 180_000 <= request.body.pop("server_version") < 190_000
    assert request.body == {
        "token": f"{CANARY}.x-._~+/==",
        "role": "mapped",
        "database": 'odd "name" ü',
        "client_addr": "127.0.0.1",
        "client_port": result.local_port,
        "hba_file": str(cluster.hba_file),
        "hba_line": 2,
        "issuer": ISSUER,
        "scope": SCOPE,
        "audience": None,
        "usermap": "people",
        "delegate": False,
        "cluster_name": "west",
    }


async def test_the_request_is_plain_http(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    await log_in(cluster)
    request = await daemon.next_request()

    assert request.line == "POST /v1/validate HTTP/1.1"
    assert request.headers.pop("content-length").isdigit()
    assert request.headers == {
        "host": "localhost",
        "user-agent": f"pgoauthd-shim/{__version__}",
        "content-type": "application/json",
        "accept": "application/json",
        "connection": "close",
    }


async def test_the_request_says_that_the_mapping_is_delegated(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    await log_in(cluster, "delegated")
    request = await daemon.next_request()

    assert request.body["delegate"] is True
    assert request.body["usermap"] is None
    assert request.body["hba_line"] == 3


async def test_a_client_on_the_unix_socket_is_local_and_has_no_port(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    result = await login(cluster.unix, role="alice", database="postgres", token=CANARY)
    request = await daemon.next_request()

    assert result.ok
    assert request.body["client_addr"] == "[local]"
    assert request.body["client_port"] is None


async def test_the_session_id_is_that_of_jsonlog_and_csvlog(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    result = await log_in(cluster)
    request = await daemon.next_request()
    records = await log.login(result.local_port, until="connection ready")

    assert {record["session_id"] for record in records} == {request.body["session_id"]}
    assert request.body["session_id"] in log.csv_session_ids()


async def test_a_discovery_asks_nobody(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    result = await login(cluster.tcp, role="alice", database="postgres", token=None)

    assert not result.ok
    assert result.discovery is not None
    assert daemon.requests.empty()


async def test_a_client_cannot_choose_the_socket(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    # the client's settings follow the database name in the startup message, each ended by a NUL
    smuggled = f"postgres\0options\0-c pgoauthd.socket_path={cluster.validator_socket}.evil"

    result = await log_in(cluster, database=smuggled)

    assert (await daemon.next_request()).body["database"] == "postgres"
    assert result.message == 'parameter "pgoauthd.socket_path" cannot be changed now'


async def test_a_misspelt_setting_is_said_in_the_log(cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog) -> None:
    daemon.script = says(accepted())

    records = await log.login((await log_in(cluster)).local_port, until="connection ready")

    assert any('"pgoauthd.tiemout"' in record["message"] for record in records)


async def test_a_refusal_is_logged_once_with_reason_message_and_remedy(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says(refused())

    result = await log_in(cluster)
    (entry,) = refusals(await log.login(result.local_port))

    assert not result.ok
    assert entry["error_severity"] == "LOG"
    assert entry["message"] == "pgoauthd: refused [expired]: The token expired 62 s ago."
    assert entry["hint"] == "Get a new token."


async def test_a_client_does_not_learn_why_it_was_refused(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    daemon.script = says(refused())

    result = await log_in(cluster)

    assert result.message == 'OAuth bearer authentication failed for user "alice"'


async def test_a_refusal_is_no_internal_error_for_the_server(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says(refused())

    records = await log.login((await log_in(cluster)).local_port)

    details = [record.get("detail", "") for record in records]
    assert any("Validator failed to authorize the provided token." in detail for detail in details)
    assert all(record["error_severity"] in ("LOG", "FATAL") for record in records if "tiemout" not in record["message"])


async def test_a_refusal_keeps_the_identity_that_was_verified(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says(refused(reason="scope_missing", authn_id="alice"))

    records = await log.login((await log_in(cluster)).local_port)

    assert any('connection authenticated: identity="alice"' in record["message"] for record in records)


async def test_a_refusal_on_a_delegated_line_is_a_refusal(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    daemon.script = says(refused(reason="delegation_refused", authn_id="alice"))

    assert not (await log_in(cluster, "delegated")).ok


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "request_invalid"),
        (403, "peer_forbidden"),
        (413, "token_too_large"),
        (500, "internal_error"),
        (503, "validator_overloaded"),
        (504, "validator_timeout"),
    ],
)
async def test_an_error_of_the_daemon_is_logged_under_its_own_reason(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog, status: int, reason: str
) -> None:
    daemon.script = says(refused(status, reason=reason))

    result = await log_in(cluster)
    (entry,) = refusals(await log.login(result.local_port))

    assert not result.ok
    assert entry["message"].startswith(f"pgoauthd: refused [{reason}]: ")


async def test_a_refusal_without_a_remedy_has_no_hint(cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog) -> None:
    daemon.script = says(refused(remedy=""))

    (entry,) = refusals(await log.login((await log_in(cluster)).local_port))

    assert "hint" not in entry


async def test_a_message_cannot_forge_a_log_entry(cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog) -> None:
    daemon.script = says(refused(message="a\nLOG:  b\u202e\x1b[2J\x85", remedy="c\r\nd"))

    (entry,) = refusals(await log.login((await log_in(cluster)).local_port))

    assert entry["message"] == "pgoauthd: refused [expired]: a?LOG:  b??[2J?"
    assert entry["hint"] == "c??d"


async def test_a_long_message_is_cut_between_characters(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says(refused(message="€" * 2_000, remedy="x" * 2_000))

    (entry,) = refusals(await log.login((await log_in(cluster)).local_port))

    assert entry["message"] == "pgoauthd: refused [expired]: " + "€" * 333
    assert entry["hint"] == "x" * 1_000


async def test_an_answer_of_64_kib_is_read(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    body = accepted().partition(b"\r\n\r\n")[2]
    daemon.script = says(http(body.ljust(65_536)))

    assert (await log_in(cluster)).ok


async def test_a_token_as_long_as_the_server_takes_is_asked_about(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    token = (CANARY * 4_000)[:65_000]

    assert (await log_in(cluster, token=token)).ok
    assert (await daemon.next_request()).body["token"] == token


async def test_fifty_logins_at_once_get_their_own_verdicts(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    all_asked = asyncio.Barrier(50)

    async def judge(call: Call) -> None:
        await all_asked.wait()
        number = int(call.request.body["token"].rpartition(".")[2])
        answer = accepted() if number % 2 == 0 else refused(message=f"Number {number}.")
        call.writer.write(answer)

    daemon.script = judge

    results = await asyncio.gather(*(log_in(cluster, token=f"{CANARY}.{number}") for number in range(50)))

    assert [result.ok for result in results] == [number % 2 == 0 for number in range(50)]
    for number in range(1, 50, 2):
        (entry,) = refusals(await log.login(results[number].local_port))
        assert entry["message"] == f"pgoauthd: refused [expired]: Number {number}."


@pytest.mark.parametrize("script", [says(accepted()), says(refused()), says(b"no HTTP"), says(b"")])
async def test_no_log_level_shows_the_token(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog, script: object
) -> None:
    assert callable(script)
    daemon.script = script

    result = await log_in(cluster)
    await log.login(result.local_port, until="connection ready" if result.ok else "FATAL")

    assert b"DEBUG" in log.text()
    assert CANARY.encode() not in log.text()
