"""The parameters of a [[probes]] table, its secrets read from their files; never connects."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from pgoauthd.config.oauthclient import AuthMethod, GrantType
from pgoauthd.config.values import Probe
from pgoauthd.probing.parameters import SYSTEM, OAuth, Parameters, Server, Tls
from pgoauthd.runtime.idp.credentials import Secret, read_secret


def configured(probe: Probe, log: FilteringBoundLogger) -> Parameters:
    """ConfigError where a secret cannot be read; a warning in `log` where everybody could."""
    return Parameters(
        name=probe.name,
        server=Server(probe.server),
        host=probe.host,
        port=probe.port,
        database=probe.database,
        user=probe.user,
        tls=Tls(verify=probe.ssl_verify, trusted=(probe.sslrootcert or SYSTEM,)),
        oauth=_oauth(probe, log),
        idp_trusted=(probe.ca_file or SYSTEM,),
        proxy=probe.proxy,
        allow_loopback_http=probe.allow_loopback_http,
        step_seconds=probe.timeout_seconds,
    )


def _oauth(probe: Probe, log: FilteringBoundLogger) -> OAuth:
    return OAuth(
        client_id=probe.oauth_client_id,
        client_secret=_secret(probe, "oauth_client_secret_file", log),
        token_endpoint=probe.oauth_token_endpoint,
        discovery_endpoint=probe.oauth_discovery_endpoint,
        scope=probe.oauth_scope,
        audience=probe.oauth_audience,
        grant_type=GrantType(probe.oauth_grant_type),
        auth_method=AuthMethod(probe.oauth_token_endpoint_auth_method),
        username=probe.oauth_username,
        password=_secret(probe, "oauth_password_file", log),
        resource=probe.oauth_resource,
    )


def _secret(probe: Probe, key: str, log: FilteringBoundLogger) -> Secret | None:
    file: str | None = getattr(probe, key)
    return None if file is None else read_secret(file, f"probes ({probe.name}).{key}", log)
