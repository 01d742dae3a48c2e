"""A small identity provider on loopback: metadata, keys, tokens for whoever asks; good for demos and tests alone.

It trusts everybody who can reach 127.0.0.1 and never keeps a token, of opaque ones only a hash. Its bad tokens show
what a validator has to refuse.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

import jwt
from aiohttp import encode_basic_auth, web
from aiohttp.typedefs import Handler
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

AUDIENCE = "postgresql"
DEFAULT_SCOPE = "openid postgres"
DEFAULT_LIFETIME_SECONDS = 300.0
INTROSPECTION_CLIENT = "pgoauthd"
"""The one client that may ask about tokens, with the secret of the provider's `client_secret`."""


class Outage(StrEnum):
    """What is wrong with the provider."""

    NONE = "none"
    DROPPED = "dropped"
    """Every connection is closed without an answer."""
    ERROR = "error"
    """Every answer is 503 Service Unavailable."""
    SILENT = "silent"
    """No request is answered before the outage is over."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its name (kid) and the one algorithm that it signs with (RS256 or ES256)."""

    kid: str
    algorithm: str
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    @classmethod
    def generate(cls, algorithm: str, kid: str | None = None) -> SigningKey:
        """A new key; one with the kid of another key is an impostor's."""
        private = (
            rsa.generate_private_key(65_537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
        )
        return cls(kid or f"{algorithm.lower()}-{secrets.token_hex(4)}", algorithm, private)

    def public_jwk(self) -> dict[str, object]:
        """The public half as a JSON Web Key (RFC 7517)."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            jwk = jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        else:
            jwk = jwt.algorithms.ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {name: value for name, value in jwk.items() if name != "key_ops"} | {
            "kid": self.kid,
            "alg": self.algorithm,
            "use": "sig",
        }


class DemoIssuer:
    """An issuer with an RS256 and an ES256 key. An asynchronous context manager, or `start` and `stop`.

    It mints tokens before it is started too, but its URL, and so its `iss`, is known only then where `port` is 0.
    """

    def __init__(self, *, port: int = 0, realm: str = "demo", clock: Callable[[], float] = time.time) -> None:
        self._port = port
        self._realm = realm
        self.clock = clock
        self._outage = Outage.NONE
        self._outage_over = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.keys: tuple[SigningKey, ...] = (SigningKey.generate("RS256"), SigningKey.generate("ES256"))
        """Those of the key set; the first signs."""
        self.client_secret = secrets.token_urlsafe(24)
        self._opaque: dict[bytes, Mapping[str, object]] = {}
        """What each opaque token stands for, by its hash."""

    @property
    def issuer(self) -> str:
        """Its name: the `iss` of its tokens, the `issuer` of its metadata."""
        return f"http://127.0.0.1:{self._port}/realms/{self._realm}"

    @property
    def token_endpoint(self) -> str:
        """Where curl gets tokens: grant_type=client_credentials, client_id, and scope, audience, lifetime, opaque."""
        return f"{self.issuer}/token"

    @property
    def revocation_endpoint(self) -> str:
        """Where whoever has an opaque token ends it: token."""
        return f"{self.issuer}/revoke"

    async def start(self) -> None:
        """Listen on 127.0.0.1; OSError where the port is taken."""
        application = web.Application(middlewares=[self._suffer])
        application.add_routes(
            [
                web.get(f"/realms/{self._realm}/.well-known/openid-configuration", self._metadata),
                web.get(f"/.well-known/oauth-authorization-server/realms/{self._realm}", self._metadata),
                web.get(f"/realms/{self._realm}/jwks", self._jwks),
                web.post(f"/realms/{self._realm}/token", self._token),
                web.post(f"/realms/{self._realm}/introspect", self._introspect),
                web.post(f"/realms/{self._realm}/revoke", self._revoke),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """End an outage, stop listening and close every connection. Does nothing the second time."""
        self.outage(Outage.NONE)
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def outage(self, kind: Outage) -> None:
        """Begin an outage, or end it with Outage.NONE. Minting goes on: tokens live longer than their issuer is up."""
        self._outage = kind
        self._outage_over.set()
        self._outage_over = asyncio.Event()

    def rotate(self, *, keep_old: bool = True) -> None:
        """Sign with a new RS256 key from now on. Old keys stay in the key set, unless they are retired at once."""
        self.keys = (SigningKey.generate("RS256"), *(self.keys if keep_old else ()))

    def key(self, algorithm: str) -> SigningKey:
        """The newest key for an algorithm, RS256 or ES256; StopIteration where it was retired."""
        return next(key for key in self.keys if key.algorithm == algorithm)

    def mint(
        self,
        subject: str,
        *,
        scope: str | None = DEFAULT_SCOPE,
        audience: str | None = AUDIENCE,
        lifetime: float = DEFAULT_LIFETIME_SECONDS,
        issued_ago: float = 0.0,
        key: SigningKey | None = None,
        header: Mapping[str, object] | None = None,
        **claims: object,
    ) -> str:
        """A signed access token (RFC 9068), good unless told otherwise; times in seconds.

        It was issued `issued_ago` before now and expires `lifetime` after that. Further claims replace ours; None
        leaves one out.
        """
        key = key or self.keys[0]
        payload = self._claims(subject, scope, audience, lifetime, issued_ago) | claims
        payload = {name: value for name, value in payload.items() if value is not None}
        headers = {"typ": "at+jwt", "kid": key.kid} | dict(header or {})
        return jwt.encode(payload, key.private, algorithm=key.algorithm, headers=headers)

    def mint_opaque(
        self,
        subject: str,
        *,
        scope: str | None = DEFAULT_SCOPE,
        audience: str | None = AUDIENCE,
        lifetime: float = DEFAULT_LIFETIME_SECONDS,
        **claims: object,
    ) -> str:
        """A token that says nothing to anybody but its issuer: its claims come out at the introspection endpoint."""
        token = secrets.token_urlsafe(32)
        self._opaque[_hash(token)] = self._claims(subject, scope, audience, lifetime, 0.0) | claims
        return token

    def revoke(self, token: str) -> str:
        """Forget an opaque token; the token."""
        self._opaque.pop(_hash(token), None)
        return token

    def mint_unsigned(self, subject: str) -> str:
        """A token that says `alg: none` (RFC 7519 section 6), with an empty signature."""
        payload = self._claims(subject, DEFAULT_SCOPE, AUDIENCE, DEFAULT_LIFETIME_SECONDS, 0.0)
        return f"{_encode({'alg': 'none', 'typ': 'at+jwt'})}.{_encode(payload)}."

    def mint_with_public_key(self, subject: str) -> str:
        """A token with the issuer's public key as an HMAC secret: algorithm confusion (RFC 8725 section 2.1)."""
        key = self.keys[0]
        secret = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        payload = self._claims(subject, DEFAULT_SCOPE, AUDIENCE, DEFAULT_LIFETIME_SECONDS, 0.0)
        signed = f"{_encode({'alg': 'HS256', 'typ': 'at+jwt', 'kid': key.kid})}.{_encode(payload)}"
        return f"{signed}.{_base64url(hmac.digest(secret, signed.encode(), 'sha256'))}"

    def impostor_key(self) -> SigningKey:
        """A key of somebody else under the kid of ours."""
        return SigningKey.generate(self.keys[0].algorithm, self.keys[0].kid)

    def _claims(
        self, subject: str, scope: str | None, audience: str | None, lifetime: float, issued_ago: float
    ) -> dict[str, object]:
        issued = int(self.clock() - issued_ago)
        return {
            "iss": self.issuer,
            "sub": subject,
            "aud": audience,
            "azp": "demo-client",
            "scope": scope,
            "iat": issued,
            "exp": int(issued + lifetime),
            "jti": secrets.token_hex(8),
        }

    @web.middleware
    async def _suffer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """What becomes of a request in an outage."""
        match self._outage:
            case Outage.NONE:
                return await handler(request)
            case Outage.DROPPED if request.transport is not None:
                request.transport.abort()
            case Outage.SILENT:
                await self._outage_over.wait()
            case _:
                pass
        return web.json_response({"error": "temporarily_unavailable"}, status=503)

    async def _metadata(self, _: web.Request) -> web.Response:
        """OpenID Connect Discovery 1.0 section 3, RFC 8414 section 2."""
        return web.json_response(
            {
                "issuer": self.issuer,
                "jwks_uri": f"{self.issuer}/jwks",
                "token_endpoint": self.token_endpoint,
                "introspection_endpoint": f"{self.issuer}/introspect",
                "revocation_endpoint": self.revocation_endpoint,
                "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
                "grant_types_supported": ["client_credentials"],
                "response_types_supported": ["none"],
                "subject_types_supported": ["public"],
                "scopes_supported": DEFAULT_SCOPE.split(),
                "id_token_signing_alg_values_supported": sorted({key.algorithm for key in self.keys}),
            }
        )

    async def _jwks(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": [key.public_jwk() for key in self.keys]})

    async def _token(self, request: web.Request) -> web.Response:
        """RFC 6749 section 4.4, with the client's word for who it is."""
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        if not (client := str(form.get("client_id", ""))):
            return web.json_response({"error": "invalid_client"}, status=401)
        scope, audience = str(form.get("scope", DEFAULT_SCOPE)), str(form.get("audience", AUDIENCE))
        try:
            lifetime = float(str(form.get("lifetime", DEFAULT_LIFETIME_SECONDS)))
            mint = self.mint_opaque if form.get("opaque") else self.mint
            token = mint(client, scope=scope, audience=audience, lifetime=lifetime, azp=client)
        except (ValueError, OverflowError):
            return web.json_response({"error": "invalid_request"}, status=400)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": int(lifetime), "scope": scope}
        return web.json_response(answer, headers={"Cache-Control": "no-store"})

    async def _introspect(self, request: web.Request) -> web.Response:
        """RFC 7662 section 2."""
        if request.headers.get("Authorization") != encode_basic_auth(INTROSPECTION_CLIENT, self.client_secret):
            return web.json_response({"error": "invalid_client"}, status=401, headers={"WWW-Authenticate": "Basic"})
        claims = self._opaque.get(_hash(str((await request.post()).get("token", ""))), {})
        exp = claims.get("exp")
        if not isinstance(exp, int) or exp <= self.clock():
            return web.json_response({"active": False})
        return web.json_response({"active": True, "token_type": "Bearer", **claims})

    async def _revoke(self, request: web.Request) -> web.Response:
        """RFC 7009 section 2.2: 200, whether there was such a token or not."""
        self.revoke(str((await request.post()).get("token", "")))
        return web.Response()


def alter_payload(token: str, **claims: object) -> str:
    """The token with other claims under its old signature."""
    header, payload, signature = token.split(".")
    old = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return f"{header}.{_encode(old | claims)}.{signature}"


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _encode(value: Mapping[str, object]) -> str:
    return _base64url(json.dumps(value).encode())


def _base64url(data: bytes) -> str:
    """Without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
