"""The demo's server: it starts for anybody, is closed to others, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgoauthd.demo.cluster import ClusterSettings, DemoCluster, LogDestination
from pgoauthd.demo.place import find_installation
from pgoauthd.errors import DemoError
from tests.demo.processes import children_of, group_of, owner_of, processes_of, program_of, wait_for_end
from tests.fix_daemon import until
from tests.shim.server import built_shim

PREFIX = r"%m [%p] 'x' \ %u@%d "

HBA = "# the first line\nhost all alice 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 reject\n"

RUN_UNTIL_KILLED = """
import asyncio, signal
from pgoauthd.demo.cluster import ClusterSettings, DemoCluster

async def main():
    async with DemoCluster(ClusterSettings(hba="")) as cluster:
        print(cluster.directory, cluster.port, flush=True)
        await asyncio.Event().wait()

# A job in the background, or under nohup, is started with these ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[DemoCluster]:
    """For tests that leave it as it is."""
    settings = ClusterSettings(
        hba=HBA,
        ident="people /^(.*)@x$ \\1\n",
        shim=built_shim(),
        log_line_prefix=PREFIX,
        log_destinations=tuple(LogDestination),
        extra={"log_connections": "receipt"},
    )
    with asyncio.Runner() as runner:  # the loop of a test would be gone when the server stops
        cluster = DemoCluster(settings)
        runner.run(cluster.start())
        yield cluster
        runner.run(cluster.stop())


@pytest.fixture
async def cluster() -> AsyncIterator[DemoCluster]:
    """For tests that stop it."""
    async with DemoCluster(ClusterSettings(hba=HBA)) as cluster:
        yield cluster


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def server_pid(cluster: DemoCluster) -> int:
    return int((cluster.directory / "data" / "postmaster.pid").read_text().split("\n")[0])


def bind(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield


async def test_a_started_cluster_answers_sql(shared: DemoCluster) -> None:
    assert (await shared.run_sql("SELECT 1; SELECT 2;")).split() == ["1", "2"]


async def test_it_is_postgresql_18(shared: DemoCluster) -> None:
    assert (await shared.run_sql("SHOW server_version_num")).startswith("18")


async def test_statements_are_no_transaction_so_that_databases_can_be_made(shared: DemoCluster) -> None:
    await shared.run_sql("CREATE ROLE owner; CREATE DATABASE app OWNER owner;")

    assert (await shared.run_sql("SELECT current_database()", database="app")).strip() == "app"


async def test_sql_that_fails_says_what_the_server_says(shared: DemoCluster) -> None:
    with pytest.raises(DemoError, match='relation "nowhere" does not exist'):
        await shared.run_sql("SELECT 1; SELECT * FROM nowhere; SELECT 3;")


def test_the_server_never_runs_as_root(shared: DemoCluster) -> None:
    assert owner_of(server_pid(shared)) == shared.server_uid != 0


def test_the_superusers_way_in_is_closed_to_other_users(shared: DemoCluster) -> None:
    status = Path(shared.unix.path).parent.stat()

    assert stat.S_IMODE(status.st_mode) == 0o700
    assert status.st_uid == shared.server_uid


async def test_the_superuser_cannot_come_over_tcp(shared: DemoCluster) -> None:
    with pytest.raises(DemoError, match="rejects connection"):
        await shared.run_sql(rf"\connect 'host=127.0.0.1 port={shared.port} user=postgres'")


async def test_lines_of_pg_hba_keep_their_numbers(shared: DemoCluster) -> None:
    rules = await shared.run_sql("SELECT file_name, line_number FROM pg_hba_file_rules WHERE type = 'host'")

    assert rules.split() == [f"{shared.hba_file}|2", f"{shared.hba_file}|3"]


async def test_pg_ident_is_the_text_given(shared: DemoCluster) -> None:
    lines = await shared.run_sql("SELECT map_name, sys_name, pg_username, error FROM pg_ident_file_mappings")

    assert lines.strip() == r"people|/^(.*)@x$|\1|"


async def test_settings_arrive_whatever_characters_they_have(shared: DemoCluster) -> None:
    assert (await shared.run_sql("SHOW log_line_prefix")).removesuffix("\n") == PREFIX


async def test_extra_settings_replace_ours(shared: DemoCluster) -> None:
    assert (await shared.run_sql("SHOW log_connections")).strip() == "receipt"


async def files_that_say_ready(cluster: DemoCluster, count: int) -> set[str]:
    """Names of the log files with the server's last word at its start, once there are so many: a process of its own,
    the logger, writes them."""

    def found() -> set[str]:
        return {path.name for path in cluster.log_directory.iterdir() if "ready to accept" in path.read_text()}

    async def enough() -> bool:
        return len(found()) >= count

    await until(enough, f"{count} log files say that the server is ready")
    return found()


async def test_each_log_destination_has_a_file_that_we_can_read(shared: DemoCluster) -> None:
    assert await files_that_say_ready(shared, 3) == {"postgresql.log", "postgresql.csv", "postgresql.json"}


async def test_a_destination_that_is_not_wanted_gets_no_lines() -> None:
    settings = ClusterSettings(hba=HBA, log_destinations=(LogDestination.JSONLOG,))
    async with DemoCluster(settings) as cluster:
        assert await files_that_say_ready(cluster, 1) == {"postgresql.json"}


async def test_starting_makes_no_login_that_the_log_would_show(cluster: DemoCluster) -> None:
    (name,) = await files_that_say_ready(cluster, 1)

    assert "connection received" not in (cluster.log_directory / name).read_text()


async def test_the_shim_is_found_without_being_installed(shared: DemoCluster) -> None:
    shown = await shared.run_sql("LOAD 'pgoauthd'; SHOW oauth_validator_libraries; SHOW pgoauthd.socket_path")

    assert shown.split() == ["pgoauthd", str(shared.validator_socket)]


def test_the_servers_group_may_connect_to_a_socket_of_the_daemon(shared: DemoCluster) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(shared.validator_socket))

        assert shared.validator_socket.stat().st_gid == group_of(server_pid(shared))


