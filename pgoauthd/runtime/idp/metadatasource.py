"""Asks one identity provider for its metadata, and remembers for a while where it answers about tokens."""

from __future__ import annotations

import math
from functools import partial

from pgoauthd.config.values import Introspection, Issuer
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.idp.documents import Documents
from pgoauthd.runtime.idp.fetch import Fetches
from pgoauthd.runtime.idp.flights import Flights, given_up
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.issuers import well_known_urls
from pgoauthd.tokens.metadata import IssuerMetadata, read_metadata
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

METADATA = "metadata"
"""Value of the `endpoint` label of `issuer_fetches`."""


class MetadataSource:
    """One issuer's metadata, at the provider. Every answer is counted in `issuer_fetches`."""

    def __init__(self, issuer: Issuer, documents: Fetches, metrics: Metrics) -> None:
        self._issuer = issuer
        self._documents = Documents(issuer.label, documents, metrics)
        self._parse = partial(read_metadata, issuer=issuer.issuer, allow_loopback_http=issuer.allow_loopback_http)

    async def read(self) -> IssuerMetadata | Refusal:
        """The metadata as it is now; refused with an idp_ reason and what was found where.

        A configured metadata_url is the only one asked; otherwise OpenID Connect Discovery 1.0 section 4 goes first,
        then RFC 8414 section 3. Whichever it is, the document must name the issuer.
        """
        refusals = []
        for url in self._urls():
            metadata = await self._documents.read(METADATA, url, self._parse, Reason.IDP_METADATA_INVALID)
            if isinstance(metadata, IssuerMetadata):
                return metadata
            refusals.append(metadata)
            if metadata.reason in (Reason.IDP_UNREACHABLE, Reason.IDP_TIMEOUT):
                break  # the other URL is on the same host, and somebody waits for a login
        return _joined(refusals)

    def _urls(self) -> tuple[str, ...]:
        configured = self._issuer.metadata_url
        return well_known_urls(self._issuer.issuer) if configured is None else (configured,)


class EndpointFinder:
    """Where one issuer answers about tokens: as configured, or as its metadata says."""

    def __init__(self, issuer: Issuer, introspection: Introspection, source: MetadataSource, clock: Clock) -> None:
        self._configured = introspection.endpoint
        self._life_seconds = issuer.keys_ttl_seconds
        self._source = source
        self._clock = clock
        self._found: str | None = None
        self._found_until = -math.inf
        self._flights = Flights[None, str | Refusal]()

    async def find(self) -> str | Refusal:
        """The endpoint's URL, remembered for keys_ttl_seconds; refused where the metadata cannot be had or names none.

        Many who need it at once wait for one reading.
        """
        if self._configured is not None:
            return self._configured
        if self._found is not None and self._clock.monotonic() < self._found_until:
            return self._found
        return await self._flights.fly(None, self._read) or given_up("reading the metadata")

    def forget(self) -> None:
        """Read the metadata again before the next request: what was found there is no longer the endpoint."""
        self._found = None

    async def close(self) -> None:
        """Give up a reading that is under way."""
        await self._flights.close()

    async def _read(self) -> str | Refusal:
        metadata = await self._source.read()
        if isinstance(metadata, Refusal):
            return metadata
        if metadata.introspection_endpoint is None:
            text = "the metadata names no introspection_endpoint: set endpoint in [issuers.introspection]"
            return Refusal(Reason.IDP_METADATA_INVALID, text)
        self._found = metadata.introspection_endpoint
        self._found_until = self._clock.monotonic() + self._life_seconds
        return self._found


def _joined(refusals: list[Refusal]) -> Refusal:
    """One refusal for both metadata URLs: metadata that was there but unusable says more than an error status."""
    reasons = [refusal.reason for refusal in refusals]
    reason = Reason.IDP_METADATA_INVALID if Reason.IDP_METADATA_INVALID in reasons else reasons[0]
    return Refusal(reason, "; ".join(refusal.message for refusal in refusals))
