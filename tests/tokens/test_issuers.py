from __future__ import annotations

import pytest

from pgoauthd.tokens.issuers import IssuerPolicy, choose_issuer, well_known_urls
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

ROOT = IssuerPolicy(name="root", issuer="https://a.example", audiences=("x",))
SLASH = IssuerPolicy(name="slash", issuer="https://b.example/", audiences=("x",))
PATH = IssuerPolicy(name="path", issuer="https://c.example/realms/r", audiences=("x",))
ELSEWHERE = IssuerPolicy(
    name="elsewhere", issuer="https://d.example", metadata_url="https://d.example/metadata", audiences=("x",)
)
POLICIES = (ROOT, SLASH, PATH, ELSEWHERE)


@pytest.mark.parametrize(
    ("line", "policy"),
    [
        ("https://a.example", ROOT),
        ("https://a.example/.well-known/openid-configuration", ROOT),
        ("https://a.example/.well-known/oauth-authorization-server", ROOT),
        ("https://b.example/", SLASH),
        ("https://b.example/.well-known/openid-configuration", SLASH),
        ("https://c.example/realms/r", PATH),
        ("https://c.example/realms/r/.well-known/openid-configuration", PATH),
        ("https://c.example/.well-known/oauth-authorization-server/realms/r", PATH),
        ("https://c.example/realms/r/.well-known/oauth-authorization-server", PATH),
        ("https://c.example/.well-known/openid-configuration/realms/r", PATH),
        ("https://d.example/metadata", ELSEWHERE),
        ("https://d.example", ELSEWHERE),
    ],
)
def test_a_line_names_an_issuer_or_its_metadata(line: str, policy: IssuerPolicy) -> None:
    assert choose_issuer(line, POLICIES) is policy


@pytest.mark.parametrize(
    "line",
    [
        "",
        "https://a.example/",
        "https://b.example",
        "http://a.example",
        "https://A.example",
        "https://c.example/realms",
        "https://c.example/realms/r/",
        "https://c.example/realms/.well-known/openid-configuration",
        "https://c.example/realms/r/.well-known/openid-configuration-of-others",
        "https://c.example/realms/r/.well-known/jwks",
        "https://c.example/realms/r/.well-known/openid-configuration/.well-known/openid-configuration",
        "https://evil.example/.well-known/openid-configuration/https://a.example",
        "https://d.example/metadata/",
    ],
)
def test_a_line_with_anything_else_names_none(line: str) -> None:
    refusal = choose_issuer(line, POLICIES)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.HBA_ISSUER_UNKNOWN
    assert "'https://b.example/'" in refusal.message


def test_metadata_is_looked_for_as_openid_connect_first() -> None:
    assert well_known_urls(PATH.issuer) == (
        "https://c.example/realms/r/.well-known/openid-configuration",
        "https://c.example/.well-known/oauth-authorization-server/realms/r",
    )
