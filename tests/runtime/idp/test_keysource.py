from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pgoauthd.runtime.idp.fetch import Fetcher
from pgoauthd.runtime.idp.keysource import KeySource
from pgoauthd.telemetry.metrics import FETCH_OUTCOMES, Metrics
from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from tests.fix_callout import NAME, issuer_settings
from tests.fix_issuer import (
    JWKS,
    OAUTH,
    OPENID,
    Answer,
    LocalIssuer,
    babbles,
    compressed,
    cuts_short,
    endless,
    redirects,
    resets,
    says,
)


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    made.declare(clusters=(), issuers=(NAME,), sinks=())
    return made


async def read(provider: LocalIssuer, metrics: Metrics, **changes: Any) -> KeySet | Refusal:  # noqa: ANN401 - any field
    issuer = issuer_settings(provider, **changes)
    async with Fetcher(issuer) as fetcher:
        return await KeySource(issuer, fetcher, metrics).read_keys()


async def refusal(provider: LocalIssuer, metrics: Metrics, **changes: Any) -> Refusal:  # noqa: ANN401
    result = await read(provider, metrics, **changes)
    assert isinstance(result, Refusal)
    return result


def fetches(metrics: Metrics, endpoint: str) -> dict[str, float]:
    """How often each outcome was counted, without those that never were."""
    counts = {}
    for outcome in FETCH_OUTCOMES:
        labels = {"issuer": NAME, "endpoint": endpoint, "outcome": outcome}
        counts[outcome] = metrics.registry.get_sample_value("pgoauthd_issuer_fetches_total", labels)
    return {outcome: count for outcome, count in counts.items() if count}


async def test_keys_are_found_through_openid_metadata(provider: LocalIssuer, metrics: Metrics) -> None:
    keys = await read(provider, metrics)
    assert isinstance(keys, KeySet)
    assert keys.kids == ("rsa-1",)
    assert provider.asked == {OPENID: 1, JWKS: 1}
    assert (fetches(metrics, "metadata"), fetches(metrics, "jwks")) == ({"success": 1}, {"success": 1})


async def test_keys_are_found_through_oauth_metadata_where_there_is_no_other(
    provider: LocalIssuer, metrics: Metrics
) -> None:
    provider.script[OPENID] = says(404)
    assert isinstance(await read(provider, metrics), KeySet)
    assert provider.asked == {OPENID: 1, OAUTH: 1, JWKS: 1}
    assert fetches(metrics, "metadata") == {"error": 1, "success": 1}


async def test_a_configured_jwks_uri_skips_the_metadata(provider: LocalIssuer, metrics: Metrics) -> None:
    assert isinstance(await read(provider, metrics, jwks_uri=f"{provider.issuer}/keys"), KeySet)
    assert provider.asked == {JWKS: 1}


async def test_metadata_at_the_first_address_that_cannot_be_used_does_not_hide_the_second(
    provider: LocalIssuer, metrics: Metrics
) -> None:
    provider.script[OPENID] = says(200, b"<html>welcome</html>")
    assert isinstance(await read(provider, metrics), KeySet)
    assert fetches(metrics, "metadata") == {"invalid": 1, "success": 1}


def metadata_says(**changes: object) -> Callable[[LocalIssuer], Answer]:
    def answer(provider: LocalIssuer) -> Answer:
        return says(200, json.dumps({**provider.metadata, **changes}).encode())

    return answer


async def test_metadata_without_a_jwks_uri_gives_no_keys(provider: LocalIssuer, metrics: Metrics) -> None:
    del provider.metadata["jwks_uri"]
    refused = await refusal(provider, metrics)
    assert refused.reason is Reason.IDP_METADATA_INVALID
    assert "no jwks_uri" in refused.message
    assert fetches(metrics, "jwks") == {}


@pytest.mark.parametrize(
    ("answer", "reason", "outcome"),
    [
        (lambda _: says(503), Reason.IDP_ERROR, "error"),
        (lambda p: redirects(f"{p.issuer}/login"), Reason.IDP_ERROR, "error"),
        (lambda _: babbles, Reason.IDP_ERROR, "error"),
        (lambda _: cuts_short, Reason.IDP_ERROR, "error"),
        (lambda _: resets, Reason.IDP_UNREACHABLE, "unreachable"),
        (lambda p: p.hang, Reason.IDP_TIMEOUT, "timeout"),
        (lambda p: p.drip, Reason.IDP_TIMEOUT, "timeout"),
        (lambda _: endless(), Reason.IDP_METADATA_INVALID, "invalid"),
        (lambda p: compressed(p.metadata), Reason.IDP_METADATA_INVALID, "invalid"),
        (lambda _: says(200, b"<html>"), Reason.IDP_METADATA_INVALID, "invalid"),
        (lambda _: says(200, b"[]"), Reason.IDP_METADATA_INVALID, "invalid"),
        (metadata_says(issuer="https://id.example/realms/other"), Reason.IDP_METADATA_INVALID, "invalid"),
        (metadata_says(issuer=["x"]), Reason.IDP_METADATA_INVALID, "invalid"),
        (metadata_says(jwks_uri="http://192.0.2.1/keys"), Reason.IDP_METADATA_INVALID, "invalid"),
        (metadata_says(jwks_uri="file:///etc/passwd"), Reason.IDP_METADATA_INVALID, "invalid"),
    ],
)
async def test_each_misbehaviour_with_metadata_has_its_reason(
    provider: LocalIssuer, metrics: Metrics, answer: Callable[[LocalIssuer], Answer], reason: Reason, outcome: str
) -> None:
    provider.script |= {OPENID: answer(provider), OAUTH: answer(provider)}
    refused = await refusal(provider, metrics, fetch_timeout_seconds=0.5)
    assert refused.reason is reason, refused.message
    assert refused.message.isprintable()
    assert len(refused.message) < 2_000
    assert set(fetches(metrics, "metadata")) == {outcome}
    assert fetches(metrics, "jwks") == {}


