from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pgoauthd.config.values import Issuer
from pgoauthd.errors import ConfigError
from pgoauthd.runtime.idp.addresses import forbidden_address
from pgoauthd.runtime.idp.fetch import MAX_BODY_BYTES, Answer, Fetcher
from pgoauthd.runtime.idp.fetchfailure import FailureKind, FetchFailure
from pgoauthd.telemetry.metrics import FETCH_OUTCOMES
from tests.fix_certificates import Authority
from tests.fix_issuer import (
    INTROSPECTION,
    JWKS,
    LocalIssuer,
    babbles,
    compressed,
    cuts_short,
    endless,
    hangs_up,
    redirects,
    resets,
    running_issuer,
    says,
    untyped,
)
from tests.fix_issuer import Answer as Behaviour


def settings(**changes: Any) -> Issuer:  # noqa: ANN401 - any field
    known: dict[str, Any] = {"issuer": "http://127.0.0.1:1", "allow_loopback_http": True, "fetch_timeout_seconds": 10.0}
    return Issuer(audiences=("a",), **(known | changes))


async def fetch(url: str, **changes: Any) -> bytes | FetchFailure:  # noqa: ANN401
    async with Fetcher(settings(**changes)) as fetcher:
        return await fetcher.fetch(url)


async def failure(url: str, **changes: Any) -> FetchFailure:  # noqa: ANN401
    result = await fetch(url, **changes)
    assert isinstance(result, FetchFailure)
    return result


async def post(url: str, form: Mapping[str, str], deadline: float = 10.0) -> Answer | FetchFailure:
    async with Fetcher(settings()) as fetcher:
        return await fetcher.post(url, form, headers={}, timeout_seconds=deadline)


async def answer(provider: LocalIssuer) -> Answer:
    result = await post(introspection_url(provider), {"token": "t"})
    assert isinstance(result, Answer), result
    return result


async def post_failure(provider: LocalIssuer, deadline: float = 10.0) -> FetchFailure:
    result = await post(introspection_url(provider), {"token": "t"}, deadline)
    assert isinstance(result, FetchFailure), result
    return result


def introspection_url(provider: LocalIssuer) -> str:
    return f"{provider.issuer}/introspect"


def keys_url(provider: LocalIssuer) -> str:
    return f"{provider.issuer}/keys"


async def test_a_document_is_fetched_as_it_is(provider: LocalIssuer) -> None:
    body = await fetch(keys_url(provider))
    assert isinstance(body, bytes)
    assert json.loads(body) == provider.keys


async def test_a_request_asks_for_json_without_compression(provider: LocalIssuer) -> None:
    await fetch(keys_url(provider))
    (headers,) = provider.headers
    assert headers["Accept"] == "application/json"
    assert headers["Accept-Encoding"] == "identity"
    assert headers["User-Agent"].startswith("pgoauthd/")


