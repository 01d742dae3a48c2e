"""Whole probes: a real issuer, a real PostgreSQL with our module behind real TLS, and servers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pgoauthd.config import values as config
from pgoauthd.demo.issuer import AUDIENCE, DemoIssuer
from pgoauthd.errors import ConfigError
from pgoauthd.probing.parameters import Tls, TlsVersion
from pgoauthd.probing.prober import Prober
from pgoauthd.probing.steps import Probed, Step
from pgoauthd.runtime.clock import SystemClock
from tests.fix_callout import running_callout
from tests.fix_history import HistoryFile
from tests.fix_outcomes import outcome
from tests.probing.conftest import HOST, Site
from tests.probing.fix_parameters import oauth, parameters
from tests.probing.fix_tlsfront import Serve, answering, serving, tls_front

ALL = list(Step)


@pytest.fixture
async def issuer(site: Site) -> AsyncIterator[DemoIssuer]:
    async with DemoIssuer(port=site.idp_port) as started:
        yield started


@pytest.fixture
async def front(site: Site) -> AsyncIterator[int]:
    """The port at which the server speaks TLS."""
    async with serving(tls_front(site.cluster.tcp, site.authority.server(HOST))) as port:
        yield port


@asynccontextmanager
async def validating(site: Site, issuer: DemoIssuer, **changes: Any) -> AsyncIterator[None]:  # noqa: ANN401 - any field
    """Our own side, with which the module talks."""
    known: dict[str, Any] = {"issuer": issuer.issuer, "audiences": (AUDIENCE,), "allow_loopback_http": True}
    users = frozenset({site.cluster.server_uid})
    async with running_callout(site.cluster.directory, config.Issuer(**(known | changes)), users=users):
        yield


async def probe(
    site: Site,
    issuer: DemoIssuer,
    port: int,
    *,
    history: Path | None = None,
    scope: str = "postgres",
    **changes: Any,  # noqa: ANN401 - any parameter
) -> Probed:
    client = oauth(token_endpoint=issuer.token_endpoint, scope=scope)
    known = {"host": HOST, "port": port, "database": "postgres", "tls": Tls(trusted=(site.authority.ca_file,))}
    return await Prober(parameters(client, **(known | changes)), SystemClock(), history).probe()


def steps(probed: Probed) -> list[tuple[Step, bool]]:
    return [(one.step, one.ok) for one in probed.steps]


def failing(at: Step) -> list[tuple[Step, bool]]:
    """What is done where this step fails."""
    before = ALL[: ALL.index(at)]
    return [*((step, True) for step in before), (at, False)]


async def test_a_probe_passes_all_steps(site: Site, issuer: DemoIssuer, front: int) -> None:
    async with validating(site, issuer):
        probed = await probe(site, issuer, front)
    assert probed.failure is None
    assert steps(probed) == [(step, True) for step in ALL]
    assert all(one.seconds > 0 for one in probed.steps)
    assert (probed.seen.tls_version, probed.seen.standby) == ("TLSv1.3", False)
    assert probed.token is not None
    assert probed.token.subject == "the client's id"


async def test_a_token_that_is_refused_fails_at_sasl_with_what_the_server_wants(
    site: Site, issuer: DemoIssuer, front: int
) -> None:
    async with validating(site, issuer):
        probed = await probe(site, issuer, front, scope="openid")
    assert steps(probed) == failing(Step.SASL)
    assert probed.failure is not None
    assert probed.failure.message == 'OAuth bearer authentication failed for user "kong"'
    assert probed.seen.wanted is not None
    assert (probed.seen.wanted.status, probed.seen.wanted.scope) == ("invalid_token", "postgres")
    assert any("lacks postgres" in hint for hint in probed.hints)


async def test_the_reason_of_our_own_side_is_found_by_the_port(site: Site, issuer: DemoIssuer, tmp_path: Path) -> None:
    """The server in front tells the port to the one who writes the history, as the log would."""
    path = tmp_path / "state.db"
    with HistoryFile(path) as history:
        history.add(outcome(role="kong", client_addr="127.0.0.1", client_port=1))
        behind = tls_front(site.cluster.tcp, site.authority.server(HOST))

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            port = writer.get_extra_info("peername")[1]
            await behind(reader, writer)
            history.add(outcome(role="kong", client_addr="127.0.0.1", client_port=port, message="This one."))

        async with validating(site, issuer, audiences=("another",)), serving(serve) as front:
            probed = await probe(site, issuer, front, history=path)
    assert probed.outcome is not None
    assert probed.outcome["message"] == "This one."


async def test_a_history_that_cannot_be_read_keeps_no_probe_from_its_end(
    site: Site, issuer: DemoIssuer, front: int, tmp_path: Path
) -> None:
    probed = await probe(site, issuer, front, history=tmp_path / "nothing.db")
    assert (probed.failed, probed.outcome) == (Step.SASL, None)


async def test_a_server_that_trusts_everybody_is_a_failure(site: Site, issuer: DemoIssuer, front: int) -> None:
    probed = await probe(site, issuer, front, user="trusted")
    assert steps(probed) == failing(Step.SASL)
    assert probed.failure is not None
    assert "without a token" in probed.failure.message


async def test_a_line_with_another_method_is_named(site: Site, issuer: DemoIssuer, front: int) -> None:
    probed = await probe(site, issuer, front, user="scram")
    assert steps(probed) == failing(Step.SASL)
    assert probed.failure is not None
    assert probed.failure.message == "the server asks for SCRAM-SHA-256, not OAUTHBEARER"


async def test_a_role_without_a_line_is_told_to_get_one(site: Site, issuer: DemoIssuer, front: int) -> None:
    probed = await probe(site, issuer, front, user="nobody")
    assert (probed.failed, probed.seen.sqlstate) == (Step.SASL, "28000")
    assert probed.failure is not None
    assert "pg_hba.conf" in probed.failure.remedy


async def test_a_missing_database_fails_at_the_end(site: Site, issuer: DemoIssuer, front: int) -> None:
    async with validating(site, issuer):
        probed = await probe(site, issuer, front, database="nowhere")
    assert steps(probed) == failing(Step.READY)
    assert probed.seen.sqlstate == "3D000"


async def test_a_server_without_tls_gets_no_token(site: Site, issuer: DemoIssuer) -> None:
    probed = await probe(site, issuer, site.cluster.port)
    assert steps(probed) == failing(Step.TLS)
    assert probed.failure is not None
    assert "does not speak TLS" in probed.failure.message
    assert "ssl = on" in probed.failure.remedy


async def test_a_certificate_of_another_authority_is_not_trusted(site: Site, issuer: DemoIssuer, front: int) -> None:
    probed = await probe(site, issuer, front, tls=Tls())
    assert steps(probed) == failing(Step.TLS)
    assert probed.failure is not None
    assert "is not trusted" in probed.failure.message


async def test_a_certificate_for_another_name_is_not_trusted(site: Site, issuer: DemoIssuer, front: int) -> None:
    probed = await probe(site, issuer, front, host="127.0.0.1")
    assert steps(probed) == failing(Step.TLS)


async def test_a_certificate_that_is_not_checked_is_taken(site: Site, issuer: DemoIssuer, front: int) -> None:
    async with validating(site, issuer):
        probed = await probe(site, issuer, front, host="127.0.0.1", tls=Tls(verify=False, version=TlsVersion.V1_2))
    assert probed.ok
    assert probed.seen.tls_version == "TLSv1.2"


async def test_a_server_that_wants_a_certificate_gets_the_one_that_is_configured(
    site: Site, issuer: DemoIssuer
) -> None:
    certificate, key = site.authority.certify("kong")
    trusted = (site.authority.ca_file,)
    tls = site.authority.server(HOST, wants_client=True)
    async with validating(site, issuer), serving(tls_front(site.cluster.tcp, tls)) as front:
        good = await probe(site, issuer, front, tls=Tls(trusted=trusted, certificate=certificate, key=key))
        bad = await probe(site, issuer, front)
    assert good.ok
    assert bad.failed in (Step.TLS, Step.SASL)  # with TLS 1.3 a client learns it when it reads first


@pytest.mark.parametrize(
    ("serve", "step", "words"),
    [
        (answering(b"N"), Step.TLS, "does not speak TLS"),
        (answering(b"E"), Step.TLS, "does not speak PostgreSQL's protocol"),
        (answering(b"S" + b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"), Step.TLS, ""),
        (answering(b""), Step.TLS, "did not answer within"),
    ],
    ids=["no", "error", "words before the encryption", "silence"],
)
async def test_a_server_that_does_not_begin_with_tls_gets_no_token(
    site: Site, issuer: DemoIssuer, serve: Serve, step: Step, words: str
) -> None:
    async with serving(serve) as port:
        probed = await probe(site, issuer, port, step_seconds=0.5)
    assert steps(probed) == failing(step)
    assert probed.failure is not None
    assert words in probed.failure.message


async def test_nobody_who_listens_fails_at_the_connection(site: Site, issuer: DemoIssuer) -> None:
    probed = await probe(site, issuer, 1)
    assert steps(probed) == failing(Step.CONNECT)
    assert probed.failure is not None
    assert probed.failure.message == "nothing listens at localhost:1"


async def test_a_host_without_an_address_fails_at_the_connection(site: Site, issuer: DemoIssuer) -> None:
    probed = await probe(site, issuer, 5432, host="nowhere.invalid")
    assert steps(probed) == failing(Step.CONNECT)
    assert probed.failure is not None
    assert "has no address" in probed.failure.message


async def test_without_a_token_nobody_is_connected_to(site: Site, issuer: DemoIssuer) -> None:
    await issuer.stop()
    probed = await probe(site, issuer, 1)
    assert steps(probed) == failing(Step.TOKEN)


async def test_a_file_that_cannot_be_used_is_named_before_anything_is_done() -> None:
    for tls in (Tls(trusted=("/nowhere.pem",)), Tls(certificate="/nowhere.pem")):
        with pytest.raises(ConfigError, match=r"/nowhere\.pem"):
            Prober(parameters(tls=tls), SystemClock())


async def test_whatever_is_unforeseen_is_a_failure_of_the_step_and_says_no_more_than_its_type() -> None:
    probed = await Prober(parameters(), SystemClock(), Path("a\0secret")).probe()
    assert steps(probed) == failing(Step.TOKEN)
    assert probed.failure is not None
    assert probed.failure.message == "the probe broke off: ValueError"
