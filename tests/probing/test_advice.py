from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pgoauthd.config.oauthclient import GrantType
from pgoauthd.probing.advice import Case, hints, issuer_of, warnings
from pgoauthd.probing.parameters import Tls
from pgoauthd.probing.steps import Wanted
from pgoauthd.probing.tokenfacts import TokenFacts
from pgoauthd.runtime.idp.credentials import Secret
from pgoauthd.tokens.reasons import Stage
from tests.probing.fix_parameters import oauth, parameters

KEYCLOAK = "https://idp.example.org/realms/people/protocol/openid-connect/token"
OKTA = "https://example.okta.com/oauth2/default/v1/token"
ENTRA = "https://login.microsoftonline.com/TENANT/oauth2/v2.0/token"
ADFS = "https://fs.example.org/adfs/oauth2/token"
PASSWORD = {"grant_type": GrantType.PASSWORD}


def token(**facts: Any) -> TokenFacts:  # noqa: ANN401 - any fact
    known = {"form": "JWT", "issuer": "https://idp.example.org", "audience": ("db",), "scope": ("postgres",)}
    return TokenFacts(**(known | facts))


def wanted(scope: str = "postgres", issuer: str = "https://idp.example.org") -> Wanted:
    configuration = f"{issuer}/.well-known/openid-configuration"
    return Wanted(status="invalid_token", openid_configuration=configuration, scope=scope)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (Case(oauth=oauth(), endpoint=KEYCLOAK, token=token(audience=("account",))), "audience mapper"),
        (Case(oauth=oauth(), endpoint=KEYCLOAK, token=token(audience=())), "audience mapper"),
        (Case(oauth=oauth(), endpoint=OKTA, token=token(audience=())), "no aud"),
        (Case(oauth=oauth(), endpoint=KEYCLOAK, token=token(subject="a UUID")), "service-account-CLIENT"),
        (Case(oauth=oauth(), endpoint="https://x/", token=token(), wanted=wanted("postgres dba")), "lacks dba"),
        (
            Case(oauth=oauth(), endpoint="https://x/", token=token(), wanted=wanted(issuer="https://o")),
            "names https://o",
        ),
        (Case(oauth=oauth(scope="openid"), endpoint=OKTA), "scope of your own"),
        (Case(oauth=oauth(), endpoint="https://example.okta.com/oauth2/v1/token"), "org authorization server"),
        (Case(oauth=oauth(), endpoint=ENTRA), "/.default"),
        (Case(oauth=oauth(scope="api://x/.default"), endpoint=ENTRA, token=token(), wanted=wanted()), "roles"),
        (Case(oauth=oauth(**PASSWORD), endpoint=ADFS), "oauth_resource"),
        (Case(oauth=oauth(resource="r"), endpoint=ADFS), "password grant alone"),
        (Case(oauth=oauth(), endpoint="https://x/", token=token(form="opaque")), "introspect"),
    ],
)
def test_a_habit_is_told_where_it_may_be_the_cause(case: Case, words: str) -> None:
    (hint,) = hints(case)
    assert words in hint


def test_where_the_stage_is_known_other_causes_are_not_guessed() -> None:
    facts = token(audience=("account",), subject="a UUID")
    many = Case(oauth=oauth(), endpoint=KEYCLOAK, token=facts, wanted=wanted("dba"))
    assert len(hints(many)) == 3
    for stage, words in ((Stage.CLAIMS, "audience mapper"), (Stage.SCOPE, "lacks dba"), (Stage.USERMAP, "a UUID")):
        (hint,) = hints(msgspec.structs.replace(many, stage=stage.value))
        assert words in hint
    assert hints(msgspec.structs.replace(many, stage=Stage.VALIDATOR.value)) == ()


@pytest.mark.parametrize(
    "case",
    [
        Case(oauth=oauth(), endpoint="https://x/", token=token(), wanted=wanted()),
        Case(oauth=oauth(), endpoint=KEYCLOAK, token=token(audience=("db", "account")), wanted=wanted()),
        Case(oauth=oauth(**PASSWORD), endpoint=KEYCLOAK, token=token(subject="a UUID")),
        Case(oauth=oauth(scope="db.login"), endpoint=OKTA),
        Case(oauth=oauth(scope="api://x/.default"), endpoint=ENTRA),
        # their tokens name issuer and scopes otherwise than pg_hba.conf does
        Case(oauth=oauth(resource="r", **PASSWORD), endpoint=ADFS, token=token(), wanted=wanted("x", "https://o")),
        Case(oauth=oauth(), endpoint=""),
    ],
)
def test_nothing_is_guessed_without_a_sign(case: Case) -> None:
    assert hints(case) == ()


def test_the_issuer_is_the_document_without_its_well_known_path() -> None:
    for path in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
        assert issuer_of(f"https://idp.example.org/realms/x{path}") == "https://idp.example.org/realms/x"


def test_good_parameters_are_not_warned_of() -> None:
    assert warnings(parameters()) == ()


def test_odd_parameters_are_warned_of() -> None:
    client = oauth(
        token_endpoint="https://a", discovery_endpoint="https://b", resource="r", client_secret=Secret('"quoted"')
    )
    found = warnings(parameters(client, tls=Tls(verify=False)))
    assert ["whoever answers" in found[0], "both set" in found[1], "not sent" in found[2]] == [True] * 3
    assert found[3].startswith("oauth_client_secret: ")
    assert "quoted" not in found[3]


def test_an_endpoint_that_is_no_url_is_no_error() -> None:
    assert hints(Case(oauth=oauth(), endpoint="https://[x", token=None, wanted=None, stage=None)) == ()