@pytest.mark.parametrize("status", [201, 204, 401, 403, 404, 429, 500, 503])
async def test_every_status_but_200_is_an_error_that_names_it(provider: LocalIssuer, status: int) -> None:
    provider.script[JWKS] = says(status, b'{"keys": []}' if status != 204 else b"")
    assert await failure(keys_url(provider)) == FetchFailure(
        FailureKind.ERROR, f"{keys_url(provider)} answered with status {status}"
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_but_named(provider: LocalIssuer, status: int) -> None:
    provider.script[JWKS] = redirects(f"{provider.issuer}/elsewhere", status)
    result = await failure(keys_url(provider))
    assert result.kind is FailureKind.ERROR
    assert f"redirects to {provider.issuer}/elsewhere (status {status})" in result.message
    assert provider.asked.total() == 1


async def test_a_redirect_target_is_shown_short_and_on_one_line(provider: LocalIssuer) -> None:
    provider.script[JWKS] = redirects("/" + "x" * 5_000)
    result = await failure(keys_url(provider))
    assert len(result.message) < 500


async def test_a_server_that_says_nothing_times_out(provider: LocalIssuer) -> None:
    provider.script[JWKS] = provider.hang
    result = await failure(keys_url(provider), fetch_timeout_seconds=0.1)
    assert result == FetchFailure(FailureKind.TIMEOUT, f"{keys_url(provider)} did not answer within 0.1 seconds")


async def test_a_body_that_drips_in_does_not_outlast_the_deadline(provider: LocalIssuer) -> None:
    provider.script[JWKS] = provider.drip
    assert (await failure(keys_url(provider), fetch_timeout_seconds=0.2)).kind is FailureKind.TIMEOUT


async def test_a_body_over_the_limit_is_given_up(provider: LocalIssuer) -> None:
    provider.script[JWKS] = endless()
    result = await failure(keys_url(provider))
    assert result == FetchFailure(
        FailureKind.INVALID, f"{keys_url(provider)} answered with more than {MAX_BODY_BYTES} bytes"
    )


async def test_a_body_of_exactly_the_limit_is_taken(provider: LocalIssuer) -> None:
    provider.script[JWKS] = says(200, b" " * MAX_BODY_BYTES)
    assert await fetch(keys_url(provider)) == b" " * MAX_BODY_BYTES


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
async def test_a_compressed_body_is_refused_unread(provider: LocalIssuer, encoding: str) -> None:
    provider.script[JWKS] = compressed(provider.keys, encoding=encoding)
    result = await failure(keys_url(provider))
    assert result.kind is FailureKind.INVALID
    assert f"Content-Encoding {encoding}" in result.message


async def test_a_reset_connection_is_unreachable(provider: LocalIssuer) -> None:
    provider.script[JWKS] = resets
    result = await failure(keys_url(provider))
    assert result.kind is FailureKind.UNREACHABLE
    assert result.message.startswith(f"{keys_url(provider)} cannot be reached")


async def test_a_body_cut_short_is_an_error(provider: LocalIssuer) -> None:
    provider.script[JWKS] = cuts_short
    assert await failure(keys_url(provider)) == FetchFailure(
        FailureKind.ERROR, f"{keys_url(provider)} broke off in the middle of its answer"
    )


async def test_a_server_of_another_protocol_is_an_error(provider: LocalIssuer) -> None:
    provider.script[JWKS] = babbles
    result = await failure(keys_url(provider))
    assert result.kind is FailureKind.ERROR
    assert "does not speak HTTP" in result.message


async def test_a_closed_port_is_unreachable() -> None:
    async with running_issuer() as gone:
        url = keys_url(gone)
    assert (await failure(url)).kind is FailureKind.UNREACHABLE


async def test_a_host_without_address_is_unreachable() -> None:
    result = await failure("https://no-such-host.invalid/keys")
    assert result.kind is FailureKind.UNREACHABLE
    assert "no-such-host.invalid" in result.message


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("http://192.0.2.1/keys", "is not https"),
        ("http://id.example/keys", "is not https"),
        ("ftp://127.0.0.1/keys", "is not https"),
        ("file:///etc/passwd", "has no usable host"),
        ("https://user:password@id.example/keys", "has a user name"),
    ],
)
async def test_a_url_that_may_not_be_fetched_is_refused_without_a_connection(url: str, wrong: str) -> None:
    result = await failure(url)
    assert result.kind is FailureKind.INVALID
    assert wrong in result.message


async def test_http_on_loopback_needs_the_setting(provider: LocalIssuer) -> None:
    assert (await failure(keys_url(provider), allow_loopback_http=False)).kind is FailureKind.INVALID
    assert provider.asked.total() == 0


async def test_proxies_of_the_environment_are_not_used(provider: LocalIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert isinstance(await fetch(keys_url(provider)), bytes)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%lo",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:fffe::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:a9:fe:a9fe::",
        "64:ff9b:1:0:a9:fea9:fe00::",
        "2002:a9fe:a9fe::",
        "2002:a9fe:a9fe::1",
        "2002:6464:64c8::1",
        "2002::1",
        "2002:e000:1::",
        "::169.254.169.254",
        "::168.63.129.16",
        "::224.0.0.1",
        "::255.255.255.255",
        "64:ff9b:1::",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
    ],
)
def test_addresses_that_are_never_contacted(address: str) -> None:
    assert forbidden_address(address) is not None


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "192.168.1.1",
        "203.0.113.5",
        "2001:db8::1",
        "fd12:3456::1",
        "2002:cb00:7105::1",
        "64:ff9b::203.0.113.5",
        "64:ff9b:1:fffe::203.0.113.5",
        "::203.0.113.5",
    ],
)
def test_addresses_that_may_be_an_identity_provider(address: str) -> None:
    assert forbidden_address(address) is None


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "0.0.0.0"])  # noqa: S104 - an address to refuse
async def test_a_forbidden_address_is_refused_before_it_is_connected_to(host: str) -> None:
    result = await failure(f"https://{host}/latest/meta-data")
    assert result.kind is FailureKind.UNREACHABLE
    assert "never contacted" in result.message or "not the address of a server" in result.message


async def test_a_numeric_spelling_does_not_hide_a_forbidden_address() -> None:
    assert (await failure("https://2852039166/latest/meta-data")).kind is FailureKind.UNREACHABLE


class PoisonedLoop(asyncio.SelectorEventLoop):
    """An event loop for which DNS gives every name the addresses of a cloud's metadata service."""

    async def getaddrinfo(self, host: Any, port: Any, **_options: Any) -> list[Any]:  # noqa: ANN401 - as asyncio has it
        del host
        addresses = [(socket.AF_INET6, ("fd00:ec2::254", port, 0, 0)), (socket.AF_INET, ("169.254.169.254", port))]
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for family, address in addresses]


