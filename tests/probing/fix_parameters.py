"""Parameters of a probe, good unless a test says otherwise."""

from __future__ import annotations

from typing import Any

from pgoauthd.probing.parameters import OAuth, Parameters, Server, Tls
from pgoauthd.runtime.idp.credentials import Secret


def oauth(**changes: Any) -> OAuth:  # noqa: ANN401 - any field
    """A client of client_credentials."""
    known: dict[str, Any] = {"client_id": "kong", "client_secret": Secret("a secret"), "scope": "postgres"}
    return OAuth(**(known | changes))


def parameters(client: OAuth | None = None, **changes: Any) -> Parameters:  # noqa: ANN401 - any field
    """For a server where nobody listens."""
    known: dict[str, Any] = {
        "name": "primary",
        "server": Server.PRIMARY,
        "host": "127.0.0.1",
        "port": 1,
        "database": "kong",
        "user": "kong",
        "tls": Tls(),
        "oauth": client or oauth(token_endpoint="http://127.0.0.1:1/token"),
        "allow_loopback_http": True,
        "step_seconds": 10.0,
    }
    return Parameters(**(known | changes))
