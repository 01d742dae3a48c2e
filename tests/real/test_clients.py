"""Clients that speak OAUTHBEARER, on a real server with module and daemon: what each one makes of a token."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from pgoauthd.demo.cluster import DemoCluster, LogDestination
from tests.dashboards.fix_promql import RULES, program
from tests.e2e.test_day import playing
from tests.real.fix_client_place import (
    AUTHENTICATION_TIMEOUT_SECONDS,
    CASES,
    DISCOVERY,
    GONE,
    OTHERS,
    REFUSED,
    SUCCESS,
    Place,
    handshake,
    reload,
)
from tests.real.fix_clients import CLIENTS, MODULE, PGX, PSYCOPG, ROOT, Client, pgx_problem, usable

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
PROOF = ROOT / "docs" / "proof" / "clients.txt"
LABELS = ("cluster", "method", "reason", "result", "stage")
UNGUARDED = "host app unguarded 127.0.0.1/32 trust\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place() -> AsyncIterator[Place]:
    """All logins have been made here: what becomes of a client that leaves is known only when it has been silent."""
    patience = AUTHENTICATION_TIMEOUT_SECONDS
    async with playing(LogDestination.JSONLOG, "%m [%p] ", authentication_timeout_seconds=patience) as play:
        await let_in_without_token(play.stage.cluster)
        here = Place(play, {"sslmode": "disable"})
        for client in [client for client in CLIENTS if client is not PGX or pgx_problem() is None]:
            for name, case in (CASES | OTHERS).items():
                here.logins[client.name, name] = await here.log_in(client, case)
        yield here


async def let_in_without_token(cluster: DemoCluster) -> None:
    await cluster.run_sql("CREATE ROLE unguarded LOGIN")
    cluster.hba_file.write_text(UNGUARDED + cluster.hba_file.read_text(encoding="utf-8"), encoding="utf-8")
    await reload(cluster)


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> Client:
    return usable(request.param)


def shown(text: str) -> str:
    """A text with what differs from run to run replaced, as the page has it."""
    text = re.sub(r"/\S+/etc/pg_ident", "/etc/postgresql/18/main/pg_ident", text)
    return re.sub(r"expired \d+ s", "expired 3300 s", text)


async def test_a_good_token_logs_in(place: Place, client: Client) -> None:
    login = place.logins[client.name, "a good token"]
    assert (login.role, login.identity, login.error) == ("alice", "oauth:alice", "")


@pytest.mark.parametrize("name", CASES)
async def test_each_login_has_the_outcome_of_its_token(place: Place, client: Client, name: str) -> None:
    ends = await place.ends(place.logins[client.name, name])
    assert ends == [*handshake(client), CASES[name].ends]


async def test_the_identity_of_the_token_is_in_the_outcome(place: Place, client: Client) -> None:
    (*_, outcome) = await place.outcomes(place.logins[client.name, "of somebody else"])
    assert (outcome["identity"], outcome["role"]) == ("bob", "alice")


@pytest.mark.parametrize("name", REFUSED)
async def test_a_client_says_of_no_refusal_why(place: Place, client: Client, name: str) -> None:
    """Of whatever the token lacks, it says the words that the page quotes."""
    login = place.logins[client.name, name]
    assert login.role == login.sqlstate == ""
    assert quoted(login.error.replace("user=reporting", "user=alice").replace('"reporting"', '"alice"')) in PAGE


def quoted(text: str) -> str:
    """As a block of the page."""
    return f"```text\n{text.replace(chr(9), '    ')}\n```"


@pytest.mark.parametrize("name", REFUSED)
async def test_the_page_has_what_the_outcome_says_of_each_refusal(place: Place, client: Client, name: str) -> None:
    (*_, outcome) = await place.outcomes(place.logins[client.name, name])
    assert f"| {name} | `{outcome['reason']}` | {shown(outcome['message'])} |" in PAGE


async def test_a_client_without_a_token_is_a_discovery_or_just_gone(place: Place, client: Client) -> None:
    login = place.logins[client.name, "no token at all"]
    assert await place.ends(login) == ([DISCOVERY] if client.is_libpq else [GONE])
    assert quoted(login.error) in PAGE


async def test_a_client_that_requires_oauth_does_not_stay_where_no_token_is_wanted(
    place: Place, client: Client
) -> None:
    login = place.logins[client.name, "a server that wants no token"]
    assert 'method requirement "oauth" failed: server did not complete authentication' in login.error
    assert await place.ends(login) == [SUCCESS], "the server had let it in"
    assert login.in_the_clear == (False,)


async def test_libpq_that_knows_the_discovery_url_asks_the_server_for_nothing(place: Place) -> None:
    url = f"{place.play.stage.issuers.main.issuer}/.well-known/openid-configuration"
    login = await place.log_in(PSYCOPG, CASES["a good token"], oauth_issuer=url, oauth_scope="postgres")
    assert await place.ends(login) == [SUCCESS], login.error


async def attempts_counted(place: Place) -> Counter[tuple[str, ...]]:
    counted = await place.play.daemon.samples("pgoauthd_login_attempts_total")
    return Counter({labels: int(count) for labels, count in counted.items()})


async def one_login_of_libpq(place: Place) -> Counter[tuple[str, ...]]:
    """What a good login adds to the attempts, when all others have been counted."""
    for earlier in place.logins.values():
        await place.outcomes(earlier)
    before = await attempts_counted(place)
    await place.outcomes(await place.log_in(PSYCOPG, CASES["a good token"]))
    return await attempts_counted(place) - before


async def test_a_good_login_of_libpq_counts_no_refusal(place: Place) -> None:
    assert await one_login_of_libpq(place) == {
        ("demo", "oauth", "discovery", "discovery", "discovery"): 1,
        ("demo", "oauth", "ok", "success", "none"): 1,
    }


async def test_no_alert_takes_the_discoveries_of_libpq_for_refusals(place: Place, tmp_path: Path) -> None:
    """For as many logins a minute as each alert needs, by promtool and the rules as they are shipped."""
    promtool = program("promtool")
    added = await one_login_of_libpq(place)
    rules = tmp_path / "clients.yml"
    rules.write_text(yaml.safe_dump(rule_test(added)), encoding="utf-8")
    words = (promtool, "test", "rules", str(rules))
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


def rule_test(added: Counter[tuple[str, ...]]) -> dict[str, Any]:
    """For an hour, each minute adds what one login does."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    alerts = [rule["alert"] for group in groups if group["name"] == "pgoauthd-logins" for rule in group["rules"]]
    assert "PgoauthdRefusalRatio" in alerts
    series = [
        {"series": f"pgoauthd_login_attempts_total{{{text_of(labels)}}}", "values": f"0+{10 * count}x60"}
        for labels, count in added.items()
    ]
    decided = "job_cluster:pgoauthd_login_attempts_decided:increase15m"
    ratio = "job_cluster:pgoauthd_login_refusals:ratio15m"
    counted = [{"labels": f'{decided}{{cluster="demo", job="pgoauthd"}}', "value": 150}]
    case = {
        "name": "logins of libpq",
        "interval": "1m",
        "input_series": series,
        "alert_rule_test": [{"alertname": alert, "eval_time": "60m", "exp_alerts": []} for alert in alerts],
        "promql_expr_test": [
            {"eval_time": "60m", "expr": decided, "exp_samples": counted},
            {"eval_time": "60m", "expr": ratio, "exp_samples": []},
        ],
    }
    return {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}


