from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pgoauthd.config import Issuer
from pgoauthd.errors import ConfigError
from pgoauthd.runtime.fetch import MAX_BODY_BYTES, FailureKind, Fetcher, FetchFailure, forbidden_address
from pgoauthd.telemetry.metrics import FETCH_OUTCOMES
from tests.fix_issuer import (
    JWKS,
    LocalIssuer,
    babbles,
    compressed,
    cuts_short,
    endless,
    redirects,
    resets,
    running_issuer,
    says,
)


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


def certificate(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that signs itself, and the context of a server that has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public, private = directory / "ca.pem", directory / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


async def test_a_certificate_of_the_configured_authority_is_trusted(tmp_path: Path) -> None:
    ca_file, context = certificate(tmp_path)
    async with running_issuer(context) as provider:
        assert isinstance(await fetch(keys_url(provider), ca_file=str(ca_file)), bytes)


async def test_a_certificate_of_nobody_is_refused(tmp_path: Path) -> None:
    _, context = certificate(tmp_path)
    async with running_issuer(context) as provider:
        result = await failure(keys_url(provider))
        assert result.kind is FailureKind.UNREACHABLE
        assert "certificate is not trusted" in result.message
        assert provider.asked.total() == 0


async def test_a_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    ca_file, context = certificate(tmp_path)
    async with running_issuer(context) as provider:
        url = keys_url(provider).replace("127.0.0.1", "localhost")
        assert (await failure(url, ca_file=str(ca_file))).kind is FailureKind.UNREACHABLE


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_a_ca_file_that_cannot_be_used_is_a_configuration_error(tmp_path: Path, content: bytes | None) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ca_file.*cannot be used"):
        Fetcher(settings(ca_file=str(ca_file)))


def test_the_kinds_of_failure_are_the_outcomes_that_are_counted() -> None:
    assert set(FETCH_OUTCOMES) == {"success", *FailureKind}
