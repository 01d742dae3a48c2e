from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest

from pgoauthd import __version__
from pgoauthd.tokens.reasons import Reason
from tests.fix_callout import (
    Running,
    issuer_settings,
    refused,
    running_callout,
    token_for,
    validate_body,
)
from tests.fix_introspector import introspecting
from tests.fix_issuer import INTROSPECTION, OPENID, LocalIssuer, resets, running_issuer
from tests.fix_tokens import DROP, mint, signing_key


async def test_an_active_token_is_introspected_with_what_was_verified(running: Running, provider: LocalIssuer) -> None:
    now = int(time.time())
    token = token_for(provider, iat=now, exp=now + 60, aud=["pg-cluster", "account"])
    answer = await running.introspect(token)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "active": True,
        "iss": provider.issuer,
        "sub": "alice",
        "aud": ["pg-cluster", "account"],
        "client_id": "psql",
        "scope": "postgres profile",
        "exp": now + 60,
        "iat": now,
        "jti": "0d5ee2b2",
        "username": "alice",
        "token_type": "Bearer",
    }
    assert running.verdicts == []


async def test_claims_that_a_token_lacks_are_absent(running: Running, provider: LocalIssuer) -> None:
    answer = await running.introspect(token_for(provider, jti=DROP, azp=DROP, scope=DROP, iat=DROP))
    assert set(answer.json) == {"active", "iss", "sub", "aud", "exp", "username", "token_type"}


@pytest.mark.parametrize(
    "make",
    [
        lambda _: "opaque",
        lambda _: "",
        lambda _: "a b",
        lambda _: "a" * 20_000,
        lambda p: token_for(p, iss="https://other.example"),
        lambda p: token_for(p, iss=p.issuer + "/"),
        lambda p: token_for(p, iss=["x"]),
        lambda p: token_for(p, aud="other"),
        lambda p: token_for(p, exp=time.time() - 600, iat=time.time() - 900),
        lambda p: mint(time.time(), key=signing_key("rsa-2"), iss=p.issuer),
        lambda p: token_for(p)[:-4] + "AAAA",
    ],
)
async def test_any_other_token_is_inactive_and_nothing_more(
    running: Running, provider: LocalIssuer, make: Callable[[LocalIssuer], str]
) -> None:
    answer = await running.introspect(make(provider))
    assert (answer.status, answer.body) == (200, b'{"active":false}')


@pytest.mark.parametrize("readers", [1, 2])
async def test_an_opaque_token_is_shown_to_the_only_issuer_that_could_know_it_and_else_to_none(
    provider: LocalIssuer, tmp_path: Path, readers: int
) -> None:
    async with running_issuer() as other:
        settings = [introspecting(provider, tmp_path), introspecting(other, tmp_path, issuer={"name": "other"})]
        async with running_callout(tmp_path, *settings[:readers]) as running:
            assert (await running.introspect("opaque-canary")).json == {"active": False}
        assert [one.asked[INTROSPECTION] for one in (provider, other)] == [int(readers == 1), 0]


@pytest.mark.parametrize("order", [1, -1])
async def test_a_token_that_two_issuers_take_is_judged_by_the_one_that_it_names(
    provider: LocalIssuer, tmp_path: Path, order: int
) -> None:
    other = issuer_settings(provider, issuer="https://other.example", name="other", token_issuers=(provider.issuer,))
    own = issuer_settings(provider, required_scopes=("postgres",))
    async with running_callout(tmp_path, *(own, msgspec.structs.replace(other, audiences=("x",)))[::order]) as running:
        assert (await running.introspect(token_for(provider))).json["active"] is True


async def test_scopes_of_the_configuration_hold_for_introspection(provider: LocalIssuer, tmp_path: Path) -> None:
    async with running_callout(tmp_path, issuer_settings(provider, required_scopes=("admin",))) as running:
        assert (await running.introspect(token_for(provider))).json == {"active": False}


async def test_a_provider_that_is_down_makes_tokens_inactive(running: Running, provider: LocalIssuer) -> None:
    provider.script[OPENID] = resets
    assert (await running.introspect(token_for(provider))).json == {"active": False}
    assert running.value("validations_total", reason="idp_unreachable", stage="idp") == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"token",
        b"token_type_hint=access_token",
        b"token=a&token=b",
        b'{"token": "a"}',
        b"token=\xff",
        b"&".join(b"a%d=1" % i for i in range(100)) + b"&token=a",
    ],
)
async def test_what_is_no_introspection_request_is_refused(running: Running, body: bytes) -> None:
    refused(await running.post("/v1/introspect", body), 400, Reason.REQUEST_INVALID)


async def test_a_hint_is_ignored(running: Running, provider: LocalIssuer) -> None:
    body = urlencode({"token_type_hint": "refresh_token", "token": token_for(provider)}).encode()
    assert (await running.post("/v1/introspect", body)).json["active"] is True


async def test_health_tells_the_version(running: Running) -> None:
    answer = await running.get("/v1/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok", "version": __version__})


@pytest.mark.skipif(
    shutil.which("curl") is None, reason="NO CURL HERE: install curl to test what the documentation shows"
)
async def test_curl_works_on_all_three_paths(running: Running, provider: LocalIssuer) -> None:
    token = token_for(provider)
    base = ["curl", "--silent", "--show-error", "--max-time", "20", "--unix-socket", running.path]
    calls = [
        ["http://localhost/v1/healthz"],
        ["http://localhost/v1/introspect", "--data-urlencode", f"token={token}"],
        [
            "http://localhost/v1/validate",
            "-H",
            "Content-Type: application/json",
            "-d",
            validate_body(token, provider.issuer).decode(),
        ],
    ]
    replies = []
    for call in calls:
        process = await asyncio.create_subprocess_exec(*base, *call, stdout=subprocess.PIPE)
        said, _ = await process.communicate()
        assert process.returncode == 0
        replies.append(json.loads(said))
    health, introspected, validated = replies
    assert (health["status"], introspected["active"], validated["authorized"]) == ("ok", True, True)