def test_a_name_that_resolves_to_forbidden_addresses_is_not_connected_to() -> None:
    with asyncio.Runner(loop_factory=PoisonedLoop) as runner:
        result = runner.run(failure("https://id.example/keys"))
    assert result.kind is FailureKind.UNREACHABLE
    assert "169.254.169.254 is link-local" in result.message
    assert "fd00:ec2::254 is link-local" in result.message


async def test_a_certificate_of_the_configured_authority_is_trusted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with running_issuer(authority.server("127.0.0.1")) as provider:
        assert isinstance(await fetch(keys_url(provider), ca_file=authority.ca_file), bytes)


async def test_a_certificate_of_nobody_is_refused(tmp_path: Path) -> None:
    async with running_issuer(Authority(tmp_path).server("127.0.0.1")) as provider:
        result = await failure(keys_url(provider))
        assert result.kind is FailureKind.UNREACHABLE
        assert "certificate is not trusted" in result.message
        assert provider.asked.total() == 0


async def test_a_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with running_issuer(authority.server("127.0.0.1")) as provider:
        url = keys_url(provider).replace("127.0.0.1", "localhost")
        assert (await failure(url, ca_file=authority.ca_file)).kind is FailureKind.UNREACHABLE


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_a_ca_file_that_cannot_be_used_is_a_configuration_error(tmp_path: Path, content: bytes | None) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ca_file.*cannot be used"):
        Fetcher(settings(ca_file=str(ca_file)))


def test_the_kinds_of_failure_are_the_outcomes_that_are_counted() -> None:
    assert set(FETCH_OUTCOMES) == {"success", "client_refused", *FailureKind}


async def test_a_form_is_posted_as_it_is(provider: LocalIssuer) -> None:
    form = {"token": "a+b/c=", "client_secret": "s &=%ü", "token_type_hint": "access_token"}
    await post(introspection_url(provider), form)
    assert provider.forms == [form]
    (headers,) = provider.headers
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert (headers["Accept"], headers["Accept-Encoding"]) == ("application/json", "identity")


async def test_posts_share_a_connection(provider: LocalIssuer) -> None:
    peers = set()

    async def note_peer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.json_response({})

    provider.script[INTROSPECTION] = note_peer
    async with Fetcher(settings()) as fetcher:
        for _ in range(3):
            await fetcher.post(introspection_url(provider), {}, headers={}, timeout_seconds=10.0)
    assert len(peers) == 1


@pytest.mark.parametrize("status", [200, 400])
async def test_the_body_of_an_answer_or_an_error_is_read(provider: LocalIssuer, status: int) -> None:
    provider.script[INTROSPECTION] = says(status, b"{}", Content_Type="Application/JSON; charset=utf-8")
    assert await answer(provider) == Answer(status=status, content_type="application/json", body=b"{}")


@pytest.mark.parametrize("status", [201, 401, 403, 404, 405, 429, 500, 502, 503, 504])
async def test_no_other_body_is_read(provider: LocalIssuer, status: int) -> None:
    provider.script[INTROSPECTION] = says(status, b"<html>" * 1_000, Content_Encoding="gzip")
    read = await answer(provider)
    assert (read.status, read.body) == (status, b"")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("0", 0), ("1", 1), ("120", 120), ("-1", None), ("1.5", None), ("soon", None), ("9" * 400, None), ("¹", None)],
)
async def test_retry_after_counts_where_it_is_a_number(provider: LocalIssuer, said: str, seconds: int | None) -> None:
    provider.script[INTROSPECTION] = says(429, Retry_After=said)
    assert (await answer(provider)).retry_after_seconds == seconds


async def test_an_answer_without_a_type_has_none(provider: LocalIssuer) -> None:
    provider.script[INTROSPECTION] = untyped
    assert (await answer(provider)).content_type == ""


def test_an_answer_does_not_show_its_body() -> None:
    shown = Answer(status=200, content_type="application/json", body=b'{"username": "alice"}')
    assert "alice" not in repr(shown)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_form_does_not_follow_a_redirect(provider: LocalIssuer, status: int) -> None:
    provider.script[INTROSPECTION] = redirects(f"{provider.issuer}/login?token=canary", status)
    result = await post_failure(provider)
    assert result.kind is FailureKind.ERROR
    assert f"redirects to {provider.issuer}/login (status {status})" in result.message
    assert "canary" not in result.message
    assert provider.asked.total() == 1


