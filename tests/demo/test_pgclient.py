"""The OAUTHBEARER client against a real server, and against some that are none."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from pgoauthd.demo.cluster import ClusterSettings, DemoCluster, LogDestination
from pgoauthd.runtime.pgclient import (
    Address,
    Departure,
    Discovery,
    LoginResult,
    TcpAddress,
    UnixAddress,
    abandon,
    login,
    stall,
)
from tests.shim.server import ServerLog, built_shim

ISSUER = "https://issuer.example.org/realms/db"
CANARY = "canary-of-a-token"

HBA = f"""\
host postgres trusted  127.0.0.1/32 trust
host nowhere  trusted  127.0.0.1/32 trust
host postgres scram    127.0.0.1/32 scram-sha-256
host postgres plain    127.0.0.1/32 password
host postgres alice    127.0.0.1/32 oauth issuer="{ISSUER}" scope="openid postgres"
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[DemoCluster]:
    """Nobody listens on its validation socket: whoever sends a token is refused."""
    settings = ClusterSettings(
        hba=HBA,
        shim=built_shim(),
        log_destinations=(LogDestination.JSONLOG,),
        authentication_timeout_seconds=1,
    )
    with asyncio.Runner() as runner:  # the loop of a test would be gone when the server stops
        cluster = DemoCluster(settings)
        runner.run(cluster.start())
        runner.run(cluster.run_sql("CREATE ROLE trusted LOGIN; CREATE ROLE alice LOGIN; CREATE ROLE plain LOGIN;"))
        runner.run(cluster.run_sql("CREATE ROLE scram LOGIN PASSWORD 'secret';"))
        yield cluster
        runner.run(cluster.stop())


@pytest.fixture
async def log(cluster: DemoCluster) -> AsyncIterator[ServerLog]:
    async with ServerLog(cluster.log_directory).watched() as log:
        yield log


