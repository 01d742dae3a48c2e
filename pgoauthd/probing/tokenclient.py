"""Gets a token from an identity provider as Kong does, by the rules of `runtime.idp.fetch`; keeps none."""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Self

import msgspec

from pgoauthd.config.oauthclient import AuthMethod
from pgoauthd.config.values import Issuer
from pgoauthd.probing.parameters import OAuth, Parameters
from pgoauthd.probing.steps import Failure
from pgoauthd.probing.tokenrequest import (
    NO_DISCOVERY,
    READ_STATUSES,
    Obtained,
    read_discovery,
    read_token_answer,
    token_form,
)
from pgoauthd.runtime.idp.clientauth import Credentials, SecretInForm, SecretInHeader
from pgoauthd.runtime.idp.fetch import Fetcher
from pgoauthd.runtime.idp.fetchfailure import FailureKind, FetchFailure
from pgoauthd.tokens.metadata import check_url

_REMEDIES = {
    FailureKind.UNREACHABLE: "check the URL, DNS, firewalls, and whether the provider's certificate is trusted here",
    FailureKind.TIMEOUT: "check the way to the provider, and its load; Kong would wait no longer either",
    FailureKind.ERROR: "check the URL: it must be the endpoint itself",
    FailureKind.INVALID: "use the https URL of the endpoint itself",
}


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking for a token."""

    result: Obtained | Failure
    endpoint: str | None
    """Where it was asked for; None where that was not found."""


class TokenClient:
    """One client at one provider; an asynchronous context manager that owns the connections."""

    def __init__(self, parameters: Parameters, tls: ssl.SSLContext) -> None:
        """ConfigError where the proxy cannot be used."""
        self._oauth = parameters.oauth
        self._allow_loopback_http = parameters.allow_loopback_http
        self._seconds = parameters.step_seconds
        provider = Issuer(
            issuer="",
            audiences=(),
            name=f"probe {parameters.name}",
            proxy=parameters.proxy,
            allow_loopback_http=parameters.allow_loopback_http,
            fetch_timeout_seconds=parameters.step_seconds,
        )
        self._fetcher = Fetcher(provider, tls)

    async def __aenter__(self) -> Self:
        await self._fetcher.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._fetcher.__aexit__(kind, error, trace)

    async def ask(self) -> Answered:
        """One token, or why there is none."""
        endpoint = await self._endpoint()
        if isinstance(endpoint, Failure):
            return Answered(result=endpoint, endpoint=None)
        who = _credentials(self._oauth)
        answer = await self._fetcher.post(
            endpoint,
            {**token_form(self._oauth), **who.form},
            headers=who.headers,
            timeout_seconds=self._seconds,
            read=READ_STATUSES,
        )
        if isinstance(answer, FetchFailure):
            return Answered(result=_failure(answer), endpoint=endpoint)
        result = read_token_answer(answer.status, answer.body, self._oauth)
        if isinstance(result, Failure):
            result = Failure(f"{endpoint}: {result.message}", result.remedy)
        return Answered(result=result, endpoint=endpoint)

    async def _endpoint(self) -> str | Failure:
        if self._oauth.token_endpoint is not None:
            return self._oauth.token_endpoint
        url = self._oauth.discovery_endpoint or ""
        body = await self._fetcher.fetch(url)
        if isinstance(body, FetchFailure):
            return _failure(body)
        found = read_discovery(body)
        if isinstance(found, Failure):
            return Failure(f"{url}: {found.message}", found.remedy)
        wrong = check_url(found, allow_loopback_http=self._allow_loopback_http)
        return found if wrong is None else Failure(f"{url}: its token_endpoint {wrong}", NO_DISCOVERY)


def _credentials(oauth: OAuth) -> Credentials:
    """A public client has no secret, and only says its name."""
    if oauth.client_secret is None:
        return Credentials(form={"client_id": oauth.client_id})
    way = SecretInHeader if oauth.auth_method is AuthMethod.BASIC else SecretInForm
    return way(oauth.client_id, oauth.client_secret).credentials("", 0.0)


def _failure(failure: FetchFailure) -> Failure:
    return Failure(failure.message, _REMEDIES[failure.kind])
