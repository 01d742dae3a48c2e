"""Token endpoints on loopback that answer as Okta's and AD FS' do, with real signatures, and one that is scripted.

Errors have the words of those products, as far as they are documented.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol
from urllib.parse import unquote_plus

from aiohttp import web

from tests.fix_tokens import assemble, signing_key

SECRET = "a secret: +%&/ä"
PASSWORD = "a password: +%&/ä"


class Provider(Protocol):
    """What a token endpoint decides."""

    path: str
    """Of the token endpoint."""

    def answer(self, base: str, form: Mapping[str, str], client: tuple[str, str | None]) -> tuple[int, object]:
        """Status and JSON for a request by this client, with the secret that it has shown."""


class Okta:
    """A custom authorization server `default` with the scope db.login, and a service as client."""

    path = "/oauth2/default/v1/token"

    def answer(self, base: str, form: Mapping[str, str], client: tuple[str, str | None]) -> tuple[int, object]:
        if client != ("0oa1b2c3", SECRET):
            description = "The client secret supplied for a confidential client is invalid."
            return 401, {"error": "invalid_client", "error_description": description}
        if form["grant_type"] != "client_credentials":
            description = "The client is not authorized to use the provided grant type."
            return 400, {"error": "unauthorized_client", "error_description": description}
        if form.get("scope") != "db.login":
            description = "One or more scopes are not configured for the authorization server resource."
            return 400, {"error": "invalid_scope", "error_description": description}
        issuer = f"{base}/oauth2/default"
        claims = {"ver": 1, "iss": issuer, "aud": "api://pg-cluster", "cid": client[0], "sub": client[0]}
        token = signed({**claims, "scp": ["db.login"]}, {"kid": "okta", "alg": "RS256"})
        return 200, {"token_type": "Bearer", "expires_in": 3600, "access_token": token, "scope": "db.login"}


class Adfs:
    """A native application, which has no secret, and a Web API https://pg-cluster.example.org."""

    path = "/adfs/oauth2/token"

    def answer(self, base: str, form: Mapping[str, str], client: tuple[str, str | None]) -> tuple[int, object]:
        if client != ("5e4d3c2b", None):
            return 400, {"error": "invalid_client", "error_description": "MSIS9607: The 'client_id' is invalid."}
        if (form.get("username"), form.get("password")) != ("EXAMPLE\\kong", PASSWORD):
            return 400, {"error": "invalid_grant", "error_description": "MSIS9659: Invalid 'username' or 'password'."}
        resource = form.get("resource", "urn:microsoft:userinfo")
        if resource not in ("urn:microsoft:userinfo", "https://pg-cluster.example.org"):
            return 400, {"error": "invalid_resource", "error_description": "MSIS9602: The 'resource' is invalid."}
        host = base.removeprefix("http://")
        claims = {"iss": f"http://{host}/adfs/services/trust", "aud": resource, "appid": client[0], "scp": "openid"}
        token = signed({**claims, "upn": "kong@example.org"}, {"kid": "adfs", "alg": "RS256", "typ": "JWT"})
        return 200, {"access_token": token, "token_type": "bearer", "expires_in": 3600, "resource": resource}


class Scripted:
    """Gives the same answer to everybody."""

    path = "/token"

    def __init__(self, status: int, document: object) -> None:
        self._answer = (status, document)

    def answer(self, base: str, form: Mapping[str, str], client: tuple[str, str | None]) -> tuple[int, object]:
        del base, form, client
        return self._answer


class Running:
    """A provider that is served."""

    def __init__(self, base: str, provider: Provider) -> None:
        self.base = base
        self.token_endpoint = base + provider.path
        self.discovery_endpoint = f"{base}/.well-known/openid-configuration"
        self.metadata: object = {"issuer": base, "token_endpoint": self.token_endpoint}
        self.forms: list[dict[str, str]] = []
        self.authorizations: list[str | None] = []
        self._provider = provider

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/.well-known/openid-configuration":
            return web.json_response(self.metadata)
        if request.path != self._provider.path or request.method != "POST":
            return web.Response(status=404)
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        self.authorizations.append(request.headers.get("Authorization"))
        status, document = self._provider.answer(self.base, form, shown(self.authorizations[-1], form))
        return web.Response(status=status, body=json.dumps(document).encode(), content_type="application/json")


def shown(authorization: str | None, form: Mapping[str, str]) -> tuple[str, str | None]:
    """The client and its secret, from the header (RFC 6749 section 2.3.1) or else from the form."""
    if authorization is None:
        return form.get("client_id", ""), form.get("client_secret")
    name, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode("ascii").partition(":")
    return unquote_plus(name), unquote_plus(secret)


def signed(claims: Mapping[str, Any], header: Mapping[str, Any]) -> str:
    now = int(time.time())
    return assemble(header, {"iat": now, "exp": now + 3600, **claims}, key=signing_key("rsa-1"))


@contextlib.asynccontextmanager
async def running(provider: Provider) -> AsyncIterator[Running]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        served = Running(f"http://127.0.0.1:{listening.getsockname()[1]}", provider)
        http = web.Server(served.serve, access_log=None)
        server = await asyncio.get_running_loop().create_server(http, sock=listening)
        try:
            yield served
        finally:
            server.close()
            http.pre_shutdown()
            await http.shutdown(1.0)
