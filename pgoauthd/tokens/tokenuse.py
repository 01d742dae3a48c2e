"""Which kind of token the claims speak of: only what is meant as a credential for a service passes; no signature here.

Providers sign all their kinds of tokens with the same keys, so an ID, refresh or logout token in the wrong place is a
rightly signed one (RFC 8725 sections 2.8 and 3.12).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from pgoauthd.tokens.wording import kind, listed, quoted

_ACCESS_TOKEN_WORDS = {
    "typ": ("bearer", "dpop", "access", "at+jwt", "jwt"),
    "token_use": ("access", "access_token"),
}
"""Claims with which Keycloak (typ), Amazon Cognito and Ory Hydra (token_use) tell their kinds of tokens apart."""
_ID_TOKEN_CLAIMS = ("at_hash", "c_hash")
"""Only ID tokens have them (OpenID Connect Core 1.0 sections 3.1.3.6 and 3.3.2.11)."""
_ACCESS_TOKEN_CLAIMS = ("scope", "scp", "client_id", "cid", "appid", "token_use")
"""Access tokens have one of them; ID tokens have not, or are refused for what token_use says."""
_ENTRA_VERSIONS = ("1.0", "2.0")
_ENTRA_CLIENTS = ("azp", "appid")
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
"""OpenID Connect Back-Channel Logout 1.0 section 2.4."""


def check_use(claims: Mapping[str, Any], *, id_tokens: bool) -> Refusal | None:
    """None if the claims are those of an access token or, where `id_tokens` are the credential, of an ID token.

    Refused with token_use_forbidden or claim_invalid. A `nonce` makes an ID token (OpenID Connect Core 1.0 section 2)
    of what has no mark of an access token. By itself it does not: Keycloak before 25, and later ones with a mapper, put
    it into access tokens too, beside their `typ` and `scope`. Microsoft Entra has it in headers alone.
    """
    for name, allowed in _ACCESS_TOKEN_WORDS.items():
        if name in claims:
            refusal = _check_word(name, claims[name], (*allowed, "id") if id_tokens else allowed)
            if refusal is not None:
                return refusal
    events = claims.get("events")
    if isinstance(events, dict) and _LOGOUT_EVENT in events:
        return _forbidden("its events are those of a logout token")
    mark = None if id_tokens else _id_token_mark(claims)
    return None if mark is None else _forbidden(f"it has {mark}, as ID tokens do")


def _check_word(name: str, use: object, allowed: tuple[str, ...]) -> Refusal | None:
    if not isinstance(use, str):
        return Refusal(Reason.CLAIM_INVALID, f"the token's {name} is {kind(use)}; expected a string")
    if use.lower() not in allowed:
        return _forbidden(f"{name} is {quoted(use)}; expected {listed(allowed)}")
    return None


def _id_token_mark(claims: Mapping[str, Any]) -> str | None:
    """What shows that this is an ID token, in words."""
    for name in _ID_TOKEN_CLAIMS:
        if name in claims:
            return name
    if "nonce" in claims and not _is_marked_as_access_token(claims):
        return "a nonce and no scope or client"
    if _is_of_entra(claims) and not any(name in claims for name in _ENTRA_CLIENTS):
        return "a tid and neither azp nor appid"
    return None


def _is_marked_as_access_token(claims: Mapping[str, Any]) -> bool:
    return any(name in claims for name in _ACCESS_TOKEN_CLAIMS) or str(claims.get("typ")).lower() == "bearer"


def _is_of_entra(claims: Mapping[str, Any]) -> bool:
    """Microsoft Entra names the client in every access token, as azp (version 2.0) or appid (1.0), in no ID token.

    That tells them apart where one registration is both client and API, so that both kinds have the same audience.
    """
    version = claims.get("ver")
    return isinstance(version, str) and version in _ENTRA_VERSIONS and "tid" in claims


def _forbidden(what: str) -> Refusal:
    return Refusal(Reason.TOKEN_USE_FORBIDDEN, f"the token is not an access token: {what}")
