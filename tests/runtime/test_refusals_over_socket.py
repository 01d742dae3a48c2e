from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from pgoauthd.config.reader import parse
from pgoauthd.runtime.wire import LARGEST_POSTGRES_TOKEN
from pgoauthd.tokens.reasons import Reason, Stage
from tests.fix_callout import Running, running_callout
from tests.fix_issuer import LocalIssuer, running_issuer
from tests.tokens.refusals import CASES, MAX_TOKEN_BYTES, POLICY_TOML, PUBLISHED_KEYS, Case

PIECE = 12

WITHOUT_KEYS = frozenset({Stage.HBA, Stage.TOKEN_FORMAT, Stage.DECODE})
ISSUER_REASONS = frozenset({Reason.ISSUER_MISSING, Reason.ISSUER_MISMATCH})


@contextlib.asynccontextmanager
async def table_daemon(directory: Path) -> AsyncIterator[tuple[Running, LocalIssuer]]:
    """A callout configured as the table has it, with its key set behind it."""
    async with running_issuer() as provider:
        provider.keys = PUBLISHED_KEYS
        issuers = parse(POLICY_TOML.replace("JWKS_URI", f"{provider.issuer}/keys")).issuers
        async with running_callout(directory, *issuers, max_token_bytes=MAX_TOKEN_BYTES) as running:
            yield running, provider


def reason_over_socket(case: Case) -> Reason:
    """The core's own; only that the contract has no request without a role or an issuer."""
    return case.reason if case.request.role and case.request.issuer else Reason.REQUEST_INVALID


async def rows_with_another_end(running: Running, cases: Iterable[Case], pieces: set[str]) -> list[tuple[str, object]]:
    wrong: list[tuple[str, object]] = []
    for case in cases:
        token, login, reason = case.token(time.time()), case.request, reason_over_socket(case)
        pieces |= {part[i : i + PIECE] for part in token.split(".") for i in range(0, len(part) - PIECE + 1, 4)}
        scope = " ".join(login.required_scopes)
        answer = await running.validate(token, login.issuer, role=login.role, scope=scope, delegate=login.delegated)
        told = [answer.json[name] for name in ("reason", "authorized", "stage", "fault", "remedy")]
        status = {Reason.TOKEN_TOO_LARGE: 413, Reason.REQUEST_INVALID: 400}.get(reason, 200)
        expected = [reason, reason is Reason.OK, reason.stage, reason.fault, reason.remedy]
        if (told, answer.status) != (expected, status):
            wrong.append((str(case), answer))
    return wrong


@pytest.mark.parametrize("rounds", [1, 2])
async def test_every_row_of_the_refusal_table_ends_in_its_reason_over_the_socket(tmp_path: Path, rounds: int) -> None:
    # against one daemon: what one row leaves in its caches must not help the next
    async with table_daemon(tmp_path) as (running, _):
        assert await rows_with_another_end(running, CASES * rounds, set()) == []


async def test_every_row_is_counted_and_handed_on_with_its_reason(tmp_path: Path) -> None:
    # A token that PostgreSQL itself could not have let through is not read to its end, so its session is not known.
    read = [case for case in CASES if len(case.token(0)) < LARGEST_POSTGRES_TOKEN]
    judged = [case.reason for case in read if reason_over_socket(case) is case.reason]
    async with table_daemon(tmp_path) as (running, _):
        await rows_with_another_end(running, CASES, set())
        assert [verdict.verdict.reason for verdict in running.verdicts] == judged
        for reason in set(judged):
            counted = running.value("validations_total", reason=reason, stage=reason.stage)
            assert counted == judged.count(reason), reason


async def test_no_piece_of_any_token_of_the_table_is_written_anywhere(tmp_path: Path) -> None:
    pieces: set[str] = set()
    async with table_daemon(tmp_path) as (running, _):
        await rows_with_another_end(running, CASES, pieces)
        written = running.log.getvalue() + running.exposition() + repr(running.verdicts)
    assert len(pieces) > 10_000
    found = pieces.intersection(written[i : i + PIECE] for i in range(len(written) - PIECE + 1))
    assert sorted(piece for piece in found if len({*piece}) > PIECE // 2) == []


async def test_a_token_that_no_key_could_save_never_causes_a_fetch(tmp_path: Path) -> None:
    early = [case for case in CASES if case.reason.stage in WITHOUT_KEYS or case.reason in ISSUER_REASONS]
    assert len(early) > 60
    async with table_daemon(tmp_path) as (running, provider):
        assert await rows_with_another_end(running, early, set()) == []
        assert provider.asked.total() == 0
