"""Asks one identity provider about one token (RFC 7662), with one retry where that is worth it; remembers no answer."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol

import msgspec

from pgoauthd.config.values import Introspection, Issuer
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.idp.clientauth import ClientAuth
from pgoauthd.runtime.idp.documents import SUCCESS, reason_of
from pgoauthd.runtime.idp.fetch import JSON, Posts
from pgoauthd.runtime.idp.fetch import Answer as HttpAnswer
from pgoauthd.runtime.idp.fetchfailure import FailureKind, FetchFailure, shown
from pgoauthd.runtime.idp.metadatasource import EndpointFinder
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.bearer import BearerToken, UnverifiedToken
from pgoauthd.tokens.introspection import read_answer, read_signed_answer, verify_signed_answer
from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.strictjson import read_object
from pgoauthd.tokens.verdict import Refusal

INTROSPECTION = "introspection"
"""Value of the `endpoint` label of `issuer_fetches`."""
CLIENT_REFUSED = "client_refused"
"""Value of the `outcome` label of `issuer_fetches`, besides SUCCESS and those of FailureKind."""
SIGNED_ANSWER = "application/token-introspection+jwt"
"""RFC 9701 section 4."""
LONGEST_PAUSE_SECONDS = 1.0
"""A server that wants to be left alone for longer is not asked again."""

_BUSY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
_MOVED = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
_ABOUT_THE_REQUEST = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.REQUEST_URI_TOO_LONG,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    }
)
"""A token that the server does not like must not keep it from being asked about others: anybody may bring tokens."""
_OUR_CLIENT = frozenset({"invalid_client", "unauthorized_client"})
_KNOWN_ERRORS = _OUR_CLIENT | {"invalid_request", "invalid_token", "unsupported_token_type", "temporarily_unavailable"}
"""RFC 6749 section 5.2, RFC 7009 section 2.2.1; other words of a server are not repeated: they may hold the token."""


class Asked(msgspec.Struct, frozen=True):
    """What came of asking about a token."""

    answer: Mapping[str, Any] | Refusal
    size: int = 0
    """Of the answer, in bytes."""
    working: bool = False
    """The endpoint does its work, whatever it said about this token."""


class SigningKeys(Protocol):
    """What is needed of the key store, for signed answers."""

    async def keys_for(self, issuer: str, kid: str | None) -> KeySet | Refusal:
        """The keys of the issuer with this label."""


class _Attempt(msgspec.Struct, frozen=True):
    asked: Asked
    outcome: str
    pause_seconds: float | None = None
    """Before the next attempt, where one is worth it."""


class IntrospectionClient:
    """One issuer's introspection endpoint, as one client may use it."""

    def __init__(
        self,
        issuer: Issuer,
        introspection: Introspection,
        *,
        posts: Posts,
        endpoint: EndpointFinder,
        auth: ClientAuth,
        keys: SigningKeys,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._label = issuer.label
        self._policy = issuer.policy
        self._timeout = introspection.timeout_seconds
        self._signed = introspection.signed_answers
        self._posts = posts
        self._endpoint = endpoint
        self._auth = auth
        self._keys = keys
        self._fetches = metrics.issuer_fetches
        self._duration = metrics.issuer_fetch_duration.labels(issuer.label, INTROSPECTION)
        self._clock = clock

    async def ask(self, token: BearerToken) -> Asked:
        """Ask, and once more where the connection broke or the server is busy for a moment."""
        url = await self._endpoint.find()
        if isinstance(url, Refusal):
            return Asked(url)
        attempt = await self._attempt(url, token)
        if attempt.pause_seconds is not None:
            if attempt.pause_seconds > 0:
                await self._clock.sleep(attempt.pause_seconds)
            attempt = await self._attempt(url, token)
        return _silent_about(token, attempt.asked)

    async def _attempt(self, url: str, token: BearerToken) -> _Attempt:
        who = self._auth.credentials(url, self._clock.time())
        with self._duration.time():
            answer = await self._posts.post(
                url,
                {"token": token.reveal(), "token_type_hint": "access_token", **who.form},
                headers=who.headers,
                timeout_seconds=self._timeout,
                accept=SIGNED_ANSWER if self._signed else JSON,
            )
        attempt = await self._read(url, answer)
        self._fetches.labels(self._label, INTROSPECTION, attempt.outcome).inc()
        return attempt

    async def _read(self, url: str, answer: HttpAnswer | FetchFailure) -> _Attempt:
        if isinstance(answer, FetchFailure):
            refusal = Refusal(reason_of(answer.kind, Reason.INTROSPECTION_INVALID), answer.message)
            return _Attempt(Asked(refusal), answer.kind, 0.0 if answer.passing else None)
        if answer.status != HTTPStatus.OK:
            return self._read_error(url, answer)
        if (wrong := self._wrong_type(answer.content_type)) is not None:
            return _Attempt(Asked(Refusal(Reason.INTROSPECTION_INVALID, f"{url} {wrong}")), FailureKind.INVALID)
        asked = await self._read_good(url, answer)
        usable = not isinstance(asked.answer, Refusal) or asked.answer.reason is Reason.TOKEN_INACTIVE
        return _Attempt(asked, SUCCESS if usable else FailureKind.INVALID)

    async def _read_good(self, url: str, answer: HttpAnswer) -> Asked:
        """What is wrong with it is wrong for this token: who can choose a claim must not stop all introspection."""
        read = read_signed_answer(answer.body) if self._signed else read_answer(answer.body)
        if isinstance(read, UnverifiedToken):
            keys = await self._keys.keys_for(self._label, read.kid)
            if isinstance(keys, Refusal):
                return Asked(keys, working=True)
            read = verify_signed_answer(read, self._policy, keys, self._clock.time())
        if isinstance(read, Refusal) and read.reason is not Reason.TOKEN_INACTIVE:
            return Asked(Refusal(read.reason, f"{url}: {read.message}"), working=True)
        return Asked(read, size=len(answer.body), working=True)

    def _wrong_type(self, content_type: str) -> str | None:
        if self._signed:
            right, wanted = content_type == SIGNED_ANSWER, SIGNED_ANSWER
        else:
            right, wanted = content_type == JSON or content_type.endswith("+json"), JSON
        return None if right else f"answered with Content-Type {shown(content_type) or 'missing'}; expected {wanted}"

    def _read_error(self, url: str, answer: HttpAnswer) -> _Attempt:
        status, error = answer.status, _error_of(answer)
        said = f"{url} answered with status {status}" + (f" ({error})" if error is not None else "")
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) or error in _OUR_CLIENT:
            return _Attempt(Asked(Refusal(Reason.IDP_CLIENT_REFUSED, said)), CLIENT_REFUSED)
        if status in _MOVED:
            self._endpoint.forget()
        refusal = Refusal(Reason.IDP_ERROR, said)
        return _Attempt(Asked(refusal, working=status in _ABOUT_THE_REQUEST), FailureKind.ERROR, _pause(answer))


