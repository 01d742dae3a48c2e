from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.tokens.reasons import Reason
from tests.fix_callout import (
    DEADLINE,
    SESSION,
    Running,
    exchange,
    http,
    issuer_settings,
    refused,
    running_callout,
    token_for,
)
from tests.fix_clock import SteppedClock
from tests.fix_issuer import JWKS, OPENID, LocalIssuer, resets, says
from tests.fix_tokens import mint, signing_key

CANARY_SUBJECT = "canary-of-the-callout-tests"


async def test_a_good_token_is_authorized_with_its_identity(running: Running, provider: LocalIssuer) -> None:
    answer = await running.validate(token_for(provider), provider.issuer, scope="postgres")
    assert answer.status == 200
    assert answer.json == {
        "authorized": True,
        "authn_id": "alice",
        "reason": "ok",
        "stage": "none",
        "fault": "none",
        "message": "the token is good",
        "remedy": "Nothing to do.",
    }


@pytest.mark.parametrize(
    "form",
    ["{issuer}", "{issuer}/.well-known/openid-configuration", "{host}/.well-known/oauth-authorization-server{path}"],
)
async def test_each_way_to_write_the_issuer_in_pg_hba_is_understood(
    running: Running, provider: LocalIssuer, form: str
) -> None:
    scheme, _, rest = provider.issuer.partition("://")
    host, _, path = rest.partition("/")
    written = form.format(issuer=provider.issuer, host=f"{scheme}://{host}", path=f"/{path}")
    assert (await running.validate(token_for(provider), written)).json["authorized"] is True


async def test_a_refused_token_gets_status_200_and_its_reason(running: Running, provider: LocalIssuer) -> None:
    now = time.time()
    answer = await running.validate(token_for(provider, iat=now - 900, exp=now - 600), provider.issuer)
    refused(answer, 200, Reason.EXPIRED)


@pytest.mark.parametrize(("audience", "reason"), [("payroll", Reason.AUDIENCE_MISMATCH), ("pg-cluster", Reason.OK)])
async def test_the_audience_of_the_line_is_required(
    running: Running, provider: LocalIssuer, audience: str, reason: Reason
) -> None:
    token = token_for(provider)
    assert (await running.validate(token, provider.issuer)).reason == Reason.OK  # held from now on
    answer = await running.validate(token, provider.issuer, audience=audience)
    assert (answer.status, answer.reason) == (200, reason)


@pytest.mark.parametrize("audience", ["", 1, ["pg-cluster"], "x" * 1025])
async def test_an_audience_of_the_line_that_is_none_refuses(
    running: Running, provider: LocalIssuer, audience: object
) -> None:
    answer = await running.validate(token_for(provider), provider.issuer, audience=audience)
    refused(answer, 400, Reason.REQUEST_INVALID)


async def test_every_scope_of_the_line_is_required(running: Running, provider: LocalIssuer) -> None:
    answer = await running.validate(token_for(provider), provider.issuer, scope="postgres  admin")
    assert (answer.status, answer.reason) == (200, "scope_missing")


async def test_delegation_is_refused_without_a_grant(running: Running, provider: LocalIssuer) -> None:
    answer = await running.validate(token_for(provider), provider.issuer, role="postgres", delegate=True)
    assert (answer.reason, answer.json["authorized"]) == ("delegation_refused", False)


async def test_members_that_are_not_known_are_ignored(running: Running, provider: LocalIssuer) -> None:
    answer = await running.validate(token_for(provider), provider.issuer, colour="green", nested={"a": [1]})
    assert answer.json["authorized"] is True


async def test_a_login_that_was_just_good_is_still_judged_each_time(running: Running, provider: LocalIssuer) -> None:
    token = token_for(provider)
    asked: list[tuple[dict[str, Any], Reason]] = [
        ({}, Reason.OK),
        ({"scope": "admin"}, Reason.SCOPE_MISSING),
        ({"role": "postgres", "delegate": True}, Reason.DELEGATION_REFUSED),
        ({"issuer": "https://other.example"}, Reason.HBA_ISSUER_UNKNOWN),
        ({}, Reason.OK),
    ]
    for members, reason in asked:
        answer = await running.validate(token, **({"issuer": provider.issuer} | members))
        assert answer.reason == reason


async def test_a_token_expires_also_where_it_was_just_verified(provider: LocalIssuer, tmp_path: Path) -> None:
    clock = SteppedClock()
    token = mint(clock.time(), iss=provider.issuer, exp=int(clock.time()) + 60)
    async with running_callout(tmp_path, issuer_settings(provider, leeway_seconds=0.0), clock=clock) as running:
        assert (await running.validate(token, provider.issuer)).reason == "ok"
        clock.advance(59.0)
        assert (await running.validate(token, provider.issuer)).reason == "ok"
        clock.advance(1.0)
        assert (await running.validate(token, provider.issuer)).reason == "expired"


async def test_a_token_whose_key_was_retired_is_refused_although_it_was_just_verified(
    provider: LocalIssuer, tmp_path: Path
) -> None:
    clock = SteppedClock()
    token = mint(clock.time(), iss=provider.issuer)
    async with running_callout(tmp_path, issuer_settings(provider), clock=clock) as running:
        assert (await running.validate(token, provider.issuer)).reason == "ok"
        provider.rotate("rsa-2")
        other = mint(clock.time(), key=signing_key("rsa-2"), iss=provider.issuer)
        assert (await running.validate(other, provider.issuer)).reason == "ok"
        assert (await running.validate(token, provider.issuer)).reason == "key_unknown"