@pytest.mark.parametrize("sent", ["form", "header"])
async def test_a_secret_that_a_redirect_sends_back_is_not_shown(provider: LocalIssuer, sent: str) -> None:
    provider.script[INTROSPECTION] = redirects(f"{provider.issuer}/canary-of-a-secret")
    form = {"client_secret": "canary-of-a-secret"} if sent == "form" else {}
    headers = {"Authorization": "Basic canary-of-a-secret"} if sent == "header" else {}
    async with Fetcher(settings()) as fetcher:
        result = await fetcher.post(introspection_url(provider), form, headers=headers, timeout_seconds=10.0)
    assert isinstance(result, FetchFailure)
    assert "canary" not in result.message


async def test_a_form_has_a_deadline_of_its_own(provider: LocalIssuer) -> None:
    provider.script[INTROSPECTION] = provider.drip
    result = await post_failure(provider, deadline=0.1)
    assert result == FetchFailure(
        FailureKind.TIMEOUT, f"{introspection_url(provider)} did not answer within 0.1 seconds"
    )


async def test_a_compressed_answer_is_refused_unread(provider: LocalIssuer) -> None:
    provider.script[INTROSPECTION] = compressed({"active": True})
    assert (await post_failure(provider)).kind is FailureKind.INVALID


async def test_an_answer_over_the_limit_is_given_up(provider: LocalIssuer) -> None:
    provider.script[INTROSPECTION] = endless()
    assert (await post_failure(provider)).kind is FailureKind.INVALID


async def test_a_connection_that_breaks_before_an_answer_is_passing(provider: LocalIssuer) -> None:
    provider.script[INTROSPECTION] = resets
    assert (await post_failure(provider)).passing


async def test_a_connection_that_is_closed_before_an_answer_is_passing(provider: LocalIssuer) -> None:
    provider.script[INTROSPECTION] = hangs_up
    result = await post_failure(provider)
    assert (result.kind, result.passing) == (FailureKind.UNREACHABLE, True)


async def test_a_refused_connection_is_passing() -> None:
    async with running_issuer() as gone:
        pass
    assert (await post_failure(gone)).passing


@pytest.mark.parametrize("misbehaviour", [cuts_short, babbles, says(200, b"x", Content_Encoding="br")])
async def test_an_answer_that_began_is_not_passing(provider: LocalIssuer, misbehaviour: Behaviour) -> None:
    provider.script[INTROSPECTION] = misbehaviour
    assert not (await post_failure(provider)).passing


@pytest.mark.parametrize("url", ["https://169.254.169.254/x", "https://no-such-host.invalid/x"])
async def test_what_will_be_no_better_is_not_passing(url: str) -> None:
    result = await post(url, {})
    assert isinstance(result, FetchFailure)
    assert (result.kind, result.passing) == (FailureKind.UNREACHABLE, False)


async def test_a_server_that_asks_for_our_certificate_gets_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.certify("pgoauthd")
    async with running_issuer(authority.server("127.0.0.1", wants_client=True)) as provider:
        changes = {"ca_file": authority.ca_file, "tls_certificate_file": certificate, "tls_key_file": key}
        assert isinstance(await fetch(keys_url(provider), **changes), bytes)


async def test_a_server_that_asks_for_a_certificate_refuses_who_has_none(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with running_issuer(authority.server("127.0.0.1", wants_client=True)) as provider:
        assert (await failure(keys_url(provider), ca_file=authority.ca_file)).kind is FailureKind.UNREACHABLE
        assert provider.asked.total() == 0


def test_certificate_and_key_may_be_in_one_file(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).certify("pgoauthd")
    both = tmp_path / "both.pem"
    both.write_bytes(Path(certificate).read_bytes() + Path(key).read_bytes())
    Fetcher(settings(tls_certificate_file=str(both)))


def test_a_missing_certificate_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tls_certificate_file: .*No such file"):
        Fetcher(settings(tls_certificate_file=str(tmp_path / "none.pem")))


def test_a_certificate_without_its_key_is_a_configuration_error(tmp_path: Path) -> None:
    certificate, _ = Authority(tmp_path).certify("pgoauthd")
    with pytest.raises(ConfigError, match=r"with the key in the same file cannot be used"):
        Fetcher(settings(tls_certificate_file=certificate))


def test_a_key_of_another_certificate_is_a_configuration_error(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, _ = authority.certify("pgoauthd")
    _, key = authority.certify("other")
    with pytest.raises(ConfigError, match="cannot be used"):
        Fetcher(settings(tls_certificate_file=certificate, tls_key_file=key))


def test_a_key_with_a_password_is_a_configuration_error_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).certify("pgoauthd", password="canary")
    with pytest.raises(ConfigError, match="without a password") as caught:
        Fetcher(settings(tls_certificate_file=certificate, tls_key_file=key))
    assert "canary" not in str(caught.value)
