"""Tokens that are refused before any claim is looked at: text, base64url, JSON and header."""

from __future__ import annotations

import zlib
from typing import Final

from pgoauthd.tokens.reasons import Reason
from tests.fix_tokens import DROP, assemble, good_claims, mint, opened, segment
from tests.tokens.case import EC, RSA, Case, nested, with_header, with_parts

HEADER: Final = {"alg": "RS256", "kid": "rsa-1", "typ": "at+jwt"}


def _text(name: str, reason: Reason, text: str) -> Case:
    return Case(name, reason, lambda _: text)


def _around(name: str, reason: Reason, before: str, after: str) -> Case:
    return Case(name, reason, lambda now: before + mint(now) + after)


def _payload(name: str, reason: Reason, payload: bytes) -> Case:
    return Case(name, reason, lambda _: assemble(HEADER, payload, key=RSA))


def _header(name: str, reason: Reason, header: bytes) -> Case:
    return Case(name, reason, lambda now: assemble(header, good_claims(now), key=RSA))


def _encoded(name: str, reason: Reason, encoding: str) -> Case:
    def token(now: float) -> str:
        payload = opened(mint(now).split(".")[1])
        return assemble(HEADER, payload.decode().encode(encoding), key=RSA)

    return Case(name, reason, token)


def _claim_text(name: str, reason: Reason, extra: str, **claims: object) -> Case:
    """A good payload with one more member in it, as text, so that it can be what no JSON encoder writes."""

    def token(now: float) -> str:
        payload = opened(mint(now, **claims).split(".")[1])  # type: ignore[arg-type]
        return assemble(HEADER, payload[:-1] + b"," + extra.encode() + b"}", key=RSA)

    return Case(name, reason, token)


def _expiry(name: str, text: str) -> Case:
    """A payload whose only fault is how the number of exp is written."""
    return _claim_text(name, Reason.JSON_INVALID, f'"exp":{text}', exp=DROP)


def _compressed(name: str, reason: Reason, **header: object) -> Case:
    """A payload in DEFLATE, as JWE knows it and JWS does not."""

    def token(now: float) -> str:
        payload = zlib.compress(opened(mint(now).split(".")[1]), wbits=-15)
        return assemble(HEADER | header, payload, key=RSA)

    return Case(name, reason, token)


def _detached(name: str, reason: Reason, **header: object) -> Case:
    """Signed over the payload as it is, not as base64url (RFC 7797)."""

    def token(now: float) -> str:
        payload = opened(mint(now).split(".")[1])
        first = segment(HEADER | header)
        return f"{first}.{segment(payload)}.{segment(RSA.sign(first.encode() + b'.' + payload))}"

    return Case(name, reason, token)


def _nested(now: float) -> str:
    """A token in a token (RFC 7519 section 5.2)."""
    return assemble(HEADER | {"cty": "JWT"}, mint(now).encode(), key=RSA)


