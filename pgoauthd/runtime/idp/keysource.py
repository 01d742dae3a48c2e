"""Asks one identity provider for its signing keys: metadata first, then the key set; keeps nothing."""

from __future__ import annotations

from pgoauthd.config.values import Issuer
from pgoauthd.runtime.idp.documents import Documents
from pgoauthd.runtime.idp.fetch import Fetches
from pgoauthd.runtime.idp.metadatasource import MetadataSource
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.keys import KeySet, read_key_set
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

JWKS = "jwks"
"""Value of the `endpoint` label of `issuer_fetches`."""


class KeySource:
    """One issuer's keys, at the provider. Every answer is counted in `issuer_fetches`."""

    def __init__(self, issuer: Issuer, documents: Fetches, metrics: Metrics) -> None:
        self._issuer = issuer
        self._documents = Documents(issuer.label, documents, metrics)
        self._metadata = MetadataSource(issuer, documents, metrics)

    async def read_keys(self) -> KeySet | Refusal:
        """The keys as they are now; refused with an idp_ reason and what was found where.

        The metadata is read each time, so that a jwks_uri that moved is followed; a configured jwks_uri skips it.
        """
        uri = self._issuer.jwks_uri
        if uri is None:
            metadata = await self._metadata.read()
            if isinstance(metadata, Refusal):
                return metadata
            if metadata.jwks_uri is None:
                text = "the metadata names no jwks_uri: set jwks_uri, or judge all tokens by introspection"
                return Refusal(Reason.IDP_METADATA_INVALID, text)
            uri = metadata.jwks_uri
        return await self._documents.read(JWKS, uri, read_key_set, Reason.IDP_KEYS_INVALID)
