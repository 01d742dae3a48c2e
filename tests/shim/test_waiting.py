"""The module while it waits, inside a real PostgreSQL 18: one deadline, and interrupts are heard all the time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from pgoauthd.demo.cluster import DemoCluster
from pgoauthd.runtime.pgclient import LoginResult, login
from pgoauthd.tokens.reasons import Reason
from tests.shim.fakedaemon import Call, FakeDaemon, accepted, says, says_and_holds
from tests.shim.server import CANARY, ServerLog, new_cluster, refusals, running_cluster

TIMEOUT_SECONDS = 0.4
"""pgoauthd.timeout of the cluster."""
SLACK_SECONDS = 1.5
"""What a busy machine may add; the waits that must not happen are far longer."""
SOON_SECONDS = 1.0
"""For what ends a wait that would last half a minute."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[DemoCluster]:
    with running_cluster(authentication_timeout_seconds=2, pgoauthd__timeout="400ms") as cluster:
        yield cluster


@pytest.fixture
async def patient(cluster: DemoCluster, log: ServerLog) -> AsyncIterator[None]:
    """The module waits for half a minute."""
    await set_timeout(cluster, log, "30s")
    yield
    await set_timeout(cluster, log, "400ms")


async def set_timeout(cluster: DemoCluster, log: ServerLog, value: str) -> None:
    """Change the setting, and return when the server has read it; logins that begin afterwards have it."""
    await cluster.run_sql(f"ALTER SYSTEM SET pgoauthd.timeout = '{value}'; SELECT pg_reload_conf()")
    await log.session(lambda record: f'"pgoauthd.timeout" changed to "{value}"' in record["message"], until="LOG")


async def log_in(cluster: DemoCluster) -> LoginResult:
    return await login(cluster.tcp, role="alice", database="postgres", token=CANARY)


@contextlib.contextmanager
def full_backlog(cluster: DemoCluster) -> Iterator[socket.socket]:
    """A socket that listens and has no room for another connection."""
    path = str(cluster.validator_socket)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        stack.callback(os.unlink, path)
        cluster.validator_socket.chmod(0o660)
        listener.listen(0)
        while True:
            filler = stack.enter_context(socket.socket(socket.AF_UNIX))
            filler.setblocking(False)
            try:
                filler.connect(path)
            except BlockingIOError:
                break
        yield listener


