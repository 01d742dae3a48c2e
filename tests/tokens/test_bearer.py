from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError

import msgspec
import pytest
from rich.pretty import pretty_repr

from pgoauthd.tokens.bearer import BearerToken, UnverifiedToken, decode
from pgoauthd.tokens.compact import Compact, read_compact
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from tests.fix_tokens import DROP, ISSUER, mint, opened
from tests.tokens.through_core import NOW

TEXT = mint(NOW)


def _bearer() -> BearerToken:
    token = BearerToken.read(TEXT, max_bytes=len(TEXT))
    assert isinstance(token, BearerToken)
    return token


def _decoded() -> UnverifiedToken:
    token = decode(_bearer())
    assert isinstance(token, UnverifiedToken)
    return token


def _compact() -> Compact:
    token = read_compact(TEXT)
    assert isinstance(token, Compact)
    return token


def test_a_token_of_exactly_the_largest_size_is_read() -> None:
    assert _bearer().reveal() == TEXT


def test_a_token_one_byte_larger_is_refused() -> None:
    refusal = BearerToken.read(TEXT, max_bytes=len(TEXT) - 1)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.TOKEN_TOO_LARGE


def test_every_character_that_postgresql_lets_through_is_read() -> None:
    assert isinstance(BearerToken.read("AZaz09-._~+/==", max_bytes=100), BearerToken)


@pytest.mark.parametrize("value", [_bearer(), _decoded(), _compact()], ids=["bearer", "decoded", "compact"])
@pytest.mark.parametrize("show", [repr, str, "{}".format, "%s".__mod__, pretty_repr, lambda value: repr([value])])
def test_shown_in_any_way_it_is_redacted(value: object, show: Callable[[object], str]) -> None:
    shown = show(value)
    assert "redacted" in shown
    assert len(shown) < 40


@pytest.mark.parametrize("write", [pickle.dumps, copy.copy, copy.deepcopy, msgspec.json.encode, msgspec.to_builtins])
def test_a_bearer_token_is_not_written_or_copied(write: Callable[[object], object]) -> None:
    with pytest.raises(TypeError) as raised:
        write(_bearer())
    assert TEXT[:12] not in str(raised.value)


def test_a_bearer_token_has_no_dictionary_to_look_into() -> None:
    assert not hasattr(_bearer(), "__dict__")


def test_a_decoded_token_cannot_be_changed() -> None:
    token = _decoded()
    with pytest.raises(FrozenInstanceError):
        token.issuer = "https://evil.example"  # type: ignore[misc]


def test_a_decoded_token_says_what_it_says_of_itself() -> None:
    token = _decoded()
    assert (token.algorithm, token.kid, token.typ, token.issuer) == ("RS256", "rsa-1", "at+jwt", ISSUER)
    assert token.header == {"alg": "RS256", "kid": "rsa-1", "typ": "at+jwt"}
    assert token.claims["sub"] == "alice"
    assert token.signing_input == TEXT.rpartition(".")[0].encode()
    assert len(token.signature) == 256


@pytest.mark.parametrize("issuer", [None, 1, [ISSUER], {"a": 1}])
def test_an_issuer_that_is_no_string_is_none(issuer: object) -> None:
    token = decode(BearerToken(mint(NOW, iss=issuer)))
    assert isinstance(token, UnverifiedToken)
    assert token.issuer is None


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"alg": DROP}, "the header's alg is missing; expected a string"),
        ({"alg": ""}, "the header's alg is empty; expected a string"),
        ({"alg": 1}, "the header's alg is a number; expected a string"),
        ({"typ": None}, "the header's typ is null; expected a string"),
        ({"kid": ""}, "the header's kid is not a string of 1 to 256 printable characters"),
        ({"zip": "DEF"}, "the token's header has zip, which no access token needs"),
        ({"x": "y" * 4096}, "the token's header has 4147 bytes; 4096 are allowed"),
    ],
)
def test_a_header_is_refused_with_what_is_wrong_in_it(header: dict[str, object], message: str) -> None:
    refusal = decode(BearerToken(mint(NOW, header=header)))
    assert isinstance(refusal, Refusal)
    assert refusal.message == message


def test_a_header_of_exactly_the_largest_size_is_read() -> None:
    size = len(opened(TEXT.split(".")[0])) + len(',"x":""')
    assert isinstance(decode(BearerToken(mint(NOW, header={"x": "y" * (4096 - size)}))), UnverifiedToken)
    assert isinstance(decode(BearerToken(mint(NOW, header={"x": "y" * (4097 - size)}))), Refusal)


def test_a_kid_of_exactly_the_largest_size_is_read() -> None:
    assert isinstance(decode(BearerToken(mint(NOW, header={"kid": "k" * 256}))), UnverifiedToken)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (1, "the token has no dot, so it is not a JWT"),
        (2, "the token has 2 parts between dots; a signed JWT has three"),
        (4, "the token has 4 parts between dots; a signed JWT has three"),
        (5, "the token has the five parts of an encrypted JWT (JWE)"),
        (6, "the token has 6 parts between dots; a signed JWT has three"),
    ],
)
def test_a_token_of_another_number_of_parts_is_refused(parts: int, message: str) -> None:
    refusal = read_compact(".".join(["AAAA"] * parts))
    assert isinstance(refusal, Refusal)
    assert refusal.message == message


@pytest.mark.parametrize("part", ["header", "payload", "signature"])
def test_the_part_that_is_not_base64url_is_named(part: str) -> None:
    parts = {"header": "e30", "payload": "e30", "signature": "AAAA", part: "A"}
    refusal = read_compact(".".join(parts.values()))
    assert refusal == Refusal(Reason.BASE64_INVALID, f"the token's {part} is not canonical base64url without padding")
