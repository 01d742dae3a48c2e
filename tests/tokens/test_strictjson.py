from __future__ import annotations

import pytest

from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.strictjson import MAX_DEPTH, read_object
from pgoauthd.tokens.verdict import Refusal


def _refusal(raw: bytes) -> Refusal:
    refusal = read_object(raw, "it")
    assert isinstance(refusal, Refusal)
    return refusal


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"\xff{}", "it is not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "it is not UTF-8"),
        (b'{"a":"\\ud800"}', "it is not UTF-8"),
        (b'{"\\uDC00":1}', "it is not UTF-8"),
        (b'{"a":"\\udc00\\ud800"}', "it is not UTF-8"),
        (b"", "it is not JSON"),
        (b"{} {}", "it is not JSON"),
        (b"{}\0", "it is not JSON"),
        (b"{'a':1}", "it is not JSON"),
        (b"{a:1}", "it is not JSON"),
        (b'{"a":01}', "it is not JSON"),
        (b'{"a":+1}', "it is not JSON"),
        (b'{"a":.5}', "it is not JSON"),
        (b'{"a":0x1}', "it is not JSON"),
        (b'{"a":-NaN}', "it is not JSON"),
        (b'{"a":"\t"}', "it is not JSON"),
        (b'{"a":"\\x41"}', "it is not JSON"),
        (b'{"a":-1e400}', "it is not JSON"),
        (b"[1]", "it is not a JSON object"),
        (b"1", "it is not a JSON object"),
        (b"{" * 100_000, "it is not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "it is not JSON"),
    ],
)
def test_it_is_refused(raw: bytes, what: str) -> None:
    assert _refusal(raw) == Refusal(Reason.JSON_INVALID, what)


@pytest.mark.parametrize(
    "raw", [b'{"a":1,"a":1}', b'{"x":[{"y":{"a":1,"b":2,"a":3}}]}', b'{"":1,"":2}', b'{"a":1,"\\u0061":2}']
)
def test_a_key_twice_is_refused_at_any_depth(raw: bytes) -> None:
    assert _refusal(raw) == Refusal(Reason.JSON_DUPLICATE_KEY, "it has a key twice")


def test_the_same_key_in_two_objects_is_no_duplicate() -> None:
    assert read_object(b'{"a":{"a":[{"a":1},{"a":2}]}}', "it") == {"a": {"a": [{"a": 1}, {"a": 2}]}}


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_as_many_levels_as_allowed_are_read_and_one_more_is_refused(opening: bytes, closing: bytes) -> None:
    inner = MAX_DEPTH - 1
    deepest = b'{"a":' + opening * inner + b"1" * (opening != b"[") + closing * inner + b"}"
    deeper = b'{"a":' + opening * (inner + 1) + b"1" * (opening != b"[") + closing * (inner + 1) + b"}"
    assert isinstance(read_object(deepest, "it"), dict)
    assert _refusal(deeper).message == "it is nested more than 16 levels deep"


def test_many_brackets_that_are_not_deep_are_read() -> None:
    raw = b'{"a":[' + b",".join([b"[{}]"] * 100) + b'],"b":"' + b"[{" * 100 + b'"}'
    assert isinstance(read_object(raw, "it"), dict)


def test_white_space_and_escaped_pairs_are_read() -> None:
    assert read_object(b' {\n"a" :\t"\\ud83d\\ude00" } ', "it") == {"a": "\U0001f600"}
