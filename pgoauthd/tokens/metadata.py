"""An issuer's metadata document (OpenID Connect Discovery 1.0, RFC 8414) read and held against what was configured.

It says where the keys are; it never fetches anything, and a document that names another issuer says nothing.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import msgspec

from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.strictjson import read_object
from pgoauthd.tokens.verdict import Refusal
from pgoauthd.tokens.wording import kind, quoted

MAX_URL_CHARACTERS = 2048


class IssuerMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What of an issuer's metadata is used here."""

    issuer: str
    jwks_uri: str | None = None
    introspection_endpoint: str | None = None
    token_endpoint: str | None = None


def read_metadata(body: bytes, issuer: str, *, allow_loopback_http: bool) -> IssuerMetadata | Refusal:
    """Read a metadata document as fetched.

    Refused with idp_metadata_invalid: not a JSON object, an `issuer` other than exactly the configured one (RFC 8414
    section 3.3), or an endpoint whose URL is refused by `check_url`.
    """
    document = read_object(body, "the metadata")
    if isinstance(document, Refusal):
        return Refusal(Reason.IDP_METADATA_INVALID, document.message)
    named = document.get("issuer")
    if named != issuer:
        found = quoted(named) if isinstance(named, str) else kind(named) if "issuer" in document else "none"
        return _invalid(f"names the issuer {found}; configured is {quoted(issuer)}")
    endpoints = {}
    for name in ("jwks_uri", "introspection_endpoint", "token_endpoint"):
        url = document.get(name)
        if (wrong := _wrong_endpoint(name, url, allow_loopback_http=allow_loopback_http)) is not None:
            return _invalid(wrong)
        endpoints[name] = url
    return msgspec.convert({"issuer": issuer, **endpoints}, IssuerMetadata)


def check_url(url: str, *, allow_loopback_http: bool) -> str | None:
    """What is wrong with the URL of an endpoint, or None.

    Wanted is https with a host, without user name, password and fragment; http is for loopback addresses alone
    (127.0.0.0/8, ::1, localhost), and only where allowed.
    """
    if len(url) > MAX_URL_CHARACTERS or not url.isascii() or not url.isprintable() or not {" ", "\\"}.isdisjoint(url):
        return f"is not a URL of up to {MAX_URL_CHARACTERS} ASCII characters without spaces and backslashes"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if not host or port == 0:
        return "has no usable host and port"
    if "@" in parts.netloc:
        return "has a user name in it"
    if "#" in url:
        return "has a fragment"
    if parts.scheme == "https" or (parts.scheme == "http" and allow_loopback_http and _is_loopback(host)):
        return None
    return "is not https" + (" nor http on a loopback address" if allow_loopback_http else "")


def _invalid(what: str) -> Refusal:
    return Refusal(Reason.IDP_METADATA_INVALID, f"the metadata {what}")


def _wrong_endpoint(name: str, url: object, *, allow_loopback_http: bool) -> str | None:
    if url is None:
        return None
    if not isinstance(url, str):
        return f"has {kind(url)} as {name}; expected a URL"
    wrong = check_url(url, allow_loopback_http=allow_loopback_http)
    return None if wrong is None else f"has a {name} that {wrong}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
