"""Introspectors that ask a LocalIssuer as its registered client, and what they said and counted."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgoauthd.config.values import Introspection, Issuer
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.idp.introspectionclient import SigningKeys
from pgoauthd.runtime.idp.introspector import Answer, Introspectors
from pgoauthd.telemetry.metrics import CACHE_RESULTS, FETCH_OUTCOMES, Metrics
from pgoauthd.tokens.bearer import BearerToken
from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from tests.fix_callout import NAME, issuer_settings
from tests.fix_clock import SteppedClock
from tests.fix_issuer import LocalIssuer
from tests.fix_log import logging_to

TOKEN = "opaque-canary-1"


@dataclass
class GivenKeys:
    """The keys of every issuer, or why they cannot be had."""

    keys: KeySet | Refusal

    async def keys_for(self, issuer: str, kid: str | None) -> KeySet | Refusal:
        del issuer, kid
        return self.keys


@dataclass
class Asking:
    """Introspectors that run."""

    introspectors: Introspectors
    metrics: Metrics
    log: io.StringIO

    async def ask(self, text: str = TOKEN, issuer: str = NAME) -> Answer:
        return await self.introspectors.ask(issuer, token(text))

    def held(self, text: str = TOKEN) -> Answer | None:
        return self.introspectors.held(NAME, token(text))

    async def refusal(self, text: str = TOKEN) -> Refusal:
        answer = await self.ask(text)
        assert isinstance(answer, Refusal), answer
        return answer

    def start(self, *texts: str) -> list[asyncio.Task[Answer]]:
        """Ask about each, without waiting for the answers."""
        return [asyncio.get_running_loop().create_task(self.ask(text)) for text in texts]

    def fetches(self) -> dict[str, float]:
        """How often each outcome of introspection was counted, without those that never were."""
        name = "pgoauthd_issuer_fetches_total"
        counts = {outcome: self._value(name, endpoint="introspection", outcome=outcome) for outcome in FETCH_OUTCOMES}
        return {outcome: count for outcome, count in counts.items() if count}

    def results(self) -> dict[str, float]:
        """How often each source of an answer was counted, without those that never were."""
        counts = {result: self._value("pgoauthd_introspection_cache_total", result=result) for result in CACHE_RESULTS}
        return {result: count for result, count in counts.items() if count}

    def breaker_open(self) -> float:
        return self._value("pgoauthd_issuer_breaker_open", endpoint="introspection")

    def durations(self) -> float:
        """How many were observed."""
        return self._value("pgoauthd_issuer_fetch_duration_seconds_count", endpoint="introspection")

    def _value(self, name: str, **labels: str) -> float:
        found = self.metrics.registry.get_sample_value(name, {"issuer": NAME, **labels})
        assert found is not None, name
        return found


def token(text: str) -> BearerToken:
    read = BearerToken.read(text, max_bytes=10_000)
    assert isinstance(read, BearerToken)
    return read


def introspecting(provider: LocalIssuer, directory: Path, **changes: Any) -> Issuer:  # noqa: ANN401 - any field
    """Settings of an issuer that is asked as its client; `issuer` holds changes of the issuer itself."""
    secret = directory / "client-secret"
    secret.write_text(provider.client.secret + "\n", encoding="utf-8")
    secret.chmod(0o600)
    known: dict[str, Any] = {
        "client_id": provider.client.client_id,
        "client_auth": provider.client.auth,
        "client_secret_file": str(secret),
        "timeout_seconds": 10.0,
    }
    issuer = changes.pop("issuer", {})
    return issuer_settings(provider, introspection=Introspection(**(known | changes)), **issuer)


@contextlib.asynccontextmanager
async def asking(
    *issuers: Issuer, clock: Clock | None = None, keys: SigningKeys | None = None
) -> AsyncIterator[Asking]:
    """Introspectors of these issuers; without `keys`, none can be had."""
    said, metrics = io.StringIO(), Metrics()
    metrics.declare(clusters=(), issuers=[issuer.label for issuer in issuers], sinks=())
    given = keys or GivenKeys(Refusal(Reason.IDP_UNREACHABLE, "no keys"))
    with logging_to(said) as log:
        async with Introspectors(
            issuers, keys=given, metrics=metrics, log=log, clock=clock or SteppedClock()
        ) as introspectors:
            yield Asking(introspectors, metrics, said)