async def test_an_altered_token_gains_nothing_from_the_good_one_before_it(
    running: Running, provider: LocalIssuer
) -> None:
    token = token_for(provider)
    assert (await running.validate(token, provider.issuer)).reason == "ok"
    head, payload, signature = token.split(".")
    for altered in (
        f"{head}.{payload}.{signature[:-8]}AAAAAAAA",
        f"{head}.{signature}.{payload}",
        f"{head}.{payload}.",
    ):
        answer = await running.validate(altered, provider.issuer)
        assert answer.json["authorized"] is False
    good = token_for(provider, sub="bob").split(".")
    mixed = await running.validate(f"{head}.{good[1]}.{signature}", provider.issuer)
    assert mixed.reason == "signature_invalid"


async def test_an_idp_that_is_down_is_the_reason(running: Running, provider: LocalIssuer) -> None:
    provider.script[OPENID] = resets
    refused(await running.validate(token_for(provider), provider.issuer), 200, Reason.IDP_UNREACHABLE)


async def test_tokens_of_others_never_make_us_fetch(running: Running, provider: LocalIssuer) -> None:
    answer = await running.validate(token_for(provider, iss="https://attacker.example"), provider.issuer)
    refused(answer, 200, Reason.ISSUER_MISMATCH)
    assert provider.asked.total() == 0


async def test_a_verdict_is_handed_on_with_its_session_before_the_reply(provider: LocalIssuer, tmp_path: Path) -> None:
    clock = SteppedClock()
    token = mint(clock.time(), iss=provider.issuer)
    members = {
        "database": "app",
        "client_addr": "192.0.2.7",
        "client_port": 40123,
        "pid": 500,
        "hba_file": "/etc/pg_hba.conf",
        "hba_line": 12,
        "usermap": "m",
        "delegate": True,
    }
    async with running_callout(tmp_path, issuer_settings(provider), clock=clock) as running:
        answer = await running.validate(token, provider.issuer, **members)
        (judged,) = running.verdicts
    assert answer.reason == judged.verdict.reason == "ok"
    assert judged.verdict.authn_id == "alice"
    assert judged.verdict.claims is not None
    assert (judged.session_id, judged.pid, judged.role, judged.time) == (SESSION, 500, "alice", clock.time())
    assert (judged.database, judged.client_addr, judged.client_port) == ("app", "192.0.2.7", 40123)
    assert (judged.hba_file, judged.hba_line, judged.usermap) == ("/etc/pg_hba.conf", 12, "m")
    assert (judged.issuer, judged.delegated) == (provider.issuer, True)


def failing(_verdict: SessionVerdict) -> None:
    raise RuntimeError("eyJhbGciOiJSUzI1NiJ9.secret")


async def test_a_failure_of_our_own_is_a_refusal_that_is_logged_without_its_text(
    provider: LocalIssuer, tmp_path: Path
) -> None:
    async with running_callout(tmp_path, issuer_settings(provider), on_verdict=failing) as running:
        refused(await running.validate(token_for(provider), provider.issuer), 500, Reason.INTERNAL_ERROR)
        assert (await running.get("/v1/healthz")).status == 200
        assert running.value("validations_total", reason="internal_error", stage="validator") == 1
        (line,) = [json.loads(line) for line in running.log.getvalue().splitlines() if '"level": "error"' in line]
    assert (line["event"], line["error"]) == ("request_failed_unforeseen", "RuntimeError")
    assert any(Path(__file__).name in frame for frame in line["frames"])
    assert "secret" not in json.dumps(line)


async def test_the_time_of_a_validation_is_measured_by_stage(running: Running, provider: LocalIssuer) -> None:
    await running.validate(token_for(provider), provider.issuer)
    await running.validate("opaque", provider.issuer)
    assert running.value("validation_duration_seconds_count", stage="none") == 1
    assert running.value("validation_duration_seconds_count", stage="token_format") == 1
    assert 0 < running.value("validation_duration_seconds_sum", stage="none") < DEADLINE
    assert [0 < judged.seconds < DEADLINE for judged in running.verdicts] == [True, True]


async def test_no_token_and_no_identity_gets_into_log_metrics_or_refusals(
    running: Running, provider: LocalIssuer
) -> None:
    now = time.time()
    tokens = [
        token_for(provider, sub=CANARY_SUBJECT),
        token_for(provider, sub=CANARY_SUBJECT, exp=now - 900, iat=now - 1200),
        mint(now, key=signing_key("rsa-2"), iss=provider.issuer, sub=CANARY_SUBJECT),
        token_for(provider, sub=CANARY_SUBJECT)[:-30],
        "opaque-" + CANARY_SUBJECT,
        "Bearer " + token_for(provider),
    ]
    replies = []
    for token in tokens:
        for script in ({}, {JWKS: says(500, token.encode())}):
            provider.script = dict(script)
            replies.append((await running.validate(token, provider.issuer)).body.decode())
            replies.append((await running.post("/v1/validate", token.encode())).body.decode())
            replies.append((await exchange(running.path, http("GET", f"/{token}".replace(" ", "")))).body.decode())
    written = "".join(replies) + running.log.getvalue() + running.exposition()
    segments = {part for token in tokens for part in token.split(".")}
    assert not [part for part in segments if part[:16] in written and part != "opaque-" + CANARY_SUBJECT]
    assert "opaque-" not in written
    assert CANARY_SUBJECT not in running.log.getvalue() + running.exposition()
