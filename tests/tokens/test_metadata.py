from __future__ import annotations

import json

import pytest

from pgoauthd.tokens.metadata import IssuerMetadata, check_url, read_metadata
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from tests.fix_tokens import DROP, ISSUER, changed

GOOD = {
    "issuer": ISSUER,
    "jwks_uri": f"{ISSUER}/certs",
    "introspection_endpoint": f"{ISSUER}/introspect",
    "token_endpoint": f"{ISSUER}/token",
    "grant_types_supported": ["client_credentials"],
}


def _body(**changes: object) -> bytes:
    return json.dumps(changed(GOOD, changes)).encode()


def _refused(body: bytes, *, allow_loopback_http: bool = False) -> str:
    metadata = read_metadata(body, ISSUER, allow_loopback_http=allow_loopback_http)
    assert isinstance(metadata, Refusal)
    assert metadata.reason is Reason.IDP_METADATA_INVALID
    return metadata.message


def test_good_metadata_gives_the_endpoints() -> None:
    assert read_metadata(_body(), ISSUER, allow_loopback_http=False) == IssuerMetadata(
        issuer=ISSUER,
        jwks_uri=f"{ISSUER}/certs",
        introspection_endpoint=f"{ISSUER}/introspect",
        token_endpoint=f"{ISSUER}/token",
    )


def test_only_the_key_set_must_be_named() -> None:
    body = _body(introspection_endpoint=DROP, token_endpoint=DROP)
    assert read_metadata(body, ISSUER, allow_loopback_http=False) == IssuerMetadata(
        issuer=ISSUER, jwks_uri=f"{ISSUER}/certs"
    )


@pytest.mark.parametrize(
    "issuer",
    [ISSUER + "/", ISSUER.upper(), ISSUER[:-1], "https://evil.example", "", None, [ISSUER], DROP],
)
def test_metadata_of_another_issuer_is_refused(issuer: object) -> None:
    assert "names the issuer" in _refused(_body(issuer=issuer))


def test_metadata_without_issuer_is_refused_with_what_was_expected() -> None:
    assert _refused(_body(issuer=DROP)) == f"the metadata names the issuer none; configured is '{ISSUER}'"


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"<html>", b"\xff", b"\xef\xbb\xbf" + _body(), _body()[:-1], b'{"issuer":1,"issuer":2}'],
)
def test_a_body_that_is_no_metadata_is_refused(body: bytes) -> None:
    assert _refused(body).startswith("the metadata ")


@pytest.mark.parametrize("url", ["", 1, ["https://id.example/certs"], "http://id.example/certs", "certs"])
def test_metadata_with_an_unusable_key_set_url_is_refused(url: object) -> None:
    assert "jwks_uri" in _refused(_body(jwks_uri=url))


@pytest.mark.parametrize("url", [DROP, None])
def test_metadata_of_an_issuer_of_opaque_tokens_needs_no_key_set(url: object) -> None:
    metadata = read_metadata(_body(jwks_uri=url), ISSUER, allow_loopback_http=False)
    assert isinstance(metadata, IssuerMetadata)
    assert metadata.jwks_uri is None


@pytest.mark.parametrize("name", ["introspection_endpoint", "token_endpoint"])
def test_metadata_with_a_bad_optional_endpoint_is_refused(name: str) -> None:
    assert name in _refused(_body(**{name: "http://id.example/x"}))


def test_loopback_http_in_metadata_needs_the_setting() -> None:
    body = _body(jwks_uri="http://127.0.0.1:8180/certs")
    assert isinstance(read_metadata(body, ISSUER, allow_loopback_http=True), IssuerMetadata)
    assert _refused(body) == "the metadata has a jwks_uri that is not https"


@pytest.mark.parametrize(
    "url",
    [
        "https://id.example",
        "https://id.example:8443/a/b?p=policy",
        "HTTPS://id.example/",
        "https://127.0.0.1/",
        "https://[2001:db8::1]/certs",
        "https://id.example/".ljust(2048, "x"),
    ],
)
def test_an_https_url_is_good(url: str) -> None:
    assert check_url(url, allow_loopback_http=False) is None


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://127.8.9.10:1/", "http://[::1]:8180/x", "http://localhost:8180/", "http://LOCALHOST/"],
)
def test_http_on_loopback_is_good_only_where_allowed(url: str) -> None:
    assert check_url(url, allow_loopback_http=True) is None
    assert check_url(url, allow_loopback_http=False) == "is not https"


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example/",
        "http://localhost.evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://127.1/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://0.0.0.0/",
        "http://169.254.169.254/",
        "http://10.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "unix:///run/x.sock",
        "//id.example/",
        "/certs",
        "id.example",
        "https://",
        "https:///certs",
        "https://:443/",
        "https://id.example:0/",
        "https://id.example:99999/",
        "https://id.example:x/",
        "https://[::1/",
        "https://user@id.example/",
        "https://user:password@id.example/",
        "https://@id.example/",
        "https://id.example@evil.example/",
        "https://id.example/#x",
        "https://id.example/#",
        "https://id.example/ x",
        " https://id.example/",
        "https://id.example/\n",
        "https://id.exa\tmple/",
        "https://evil.example\\@id.example/",
        "https://idé.example/",
        "https://id.example/".ljust(2049, "x"),
        "",
    ],
)
def test_a_url_is_refused(url: str) -> None:
    assert check_url(url, allow_loopback_http=True) is not None