async def test_a_daemon_that_never_answers_is_given_up_after_the_timeout(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says_and_holds(b"")

    started = time.monotonic()
    result = await log_in(cluster)
    seconds = time.monotonic() - started
    (entry,) = refusals(await log.login(result.local_port))

    assert TIMEOUT_SECONDS <= seconds < TIMEOUT_SECONDS + SLACK_SECONDS
    assert entry["message"] == (
        "pgoauthd: refused [validator_timeout]: pgoauthd did not answer within pgoauthd.timeout: there was no answer."
    )
    assert entry["hint"] == Reason.VALIDATOR_TIMEOUT.remedy
    assert CANARY.encode() not in log.text()


async def test_an_answer_that_stops_half_way_is_given_up_after_the_timeout(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says_and_holds(accepted()[:-1])

    result = await log_in(cluster)
    (entry,) = refusals(await log.login(result.local_port))

    assert not result.ok
    assert entry["message"].endswith("pgoauthd.timeout: its answer was not complete.")


async def test_bytes_that_go_on_coming_do_not_move_the_deadline(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    answer = accepted()

    async def drip(call: Call) -> None:
        for byte in answer:
            call.writer.write(bytes((byte,)))
            with contextlib.suppress(TimeoutError):  # one byte every 20 ms: more than five seconds for all
                await asyncio.wait_for(call.reader.read(), 0.02)

    daemon.script = drip

    started = time.monotonic()
    result = await log_in(cluster)

    assert not result.ok
    assert time.monotonic() - started < TIMEOUT_SECONDS + SLACK_SECONDS


async def test_an_answer_is_taken_while_the_daemon_holds_the_connection(
    cluster: DemoCluster, daemon: FakeDaemon
) -> None:
    daemon.script = says_and_holds(accepted())

    assert (await log_in(cluster)).ok


async def test_a_backlog_that_stays_full_is_given_up_after_the_timeout(cluster: DemoCluster, log: ServerLog) -> None:
    with full_backlog(cluster):
        started = time.monotonic()
        result = await log_in(cluster)
        seconds = time.monotonic() - started
    (entry,) = refusals(await log.login(result.local_port))

    assert TIMEOUT_SECONDS <= seconds < TIMEOUT_SECONDS + SLACK_SECONDS
    assert entry["message"].endswith("pgoauthd.timeout: its backlog was full all the time.")


@pytest.mark.usefixtures("patient")
async def test_a_login_that_found_a_full_backlog_succeeds_when_it_drains(cluster: DemoCluster) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgoauthdVerdict'"
    with full_backlog(cluster) as listener:
        attempt = asyncio.create_task(log_in(cluster))
        async with asyncio.timeout(10):
            while await cluster.run_sql(waiting) != "1\n":
                pass
        assert not attempt.done()

        daemon = FakeDaemon(cluster.validator_socket)
        async with daemon.on(listener):
            assert (await attempt).ok


@pytest.mark.usefixtures("patient")
async def test_a_terminate_ends_a_waiting_login_at_once(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says_and_holds(b"")
    attempt = asyncio.create_task(log_in(cluster))
    request = await daemon.next_request()

    await cluster.run_sql(f"SELECT pg_terminate_backend({request.body['pid']})")
    started = time.monotonic()
    with pytest.raises(ConnectionError):
        await attempt

    assert time.monotonic() - started < SOON_SECONDS
    session_id = request.body["session_id"]
    records = await log.session(lambda record: record.get("session_id") == session_id, until="FATAL")
    # whatever asks a backend to end during authentication, the server calls it a timeout
    assert records[-1]["message"] == "canceling authentication due to timeout"
    assert refusals(records) == []


@pytest.mark.usefixtures("patient")
async def test_the_authentication_timeout_ends_a_waiting_login(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says_and_holds(b"")
    attempt = asyncio.create_task(log_in(cluster))
    session_id = (await daemon.next_request()).body["session_id"]

    with pytest.raises(ConnectionError):
        await attempt
    records = await log.session(lambda record: record.get("session_id") == session_id, until="FATAL")

    assert records[-1]["message"] == "canceling authentication due to timeout"


@pytest.mark.usefixtures("patient")
async def test_a_reload_changes_the_timeout(cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog) -> None:
    await set_timeout(cluster, log, "10ms")
    daemon.script = says_and_holds(b"")

    started = time.monotonic()
    assert not (await log_in(cluster)).ok
    assert time.monotonic() - started < SOON_SECONDS


@pytest.mark.parametrize(("path", "said"), [("/" + "x" * 107, "is longer than 107 bytes"), ("", "is empty")])
async def test_a_socket_path_that_is_none_is_said_so(
    cluster: DemoCluster, log: ServerLog, path: str, said: str
) -> None:
    await cluster.run_sql(f"ALTER SYSTEM SET pgoauthd.socket_path = '{path}'; SELECT pg_reload_conf()")
    await log.session(lambda record: f'changed to "{path}"' in record["message"], until="LOG")
    try:
        (entry,) = refusals(await log.login((await log_in(cluster)).local_port))
        assert entry["message"].endswith(f"on its socket: the path of the socket {said}.")
    finally:
        await cluster.run_sql("ALTER SYSTEM RESET pgoauthd.socket_path; SELECT pg_reload_conf()")
        restored = f'changed to "{cluster.validator_socket}"'
        await log.session(lambda record: restored in record["message"], until="LOG")


async def test_a_waiting_login_ends_with_the_postmaster() -> None:
    async with new_cluster(pgoauthd__timeout="30s") as doomed, FakeDaemon(doomed.validator_socket) as daemon:
        daemon.script = says_and_holds(b"")
        attempt = asyncio.create_task(log_in(doomed))
        await daemon.next_request()

        started = time.monotonic()
        pid = (doomed.directory / "data" / "postmaster.pid").read_text(encoding="utf-8").split()[0]
        os.kill(int(pid), signal.SIGKILL)
        with pytest.raises(ConnectionError):
            await attempt

        assert time.monotonic() - started < SOON_SECONDS


async def test_many_waiting_logins_leave_the_server_able_to_log_in(cluster: DemoCluster, daemon: FakeDaemon) -> None:
    daemon.script = says_and_holds(b"")
    results = await asyncio.gather(*(log_in(cluster) for _ in range(20)))
    daemon.script = says(accepted())

    assert not any(result.ok for result in results)
    assert (await log_in(cluster)).ok
