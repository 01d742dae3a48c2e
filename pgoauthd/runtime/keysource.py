"""Asks one identity provider for its signing keys: metadata first, then the key set; keeps nothing."""

from __future__ import annotations

from typing import TypeVar, assert_never

from pgoauthd.config import Issuer
from pgoauthd.runtime.fetch import FailureKind, Fetches, FetchFailure
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.issuers import well_known_urls
from pgoauthd.tokens.keys import KeySet, read_key_set
from pgoauthd.tokens.metadata import IssuerMetadata, read_metadata
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

T = TypeVar("T")

METADATA = "metadata"
JWKS = "jwks"
"""Values of the `endpoint` label of `issuer_fetches`."""


class KeySource:
    """One issuer's keys, at the provider. Every answer is counted in `issuer_fetches`."""

    def __init__(self, issuer: Issuer, documents: Fetches, metrics: Metrics) -> None:
        self._issuer = issuer
        self._documents = documents
        self._fetches = metrics.issuer_fetches

    async def read_keys(self) -> KeySet | Refusal:
        """The keys as they are now; refused with an idp_ reason and what was found where.

        The metadata is read each time, so that a jwks_uri that moved is followed; a configured jwks_uri skips it.
        """
        uri = self._issuer.jwks_uri or await self._find_jwks_uri()
        if isinstance(uri, Refusal):
            return uri
        body = await self._documents.fetch(uri)
        if isinstance(body, FetchFailure):
            return self._failed(JWKS, body, Reason.IDP_KEYS_INVALID)
        return self._counted(JWKS, read_key_set(body), uri)

    async def _find_jwks_uri(self) -> str | Refusal:
        """From the metadata: OpenID Connect Discovery 1.0 section 4 first, then RFC 8414 section 3."""
        refusals = []
        for url in well_known_urls(self._issuer.issuer):
            metadata = await self._read_metadata(url)
            if isinstance(metadata, IssuerMetadata):
                return metadata.jwks_uri
            refusals.append(metadata)
            if metadata.reason in (Reason.IDP_UNREACHABLE, Reason.IDP_TIMEOUT):
                break  # the other URL is on the same host, and somebody waits for a login
        return _joined(refusals)

    async def _read_metadata(self, url: str) -> IssuerMetadata | Refusal:
        body = await self._documents.fetch(url)
        if isinstance(body, FetchFailure):
            return self._failed(METADATA, body, Reason.IDP_METADATA_INVALID)
        issuer = self._issuer
        return self._counted(
            METADATA, read_metadata(body, issuer.issuer, allow_loopback_http=issuer.allow_loopback_http), url
        )

    def _counted(self, endpoint: str, document: T | Refusal, url: str) -> T | Refusal:
        if isinstance(document, Refusal):
            self._count(endpoint, FailureKind.INVALID)
            return Refusal(document.reason, f"{url}: {document.message}")
        self._count(endpoint, "success")
        return document

    def _failed(self, endpoint: str, failure: FetchFailure, invalid: Reason) -> Refusal:
        self._count(endpoint, failure.kind)
        return Refusal(_reason(failure.kind, invalid), failure.message)

    def _count(self, endpoint: str, outcome: str) -> None:
        self._fetches.labels(self._issuer.label, endpoint, outcome).inc()


def _reason(kind: FailureKind, invalid: Reason) -> Reason:
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


def _joined(refusals: list[Refusal]) -> Refusal:
    """One refusal for both metadata URLs: metadata that was there but unusable says more than an error status."""
    reasons = [refusal.reason for refusal in refusals]
    reason = Reason.IDP_METADATA_INVALID if Reason.IDP_METADATA_INVALID in reasons else reasons[0]
    return Refusal(reason, "; ".join(refusal.message for refusal in refusals))
