from __future__ import annotations

import itertools
import string

import pytest

from pgoauthd.tokens.compact import decode_base64url, is_kid
from tests.fix_tokens import segment

ALPHABET = string.ascii_letters + string.digits + "-_"


@pytest.mark.parametrize(("before", "byte_strings"), [("", 256), ("A", 1024)])
def test_of_texts_that_end_within_a_group_only_one_a_byte_string_is_read(before: str, byte_strings: int) -> None:
    """Two characters are 12 bits for one byte, three are 18 bits for two; the first six are 0 where A stands."""
    texts = [before + a + b for a, b in itertools.product(ALPHABET, repeat=2)]
    read = {text: raw for text in texts if (raw := decode_base64url(text)) is not None}
    assert len(set(read.values())) == len(read) == byte_strings
    assert all(segment(raw) == text for text, raw in read.items())


@pytest.mark.parametrize(
    "text", ["A", "AAAAA", "AA=", "AA==", "=", "A A", "AA\n", "+A", "/A", "!A", "é", "AA.AA", "\ud800A"]
)
def test_what_is_not_base64url_is_not_read(text: str) -> None:
    assert decode_base64url(text) is None


def test_nothing_is_read_as_nothing() -> None:
    assert decode_base64url("") == b""


@pytest.mark.parametrize("value", ["a", "k" * 256, "../x", "a b", "ключ"])
def test_a_short_printable_string_is_a_kid(value: str) -> None:
    assert is_kid(value)


@pytest.mark.parametrize("value", ["", "k" * 257, "a\n", "a\u200b", "\ud800", None, 1, True, ["a"], b"a"])
def test_anything_else_is_no_kid(value: object) -> None:
    assert not is_kid(value)
