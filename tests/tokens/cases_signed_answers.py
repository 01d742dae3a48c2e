"""Signed introspection answers (RFC 9701) that are refused: as JWTs, as answers to us now, and for what is in them."""

from __future__ import annotations

from typing import Any, Final

from pgoauthd.tokens.reasons import Reason
from tests.fix_tokens import AUDIENCE, DROP, ISSUER, mint
from tests.tokens.case import EC, EC_384, EC_FORGER, FORGER
from tests.tokens.case_introspection import (
    CLIENT,
    OTHER,
    SIGNED,
    Bytes,
    IntrospectionCase,
    at,
    good_answer,
    raw,
    says,
    signed,
)


def _signed(name: str, reason: Reason = Reason.INTROSPECTION_INVALID, /, **changes: Any) -> IntrospectionCase:  # noqa: ANN401 - what signed() takes
    return IntrospectionCase(name, reason, signed(**changes), SIGNED)


def _other_jwt(**claims: Any) -> Bytes:  # noqa: ANN401 - any claim or part of mint
    """A JWT of the issuer for us that is no answer, whatever is in it."""
    return lambda now: mint(now, key=EC, **({"aud": CLIENT, "token_introspection": good_answer(now)} | claims)).encode()


def _with_payload_of_another(now: float) -> bytes:
    (header, _, signature), other = (signed(sub=sub)(now).split(b".") for sub in ("alice", "postgres"))
    return b".".join((header, other[1], signature))


SIGNED_REFUSALS: Final = (
    IntrospectionCase("plain answer where a signed one is due", Reason.INTROSPECTION_INVALID, says(), SIGNED),
    IntrospectionCase(
        "plain inactive where a signed one is due", Reason.INTROSPECTION_INVALID, raw(b'{"active":false}'), SIGNED
    ),
    IntrospectionCase("signed answer of nothing", Reason.INTROSPECTION_INVALID, raw(b""), SIGNED),
    IntrospectionCase("signed answer of bytes", Reason.INTROSPECTION_INVALID, raw(b"\xff\xfe.\x00.\x00"), SIGNED),
    IntrospectionCase("signed answer of five parts", Reason.INTROSPECTION_INVALID, raw(b"e30.e30.e30.e30.e30"), SIGNED),
    IntrospectionCase(
        "signed answer in quotes", Reason.INTROSPECTION_INVALID, lambda now: b'"' + signed()(now) + b'"', SIGNED
    ),
    IntrospectionCase(
        "signed answer without its signature",
        Reason.INTROSPECTION_INVALID,
        lambda now: signed()(now).rpartition(b".")[0] + b".",
        SIGNED,
    ),
    IntrospectionCase(
        "signed answer with another payload",
        Reason.INTROSPECTION_INVALID,
        _with_payload_of_another,
        SIGNED,
    ),
    IntrospectionCase("access token as an answer", Reason.INTROSPECTION_INVALID, _other_jwt(), SIGNED),
    IntrospectionCase("ID token as an answer", Reason.INTROSPECTION_INVALID, _other_jwt(header={"typ": "JWT"}), SIGNED),
    _signed("signed answer without a typ", header={"typ": DROP}),
    _signed("signed answer with typ JWT", header={"typ": "JWT"}),
    _signed("signed answer with another typ", header={"typ": "token-introspection+jwt2"}),
    _signed("signed answer with alg none", header={"alg": "none"}),
    _signed("signed answer with HS256", header={"alg": "HS256"}),
    _signed("signed answer with an algorithm that is not allowed", key=EC_384),
    _signed("signed answer with crit", header={"crit": ["exp"]}),
    _signed("signed answer with an unknown kid", header={"kid": "nobody"}),
    _signed("signed answer with a key of another kind", header={"kid": "rsa-1"}),
    _signed("signed answer of a forger", key=EC_FORGER, header={"kid": "ec-256"}),
    _signed(
        "signed answer with the forger's key in its header", key=FORGER, header={"kid": "rsa-1", "jwk": FORGER.jwk()}
    ),
    _signed("signed answer without iss", iss=DROP),
    _signed("signed answer of another issuer", iss=OTHER),
    _signed("signed answer with a list of issuers", iss=[ISSUER]),
    _signed("signed answer without aud", aud=DROP),
    _signed("signed answer for another client", aud="psql"),
    _signed("signed answer for the database", aud=AUDIENCE),
    _signed("signed answer for a number beside us", aud=[CLIENT, 1]),
    _signed("signed answer without iat", iat=DROP),
    _signed("signed answer with iat as a string", iat=lambda now: str(int(now))),
    _signed("signed answer with iat true", iat=True),
    _signed("signed answer with iat of 400 digits", iat=-(10**400)),
    _signed("signed answer from before", iat=at(-120)),
    _signed("signed answer from later", iat=at(120)),
    _signed("signed answer that expired", exp=at(-60)),
    _signed("signed answer with exp null", exp=None),
    _signed("signed answer not yet valid", nbf=at(120)),
    _signed("signed answer without an answer", token_introspection=DROP),
    _signed("signed answer with a list for an answer", token_introspection=[{"active": True}]),
    _signed("signed answer with an answer in a string", token_introspection='{"active": true}'),
    _signed("signed answer with its members outside", token_introspection={}, active=True, sub="alice"),
    _signed("signed answer with active as a string", inner={"active": "true"}),
    _signed("signed answer: not active", Reason.TOKEN_INACTIVE, inner={"active": False}),
    _signed("signed answer: expired", Reason.EXPIRED, inner={"exp": at(-60)}),
    _signed("signed answer: other issuer", Reason.ISSUER_MISMATCH, inner={"iss": OTHER}),
    _signed("signed answer: other audience", Reason.AUDIENCE_MISMATCH, inner={"aud": CLIENT}),
    _signed("signed answer: no scope", Reason.SCOPE_MISSING, inner={"scope": DROP}),
)
