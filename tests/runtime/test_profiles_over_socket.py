from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

from pgoauthd.config.reader import parse
from pgoauthd.tokens.reasons import Reason
from tests.fix_callout import Running, running_callout
from tests.fix_issuer import LocalIssuer, running_issuer, says
from tests.tokens.cases_profiles import PROFILE_CASES
from tests.tokens.profile_case import ISSUERS, KEYS, issuer_toml


@contextlib.asynccontextmanager
async def profiles_daemon(directory: Path) -> AsyncIterator[tuple[Running, LocalIssuer]]:
    """A callout with an issuer of every profile; only their keys come from here instead of from them."""
    async with running_issuer() as provider:
        at = provider.issuer.removesuffix("/realms/database")
        provider.script = {f"/{profile}": says(200, json.dumps(keys).encode()) for profile, keys in KEYS.items()}
        text = "".join(issuer_toml(profile, f"{at}/{profile}") for profile in ISSUERS)
        async with running_callout(directory, *parse(text).issuers) as running:
            yield running, provider


async def rows_with_another_end(running: Running) -> list[tuple[str, object]]:
    wrong: list[tuple[str, object]] = []
    for case in PROFILE_CASES:
        scope = " ".join(case.request.required_scopes)
        answer = await running.validate(case.token(time.time()), case.request.issuer, role="alice", scope=scope)
        told = [answer.json[name] for name in ("reason", "authorized", "stage", "fault")]
        expected = [case.reason, case.reason is Reason.OK, case.reason.stage, case.reason.fault]
        identified = case.reason is not Reason.OK or answer.json["authn_id"] == case.identity
        if told != expected or not identified:
            wrong.append((str(case), answer))
    return wrong


async def test_every_token_of_every_kind_of_issuer_ends_in_its_reason_over_the_socket(tmp_path: Path) -> None:
    # against one daemon with all issuers: neither keys nor verified tokens of one may help those of another
    async with profiles_daemon(tmp_path) as (running, provider):
        assert await rows_with_another_end(running) == []
        assert set(provider.asked) == {f"/{profile}" for profile in ISSUERS}


async def test_every_row_is_counted_under_its_issuer(tmp_path: Path) -> None:
    async with profiles_daemon(tmp_path) as (running, _):
        await rows_with_another_end(running)
        for reason in {case.reason for case in PROFILE_CASES}:
            counted = running.value("validations_total", reason=reason, stage=reason.stage)
            assert counted == sum(case.reason is reason for case in PROFILE_CASES), reason
