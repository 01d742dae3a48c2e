from __future__ import annotations

import asyncio
import contextlib
import io
import json
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from structlog.typing import FilteringBoundLogger

from pgoauthd.config.values import Notify
from pgoauthd.runtime.alertposter import AlertPoster
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.reasons import Reason
from tests.fix_outcomes import outcome
from tests.runtime.fix_sinks import CANARY, DEADLINE, running, until, value


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