@pytest.mark.parametrize(
    ("answer", "reason", "outcome"),
    [
        (lambda _: says(404), Reason.IDP_ERROR, "error"),
        (lambda p: redirects(f"{p.issuer}/elsewhere"), Reason.IDP_ERROR, "error"),
        (lambda _: cuts_short, Reason.IDP_ERROR, "error"),
        (lambda _: resets, Reason.IDP_UNREACHABLE, "unreachable"),
        (lambda p: p.hang, Reason.IDP_TIMEOUT, "timeout"),
        (lambda p: p.drip, Reason.IDP_TIMEOUT, "timeout"),
        (lambda _: endless(), Reason.IDP_KEYS_INVALID, "invalid"),
        (lambda p: compressed(p.keys), Reason.IDP_KEYS_INVALID, "invalid"),
        (lambda _: says(200, b"{"), Reason.IDP_KEYS_INVALID, "invalid"),
        (lambda _: says(200, b"{}"), Reason.IDP_KEYS_INVALID, "invalid"),
        (lambda _: says(200, b'{"keys": []}'), Reason.IDP_KEYS_INVALID, "invalid"),
        (lambda _: says(200, b""), Reason.IDP_KEYS_INVALID, "invalid"),
    ],
)
async def test_each_misbehaviour_with_keys_has_its_reason(
    provider: LocalIssuer, metrics: Metrics, answer: Callable[[LocalIssuer], Answer], reason: Reason, outcome: str
) -> None:
    provider.script[JWKS] = answer(provider)
    refused = await refusal(provider, metrics, fetch_timeout_seconds=0.5)
    assert refused.reason is reason, refused.message
    assert f"{provider.issuer}/keys" in refused.message
    assert (fetches(metrics, "metadata"), fetches(metrics, "jwks")) == ({"success": 1}, {outcome: 1})


async def test_metadata_cannot_send_us_to_a_clouds_metadata_service(provider: LocalIssuer, metrics: Metrics) -> None:
    provider.metadata["jwks_uri"] = "https://169.254.169.254/latest/meta-data"
    refused = await refusal(provider, metrics)
    assert refused.reason is Reason.IDP_UNREACHABLE
    assert "never contacted" in refused.message


async def test_a_refusal_names_both_metadata_urls(provider: LocalIssuer, metrics: Metrics) -> None:
    provider.script |= {OPENID: says(404), OAUTH: says(410)}
    message = (await refusal(provider, metrics)).message
    assert "/.well-known/openid-configuration answered with status 404" in message
    assert "/.well-known/oauth-authorization-server/realms/database answered with status 410" in message


async def test_metadata_of_another_issuer_tells_more_than_a_missing_page(
    provider: LocalIssuer, metrics: Metrics
) -> None:
    provider.metadata["issuer"] = provider.issuer + "/"
    provider.script[OAUTH] = says(404)
    assert (await refusal(provider, metrics)).reason is Reason.IDP_METADATA_INVALID


async def test_a_silent_host_is_not_asked_for_its_other_metadata_too(provider: LocalIssuer, metrics: Metrics) -> None:
    provider.script[OPENID] = provider.hang
    assert (await refusal(provider, metrics, fetch_timeout_seconds=0.1)).reason is Reason.IDP_TIMEOUT
    assert provider.asked == {OPENID: 1}


async def test_a_configured_metadata_url_is_the_only_one_asked(provider: LocalIssuer, metrics: Metrics) -> None:
    provider.script["/elsewhere"] = says(200, json.dumps(provider.metadata).encode())
    url = provider.issuer.replace("/realms/database", "/elsewhere")
    assert isinstance(await read(provider, metrics, metadata_url=url), KeySet)
    assert provider.asked == {"/elsewhere": 1, JWKS: 1}


async def test_a_configured_metadata_url_that_fails_is_not_made_up_for(provider: LocalIssuer, metrics: Metrics) -> None:
    url = provider.issuer.replace("/realms/database", "/elsewhere")
    refused = await refusal(provider, metrics, metadata_url=url)
    assert refused == Refusal(Reason.IDP_ERROR, f"{url} answered with status 404")
    assert provider.asked == {"/elsewhere": 1}


async def test_metadata_at_a_configured_url_must_name_the_issuer(provider: LocalIssuer, metrics: Metrics) -> None:
    other = {**provider.metadata, "issuer": "https://id.example/realms/other"}
    provider.script["/elsewhere"] = says(200, json.dumps(other).encode())
    url = provider.issuer.replace("/realms/database", "/elsewhere")
    assert (await refusal(provider, metrics, metadata_url=url)).reason is Reason.IDP_METADATA_INVALID


async def test_the_time_that_each_fetch_took_is_observed(provider: LocalIssuer, metrics: Metrics) -> None:
    provider.script[OPENID] = says(404)
    await read(provider, metrics)
    assert durations(metrics) == {"metadata": 2, "jwks": 1}


def durations(metrics: Metrics) -> dict[str, float | None]:
    """How many were observed, by endpoint."""
    name = "pgoauthd_issuer_fetch_duration_seconds_count"
    return {
        endpoint: metrics.registry.get_sample_value(name, {"issuer": NAME, "endpoint": endpoint})
        for endpoint in ("metadata", "jwks")
    }