def text_of(labels: tuple[str, ...]) -> str:
    pairs = (*zip(LABELS, labels, strict=True), ("job", "pgoauthd"))
    return ", ".join(f'{name}="{value}"' for name, value in pairs)


def code(path: Path) -> str:
    """What the page shows of a program: all of it, or what its marks enclose."""
    text = path.read_text(encoding="utf-8")
    marked = re.search(r"^// page: begin\n(.*?)\n// page: end$", text, re.MULTILINE | re.DOTALL)
    return (marked[1] if marked else text).rstrip("\n")


@pytest.mark.parametrize("path", [MODULE / "main.go", MODULE.parent / "oauth_token.py"], ids=lambda path: path.name)
async def test_the_page_shows_the_code_that_was_tried(path: Path) -> None:
    assert code(path) in PAGE


async def test_the_page_names_the_versions_that_were_tried() -> None:
    assert PGX.version in PAGE


async def test_the_transcript_has_every_login(place: Place) -> None:
    """Where PGOAUTHD_WRITE_PROOF is set, it is written anew."""
    parts = [await told(place, client, name) for client in map(usable, CLIENTS) for name in CASES | OTHERS]
    assert sum("  the client says  logged in: " in part for part in parts) == len(CLIENTS)
    if os.environ.get("PGOAUTHD_WRITE_PROOF"):
        PROOF.parent.mkdir(exist_ok=True)
        PROOF.write_text("\n".join(parts), encoding="utf-8")


async def told(place: Place, client: Client, name: str) -> str:
    login = place.logins[client.name, name]
    said = login.error or f"logged in: current_user {login.role}, system_user {login.identity}"
    lines = [f"{client.name} {client.version}: {name}", f"  the client says  {said}".replace("\n", "\n" + " " * 19)]
    lines += [
        f"  the outcome is   {one['result']} {one['reason']}: {shown(one['message'])}"
        for one in await place.outcomes(login)
    ]
    return "\n".join(lines) + "\n"
