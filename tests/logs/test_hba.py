"""The rule of pg_hba.conf in a FATAL's DETAIL."""

from __future__ import annotations

import pytest

from pgoauthd.logs.hba import MatchedRule, read_detail


def matched(rule: str) -> MatchedRule:
    return read_detail(f'Connection matched file "/etc/pg_hba.conf" line 6: "{rule}"')


@pytest.mark.parametrize(
    ("rule", "method", "usermap", "delegated"),
    [
        ("local all all oauth", "oauth", None, False),
        ("local all all peer map=m", "peer", "m", False),
        ("host all all 127.0.0.1/32 scram-sha-256", "scram-sha-256", None, False),
        ("host all all 127.0.0.1 255.255.255.255 md5", "md5", None, False),
        ("host all all ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ident", "ident", None, False),
        ("hostssl\tall\tall\tall\toauth\tmap=m", "oauth", "m", False),
        ("host all all samenet oauth issuer=https://i/ scope=a map=m", "oauth", "m", False),
        ('host all all 0.0.0.0/0 oauth issuer="http://i/r" scope="openid map=x" map=m', "oauth", "m", False),
        ('host all all 0.0.0.0/0 oauth scope="a" map="my map"', "oauth", "my map", False),
        ('host all all 0.0.0.0/0 oauth scope="a" "map=m"', "oauth", "m", False),
        ("host all all 0.0.0.0/0 oauth delegate_ident_mapping=1", "oauth", None, True),
        ("host all all 0.0.0.0/0 oauth delegate_ident_mapping=0", "oauth", None, False),
        ("host all all 0.0.0.0/0 oauth delegate_ident_mapping=true", "oauth", None, False),
        ('host "my db" "my, user",+group .example.org reject', "reject", None, False),
        ("host a, b, c all 10.0.0.0/8 oauth map=m", "oauth", "m", False),
        ("host all all", None, None, False),
        ("local all", None, None, False),
        ("", None, None, False),
    ],
)
def test_method_and_options_are_read_from_the_raw_rule(
    rule: str, method: str | None, usermap: str | None, delegated: bool
) -> None:
    found = matched(rule)
    assert (found.method, found.usermap, found.delegated) == (method, usermap, delegated)
    assert (found.file, found.line, found.own_text) == ("/etc/pg_hba.conf", 6, None)


def test_the_methods_own_text_comes_first() -> None:
    found = read_detail('User "x" has no password.\nConnection matched file "/h" line 1: "local all all md5"')
    assert (found.own_text, found.method) == ('User "x" has no password.', "md5")


def test_an_imitation_in_the_methods_own_text_is_not_the_rule() -> None:
    imitation = 'Connection matched file "/fake" line 99: "local all all trust"'
    found = read_detail(f'{imitation}\nConnection matched file "/h" line 1: "local all all oauth"')
    assert (found.file, found.line, found.method, found.own_text) == ("/h", 1, "oauth", imitation)


def test_the_file_is_not_named_before_postgresql_16() -> None:
    found = read_detail('Connection matched pg_hba.conf line 90: "local all all md5"')
    assert (found.file, found.line, found.method) == ("pg_hba.conf", 90, "md5")


@pytest.mark.parametrize(
    "detail",
    [
        "User does not have CONNECT privilege.",
        "not so: Connection matched nothing",
        'x Connection matched file "/h" line 1: "local all all md5"',
        'Connection matched file "/h" line 1: "local all all md5" and more',
        'Connection matched file "/h" line x: "local all all md5"',
        "",
    ],
)
def test_a_detail_without_a_rule_is_the_methods_own_text(detail: str) -> None:
    assert read_detail(detail) == MatchedRule(own_text=detail)
