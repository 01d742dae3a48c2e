from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from pgoauthd.config import values as config
from pgoauthd.tokens.reasons import Reason
from tests.fix_callout import Answer, Running, running_callout
from tests.fix_issuer import INTROSPECTION, SIGNED_ANSWER, LocalIssuer, running_issuer
from tests.fix_tokens import ISSUER
from tests.tokens.case import MAX_TOKEN_BYTES, PUBLISHED_KEYS
from tests.tokens.case_introspection import says, signed
from tests.tokens.cases_introspection import CASES, IntrospectionCase

PIECE = 12
SECRET = "a secret of the client"

MODES = (*{repr(case.settings): case.settings for case in CASES}.values(),)
"""All the settings that rows have."""
in_every_mode = pytest.mark.parametrize("issuer", MODES, ids=lambda issuer: f"{issuer.mode}-{MODES.index(issuer)}")


def rows_of(issuer: config.Issuer) -> list[IntrospectionCase]:
    return [case for case in CASES if case.settings == issuer]


@contextlib.asynccontextmanager
async def asking_daemon(directory: Path, issuer: config.Issuer) -> AsyncIterator[tuple[Running, LocalIssuer]]:
    """A callout with these settings, whose issuer's endpoints are real."""
    assert issuer.introspection is not None
    async with running_issuer() as provider:
        provider.keys = PUBLISHED_KEYS
        secret = directory / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        asked = msgspec.structs.replace(
            issuer.introspection, endpoint=f"{provider.issuer}/introspect", client_secret_file=str(secret)
        )
        settings = msgspec.structs.replace(issuer, introspection=asked, jwks_uri=f"{provider.issuer}/keys")
        async with running_callout(directory, settings, max_token_bytes=MAX_TOKEN_BYTES) as running:
            yield running, provider


def wants_signed(issuer: config.Issuer) -> bool:
    return issuer.introspection is not None and issuer.introspection.signed_answers


def answer_with(provider: LocalIssuer, body: bytes, issuer: config.Issuer) -> None:
    """Let the endpoint answer exactly this, as the kind of document that it was asked for."""
    kind = SIGNED_ANSWER if wants_signed(issuer) else "application/json"

    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=body, content_type=kind)

    provider.script[INTROSPECTION] = answer


async def ask(running: Running, provider: LocalIssuer, case: IntrospectionCase) -> Answer:
    now, login = time.time(), case.request
    answer_with(provider, case.answer(now), case.settings)
    scope = " ".join(login.required_scopes)
    return await running.validate(case.token(now), ISSUER, role=login.role, scope=scope, delegate=login.delegated)


async def show_that_it_works(running: Running, provider: LocalIssuer, issuer: config.Issuer) -> None:
    """An endpoint that answers badly several times in a row is not asked for a while; this keeps it from that."""
    works = signed(inner={"active": False}) if wants_signed(issuer) else says(active=False)
    answer_with(provider, works(time.time()), issuer)
    assert (await running.validate(secrets.token_hex(), ISSUER)).reason == Reason.TOKEN_INACTIVE


async def rows_with_another_end(
    running: Running, provider: LocalIssuer, cases: Iterable[IntrospectionCase]
) -> list[tuple[str, Answer, int]]:
    wrong: list[tuple[str, Answer, int]] = []
    for case in cases:
        before = provider.asked[INTROSPECTION]
        answer = await ask(running, provider, case)
        told = [answer.json[name] for name in ("reason", "authorized", "stage", "fault", "remedy")]
        reason, asked = case.reason, provider.asked[INTROSPECTION] - before
        if told != [reason, reason is Reason.OK, reason.stage, reason.fault, reason.remedy] or asked != case.asked:
            wrong.append((str(case), answer, asked))
        if reason is Reason.INTROSPECTION_INVALID:
            await show_that_it_works(running, provider, case.settings)
    return wrong


@in_every_mode
async def test_every_answer_ends_in_its_reason_over_the_socket(tmp_path: Path, issuer: config.Issuer) -> None:
    async with asking_daemon(tmp_path, issuer) as (running, provider):
        assert await rows_with_another_end(running, provider, rows_of(issuer)) == []


@in_every_mode
async def test_an_answer_that_is_remembered_ends_as_it_did_at_first(tmp_path: Path, issuer: config.Issuer) -> None:
    async with asking_daemon(tmp_path, issuer) as (running, provider):
        for case in rows_of(issuer):
            if not case.asked or case.reason is Reason.INTROSPECTION_INVALID:
                continue
            token, scope = case.token(time.time()), " ".join(case.request.required_scopes)
            answer_with(provider, case.answer(time.time()), issuer)
            before = provider.asked[INTROSPECTION]
            for _ in range(2):
                answer = await running.validate(
                    token, ISSUER, role=case.request.role, scope=scope, delegate=case.request.delegated
                )
                assert answer.reason == case.reason, case
            claims = running.verdicts[-1].verdict.claims
            if claims is None or claims.exp is None or claims.exp > time.time():
                assert provider.asked[INTROSPECTION] == before + 1, case


async def test_no_piece_of_any_token_and_no_secret_is_written_anywhere(tmp_path: Path) -> None:
    written, pieces = "", set[str]()
    for issuer in MODES:
        async with asking_daemon(tmp_path, issuer) as (running, provider):
            for case in rows_of(issuer):
                token = case.token(time.time())
                pieces |= {part[i : i + PIECE] for part in token.split(".") for i in range(0, len(part) - PIECE + 1, 5)}
                answer = await ask(running, provider, case)
                written += answer.body.decode()
            written += running.log.getvalue() + running.exposition() + repr(running.verdicts)
    assert len(pieces) > 3_000
    assert sorted(piece for piece in pieces if piece in written and len({*piece}) > PIECE // 2) == []
    assert SECRET not in written
