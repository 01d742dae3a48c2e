"""The request for a token as Kong makes it, and what the answer means (RFC 6749 sections 4.3 to 5); sends nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import unquote

import msgspec

from pgoauthd.config.oauthclient import AuthMethod, GrantType
from pgoauthd.logs.redaction import redact
from pgoauthd.probing.parameters import OAuth
from pgoauthd.probing.steps import Failure
from pgoauthd.runtime.idp.fetchfailure import repeats, shown
from pgoauthd.tokens.bearer import BearerToken
from pgoauthd.tokens.strictjson import read_object
from pgoauthd.tokens.verdict import Refusal

READ_STATUSES = frozenset({HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
"""Those with which token endpoints say what is wrong."""
MAX_TOKEN_BYTES = 65_000
"""PostgreSQL takes a SASL message of at most 65,535 bytes."""

_ERROR = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_ELSEWHERE = "look into the identity provider's own log"

REMEDIES = {
    "invalid_client": "check oauth_client_id and oauth_client_secret, and that the provider takes {method} of this "
    "client (oauth_token_endpoint_auth_method)",
    "invalid_grant": "check oauth_username and oauth_password, and that the user is enabled, has no pending action "
    "and no second factor",
    "invalid_scope": "ask in oauth_scope for scopes that the provider knows and that this client may have",
    "unauthorized_client": "check oauth_client_secret, and that the provider allows this client the grant type {grant} "
    "(Keycloak: service accounts roles for client_credentials, direct access grants for password)",
    "unsupported_grant_type": "set oauth_grant_type to one that the provider has; {grant} is not one",
    "invalid_request": "compare what the provider wants with oauth_scope, oauth_audience and oauth_resource",
    "invalid_target": "correct oauth_audience or oauth_resource: the provider does not know what they name",
    "invalid_resource": "correct oauth_resource, and register what it names at the provider",
    "access_denied": "allow this client the audience and scopes that it asks for, at the provider",
    "temporarily_unavailable": "try again later; " + _ELSEWHERE,
    "server_error": _ELSEWHERE,
}
"""What to do about an `error` (RFC 6749 section 5.2, RFC 8707 section 2; Entra and AD FS say invalid_resource)."""


class Obtained(msgspec.Struct, frozen=True, kw_only=True):
    """A token as the endpoint gave it."""

    token: BearerToken
    scope: str | None = None
    expires_in: int | None = None


def token_form(oauth: OAuth) -> dict[str, str]:
    """The form without what authenticates the client."""
    form = {"grant_type": oauth.grant_type.value, "scope": oauth.scope, "audience": oauth.audience}
    if oauth.grant_type is GrantType.PASSWORD:
        password = oauth.password.reveal() if oauth.password is not None else None
        form |= {"username": oauth.username, "password": password, "resource": oauth.resource}
    return {name: value for name, value in form.items() if value}


def read_token_answer(status: int, body: bytes, oauth: OAuth) -> Obtained | Failure:
    """The token in an answer, or why there is none."""
    document = read_object(body, "its answer") if body else {}
    if isinstance(document, Refusal):
        return Failure(f"it answered with status {status}, and {document.message}", _NO_ENDPOINT)
    if status != HTTPStatus.OK:
        return _refused(status, document, oauth)
    kind, text = document.get("token_type", "Bearer"), document.get("access_token")
    if not isinstance(text, str):
        return Failure("its answer has no access_token", _NO_ENDPOINT)
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return Failure("its token is not of the type Bearer", "turn off DPoP or other bound tokens for this client")
    token = BearerToken.read(text, max_bytes=MAX_TOKEN_BYTES)
    if isinstance(token, Refusal):
        return Failure(token.message, "have the provider put less into this client's tokens, or no odd characters")
    scope, lifetime = document.get("scope"), document.get("expires_in")
    return Obtained(
        token=token,
        scope=scope if isinstance(scope, str) and not _gives_away(scope, (*oauth.unrepeatable, text)) else None,
        expires_in=lifetime if isinstance(lifetime, int) else None,
    )


def read_discovery(body: bytes) -> str | Failure:
    """The token endpoint that a metadata document names, as Kong takes it: whoever the document is about."""
    document = read_object(body, "the document")
    if isinstance(document, Refusal):
        return Failure(document.message, NO_DISCOVERY)
    endpoint = document.get("token_endpoint")
    if not isinstance(endpoint, str):
        return Failure("the document names no token_endpoint", NO_DISCOVERY)
    return endpoint


_NO_ENDPOINT = "correct oauth_token_endpoint: copy token_endpoint of the provider's openid-configuration"
NO_DISCOVERY = "correct oauth_discovery_endpoint: it ends with /.well-known/openid-configuration"


def _refused(status: int, document: dict[str, object], oauth: OAuth) -> Failure:
    error = document.get("error")
    if not isinstance(error, str) or not _ERROR.fullmatch(error) or _gives_away(error, oauth.unrepeatable):
        if status == HTTPStatus.UNAUTHORIZED:
            return Failure("it refused with status 401", _remedy("invalid_client", oauth))
        return Failure(f"it answered with status {status}", f"{_NO_ENDPOINT}; {_ELSEWHERE}")
    description = document.get("error_description")
    said = ""
    if isinstance(description, str) and description and not _gives_away(description, oauth.unrepeatable):
        said = f": {shown(description.strip())}"
    return Failure(f"it refused with {error} (status {status}){said}", _remedy(error, oauth))


def _gives_away(text: str, secrets: Iterable[str]) -> bool:
    """Whether a text of the provider looks like a token or has a secret of ours in it, or a piece of one.

    White space counts for nothing: who puts it between the letters of a secret has said the secret.
    """
    squeezed = [_squeezed(secret) for secret in secrets if not secret.isspace()]
    said = (text, _squeezed(text), _squeezed(unquote(text)))
    return any(
        redact(one) != one or repeats(one, squeezed) or any(secret in one for secret in squeezed) for one in said
    )


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _remedy(error: str, oauth: OAuth) -> str:
    method = oauth.auth_method
    other = AuthMethod.BASIC if method is AuthMethod.POST else AuthMethod.POST
    remedy = REMEDIES.get(error, _ELSEWHERE).format(method=method, grant=oauth.grant_type)
    return f"{remedy}; {other} is the other method" if error == "invalid_client" else remedy
