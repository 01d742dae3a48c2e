"""Reads documents of one identity provider, each fetch timed and counted; keeps nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, assert_never

from pgoauthd.runtime.idp.fetch import Fetches
from pgoauthd.runtime.idp.fetchfailure import FailureKind, FetchFailure
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

T = TypeVar("T")

SUCCESS = "success"
"""Value of the `outcome` label of `issuer_fetches` besides those of FailureKind."""


class Documents:
    """One issuer's documents."""

    def __init__(self, label: str, source: Fetches, metrics: Metrics) -> None:
        self._label = label
        self._source = source
        self._metrics = metrics

    async def read(
        self, endpoint: str, url: str, parse: Callable[[bytes], T | Refusal], invalid: Reason
    ) -> T | Refusal:
        """What `parse` makes of the document at `url`; refused with an idp_ reason, `invalid` if it is not one to use.

        `endpoint` is the label under which the fetch is counted.
        """
        with self._metrics.issuer_fetch_duration.labels(self._label, endpoint).time():
            body = await self._source.fetch(url)
        if isinstance(body, FetchFailure):
            self._count(endpoint, body.kind)
            return Refusal(reason_of(body.kind, invalid), body.message)
        document = parse(body)
        if isinstance(document, Refusal):
            self._count(endpoint, FailureKind.INVALID)
            return Refusal(document.reason, f"{url}: {document.message}")
        self._count(endpoint, SUCCESS)
        return document

    def _count(self, endpoint: str, outcome: str) -> None:
        self._metrics.issuer_fetches.labels(self._label, endpoint, outcome).inc()


def reason_of(kind: FailureKind, invalid: Reason) -> Reason:
    """The reason of a refusal for want of an answer; `invalid` is that of an answer not to use."""
    match kind:
        case FailureKind.UNREACHABLE:
            return Reason.IDP_UNREACHABLE
        case FailureKind.TIMEOUT:
            return Reason.IDP_TIMEOUT
        case FailureKind.ERROR:
            return Reason.IDP_ERROR
        case FailureKind.INVALID:
            return invalid
        case _:
            assert_never(kind)
