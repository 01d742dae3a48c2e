"""The token endpoints of the world, as far as they can be had on loopback."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from pgoauthd.config.oauthclient import AuthMethod, GrantType
from pgoauthd.probing.parameters import OAuth, Parameters
from pgoauthd.probing.steps import Failure
from pgoauthd.probing.tlscontexts import idp_context
from pgoauthd.probing.tokenclient import Answered, TokenClient
from pgoauthd.probing.tokenfacts import facts_of
from pgoauthd.probing.tokenrequest import Obtained
from pgoauthd.runtime.idp.credentials import Secret
from tests.fix_certificates import Authority
from tests.fix_issuer import endless, redirects, resets, running_issuer
from tests.probing.fix_parameters import oauth, parameters
from tests.probing.fix_providers import PASSWORD, SECRET, Adfs, Okta, Provider, Running, Scripted, running


async def ask(client: OAuth, **changes: Any) -> Answered:  # noqa: ANN401 - any parameter
    return await ask_as(parameters(client, **changes))


async def ask_as(made: Parameters, tls: ssl.SSLContext | None = None) -> Answered:
    async with TokenClient(made, tls or idp_context(made)) as asking:
        answered = await asking.ask()
    assert SECRET not in repr(answered)
    assert PASSWORD not in repr(answered)
    return answered


def okta(served: Running, **changes: Any) -> OAuth:  # noqa: ANN401 - any field
    known = {"client_id": "0oa1b2c3", "client_secret": Secret(SECRET), "scope": "db.login"}
    return oauth(**({"token_endpoint": served.token_endpoint} | known | changes))


def adfs(served: Running, **changes: Any) -> OAuth:  # noqa: ANN401 - any field
    known = {
        "client_id": "5e4d3c2b",
        "client_secret": None,
        "token_endpoint": served.token_endpoint,
        "grant_type": GrantType.PASSWORD,
        "scope": None,
        "username": "EXAMPLE\\kong",
        "password": Secret(PASSWORD),
        "resource": "https://pg-cluster.example.org",
    }
    return oauth(**(known | changes))


def token_of(answered: Answered) -> Obtained:
    assert isinstance(answered.result, Obtained), answered
    return answered.result


def failure_of(answered: Answered) -> Failure:
    assert isinstance(answered.result, Failure)
    return answered.result


@pytest.mark.parametrize("method", AuthMethod)
async def test_okta_gives_a_token_by_each_method(method: AuthMethod) -> None:
    async with running(Okta()) as served:
        obtained = token_of(await ask(okta(served, auth_method=method)))
        facts = facts_of(obtained.token, now=0.0, scope=obtained.scope, expires_in=obtained.expires_in)
        assert (facts.audience, facts.scope, facts.subject) == (("api://pg-cluster",), ("db.login",), "the client's id")
        assert ("client_secret" in served.forms[0]) is (method is AuthMethod.POST)
        assert (served.authorizations[0] is None) is (method is AuthMethod.POST)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_secret": Secret("another")}, "invalid_client"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"grant_type": GrantType.PASSWORD, "username": "u", "password": Secret("of a user")}, "unauthorized_client"),
    ],
)
async def test_what_okta_refuses_is_said(changes: dict[str, Any], error: str) -> None:
    async with running(Okta()) as served:
        failure = failure_of(await ask(okta(served, **changes)))
        assert failure.message.startswith(f"{served.token_endpoint}: it refused with {error} (status ")
        assert failure.message.endswith(".")


async def test_adfs_gives_a_token_to_a_public_client_with_a_resource() -> None:
    async with running(Adfs()) as served:
        obtained = token_of(await ask(adfs(served)))
        facts = facts_of(obtained.token, now=0.0, scope=obtained.scope, expires_in=obtained.expires_in)
        assert (facts.audience, facts.scope) == (("https://pg-cluster.example.org",), ("openid",))
        assert set(served.forms[0]) == {"grant_type", "username", "password", "resource", "client_id"}


async def test_adfs_without_a_resource_gives_a_token_for_itself() -> None:
    async with running(Adfs()) as served:
        obtained = token_of(await ask(adfs(served, resource=None)))
        facts = facts_of(obtained.token, now=0.0, scope=obtained.scope, expires_in=obtained.expires_in)
        assert facts.audience == ("urn:microsoft:userinfo",)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"password": Secret("wrong one")}, "invalid_grant"),
        ({"resource": "https://elsewhere.example.org"}, "invalid_resource"),
        ({"client_id": "other"}, "invalid_client"),
    ],
)
async def test_what_adfs_refuses_is_said(changes: dict[str, Any], error: str) -> None:
    async with running(Adfs()) as served:
        failure = failure_of(await ask(adfs(served, **changes)))
        assert f"refused with {error} (status 400): MSIS" in failure.message


async def test_the_discovery_document_names_the_endpoint() -> None:
    async with running(Okta()) as served:
        client = okta(served, token_endpoint=None, discovery_endpoint=served.discovery_endpoint)
        answered = await ask(client)
        assert isinstance(answered.result, Obtained)
        assert answered.endpoint == served.token_endpoint


async def test_the_token_endpoint_wins_over_the_discovery_endpoint() -> None:
    async with running(Okta()) as served:
        client = okta(served, discovery_endpoint="http://127.0.0.1:1/.well-known/openid-configuration")
        assert isinstance((await ask(client)).result, Obtained)


@pytest.mark.parametrize("metadata", [{}, [], {"token_endpoint": "http://idp.example.org/token"}])
async def test_a_document_without_a_usable_endpoint_is_said(metadata: object) -> None:
    async with running(Okta()) as served:
        served.metadata = metadata
        client = okta(served, token_endpoint=None, discovery_endpoint=served.discovery_endpoint)
        assert failure_of(await ask(client)).remedy
        assert served.forms == []


@pytest.mark.parametrize(
    "url", ["http://idp.example.org/token", "ftp://idp.example.org/", "https://u:p@x/", "nonsense"]
)
async def test_no_secret_is_sent_in_the_clear_or_to_no_url(url: str) -> None:
    assert failure_of(await ask(oauth(token_endpoint=url))).remedy


async def test_loopback_is_asked_by_http_only_where_that_is_allowed() -> None:
    async with running(Okta()) as served:
        assert "https" in failure_of(await ask(okta(served), allow_loopback_http=False)).message
        assert served.forms == []


async def test_a_provider_that_is_away_is_said() -> None:
    failure = failure_of(await ask(oauth(token_endpoint="http://127.0.0.1:1/token")))
    assert "cannot be reached" in failure.message


async def test_a_provider_that_says_nothing_is_given_up_in_time() -> None:
    async with running_issuer() as issuer:
        endpoint = f"{issuer.issuer}/token"
        issuer.hold()
        failure = failure_of(await ask(oauth(token_endpoint=endpoint), step_seconds=0.05))
        assert "did not answer within 0.05 seconds" in failure.message


@pytest.mark.parametrize("answer", [redirects("https://elsewhere.example.org/"), resets, endless()])
async def test_a_provider_that_misbehaves_is_said(answer: Any) -> None:  # noqa: ANN401 - an answer
    async with running_issuer() as issuer:
        issuer.script["/realms/database/token"] = answer
        failure = failure_of(await ask(oauth(token_endpoint=f"{issuer.issuer}/token")))
        assert failure.message.startswith(f"{issuer.issuer}/token ")


async def test_an_answer_that_gives_a_secret_back_is_not_shown() -> None:
    provider: Provider = Scripted(400, {"error": "invalid_client", "error_description": f"not {SECRET}"})
    async with running(provider) as served:
        failure = failure_of(await ask(okta(served)))
        assert failure.message.endswith("it refused with invalid_client (status 400)")


async def test_the_provider_is_trusted_by_the_files_that_are_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with running_issuer(authority.server("127.0.0.1")) as issuer:
        client = oauth(token_endpoint=f"{issuer.issuer}/token")
        assert "not trusted" in failure_of(await ask(client)).message
        assert "status 404" in failure_of(await ask(client, idp_trusted=("system", authority.ca_file))).message


@pytest.mark.parametrize(
    "endpoint", ["https://[x", "https://idp.example.org/\x1b[2J", "https://idp.example.org/\ntoken"]
)
async def test_an_endpoint_that_is_no_url_is_a_failure_and_kept_nowhere(endpoint: str) -> None:
    async with running(Okta()) as served:
        served.metadata = {"token_endpoint": endpoint}
        answered = await ask(okta(served, token_endpoint=None, discovery_endpoint=served.discovery_endpoint))
    assert answered.endpoint is None
    assert "its token_endpoint is not a URL" in failure_of(answered).message
