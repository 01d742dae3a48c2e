"""Says to an introspection endpoint who is asking (RFC 6749 section 2.3, RFC 7523, RFC 8705); never sends anything.

Secrets and keys are read once, when the way to authenticate is made: a change needs a reload.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote_plus

import jwt
import msgspec
from structlog.typing import FilteringBoundLogger

from pgoauthd.config.values import Introspection, Issuer
from pgoauthd.runtime.idp.credentials import Secret, read_private_file, read_secret, unusable

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 60
"""Life of an assertion: it is used at once, and more is for clocks that differ."""


class Credentials(msgspec.Struct, frozen=True):
    """What to add to one request. The repr shows none of it."""

    form: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return "<Credentials redacted>"


class ClientAuth(Protocol):
    """One client's way to authenticate."""

    def credentials(self, endpoint: str, now: float) -> Credentials:
        """For one request to `endpoint` at `now`, seconds since the epoch; for each request anew."""


def client_auth(issuer: Issuer, introspection: Introspection, log: FilteringBoundLogger) -> ClientAuth:
    """The configured way, with its secret or key read; ConfigError where that cannot be used."""
    where = f"issuers ({issuer.label}).introspection"
    match introspection.client_auth:
        case "client_secret_basic":
            return SecretInHeader(introspection.client_id, _secret(introspection, where, log))
        case "client_secret_post":
            return SecretInForm(introspection.client_id, _secret(introspection, where, log))
        case "private_key_jwt":
            return SignedAssertion(issuer, introspection, _private_key(introspection, where, log))
        case "tls_client_auth":
            return CertificateInTls(introspection.client_id)
        case other:
            raise unusable(f"{where}.client_auth", f"{other!r} is not known here", "see docs/configuration.md")


class SecretInHeader:
    """client_secret_basic: id and secret are form-encoded before they are joined (RFC 6749 section 2.3.1)."""

    def __init__(self, client_id: str, secret: Secret) -> None:
        pair = f"{quote_plus(client_id)}:{quote_plus(secret.reveal())}"
        self._header = Secret("Basic " + base64.b64encode(pair.encode("ascii")).decode("ascii"))

    def credentials(self, endpoint: str, now: float) -> Credentials:
        """The same for every request."""
        del endpoint, now
        return Credentials(headers={"Authorization": self._header.reveal()})


class SecretInForm:
    """client_secret_post."""

    def __init__(self, client_id: str, secret: Secret) -> None:
        self._client_id = client_id
        self._secret = secret

    def credentials(self, endpoint: str, now: float) -> Credentials:
        """The same for every request."""
        del endpoint, now
        return Credentials(form={"client_id": self._client_id, "client_secret": self._secret.reveal()})


class CertificateInTls:
    """tls_client_auth: the certificate is in the connection, and the form says whose it should be (RFC 8705)."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id

    def credentials(self, endpoint: str, now: float) -> Credentials:
        """The same for every request."""
        del endpoint, now
        return Credentials(form={"client_id": self._client_id})


class SignedAssertion:
    """private_key_jwt (RFC 7523 section 2.2).

    The audience is the issuer identifier and nothing else: endpoints come from metadata, and an assertion for an URL
    that somebody else's metadata names could be used there (draft-ietf-oauth-rfc7523bis). Keycloak takes it, and any
    server of RFC 9126 must. Okta does not: its documentation wants the URL that is asked.
    """

    def __init__(self, issuer: Issuer, introspection: Introspection, key: Any) -> None:  # noqa: ANN401 - of any kind
        self._client_id = introspection.client_id
        self._audience = None if issuer.profile == "okta" else issuer.issuer
        self._algorithm = introspection.private_key_algorithm
        self._header = {} if introspection.private_key_id is None else {"kid": introspection.private_key_id}
        self._key = key

    def credentials(self, endpoint: str, now: float) -> Credentials:
        """A new assertion for each request: servers take a `jti` once."""
        claims = {
            "iss": self._client_id,
            "sub": self._client_id,
            "aud": self._audience or endpoint,
            "jti": secrets.token_urlsafe(16),
            "iat": int(now),
            "exp": int(now) + ASSERTION_SECONDS,
        }
        assertion = jwt.encode(claims, self._key, self._algorithm, self._header)
        form = {"client_id": self._client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
        return Credentials(form=form)


def _secret(introspection: Introspection, where: str, log: FilteringBoundLogger) -> Secret:
    where = f"{where}.client_secret_file"
    if introspection.client_secret_file is None:
        raise unusable(where, f"is required for {introspection.client_auth}", "name the file with the client's secret")
    return read_secret(introspection.client_secret_file, where, log)


def _private_key(introspection: Introspection, where: str, log: FilteringBoundLogger) -> Any:  # noqa: ANN401 - as PyJWT has it
    """The key, tried once: what cannot sign is found now and not at a login."""
    where, path = f"{where}.private_key_file", introspection.private_key_file
    if path is None:
        raise unusable(where, "is required for private_key_jwt", "name the PEM file with the client's private key")
    content = read_private_file(path, where, log)
    algorithm = introspection.private_key_algorithm
    try:
        key = jwt.get_algorithm_by_name(algorithm).prepare_key(content)
        jwt.encode({}, key, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, NotImplementedError):
        # What a library says of a key is not shown.
        raise unusable(
            where,
            f"{path} is no private key for {algorithm}",
            "name a PEM file with the private key, without a password, and set private_key_algorithm to what it is for",
        ) from None
    return key