async def test_stopping_leaves_no_file_no_process_and_no_port(cluster: DemoCluster) -> None:
    pids = processes_of(cluster.directory)
    assert len(pids) >= 3

    await cluster.stop()

    assert not cluster.directory.exists()
    assert processes_of(cluster.directory) == []
    bind(cluster.port)


async def test_open_sessions_do_not_keep_it_from_stopping(cluster: DemoCluster) -> None:
    session = asyncio.create_task(cluster.run_sql("SELECT pg_sleep(600)"))
    while "pg_sleep" not in await cluster.run_sql("SELECT query FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
        assert not session.done()

    await cluster.stop()

    with pytest.raises(DemoError, match="terminating connection"):
        await session
    assert processes_of(cluster.directory) == []


async def test_stopping_twice_does_nothing(cluster: DemoCluster) -> None:
    await cluster.stop()
    cluster.directory.mkdir()
    try:
        await cluster.stop()

        assert cluster.directory.is_dir()
    finally:
        cluster.directory.rmdir()


async def test_stopping_what_was_never_started_touches_nothing() -> None:
    cluster = DemoCluster(ClusterSettings(hba=HBA))
    cluster.directory.mkdir()
    try:
        await cluster.stop()

        assert cluster.directory.is_dir()
    finally:
        cluster.directory.rmdir()


async def test_a_directory_of_others_is_not_used() -> None:
    cluster = DemoCluster(ClusterSettings(hba=HBA))
    cluster.directory.mkdir()
    try:
        with pytest.raises(FileExistsError):
            await cluster.start()
    finally:
        cluster.directory.rmdir()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (ClusterSettings(hba=HBA, extra={"shared_buffers": "plenty"}), "shared_buffers"),
        (ClusterSettings(hba="host all all nowhere/99 trust"), "pg_hba.conf"),
        (ClusterSettings(hba=HBA, extra={"shared_preload_libraries": "nothing_of_this_name"}), "nothing_of_this_name"),
    ],
    ids=["postgresql.conf", "pg_hba.conf", "library"],
)
async def test_a_server_that_cannot_start_says_why_and_leaves_nothing(settings: ClusterSettings, why: str) -> None:
    cluster = DemoCluster(settings)

    with pytest.raises(DemoError, match=why):
        await cluster.start()

    assert not cluster.directory.exists()
    assert processes_of(cluster.directory) == []


