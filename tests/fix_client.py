"""The client that an identity provider knows, and how the provider sees to it that it is the one who asks."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

import jwt
from aiohttp import web

from tests.fix_tokens import SigningKey

CLIENT = "pg/o:auth d"
SECRET = "s3:cret/+ %ü"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class RegisteredClient:
    """A client as it was registered: it authenticates in this way and no other."""

    auth: str = "client_secret_basic"
    client_id: str = CLIENT
    secret: str = SECRET
    key: SigningKey | None = None
    audience: str = ""
    """What assertions must be for."""
    now: Callable[[], float] = time.time
    assertions: list[dict[str, Any]] = field(default_factory=list)
    """The claims of those that were taken."""

    def is_asking(self, request: web.BaseRequest, form: Mapping[str, Any]) -> bool:
        """Whether the request proves to come from this client."""
        header = request.headers.get("Authorization")
        if self.auth == "client_secret_basic":
            return self._knows_header(header) and not {"client_id", "client_secret", "client_assertion"} & form.keys()
        if header is not None or form.get("client_id") != self.client_id:
            return False
        if self.auth == "client_secret_post":
            return bool(form.get("client_secret") == self.secret)
        if self.auth == "private_key_jwt":
            return self._knows_assertion(form)
        return self._knows_certificate(request)

    def _knows_header(self, header: str | None) -> bool:
        scheme, _, encoded = (header or "").partition(" ")
        if scheme != "Basic":
            return False
        client_id, _, secret = base64.b64decode(encoded).decode("ascii").partition(":")
        return (unquote_plus(client_id), unquote_plus(secret)) == (self.client_id, self.secret)

    def _knows_assertion(self, form: Mapping[str, Any]) -> bool:
        assert self.key is not None
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            return False
        try:
            read = jwt.decode_complete(
                form["client_assertion"],
                self.key.private.public_key(),
                [self.key.algorithm],
                audience=self.audience,
                issuer=self.client_id,
                subject=self.client_id,
                options={"require": ["exp", "iat", "jti", "aud"], "verify_exp": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, KeyError):
            return False
        claims = read["payload"]
        fresh = claims["iat"] <= self.now() < claims["exp"] <= claims["iat"] + 60
        used = any(claims["jti"] == earlier["jti"] for earlier in self.assertions)
        if not fresh or used or read["header"].get("kid") != self.key.kid:
            return False
        self.assertions.append(claims)
        return True

    def _knows_certificate(self, request: web.BaseRequest) -> bool:
        shown = request.transport.get_extra_info("peercert") if request.transport is not None else None
        names = dict(part for group in (shown or {}).get("subject", ()) for part in group)
        return names.get("commonName") == self.client_id
