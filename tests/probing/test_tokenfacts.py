from __future__ import annotations

from typing import Any

import pytest

from pgoauthd.probing.tokenfacts import TokenFacts, facts_of
from pgoauthd.tokens.bearer import BearerToken
from tests.fix_tokens import DROP, mint

NOW = 1_795_310_000.0


def facts(**claims: Any) -> TokenFacts:  # noqa: ANN401 - any claim
    return facts_of(BearerToken(mint(NOW, **claims)), now=NOW, scope=None, expires_in=None)


def test_the_facts_are_those_that_help() -> None:
    assert facts() == TokenFacts(
        form="JWT",
        issuer="https://id.example/realms/database",
        audience=("pg-cluster",),
        scope=("postgres", "profile"),
        client="psql",
        subject="a name",
        expires_in_seconds=300,
    )


@pytest.mark.parametrize(
    ("subject", "form"),
    [
        ("0fc72b6f-6221-4ed8-a916-069e7a081d14", "a UUID"),
        ("psql", "the client's id"),
        ("alice@example.org", "an e-mail address"),
        ("alice", "a name"),
        (DROP, None),
        (5, None),
    ],
)
def test_of_the_subject_only_its_form_is_said(subject: object, form: str | None) -> None:
    found = facts(sub=subject)
    assert found.subject == form
    assert str(subject) not in repr(found) or subject == "psql"


def test_an_audience_may_be_a_list_and_scopes_may_be_in_scp() -> None:
    found = facts(aud=["a", 5, "b"], scope=DROP, scp=["x", "y"])
    assert (found.audience, found.scope) == (("a", "b"), ("x", "y"))


def test_what_cannot_be_read_is_known_from_the_answer() -> None:
    found = facts_of(BearerToken("2YotnFZFEjr1zCsicMWpAA"), now=NOW, scope="a b", expires_in=60)
    assert found == TokenFacts(form="opaque", scope=("a", "b"), expires_in_seconds=60)
    assert facts_of(BearerToken("a.b.c.d.e"), now=NOW, scope=None, expires_in=None).form == "encrypted JWT"
    assert facts_of(BearerToken("a.b.c"), now=NOW, scope=None, expires_in=None).form == "unreadable"


def test_long_claims_are_cut() -> None:
    found = facts(aud=["x" * 5_000] * 100)
    assert len(found.audience) == 20
    assert all(len(one) <= 301 for one in found.audience)


def test_a_time_beyond_all_times_is_none() -> None:
    assert facts(exp=10**400).expires_in_seconds is None
    assert facts_of(BearerToken("opaque"), now=NOW, scope=None, expires_in=10**400).expires_in_seconds is None


def test_what_looks_like_a_token_is_not_shown() -> None:
    assert facts(aud="eyJhbGciOiJSUzI1NiJ9.eyJzdWIi").audience == ("[redacted]",)