def _pause(answer: HttpAnswer) -> float | None:
    """How long to wait before one more attempt; None where that is not worth it."""
    after = answer.retry_after_seconds
    if answer.status in _BUSY and after is None:
        return 0.0
    if answer.status in _BUSY | {HTTPStatus.TOO_MANY_REQUESTS} and after is not None and after <= LONGEST_PAUSE_SECONDS:
        return float(after)
    return None


def _error_of(answer: HttpAnswer) -> str | None:
    """`error` of the body (RFC 6749 section 5.2), where it is one of the known words."""
    document = read_object(answer.body, "the answer") if answer.body else None
    error = None if document is None or isinstance(document, Refusal) else document.get("error")
    return error if isinstance(error, str) and error in _KNOWN_ERRORS else None


def _silent_about(token: BearerToken, asked: Asked) -> Asked:
    """The same, without the token, where a server put it into what it said: into an error, or as the `jti`."""
    answer, text = asked.answer, token.reveal()
    if isinstance(answer, Refusal):
        if text not in answer.message:
            return asked
        return msgspec.structs.replace(asked, answer=Refusal(answer.reason, answer.message.replace(text, "[redacted]")))
    left = {name: value for name, value in answer.items() if not (isinstance(value, str) and text in value)}
    return msgspec.structs.replace(asked, answer=left)
