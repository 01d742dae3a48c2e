from __future__ import annotations

import base64
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgoauthd.tokens.bearer import BearerToken
from pgoauthd.tokens.disclosure import check_disclosure
from pgoauthd.tokens.reasons import Reason
from tests.fix_tokens import DROP, ISSUER, mint, segment
from tests.tokens.case import EC
from tests.tokens.case_introspection import ASKED, OTHER
from tests.tokens.through_core import NOW

NAMES_OTHER = json.dumps({"iss": OTHER}).encode()


def _shown(text: str) -> bool:
    refusal = check_disclosure(BearerToken(text), ASKED.policy)
    assert refusal is None or refusal.reason is Reason.ISSUER_MISMATCH
    return refusal is None


@pytest.mark.parametrize(
    "text",
    [
        "4c5dc9b7708905f77f5e5d16316b5dfb",
        "v4.public.eyJzdWIiOiJhIn0",
        "...",
        "a.b",
        mint(NOW, key=EC),
        mint(NOW, key=EC, iss=DROP),
        f"{segment(b'{}')}.{segment(b'[1]')}.",
        f"{segment(b'{}')}.{segment(json.dumps({'more': {'iss': OTHER}}).encode())}.",
    ],
)
def test_a_token_that_names_nobody_or_this_issuer_is_shown_to_it(text: str) -> None:
    assert _shown(text)


@pytest.mark.parametrize(
    "text",
    [
        mint(NOW, key=EC, iss=OTHER),
        mint(NOW, key=EC, iss=OTHER, header={"crit": ["x"], "alg": DROP}),
        mint(NOW, key=EC, iss=None),
        f"x.{segment(NAMES_OTHER)}.x",
        f"x.{segment(NAMES_OTHER)}",
        segment(NAMES_OTHER),
        f"{segment(NAMES_OTHER)}.a.b.c.d",
        f"x.{base64.urlsafe_b64encode(NAMES_OTHER).decode()}.x",
        f"x.{base64.b64encode(json.dumps({'iss': OTHER, 'a': '>>>???'}).encode()).decode()}.x",
        f"x.{segment(NAMES_OTHER.decode().encode('utf-16'))}.x",
        f"x.{segment(b' ' + NAMES_OTHER + b' ')}.x",
        f"{segment(b'{}')}.{segment(mint(NOW, key=EC, iss=OTHER).encode())}.x",
        segment(mint(NOW, key=EC, iss=OTHER).encode()),
        segment(json.dumps(mint(NOW, key=EC, iss=OTHER)).encode()),
        segment(segment(segment(NAMES_OTHER).encode()).encode()),
        f"x.{segment(json.dumps({'iss': OTHER, 'x': float('nan')}).encode())}.x",
        f"x.{segment(json.dumps({'iss': ISSUER})[:-1].encode() + b',' + NAMES_OTHER[1:])}.x",
        f"x.{segment(NAMES_OTHER[:-1] + b',' + json.dumps({'iss': ISSUER})[1:].encode())}.x",
    ],
)
def test_a_token_that_any_reader_could_take_for_another_issuers_is_not_shown(text: str) -> None:
    assert not _shown(text)


def test_a_token_of_an_issuer_that_its_tokens_name_otherwise_is_shown() -> None:
    policy = msgspec.structs.replace(ASKED.policy, token_issuers=(OTHER,))
    assert check_disclosure(BearerToken(mint(NOW, key=EC, iss=OTHER)), policy) is None


@given(st.text("abAB01-_.~+/="), st.binary(max_size=40))
def test_arbitrary_text_never_raises(text: str, part: bytes) -> None:
    assert _shown(text)
    check_disclosure(BearerToken(f"{text}.{segment(part)}"), ASKED.policy)


def test_deep_nesting_is_no_way_past() -> None:
    assert _shown(f"x.{segment(b'[' * 12_000)}.x")
