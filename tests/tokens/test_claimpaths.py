from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgoauthd.tokens.claimpaths import ABSENT, find_claim, read_identity_source, read_path, write_path

unhurried = settings(deadline=None)

names = st.text(min_size=1, max_size=8).filter(lambda name: '"' not in name) | st.sampled_from(
    ["a.b", "https://id.example/roles", "urn:x", "${x}", "$", " ", "."]
)
paths = st.lists(names, min_size=1, max_size=3).map(tuple)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sub", ("sub",)),
        ("realm_access.roles", ("realm_access", "roles")),
        ("a.b.c", ("a", "b", "c")),
        ('resource_access."pg.cluster".roles', ("resource_access", "pg.cluster", "roles")),
        ('"a.b"', ("a.b",)),
        ('"a"."b"', ("a", "b")),
        ("a b", ("a b",)),
        ("cognito:groups", ("cognito:groups",)),
        ("https://id.example/claims/login.name", ("https://id.example/claims/login.name",)),
        ("http://id.example/a.b", ("http://id.example/a.b",)),
        ("urn:example:a.b", ("urn:example:a.b",)),
        ('"https://id.example/meta".role', ("https://id.example/meta", "role")),
        ('x."https://id.example/meta"', ("x", "https://id.example/meta")),
    ],
)
def test_a_path_goes_into_objects_at_its_dots(text: str, path: tuple[str, ...]) -> None:
    assert read_path(text) == path
    assert read_path(write_path(path)) == path


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", ".a", "a..b", '"a', 'a"', '"a"b', 'a"b"', '""', 'a."".b', '"a".', '"a".b"', 'a "b"', '"a"x.b'],
)
def test_an_empty_or_badly_quoted_part_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty"):
        read_path(text)


def test_a_name_may_begin_with_a_line_break() -> None:
    assert read_path("a.\nb") == ("a", "\nb")


@unhurried
@given(paths)
def test_a_path_that_is_written_is_read_again(path: tuple[str, ...]) -> None:
    assert read_path(write_path(path)) == path


@unhurried
@given(st.text('ab."'))
def test_a_path_that_is_read_has_no_empty_name(text: str) -> None:
    try:
        path = read_path(text)
    except ValueError:
        return
    assert path
    assert all(path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("a",), {"b": {"c": None}, "b.c": 1, "l": [{"c": 2}]}),
        (("a", "b", "c"), None),
        (("a", "b.c"), 1),
        (("a", "b", "d"), ABSENT),
        (("a", "b", "c", "d"), ABSENT),
        (("a", "l", "0"), ABSENT),
        (("a", "l", "c"), ABSENT),
        (("b",), ABSENT),
        (("a.b",), ABSENT),
    ],
)
def test_a_claim_is_found_through_objects_alone(path: tuple[str, ...], value: object) -> None:
    assert find_claim({"a": {"b": {"c": None}, "b.c": 1, "l": [{"c": 2}]}}, path) == value


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sub", (("sub",),)),
        ("database.user", (("database", "user"),)),
        ("${sub}", (("sub",),)),
        ("${azp}/service", (("azp",), "/service")),
        ("${tid}:${oid}", (("tid",), ":", ("oid",))),
        ("svc-${client.id}@corp", ("svc-", ("client", "id"), "@corp")),
        ('${"a.b"}', (("a.b",),)),
        ("${https://id.example/a.b}x", (("https://id.example/a.b",), "x")),
        ("$$${sub}", ("$", ("sub",))),
        ("{x}${sub}", ("{x}", ("sub",))),
        ("${a$b}", (("a$b",),)),
    ],
)
def test_a_template_is_text_and_claims(text: str, parts: tuple[object, ...]) -> None:
    source = read_identity_source(text)
    assert (source.text, source.parts) == (text, parts)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "it is empty"),
        ("${}", "it is empty"),
        ("a..b", "empty or badly quoted part"),
        ("${a..b}", "empty or badly quoted part"),
        ("$sub", "a dollar that begins neither"),
        ("${sub", "a dollar that begins neither"),
        ("sub$", "a dollar that begins neither"),
        ("${a{b}}", "a dollar that begins neither"),
        ("$$sub", "no claim in it"),
        ("$$", "no claim in it"),
        ("${a}${b}", "two claims without text between"),
    ],
)
def test_a_template_that_means_nothing_is_an_error_that_says_why(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        read_identity_source(text)
