from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import resource
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from structlog.typing import FilteringBoundLogger

from pgoauthd.config.values import Notify
from pgoauthd.correlation import outcome_json
from pgoauthd.runtime.sinks import OUTCOME_FILE, AlertPoster, OutcomeFile
from pgoauthd.telemetry import log as telemetry_log
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.reasons import Reason
from tests.fix_outcomes import outcome

DEADLINE = 20.0
CANARY = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnktd2hpY2gtbXVzdC1uZXZlci1zaG93"


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    made.declare(clusters=("main",), issuers=(), sinks=(OUTCOME_FILE, "ops"))
    return made


@pytest.fixture
def said() -> io.StringIO:
    """What the daemon's log says."""
    return io.StringIO()


@pytest.fixture
def log(said: io.StringIO) -> FilteringBoundLogger:
    return telemetry_log.configure("debug", "json", said)


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(f"pgoauthd_{name}_total", labels)
    assert found is not None, f"no series {name}{labels}"
    return found


@contextlib.asynccontextmanager
async def running(sink: OutcomeFile | AlertPoster) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(sink.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def stop(task: asyncio.Task[None]) -> None:
    """What the daemon does at shutdown; the file sink then writes what still waits."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        async with asyncio.timeout(DEADLINE):
            await task


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; each turn handles what has arrived."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.002)


# the outcome file


class Written:
    """An encoder that tells when an outcome was encoded, which is when a batch is about to be written."""

    def __init__(self) -> None:
        self.encoded: asyncio.Queue[str | None] = asyncio.Queue()

    def __call__(self, ended: Any) -> bytes:  # noqa: ANN401 - an Outcome
        self.encoded.put_nowait(ended.role)
        return outcome_json.encode(ended)

    async def wait_for(self, role: str) -> None:
        async with asyncio.timeout(DEADLINE):
            while await self.encoded.get() != role:
                pass


def roles(path: Path) -> list[str]:
    return [json.loads(line)["role"] for line in path.read_text(encoding="utf-8").splitlines()]


async def start(sink: OutcomeFile) -> asyncio.Task[None]:
    """Run the sink up to its first wait: a task that is cancelled before it begins runs nothing, not even a finally."""
    task = asyncio.create_task(sink.run())
    await asyncio.sleep(0)
    return task


async def test_outcomes_are_appended_one_json_object_a_line(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger
) -> None:
    path = tmp_path / "outcomes.jsonl"
    path.write_text('{"role":"before"}\n', encoding="utf-8")
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
    task = await start(sink)
    for role in ("one", "two", "three"):
        sink.offer(outcome(role=role))
    await stop(task)
    assert roles(path) == ["before", "one", "two", "three"]
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[1])["reason"] == "usermap_no_match"


@pytest.mark.parametrize("umask", [0o000, 0o077])
async def test_the_file_is_made_for_its_owner_and_group(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, umask: int
) -> None:
    path = tmp_path / "outcomes.jsonl"
    before = os.umask(umask)
    try:
        sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
        task = await start(sink)
        sink.offer(outcome())
        await stop(task)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == 0o640


async def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger) -> None:
    path = tmp_path / "outcomes.jsonl"
    path.touch()
    path.chmod(0o600)
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
    task = await start(sink)
    sink.offer(outcome())
    await stop(task)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert roles(path) == ["app"]


async def test_a_file_that_is_moved_away_while_open_is_made_anew(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger
) -> None:
    path, moved, written = tmp_path / "outcomes.jsonl", tmp_path / "outcomes.jsonl.1", Written()
    sink = OutcomeFile(path, written, metrics=metrics, log=log)
    async with running(sink) as task:
        sink.offer(outcome(role="one"))
        await written.wait_for("one")
        sink.offer(outcome(role="two"))
        await written.wait_for("two")
        path.rename(moved)
        sink.offer(outcome(role="three"))
        await written.wait_for("three")
        await stop(task)
    assert roles(moved)[:1] == ["one"]
    assert roles(moved) + roles(path) == ["one", "two", "three"]
    assert roles(path)[-1:] == ["three"]


async def test_a_file_that_was_deleted_is_made_anew(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger
) -> None:
    path, written = tmp_path / "outcomes.jsonl", Written()
    sink = OutcomeFile(path, written, metrics=metrics, log=log)
    async with running(sink) as task:
        sink.offer(outcome(role="one"))
        await written.wait_for("one")
        sink.offer(outcome(role="two"))
        await written.wait_for("two")
        path.unlink()
        sink.offer(outcome(role="three"))
        await stop(task)
    assert roles(path)[-1:] == ["three"]


async def test_outcomes_beyond_the_bound_are_dropped_and_counted(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger
) -> None:
    path = tmp_path / "outcomes.jsonl"
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log, max_waiting=3)
    for number in range(5):
        sink.offer(outcome(role=str(number)))
    await stop(await start(sink))
    assert roles(path) == ["0", "1", "2"]
    assert value(metrics, "sink_dropped", sink=OUTCOME_FILE) == 2


async def test_outcomes_wait_while_the_file_cannot_be_written(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, said: io.StringIO
) -> None:
    path = tmp_path / "not yet" / "outcomes.jsonl"
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log, retry_seconds=0.01)
    async with running(sink):
        sink.offer(outcome(role="one"))
        await until(lambda: "outcome_file_not_written" in said.getvalue())
        path.parent.mkdir()
        await until(lambda: "outcome_file_written_again" in said.getvalue())
    assert roles(path) == ["one"]
    assert value(metrics, "sink_dropped", sink=OUTCOME_FILE) == 0
    assert said.getvalue().count("outcome_file_not_written") == 1


@pytest.mark.parametrize("kind", ["directory", "fifo"])
async def test_only_a_regular_file_is_written_to(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, said: io.StringIO, kind: str
) -> None:
    path = tmp_path / "outcomes.jsonl"
    if kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
    task = await start(sink)
    sink.offer(outcome())
    await stop(task)
    assert value(metrics, "sink_dropped", sink=OUTCOME_FILE) == 1
    assert "outcomes_lost_at_shutdown" in said.getvalue()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
async def test_a_device_is_no_outcome_file(metrics: Metrics, log: FilteringBoundLogger, said: io.StringIO) -> None:
    sink = OutcomeFile(Path("/dev/full"), outcome_json.encode, metrics=metrics, log=log)
    task = await start(sink)
    sink.offer(outcome())
    await stop(task)
    assert "is not a regular file" in said.getvalue()


async def test_an_outcome_that_is_no_json_is_dropped_alone(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger
) -> None:
    path = tmp_path / "outcomes.jsonl"
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
    task = await start(sink)
    for role in ("one", "lone \udc80", "three"):
        sink.offer(outcome(role=role))
    await stop(task)
    assert roles(path) == ["one", "three"]
    assert value(metrics, "sink_dropped", sink=OUTCOME_FILE) == 1


async def test_half_a_batch_is_taken_back_and_written_again_whole(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, said: io.StringIO
) -> None:
    path = tmp_path / "outcomes.jsonl"
    batch = [outcome(role=str(number)) for number in range(3)]
    room = int(1.5 * len(outcome_json.encode(batch[0])))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log, retry_seconds=0.01)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # as if the disk were full after that
    try:
        async with running(sink):
            for ended in batch:
                sink.offer(ended)
            await until(lambda: "outcome_file_not_written" in said.getvalue())
            left = path.read_bytes()
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            await until(lambda: "outcome_file_written_again" in said.getvalue())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left == b""
    assert roles(path) == ["0", "1", "2"]


async def test_a_large_backlog_is_written_whole_and_in_order(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger
) -> None:
    path = tmp_path / "outcomes.jsonl"
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
    task = await start(sink)
    for number in range(3_500):
        sink.offer(outcome(role=str(number)))
    await stop(task)
    assert roles(path) == [str(number) for number in range(3_500)]


class UnforeseenError(Exception):
    """Nothing that an encoder is known to raise."""


@pytest.mark.parametrize("error", [OverflowError, OSError, RecursionError, UnforeseenError])
async def test_outcomes_that_cannot_be_encoded_are_counted_told_once_and_keep_no_other_back(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, said: io.StringIO, error: type[Exception]
) -> None:
    path = tmp_path / "outcomes.jsonl"

    def encode(ended: Any) -> bytes:  # noqa: ANN401 - an Outcome
        if ended.role == "bad":
            raise error("hidden")
        return outcome_json.encode(ended)

    sink = OutcomeFile(path, encode, metrics=metrics, log=log)
    for role in ("a", "bad", "bad", "b"):
        sink.offer(outcome(role=role))
    async with running(sink) as task:
        await until(path.exists)
        await stop(task)
    assert roles(path) == ["a", "b"]
    assert value(metrics, "sink_dropped", sink=OUTCOME_FILE) == 2
    assert said.getvalue().count("outcome_not_encoded") == 1
    assert "hidden" not in said.getvalue()


async def test_a_symbolic_link_at_the_path_is_not_followed(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, said: io.StringIO
) -> None:
    path, target = tmp_path / "outcomes.jsonl", tmp_path / "other"
    target.write_bytes(b"kept")
    path.symlink_to(target)
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
    sink.offer(outcome())
    async with running(sink) as task:
        await until(lambda: "outcome_file_not_written" in said.getvalue())
        await stop(task)
    assert target.read_bytes() == b"kept"


async def test_a_link_that_takes_the_place_of_the_file_is_not_followed(
    tmp_path: Path, metrics: Metrics, log: FilteringBoundLogger, said: io.StringIO
) -> None:
    path, moved = tmp_path / "outcomes.jsonl", tmp_path / "moved"
    sink = OutcomeFile(path, outcome_json.encode, metrics=metrics, log=log)
    async with running(sink) as task:
        sink.offer(outcome())
        await until(lambda: path.exists() and path.stat().st_size > 0)
        size = path.stat().st_size
        path.rename(moved)
        path.symlink_to(moved)
        sink.offer(outcome())
        await until(lambda: "outcome_file_not_written" in said.getvalue())
        await stop(task)
    assert moved.stat().st_size == size


# receivers of alerts


class Receiver:
    """A real HTTP server that answers as it is told and keeps what it is sent."""

    def __init__(self) -> None:
        self.posts: asyncio.Queue[tuple[web.Request, Any]] = asyncio.Queue()
        self.statuses: list[int] = []
        """Answers to come; 200 when there are no more."""
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.posts.put_nowait((request, await request.json()))
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"Location": f"{self.url}/elsewhere"} if status == 307 else {})

    async def next(self) -> tuple[web.Request, Any]:
        async with asyncio.timeout(DEADLINE):
            return await self.posts.get()

    async def next_body(self) -> Any:  # noqa: ANN401 - JSON
        return (await self.next())[1]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


MakePoster = Callable[..., AlertPoster]


@pytest.fixture
def poster(metrics: Metrics, log: FilteringBoundLogger) -> MakePoster:
    def make(url: str, kind: str = "webhook", *, interval: float = 0.05, resolve: float = 30.0) -> AlertPoster:
        notify = Notify(name="ops", kind=kind, url=url, group_interval_seconds=interval, resolve_after_seconds=resolve)
        return AlertPoster(
            notify,
            metrics=metrics,
            log=log,
            generator_url="http://127.0.0.1:9713/",
            post_timeout_seconds=0.5,
            first_retry_seconds=0.02,
        )

    return make


async def test_alerts_that_cannot_be_encoded_are_counted_and_keep_no_other_back(
    receiver: Receiver, poster: MakePoster, metrics: Metrics, said: io.StringIO
) -> None:
    sink = poster(receiver.url)
    async with running(sink) as task:
        sink.offer(outcome(cluster="hidden\udc80"))
        await until(lambda: "alerts_not_encoded" in said.getvalue())
        sink.offer(outcome(Reason.SCOPE_MISSING))
        await until(lambda: value(metrics, "notifications", sink="ops", outcome="sent") == 1)
        assert not task.done()
    assert value(metrics, "notifications", sink="ops", outcome="failed") == 1
    assert "hidden" not in said.getvalue()


async def test_a_refused_login_is_posted_to_the_webhook(
    receiver: Receiver, poster: MakePoster, metrics: Metrics
) -> None:
    sink = poster(f"{receiver.url}/hook?team=db")
    async with running(sink):
        sink.offer(outcome())
        request, document = await receiver.next()
        await until(lambda: value(metrics, "notifications", sink="ops", outcome="sent") == 1)
    assert (request.method, request.path_qs, request.content_type) == ("POST", "/hook?team=db", "application/json")
    assert document["alerts"][0]["reason"] == "usermap_no_match"
    assert document["alerts"][0]["examples"][0]["identity"] == "alice@example.org"


@pytest.mark.parametrize("slash", ["", "/"])
async def test_alertmanager_is_posted_to_its_api_v2(receiver: Receiver, poster: MakePoster, slash: str) -> None:
    sink = poster(f"{receiver.url}/prefix{slash}", "alertmanager")
    async with running(sink):
        sink.offer(outcome(Reason.SCOPE_MISSING))
        request, alerts = await receiver.next()
    assert request.path == "/prefix/api/v2/alerts"
    assert alerts[0]["labels"]["reason"] == "scope_missing"
    assert alerts[0]["generatorURL"] == "http://127.0.0.1:9713/"


async def test_a_login_that_is_no_news_is_not_posted(receiver: Receiver, poster: MakePoster) -> None:
    sink = poster(receiver.url)
    async with running(sink):
        for reason in (Reason.OK, Reason.DISCOVERY, Reason.EXPIRED, Reason.CLIENT_GONE):
            sink.offer(outcome(reason))
        sink.offer(outcome(Reason.DELEGATION_REFUSED))
        document = await receiver.next_body()
    assert [alert["reason"] for alert in document["alerts"]] == ["delegation_refused"]
    assert receiver.posts.empty()


async def test_many_refusals_become_few_posts_with_the_whole_count(receiver: Receiver, poster: MakePoster) -> None:
    sink = poster(receiver.url, interval=0.1)
    async with running(sink):
        for _ in range(500):
            sink.offer(outcome())
        document = await receiver.next_body()
    assert document["alerts"][0]["count"] == 500
    assert receiver.posts.empty()


async def test_a_resolved_alert_is_posted(receiver: Receiver, poster: MakePoster) -> None:
    sink = poster(receiver.url, resolve=0.1)
    async with running(sink):
        sink.offer(outcome())
        statuses = [(await receiver.next_body())["alerts"][0]["status"] for _ in range(2)]
    assert statuses == ["firing", "resolved"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_receiver_that_cannot_now_is_tried_again(
    receiver: Receiver, poster: MakePoster, metrics: Metrics, status: int
) -> None:
    receiver.statuses = [status, status]
    sink = poster(receiver.url)
    async with running(sink):
        sink.offer(outcome())
        documents = [await receiver.next_body() for _ in range(3)]
        await until(lambda: value(metrics, "notifications", sink="ops", outcome="sent") == 1)
    assert [document["alerts"][0]["count"] for document in documents] == [1, 1, 1]
    assert value(metrics, "notifications", sink="ops", outcome="failed") == 2
    assert value(metrics, "sink_dropped", sink="ops") == 0


@pytest.mark.parametrize("status", [307, 400, 401, 403, 404, 413])
async def test_a_receiver_that_refuses_is_not_tried_again(
    receiver: Receiver, poster: MakePoster, metrics: Metrics, status: int
) -> None:
    receiver.statuses = [status]
    sink = poster(receiver.url)
    async with running(sink):
        sink.offer(outcome())
        await receiver.next()
        await until(lambda: value(metrics, "notifications", sink="ops", outcome="failed") == 1)
        sink.offer(outcome(Reason.SCOPE_MISSING))
        request, document = await receiver.next()
    assert request.path == "/"
    assert [alert["reason"] for alert in document["alerts"]] == ["scope_missing"]
    assert value(metrics, "sink_dropped", sink="ops") == 1


async def test_outcomes_that_come_while_the_receiver_is_away_are_in_the_post_that_succeeds(
    receiver: Receiver, poster: MakePoster
) -> None:
    receiver.statuses = [503]
    sink = poster(receiver.url)
    async with running(sink):
        sink.offer(outcome())
        await receiver.next()
        for _ in range(4):
            sink.offer(outcome())
        document = await receiver.next_body()
    assert document["alerts"][0]["count"] == 5


async def test_a_receiver_that_refuses_connections_is_tried_again(poster: MakePoster, metrics: Metrics) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        sink = poster(f"http://127.0.0.1:{closed.getsockname()[1]}")
        async with running(sink):
            sink.offer(outcome())
            await until(lambda: value(metrics, "notifications", sink="ops", outcome="failed") >= 3)
    assert value(metrics, "notifications", sink="ops", outcome="sent") == 0


async def test_a_receiver_that_never_answers_is_given_up_after_the_deadline(
    poster: MakePoster, metrics: Metrics, said: io.StringIO
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        sink = poster(f"http://127.0.0.1:{silent.getsockname()[1]}/services/{CANARY}")
        async with running(sink):
            sink.offer(outcome())
            await until(lambda: value(metrics, "notifications", sink="ops", outcome="failed") >= 1)
    assert "alerts_not_posted" in said.getvalue()
    assert "/services/" not in said.getvalue()


async def test_a_token_given_for_a_user_name_does_not_leave_the_host(receiver: Receiver, poster: MakePoster) -> None:
    sink = poster(receiver.url)
    async with running(sink):
        sink.offer(outcome(role=CANARY, message=f"no match for user {CANARY}"))
        document = await receiver.next_body()
    assert CANARY[:20] not in json.dumps(document)
    assert document["alerts"][0]["examples"][0]["role"] == "[redacted]"


# a real Alertmanager

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


@contextlib.asynccontextmanager
async def real_alertmanager(program: str, directory: Path, receiver: Receiver) -> AsyncIterator[str]:
    config = directory / "alertmanager.yml"
    config.write_text(
        f"""
route: {{receiver: people, group_by: [alertname, cluster, reason], group_wait: 10ms, group_interval: 50ms}}
receivers: [{{name: people, webhook_configs: [{{url: "{receiver.url}", send_resolved: true}}]}}]
""",
        encoding="utf-8",
    )
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={config}",
        f"--storage.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(DEADLINE):
            while line := await process.stderr.readline():
                if b"msg=Listening" in line or b'msg="Listening on"' in line:
                    break
        assert process.returncode is None
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.communicate()


@pytest.mark.skipif(
    ALERTMANAGER is None,
    reason="NOT TESTED against a real Alertmanager: apt-get install --no-install-recommends prometheus-alertmanager",
)
async def test_a_real_alertmanager_takes_the_alert_tells_people_and_sees_it_resolved(
    tmp_path: Path, receiver: Receiver, poster: MakePoster, metrics: Metrics
) -> None:
    async with real_alertmanager(str(ALERTMANAGER), tmp_path, receiver) as url, ClientSession() as session:
        sink = poster(url, "alertmanager", interval=0.2, resolve=2.0)
        async with running(sink):
            sink.offer(outcome())
            told = await receiver.next_body()
            async with session.get(f"{url}/api/v2/alerts") as response:
                (alert,) = await response.json()
            resolved = await receiver.next_body()
            async with session.get(f"{url}/api/v2/alerts") as response:
                left = await response.json()
    assert alert["labels"]["reason"] == "usermap_no_match"
    assert alert["status"]["state"] == "active"
    assert "identity=alice@example.org" in alert["annotations"]["examples"]
    assert (told["status"], resolved["status"], left) == ("firing", "resolved", [])
    assert value(metrics, "notifications", sink="ops", outcome="failed") == 0