async def test_a_port_that_is_taken_is_named() -> None:
    cluster = DemoCluster(ClusterSettings(hba=HBA))

    with taken(cluster.port), pytest.raises(DemoError, match="Address already in use"):
        await cluster.start()

    assert not cluster.directory.exists()


async def test_initdb_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir(mode=0o755)
    for name, text in (("postgres", "exit 0"), ("initdb", "echo 'no space for a cluster'; exit 1")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    cluster = DemoCluster(ClusterSettings(hba=HBA), installation=tmp_path)

    with pytest.raises(DemoError, match="no space for a cluster"):
        await cluster.start()

    assert not cluster.directory.exists()


async def test_a_server_that_is_not_ready_in_time_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir(mode=0o755)
    for name, text in (("postgres", "exit 0"), ("initdb", "exec tail -f /dev/null")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    cluster = DemoCluster(ClusterSettings(hba=HBA), installation=tmp_path)

    with pytest.raises(DemoError, match="it said nothing"):
        await cluster.start(deadline_seconds=0.2)

    assert processes_of(cluster.directory) == []
    assert not cluster.directory.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_whatever_ends_the_demo_ends_the_cluster(number: signal.Signals) -> None:
    demo = subprocess.Popen([sys.executable, "-c", RUN_UNTIL_KILLED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with demo:
        assert demo.stdout is not None
        place, port = demo.stdout.readline().decode().split()
        guardians = children_of(demo.pid)
        assert guardians

        demo.send_signal(number)
        try:
            demo.wait(20)
        finally:
            demo.kill()

    wait_for_end(guardians)
    assert not Path(place).exists()
    assert processes_of(Path(place)) == []
    bind(int(port))


async def test_the_server_does_not_survive_its_guardian(cluster: DemoCluster) -> None:
    (guardian,) = (pid for pid in children_of(os.getpid()) if pid in processes_of(cluster.directory))
    server = server_pid(cluster)
    assert server in children_of(guardian)

    os.kill(guardian, signal.SIGKILL)

    wait_for_end([server])
    await cluster.stop()
    assert not cluster.directory.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the user")
async def test_an_installation_that_the_servers_user_cannot_reach_is_copied(tmp_path: Path) -> None:
    package = find_installation().parent
    closed = tmp_path / "closed"
    (closed / package.name).mkdir(parents=True)
    (closed / package.name / "pginstall").symlink_to(package / "pginstall")
    (closed / f"{package.name}.libs").symlink_to(package.with_name(f"{package.name}.libs"))
    closed.chmod(0o700)

    async with DemoCluster(ClusterSettings(hba=HBA), installation=closed / package.name / "pginstall") as cluster:
        program = program_of(server_pid(cluster))
        assert (await cluster.run_sql("SELECT 1")).strip() == "1"

    assert program.is_relative_to(cluster.directory)
    assert not cluster.directory.exists()


async def test_a_strict_umask_closes_nothing_to_the_server(strict_umask: None) -> None:
    del strict_umask
    async with DemoCluster(ClusterSettings(hba=HBA, shim=built_shim())) as cluster:
        assert (await cluster.run_sql("LOAD 'pgoauthd'; SELECT 1")).strip() == "1"


def test_nothing_is_written_beside_the_installation(shared: DemoCluster) -> None:
    started = (shared.directory / "etc" / "postgresql.conf").stat().st_mtime

    assert [path for path in find_installation().rglob("*") if path.lstat().st_mtime >= started] == []
