"""One row of the table of introspection answers, and the settings and the answer that rows start from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pgoauthd.config.values import Introspection, Issuer
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import LoginRequest
from tests.fix_tokens import AUDIENCE, DROP, ISSUER, SigningKey, assemble, changed, mint, segment
from tests.tokens.case import EC, REQUEST

CLIENT: Final = "pgoauthd"

OTHER: Final = "https://evil.example/"
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"

ASKED: Final = Issuer(
    issuer=ISSUER,
    name="asked",
    mode="introspect",
    audiences=(AUDIENCE, "pg-reporting"),
    required_scopes=("postgres",),
    introspection=Introspection(client_id=CLIENT, endpoint="https://id.example/introspect"),
    allow_loopback_http=True,
)
"""Every token by introspection."""


def settings(*, introspection: Mapping[str, Any] | None = None, **changes: object) -> Issuer:
    """ASKED with changes, those of its introspection apart."""
    assert ASKED.introspection is not None
    asked = msgspec.structs.replace(ASKED.introspection, **(introspection or {}))
    return msgspec.structs.replace(ASKED, introspection=asked, **changes)


MERGING: Final = settings(mode="jwt_then_introspect")
SIGNED: Final = settings(introspection={"signed_answers": True})
SPARSE: Final = settings(introspection={"optional": ("iss", "aud", "exp")})

LIGHTWEIGHT: Final = {"sub": DROP, "aud": DROP, "typ": "Bearer", "sid": "b5f1", "scope": "postgres profile email"}
"""What Keycloak leaves out of a lightweight access token, and puts in."""

Bytes = Callable[[float], bytes]
Text = Callable[[float], str]


@dataclass(frozen=True)
class IntrospectionCase:
    """What the endpoint answers about a token, and the reason that the login must end in."""

    name: str
    reason: Reason
    answer: Bytes
    """The body, made for `now` in seconds since the epoch; good for at least twenty seconds before and after."""
    settings: Issuer = ASKED
    jwt: Text | None = None
    """The token, where it is a JWT; else it is opaque."""
    request: LoginRequest = REQUEST
    asked: bool = True
    """Whether the endpoint may get to see the token."""

    def __str__(self) -> str:
        return self.name

    def token(self, now: float) -> str:
        """The token's text; no other row has the same."""
        return self.jwt(now) if self.jwt is not None else hashlib.sha256(self.name.encode()).hexdigest()


def at(offset: float) -> Callable[[float], int]:
    """The whole second that is so far from now."""
    return lambda now: int(now + offset)


def good_answer(now: float, **changes: object) -> dict[str, Any]:
    """An answer about an active token at `now`; `changes` add, replace or DROP members, and are asked if callable."""
    good = {
        "active": True,
        "iss": ISSUER,
        "sub": "alice",
        "aud": AUDIENCE,
        "client_id": "psql",
        "username": "alice",
        "token_type": "Bearer",
        "scope": "postgres profile",
        "iat": int(now) - 10,
        "exp": int(now) + 300,
    }
    return changed(good, {name: value(now) if callable(value) else value for name, value in changes.items()})


def says(**changes: object) -> Bytes:
    """A good plain answer but for `changes`."""
    return lambda now: json.dumps(good_answer(now, **changes)).encode()


def raw(body: bytes) -> Bytes:
    """Exactly this body."""
    return lambda _now: body


def signed(
    *,
    key: SigningKey = EC,
    header: Mapping[str, object] | None = None,
    inner: Mapping[str, object] | None = None,
    **claims: object,
) -> Bytes:
    """A signed answer that is good but for members of its `header`, its own `claims`, and its `inner` answer."""

    def body(now: float) -> bytes:
        good = {"alg": key.algorithm, "kid": key.kid, "typ": "token-introspection+jwt"}
        envelope = {
            "iss": ISSUER,
            "aud": CLIENT,
            "iat": int(now),
            "token_introspection": good_answer(now, **(inner or {})),
        }
        asked = {name: value(now) if callable(value) else value for name, value in claims.items()}
        return assemble(changed(good, header or {}), changed(envelope, asked), key=key).encode()

    return body


def jwt(name: str, **claims: object) -> Text:
    """A good JWT but for `claims`, and like no other row's."""
    return lambda now: mint(now, key=EC, **{"row": name, "jti": DROP, **claims})  # type: ignore[arg-type]  # header among them


def unread(header: bytes, payload: bytes, more: str = ".c2ln") -> Text:
    """A token with these parts, which nobody signed; `more` is what follows them."""
    return lambda _now: f"{segment(header)}.{segment(payload)}{more}"