def _next_character(part: str) -> str:
    """The same bytes in a second spelling: another last character, whose surplus bits are not zero."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return part[:-1] + alphabet[alphabet.index(part[-1]) + 1]


def _respelled_payload(now: float) -> str:
    """Rightly signed over a payload whose last character has surplus bits."""
    payload = segment(good_claims(now, pad="x"))
    while len(payload) % 4 == 0:
        payload = segment(opened(payload)[:-1] + b" }")
    signing_input = f"{segment(HEADER)}.{_next_character(payload)}"
    return f"{signing_input}.{segment(RSA.sign(signing_input.encode()))}"


TEXT_CASES: Final = (
    _text("empty", Reason.TOKEN_EMPTY, ""),
    _around("newline at the end", Reason.TOKEN_MALFORMED, "", "\n"),
    _around("space at the beginning", Reason.TOKEN_MALFORMED, " ", ""),
    _around("scheme before the token", Reason.TOKEN_MALFORMED, "Bearer ", ""),
    _around("in quotes", Reason.TOKEN_MALFORMED, '"', '"'),
    _around("two tokens with a comma", Reason.TOKEN_MALFORMED, "", ",abc"),
    _around("NUL at the end", Reason.TOKEN_MALFORMED, "", "\0"),
    _around("letter beyond ASCII", Reason.TOKEN_MALFORMED, "", "é"),
    _around("fullwidth letter", Reason.TOKEN_MALFORMED, "\uff21", ""),
    _around("percent-encoded", Reason.TOKEN_MALFORMED, "", "%3D"),
    _text("only padding", Reason.TOKEN_MALFORMED, "="),
    _text("JSON serialization", Reason.TOKEN_MALFORMED, '{"payload":"Zm9v","signatures":[]}'),
    with_parts("padding inside", Reason.TOKEN_MALFORMED, lambda p: [p[0] + "=", p[1], p[2]]),
    with_parts("payload with its padding", Reason.TOKEN_MALFORMED, lambda p: [p[0], p[1] + "==", p[2]]),
    with_parts("payload in lines", Reason.TOKEN_MALFORMED, lambda p: [p[0], p[1][:76] + "\r\n" + p[1][76:], p[2]]),
    with_parts("detached payload", Reason.JSON_INVALID, lambda p: [p[0], "", p[2]]),
    with_parts("space between the parts", Reason.TOKEN_MALFORMED, lambda p: [p[0], " " + p[1], p[2]]),
    _text("one byte too large", Reason.TOKEN_TOO_LARGE, "a" * 16_385),
    with_header("kid of 100 KB", Reason.TOKEN_TOO_LARGE, kid="k" * 100_000),
    _text("opaque", Reason.TOKEN_OPAQUE, "ya29~opaque-access-token"),
    _text("opaque of the largest size", Reason.TOKEN_OPAQUE, "a" * 16_384),
    _text("encrypted", Reason.TOKEN_ENCRYPTED, "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AAAA.BBBB.CCCC.DDDD"),
    with_parts("without signature and its dot", Reason.TOKEN_MALFORMED, lambda p: p[:2]),
    with_parts("dot at the end", Reason.TOKEN_MALFORMED, lambda p: [*p, ""]),
    with_parts("six parts", Reason.TOKEN_MALFORMED, lambda p: [*p, *p]),
    with_parts("without header", Reason.TOKEN_MALFORMED, lambda p: ["", p[1], p[2]]),
    _text("only dots", Reason.TOKEN_MALFORMED, ".."),
)

BASE64_CASES: Final = (
    _around("one padding character at the end", Reason.BASE64_INVALID, "", "="),
    with_parts("EC signature with its padding", Reason.BASE64_INVALID, lambda p: [*p[:2], p[2] + "=="], key=EC),
    with_parts("all parts with a surplus A", Reason.BASE64_INVALID, lambda p: [part + "A" for part in p]),
    with_parts("signature in the alphabet of base64", Reason.BASE64_INVALID, lambda p: [*p[:2], "+/" + p[2][2:]]),
    _around("padding at the end", Reason.BASE64_INVALID, "", "=="),
    _around("surplus padding at the end", Reason.BASE64_INVALID, "", "==="),
    _around("a group of padding at the end", Reason.BASE64_INVALID, "", "===="),
    _around("a group of tildes at the end", Reason.BASE64_INVALID, "", "~~~~"),
    with_parts("signature in a second spelling", Reason.BASE64_INVALID, lambda p: [*p[:2], _next_character(p[2])]),
    Case("payload in a second spelling", Reason.BASE64_INVALID, _respelled_payload),
    with_parts("plus in the header", Reason.BASE64_INVALID, lambda p: ["+" + p[0][1:], *p[1:]]),
    with_parts("slash in the payload", Reason.BASE64_INVALID, lambda p: [p[0], "/" + p[1][1:], p[2]]),
    with_parts("tilde in the signature", Reason.BASE64_INVALID, lambda p: [*p[:2], "~" + p[2][1:]]),
    with_parts("one character too few", Reason.BASE64_INVALID, lambda p: [*p[:2], p[2][:-1]]),
    with_parts("a lone character as payload", Reason.BASE64_INVALID, lambda p: [p[0], "A", p[2]]),
)

JSON_CASES: Final = (
    _header("header is not JSON", Reason.JSON_INVALID, b"alg=RS256"),
    _header("header is an array", Reason.JSON_INVALID, b'["RS256"]'),
    _header("header is null", Reason.JSON_INVALID, b"null"),
    _header("header in UTF-16", Reason.JSON_INVALID, '{"alg":"RS256"}'.encode("utf-16")),
    _header("header with byte order mark", Reason.JSON_INVALID, b'\xef\xbb\xbf{"alg":"RS256"}'),
    _header("header followed by more", Reason.JSON_INVALID, b'{"alg":"RS256"}{}'),
    _payload("payload is empty", Reason.JSON_INVALID, b""),
    _payload("payload is text", Reason.JSON_INVALID, b"Zm9v"),
    _payload("payload is a string", Reason.JSON_INVALID, b'"alice"'),
    _payload("payload is an array", Reason.JSON_INVALID, b"[]"),
    _payload("payload is null", Reason.JSON_INVALID, b"null"),
    _payload("payload with single quotes", Reason.JSON_INVALID, b"{'sub':'alice'}"),
    _payload("payload with a trailing comma", Reason.JSON_INVALID, b'{"sub":"alice",}'),
    _payload("payload with a comment", Reason.JSON_INVALID, b'{"sub":"alice"/**/}'),
    _payload("payload not in UTF-8", Reason.JSON_INVALID, '{"sub":"zoë"}'.encode("latin-1")),
    _payload("payload with an overlong encoding", Reason.JSON_INVALID, b'{"sub":"\xc0\xaf"}'),
    _payload("payload with a raw control character", Reason.JSON_INVALID, b'{"sub":"a\nb"}'),
    _encoded("payload with byte order mark", Reason.JSON_INVALID, "utf-8-sig"),
    _encoded("payload in UTF-16", Reason.JSON_INVALID, "utf-16"),
    _encoded("payload in UTF-16 without mark", Reason.JSON_INVALID, "utf-16-le"),
    _encoded("payload in UTF-16 of the other order", Reason.JSON_INVALID, "utf-16-be"),
    _encoded("payload in UTF-32", Reason.JSON_INVALID, "utf-32"),
    _encoded("payload in UTF-32 without mark", Reason.JSON_INVALID, "utf-32-be"),
    _header("header in UTF-16 without mark", Reason.JSON_INVALID, '{"alg":"RS256"}'.encode("utf-16-le")),
    _header("header in UTF-32", Reason.JSON_INVALID, '{"alg":"RS256"}'.encode("utf-32")),
    _header("header with a surrogate", Reason.JSON_INVALID, rb'{"alg":"RS256","kid":"\ud800"}'),
    _header(
        "header with arrays 900 deep", Reason.JSON_INVALID, b'{"alg":"RS256","x":' + b"[" * 900 + b"]" * 900 + b"}"
    ),
    _expiry("exp is NaN", "NaN"),
    _expiry("exp is infinite", "Infinity"),
    _expiry("exp is 1e999", "1e999"),
    _expiry("exp in hexadecimal", "0x7fffffff"),
    _expiry("exp with a zero before it", "04000000000"),
    _expiry("exp with a plus before it", "+4000000000"),
    _expiry("exp with underscores", "4_000_000_000"),
    _claim_text("sub with a lone surrogate", Reason.JSON_INVALID, r'"sub":"\ud83dalice"', sub=DROP),
    _claim_text("sub with surrogates in wrong order", Reason.JSON_INVALID, r'"sub":"\ude00\ud83d"', sub=DROP),
    _compressed("payload compressed and not said to be", Reason.JSON_INVALID),
    Case("token in a token", Reason.JSON_INVALID, _nested),
    _claim_text("NaN", Reason.JSON_INVALID, '"x":NaN'),
    _claim_text("infinity", Reason.JSON_INVALID, '"x":-Infinity'),
    _claim_text("number beyond a double", Reason.JSON_INVALID, '"x":1e999'),
    _claim_text("integer of 5000 digits", Reason.JSON_INVALID, '"x":' + "9" * 5000),
    _claim_text("lone surrogate", Reason.JSON_INVALID, r'"x":"\ud800"'),
    _claim_text("lone surrogate in a key", Reason.JSON_INVALID, r'"\uDfff":1'),
    _claim_text("arrays 900 deep", Reason.JSON_INVALID, '"x":' + "[" * 900 + "]" * 900),
    _claim_text("arrays 5000 deep", Reason.JSON_INVALID, '"x":' + "[" * 5000 + "]" * 5000),
    Case("objects 17 deep", Reason.JSON_INVALID, lambda now: mint(now, x=nested(16))),
    _claim_text("iss twice", Reason.JSON_DUPLICATE_KEY, '"iss":"https://evil.example"'),
    _claim_text("aud twice", Reason.JSON_DUPLICATE_KEY, '"aud":"pg-cluster"'),
    _claim_text("exp twice", Reason.JSON_DUPLICATE_KEY, '"exp":4000000000'),
    _claim_text("scope twice, the same", Reason.JSON_DUPLICATE_KEY, '"scope":"postgres profile"'),
    _header("kid twice", Reason.JSON_DUPLICATE_KEY, b'{"alg":"RS256","kid":"rsa-1","kid":"rsa-2"}'),
    _header("alg twice, once escaped", Reason.JSON_DUPLICATE_KEY, rb'{"alg":"none","\u0061lg":"RS256"}'),
    _claim_text("sub twice", Reason.JSON_DUPLICATE_KEY, '"sub":"mallory"'),
    _claim_text("sub twice, once escaped", Reason.JSON_DUPLICATE_KEY, r'"s\u0075b":"mallory"'),
    _claim_text("key twice in an inner object", Reason.JSON_DUPLICATE_KEY, '"x":[{"y":{"z":1,"z":1}}]'),
    _header("alg twice", Reason.JSON_DUPLICATE_KEY, b'{"alg":"RS256","alg":"none","kid":"rsa-1"}'),
)

HEADER_CASES: Final = (
    with_header("header of 5 KB", Reason.HEADER_INVALID, x5c=["A" * 5000]),
    with_header("alg missing", Reason.HEADER_INVALID, alg=DROP),
    with_header("alg is null", Reason.HEADER_INVALID, alg=None),
    with_header("alg is empty", Reason.HEADER_INVALID, alg=""),
    with_header("alg is a number", Reason.HEADER_INVALID, alg=256),
    with_header("alg is a list", Reason.HEADER_INVALID, alg=["RS256", "none"]),
    with_header("typ is a number", Reason.HEADER_INVALID, typ=1),
    with_header("typ is empty", Reason.HEADER_INVALID, typ=""),
    with_header("compressed", Reason.HEADER_INVALID, zip="DEF"),
    with_header("compression is null", Reason.HEADER_INVALID, zip=None),
    _compressed("compressed in truth", Reason.HEADER_INVALID, zip="DEF"),
    _detached("payload signed as it is", Reason.HEADER_INVALID, b64=False),
    _detached("payload signed as it is, said to be critical", Reason.HEADER_CRITICAL, b64=False, crit=["b64"]),
    with_header("b64 is null", Reason.HEADER_INVALID, b64=None),
    with_header("critical extension that nobody knows", Reason.HEADER_CRITICAL, crit=["https://id.example/x"]),
    with_header("critical alg", Reason.HEADER_CRITICAL, crit=["alg"]),
    with_header("crit is a string", Reason.HEADER_CRITICAL, crit="exp"),
    with_header("crit in a header with a forbidden alg", Reason.HEADER_CRITICAL, crit=["exp"], alg="none"),
    with_header("alg is true", Reason.HEADER_INVALID, alg=True),
    with_header("alg is an object", Reason.HEADER_INVALID, alg={"name": "RS256"}),
    with_header("typ is null", Reason.HEADER_INVALID, typ=None),
    with_header("typ is a list", Reason.HEADER_INVALID, typ=["at+jwt"]),
    with_header("kid of 10 KB", Reason.HEADER_INVALID, kid="k" * 10_000),
    with_header("kid is true", Reason.KID_INVALID, kid=True),
    with_header("kid is a fraction", Reason.KID_INVALID, kid=1.5),
    with_header("kid in a list in a list", Reason.KID_INVALID, kid=[["rsa-1"]]),
    with_header("kid with ESC", Reason.KID_INVALID, kid="\x1b[2Jrsa-1"),
    with_header("payload not encoded", Reason.HEADER_INVALID, b64=False),
    with_header("payload encoded, said needlessly", Reason.HEADER_INVALID, b64=True),
    with_header("critical extension", Reason.HEADER_CRITICAL, crit=["exp"], exp=1),
    with_header("critical b64", Reason.HEADER_CRITICAL, crit=["b64"], b64=False),
    with_header("empty crit", Reason.HEADER_CRITICAL, crit=[]),
    with_header("crit is null", Reason.HEADER_CRITICAL, crit=None),
    with_header("kid is a list", Reason.KID_INVALID, kid=["rsa-1"]),
    with_header("kid is a number", Reason.KID_INVALID, kid=1),
    with_header("kid is null", Reason.KID_INVALID, kid=None),
    with_header("kid is an object", Reason.KID_INVALID, kid={"rsa-1": 1}),
    with_header("kid is empty", Reason.KID_INVALID, kid=""),
    with_header("kid of 257 characters", Reason.KID_INVALID, kid="k" * 257),
    with_header("kid with NUL", Reason.KID_INVALID, kid="rsa-1\0"),
    with_header("kid with a newline", Reason.KID_INVALID, kid="rsa-1\nlevel=info"),
    with_header("kid with a bidirectional control", Reason.KID_INVALID, kid="rsa-1\u202e"),
    with_header("ID token by its typ", Reason.TYPE_FORBIDDEN, typ="id+jwt"),
    with_header("logout token by its typ", Reason.TYPE_FORBIDDEN, typ="logout+jwt"),
    with_header("security event by its typ", Reason.TYPE_FORBIDDEN, typ="secevent+jwt"),
    with_header("proof of possession by its typ", Reason.TYPE_FORBIDDEN, typ="dpop+jwt"),
    with_header("client assertion by its typ", Reason.TYPE_FORBIDDEN, typ="client-authentication+jwt"),
    with_header("introspection answer by its typ", Reason.TYPE_FORBIDDEN, typ="token-introspection+jwt"),
    with_header("request object by its typ", Reason.TYPE_FORBIDDEN, typ="oauth-authz-req+jwt"),
    with_header("access token that only Okta may judge", Reason.TYPE_FORBIDDEN, typ="application/okta-internal-at+jwt"),
    with_header("JOSE by its typ", Reason.TYPE_FORBIDDEN, typ="JOSE"),
    with_header("typ of two types", Reason.TYPE_FORBIDDEN, typ="at+jwt,JWT"),
    with_header("typ with a space", Reason.TYPE_FORBIDDEN, typ="at+jwt "),
    with_header("typ application/ and nothing", Reason.TYPE_FORBIDDEN, typ="application/"),
    with_header("typ application/ twice", Reason.TYPE_FORBIDDEN, typ="application/application/jwt"),
    with_header("forbidden typ with a forbidden alg", Reason.TYPE_FORBIDDEN, typ="id+jwt", alg="none"),
    with_header("key of another type and forbidden typ", Reason.TYPE_FORBIDDEN, key=EC, typ="id+jwt"),
)

FORMAT_CASES: Final = (*TEXT_CASES, *BASE64_CASES, *JSON_CASES, *HEADER_CASES)
