"""What one probe needs to know, whoever says it; never reads a file or an environment."""

from __future__ import annotations

from base64 import b64encode
from enum import StrEnum
from urllib.parse import quote_plus

import msgspec

from pgoauthd.config.oauthclient import AuthMethod, GrantType
from pgoauthd.runtime.idp.credentials import Secret

SYSTEM = "system"
"""Among the files of trusted certificates: those of the operating system."""


class Server(StrEnum):
    """Which of the two connections of Kong; values of the `server` label."""

    PRIMARY = "primary"
    REPLICA = "replica"


class OAuth(msgspec.Struct, frozen=True, kw_only=True):
    """How to get a token. Its repr shows no secret."""

    client_id: str
    client_secret: Secret | None = None
    token_endpoint: str | None = None
    """Wins over the discovery endpoint."""
    discovery_endpoint: str | None = None
    scope: str | None = None
    audience: str | None = None
    grant_type: GrantType = GrantType.CLIENT_CREDENTIALS
    auth_method: AuthMethod = AuthMethod.POST
    username: str | None = None
    password: Secret | None = None
    resource: str | None = None
    """Sent with the password grant alone."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets as they are configured."""
        return tuple(one.reveal() for one in (self.client_secret, self.password) if one is not None)

    @property
    def unrepeatable(self) -> tuple[str, ...]:
        """The texts that nothing may repeat: the secrets as they are and as they are sent."""
        encoded = [quote_plus(text) for text in self.secrets]
        if self.client_secret is not None:  # the pair of client_secret_basic (RFC 6749 section 2.3.1)
            pair = f"{quote_plus(self.client_id)}:{encoded[0]}"
            encoded.append(b64encode(pair.encode()).decode().rstrip("="))
        return (*self.secrets, *encoded)


class TlsVersion(StrEnum):
    """Values of ssl_version."""

    ANY = "any"
    """1.2 or later."""
    V1_2 = "tlsv1_2"
    V1_3 = "tlsv1_3"


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """What the server must show, and what it is shown."""

    verify: bool = True
    """Without it, whoever answers gets the token."""
    trusted: tuple[str, ...] = (SYSTEM,)
    """PEM files of authorities, and SYSTEM."""
    version: TlsVersion = TlsVersion.ANY
    certificate: str | None = None
    key: str | None = None


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """One server, and how Kong logs in to it."""

    name: str
    server: Server
    host: str
    port: int
    database: str
    user: str
    tls: Tls
    oauth: OAuth
    idp_trusted: tuple[str, ...] = (SYSTEM,)
    """As Tls.trusted, for the identity provider."""
    proxy: str | None = None
    """For requests to the identity provider."""
    allow_loopback_http: bool = False
    step_seconds: float = 5.0
    """Deadline of each step."""