@asynccontextmanager
async def impostor(answer: bytes, *, hangs_up: bool) -> AsyncIterator[Address]:
    """A server that reads some bytes, gives one answer, and hangs up or falls silent."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(answer)
        await (writer.drain() if hangs_up else reader.read())
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield TcpAddress("127.0.0.1", server.sockets[0].getsockname()[1])


async def log_in(
    address: Address, token: str | None = CANARY, *, message: bytes | None = None, role: str = "alice"
) -> LoginResult:
    return await login(address, role=role, database="postgres", token=token, message=message, deadline_seconds=5)


async def test_a_role_that_is_trusted_gets_the_rows_of_its_query(cluster: DemoCluster) -> None:
    result = await login(
        cluster.tcp,
        role="trusted",
        database="postgres",
        token=None,
        application_name="a test",
        query="SELECT current_setting('application_name'), NULL, 'é' UNION ALL SELECT '', 'x', 'y'",
    )

    assert result.ok
    assert result.rows == (("a test", None, "é"), ("", "x", "y"))


async def test_a_login_knows_the_servers_version(cluster: DemoCluster) -> None:
    assert (await log_in(cluster.tcp, role="trusted")).parameters["server_version"].startswith("18")


async def test_a_login_over_the_unix_socket_has_no_port(cluster: DemoCluster) -> None:
    result = await log_in(cluster.unix, role="postgres")

    assert (result.ok, result.local_port) == (True, None)


async def test_a_query_that_fails_is_no_success(cluster: DemoCluster) -> None:
    result = await login(cluster.tcp, role="trusted", database="postgres", token=None, query="SELECT 1/0")

    assert (result.ok, result.sqlstate, result.message) == (False, "22012", "division by zero")


async def test_discovery_gets_the_servers_answer(cluster: DemoCluster) -> None:
    result = await log_in(cluster.tcp, None)

    assert (result.ok, result.sqlstate) == (False, "28000")
    assert result.discovery == Discovery(
        status="invalid_token",
        openid_configuration=f"{ISSUER}/.well-known/openid-configuration",
        scope="openid postgres",
    )


async def test_a_refused_token_gets_the_same_answer_as_a_discovery(cluster: DemoCluster) -> None:
    refused, discovered = await log_in(cluster.tcp), await log_in(cluster.tcp, None)

    assert refused.discovery == discovered.discovery is not None


async def test_a_token_reaches_the_validator(cluster: DemoCluster, log: ServerLog) -> None:
    result = await log_in(cluster.tcp)

    records = await log.login(result.local_port)
    assert any("[validator_unavailable]" in record["message"] for record in records)


async def test_a_discovery_does_not_reach_the_validator(cluster: DemoCluster, log: ServerLog) -> None:
    result = await log_in(cluster.tcp, None)

    records = await log.login(result.local_port)
    assert [record["message"] for record in records if "pgoauthd" in record["message"]] == []


async def test_an_empty_token_is_no_discovery(cluster: DemoCluster, log: ServerLog) -> None:
    result = await log_in(cluster.tcp, "")

    records = await log.login(result.local_port)
    assert any(record.get("detail") == "Bearer token is empty." for record in records)


async def test_a_database_that_is_missing_is_refused_in_the_servers_words(cluster: DemoCluster) -> None:
    result = await login(cluster.tcp, role="trusted", database="nowhere", token=None)

    assert (result.ok, result.sqlstate, result.message) == (False, "3D000", 'database "nowhere" does not exist')


async def test_a_role_without_a_line_is_refused_in_the_servers_words(cluster: DemoCluster) -> None:
    result = await log_in(cluster.tcp, role="nobody")

    assert (result.ok, result.sqlstate) == (False, "28000")
    assert str(result.message).startswith("no pg_hba.conf entry for host")


@pytest.mark.parametrize(("role", "asked"), [("scram", "SCRAM-SHA-256"), ("plain", "a password")])
async def test_a_server_that_asks_for_something_else_gets_no_token(
    cluster: DemoCluster, log: ServerLog, role: str, asked: str
) -> None:
    result = await log_in(cluster.tcp, role=role)

    assert result == LoginResult(
        ok=False,
        message=f"the server asks for {asked}, not OAUTHBEARER",
        local_port=result.local_port,
        local_address="127.0.0.1",
    )
    assert CANARY.encode() not in log.text()


async def test_a_mechanism_that_is_not_offered_is_not_tried(cluster: DemoCluster) -> None:
    result = await login(cluster.tcp, role="alice", database="postgres", token=CANARY, mechanism="OAUTHBEARER-PLUS")

    assert (result.ok, result.message) == (False, "the server asks for OAUTHBEARER, not OAUTHBEARER-PLUS")


@pytest.mark.parametrize(
    ("message", "sqlstate", "said"),
    [
        (b"hello", "08P01", "malformed OAUTHBEARER message"),
        (b"n,,\x01host=db\x01\x01", "08P01", "malformed OAUTHBEARER message"),
        (b"p=tls-exporter,,\x01auth=Bearer x\x01\x01", "08P01", "malformed OAUTHBEARER message"),
        (b"n,a=root,\x01auth=Bearer x\x01\x01", "0A000", "client uses authorization identity, but it is not supported"),
        (b"n,,\x01auth=Basic eDp5\x01\x01", "28000", 'OAuth bearer authentication failed for user "alice"'),
        (b"", "08P01", "malformed OAUTHBEARER message"),
    ],
)
async def test_a_message_is_sent_as_it_is(cluster: DemoCluster, message: bytes, sqlstate: str, said: str) -> None:
    result = await log_in(cluster.tcp, message=message)

    assert (result.ok, result.sqlstate, result.message) == (False, sqlstate, said)


@pytest.mark.parametrize("departure", [d for d in Departure if d is not Departure.RESET])
async def test_a_client_that_goes_away_leaves_one_line(
    cluster: DemoCluster, log: ServerLog, departure: Departure
) -> None:
    gone = await abandon(cluster.tcp, role="alice", database="postgres", departure=departure)
    later = await log_in(cluster.tcp, None)

    await log.login(later.local_port)
    records = await log.login(gone.local_port, until="connection received")
    assert len(records) == 1
    assert not gone.ok


async def test_a_reset_is_an_error_to_the_server(cluster: DemoCluster, log: ServerLog) -> None:
    gone = await abandon(cluster.tcp, role="alice", database="postgres", departure=Departure.RESET)

    records = await log.login(gone.local_port, until="could not receive data")
    assert len(records) == 2


async def test_a_client_can_go_away_over_the_unix_socket(cluster: DemoCluster) -> None:
    gone = await abandon(cluster.unix, role="postgres", database="postgres", departure=Departure.STARTUP_SENT)

    assert gone.local_port is None


async def test_a_client_that_stalls_sees_the_server_give_up(cluster: DemoCluster, log: ServerLog) -> None:
    result = await stall(cluster.tcp, role="alice", database="postgres", deadline_seconds=10)

    assert not result.ok
    records = await log.login(result.local_port)
    assert records[-1]["message"] == "canceling authentication due to timeout"


async def test_many_logins_at_once_each_get_their_own_answer(cluster: DemoCluster) -> None:
    roles = ["trusted", "alice", "nobody"] * 10

    results = await asyncio.gather(*(log_in(cluster.tcp, role=role) for role in roles))

    assert [result.ok for result in results] == [role == "trusted" for role in roles]
    assert len({result.local_port for result in results}) == len(roles)


async def test_a_server_that_is_silent_is_left_after_the_deadline() -> None:
    async with impostor(b"", hangs_up=False) as address:
        with pytest.raises(TimeoutError, match=r"longer than 0\.2 s"):
            await login(address, role="alice", database="app", token=CANARY, deadline_seconds=0.2)


async def test_a_stalling_client_has_a_deadline_of_its_own() -> None:
    async with impostor(b"R\0\0\0\x08\0\0\0\x0a", hangs_up=False) as address:
        with pytest.raises(TimeoutError, match=r"longer than 0\.2 s"):
            await stall(address, role="alice", database="app", deadline_seconds=0.2)


async def test_a_server_that_hangs_up_without_a_word_is_an_error() -> None:
    async with impostor(b"", hangs_up=True) as address:
        with pytest.raises(ConnectionError, match="without a word"):
            await log_in(address)


async def test_an_answer_that_breaks_off_is_an_error() -> None:
    async with impostor(b"R\0\0\0\x2aAB", hangs_up=True) as address:
        with pytest.raises(ConnectionError, match="without a word"):
            await log_in(address)


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"R\xff\xff\xff\xff", b"R\0\0\0\x03", b"E\0\x10\0\x01"],
    ids=["http", "negative length", "too short", "too long"],
)
async def test_whatever_does_not_speak_the_protocol_is_an_error(answer: bytes) -> None:
    async with impostor(answer, hangs_up=False) as address:
        with pytest.raises(ConnectionError, match="does not speak"):
            await log_in(address)


async def test_an_error_without_fields_is_still_a_refusal() -> None:
    async with impostor(b"E\0\0\0\x05\0", hangs_up=True) as address:
        result = await log_in(address)

    assert (result.ok, result.sqlstate, result.message) == (False, None, None)


async def test_a_server_that_is_not_there_is_an_os_error(cluster: DemoCluster) -> None:
    with pytest.raises(FileNotFoundError):
        await log_in(UnixAddress(f"{cluster.directory}/nowhere"))


async def test_no_result_shows_the_token(cluster: DemoCluster) -> None:
    assert CANARY not in repr(await log_in(cluster.tcp))


async def test_no_error_shows_the_token() -> None:
    async with impostor(b"", hangs_up=True) as address:
        with pytest.raises(ConnectionError) as caught:
            await log_in(address)

    assert CANARY not in "".join(traceback.format_exception(caught.value))


def framed(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


REFUSED = framed(b"E", b"C28000\0Mno\0\0")
READY = framed(b"Z", b"I")


@pytest.mark.parametrize("said", [b'{"status":"\xff"}', b'{"x":' + b"[" * 100_000], ids=["not UTF-8", "nested"])
async def test_a_discovery_that_cannot_be_read_is_none(said: bytes) -> None:
    async with impostor(framed(b"R", b"\0\0\0\x0b" + said) + REFUSED, hangs_up=True) as address:
        result = await log_in(address)

    assert (result.sqlstate, result.discovery) == ("28000", None)


@pytest.mark.parametrize("answer", [b"", READY], ids=["at the login", "as rows"])
async def test_a_server_that_sends_without_end_is_left(answer: bytes) -> None:
    async with impostor(answer + framed(b"D", b"\0\0" + b"x" * 10_000) * 120, hangs_up=False) as address:
        with pytest.raises(ConnectionError, match="the server sends too much"):
            await log_in(address)


async def test_a_row_has_no_more_columns_than_it_brings() -> None:
    row = framed(b"D", b"\xff\xff" + b"\0\0\0\x01x")
    async with impostor(READY + row + READY, hangs_up=True) as address:
        assert (await log_in(address)).rows == (("x",),)


async def test_of_parameters_only_some_that_are_short_are_kept() -> None:
    many = b"".join(framed(b"S", b"p%d\0v\0" % number) for number in range(1_000))
    async with impostor(framed(b"S", b"long\0" + b"x" * 10_000) + many + REFUSED, hangs_up=True) as address:
        parameters = (await log_in(address)).parameters

    assert (len(parameters), "long" in parameters) == (64, False)
