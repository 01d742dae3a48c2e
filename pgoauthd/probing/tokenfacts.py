"""The harmless facts about a token that help to see why a server refuses it; never the token, or a piece of it.

Nothing is verified here, and of whom a token names it is only said in which form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from pgoauthd.logs.redaction import redact
from pgoauthd.tokens.bearer import BearerToken, UnverifiedToken, decode
from pgoauthd.tokens.reasons import Reason

MAX_CHARACTERS = 300
MAX_ITEMS = 20
MAX_SECONDS = 1e12
"""Numbers beyond it are no times, and may be too big to reckon with."""

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_KINDS = {Reason.TOKEN_OPAQUE: "opaque", Reason.TOKEN_ENCRYPTED: "encrypted JWT"}


class TokenFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says of itself, or what the identity provider said when it gave it."""

    form: str
    """JWT, opaque, encrypted JWT, unreadable."""
    issuer: str | None = None
    audience: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    client: str | None = None
    subject: str | None = None
    """Its form: a UUID, the client's id, an e-mail address, a name."""
    expires_in_seconds: int | None = None


def facts_of(token: BearerToken, *, now: float, scope: str | None, expires_in: int | None) -> TokenFacts:
    """The facts; `scope` and `expires_in` are those of the answer that brought it."""
    read = decode(token)
    granted = _words(scope)
    if not isinstance(read, UnverifiedToken):
        form = _KINDS.get(read.reason, "unreadable")
        return TokenFacts(form=form, scope=granted, expires_in_seconds=_seconds(expires_in))
    claims = read.claims
    client = _first_text(claims, "azp", "client_id", "appid", "cid")
    left = _seconds(claims.get("exp"), since=now)
    return TokenFacts(
        form="JWT",
        issuer=_short(read.issuer),
        audience=_texts(claims.get("aud")),
        scope=_words(claims.get("scope")) or _words(claims.get("scp")) or granted,
        client=_short(client),
        subject=_kind(claims.get("sub"), client),
        expires_in_seconds=left if left is not None else _seconds(expires_in),
    )


def _first_text(claims: Mapping[str, Any], *names: str) -> str | None:
    return next((claims[name] for name in names if isinstance(claims.get(name), str)), None)


def _seconds(value: object, since: float = 0.0) -> int | None:
    return round(value - since) if isinstance(value, int | float) and abs(value) <= MAX_SECONDS else None


def _kind(subject: object, client: str | None) -> str | None:
    if not isinstance(subject, str):
        return None
    if subject == client:
        return "the client's id"
    if _UUID.fullmatch(subject):
        return "a UUID"
    return "an e-mail address" if "@" in subject else "a name"


def _words(value: object) -> tuple[str, ...]:
    return _texts(value.split() if isinstance(value, str) else value)


def _texts(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(text for item in items[:MAX_ITEMS] if isinstance(item, str) and (text := _short(item)))


def _short(text: str | None) -> str | None:
    if text is None:
        return None
    text = redact(text)  # before it is cut: a piece of a token may not look like one
    return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + "…"
