"""What a profile says of an issuer, and which tables cannot be of it; whole files are in test_config_issuers."""

from __future__ import annotations

import msgspec
import pytest

from pgoauthd.config.values import Issuer
from pgoauthd.tokens.profiles import PROFILES, profile_defaults, profile_problems

TENANT = "0a1b2c3d-1111-4222-8333-444455556666"
APP = "9f8e7d6c-aaaa-4bbb-8ccc-ddddeeeeffff"
GIVEN = {
    "generic": {"issuer": "https://idp.example.org", "audiences": ["db"]},
    "keycloak": {"issuer": "https://kc.example.org/realms/people", "audiences": ["db"]},
    "entra": {"issuer": f"https://login.microsoftonline.com/{TENANT}/v2.0", "audiences": [APP]},
    "okta": {"issuer": "https://corp.okta.com/oauth2/default", "audiences": ["api://db"]},
    "auth0": {"issuer": "https://corp.eu.auth0.com/", "audiences": ["https://db.example.org"]},
    "google": {"issuer": "https://accounts.google.com", "audiences": ["1-x.apps.googleusercontent.com"]},
    "adfs": {"issuer": "https://fs.example.org/adfs", "audiences": [f"microsoft:identityserver:{APP}"]},
    "cognito": {"issuer": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab1", "audiences": ["client"]},
}

each_profile = pytest.mark.parametrize("profile", PROFILES)


def entra(issuer: str, *audiences: str) -> dict[str, object]:
    return profile_defaults("entra", {"issuer": issuer, "audiences": list(audiences)})


@each_profile
def test_defaults_are_in_the_words_of_the_configuration(profile: str) -> None:
    table = {**profile_defaults(profile, GIVEN[profile]), **GIVEN[profile], "profile": profile}
    assert isinstance(msgspec.convert(table, Issuer, strict=True), Issuer)
    assert set(table) <= set(Issuer.__struct_fields__)


@each_profile
def test_an_issuer_as_the_provider_has_it_is_no_problem(profile: str) -> None:
    assert profile_problems(profile, GIVEN[profile]) == ()


@each_profile
@pytest.mark.parametrize("value", [None, 3, "", [], ["x", 3, ""], "https://[", {"a": 1}])
@pytest.mark.parametrize("key", ["issuer", "audiences", "introspection", "mode"])
def test_no_table_whatever_is_in_it_is_too_much_for_a_profile(profile: str, key: str, value: object) -> None:
    given = {**GIVEN[profile], key: value}
    assert isinstance(profile_defaults(profile, given), dict)
    assert isinstance(profile_problems(profile, given), tuple)


def test_an_unknown_profile_says_nothing() -> None:
    assert profile_defaults("keyclock", GIVEN["keycloak"]) == {}
    assert profile_problems("keyclock", GIVEN["keycloak"]) == ()


def test_generic_is_what_an_issuer_is_anyway() -> None:
    assert profile_defaults("generic", GIVEN["generic"]) == {}


@each_profile
def test_no_profile_takes_symmetric_signatures_or_none(profile: str) -> None:
    algorithms = profile_defaults(profile, GIVEN[profile]).get("algorithms", [])
    assert isinstance(algorithms, list)
    assert set(algorithms) <= {"RS256", "PS256", "ES256", "EdDSA"}


def test_only_google_takes_id_tokens() -> None:
    assert [name for name in PROFILES if profile_defaults(name, GIVEN[name]).get("accept_id_tokens")] == ["google"]


@each_profile
def test_no_identity_is_a_name_that_people_choose_or_that_clients_share_with_people(profile: str) -> None:
    sources = profile_defaults(profile, GIVEN[profile]).get("identity_claims", ["sub"])
    assert isinstance(sources, list)
    assert len(sources) == 1
    assert not {"username", "preferred_username", "nickname", "name", "client_id", "appid", "azp"} & set(sources)


def test_keycloak_takes_access_tokens_alone() -> None:
    assert profile_defaults("keycloak", GIVEN["keycloak"])["required_claims"] == {"typ": ["Bearer"]}


def test_cognito_takes_access_tokens_alone_and_finds_the_audience_in_client_id() -> None:
    defaults = profile_defaults("cognito", GIVEN["cognito"])
    assert defaults["required_claims"] == {"token_use": ["access"]}
    assert defaults["audience_claims"] == ["aud", "client_id"]


@pytest.mark.parametrize(
    ("login", "sts"),
    [
        ("login.microsoftonline.com", "sts.windows.net"),
        ("login.microsoftonline.us", "sts.windows.net"),
        ("login.partner.microsoftonline.cn", "sts.chinacloudapi.cn"),
    ],
)
def test_entra_takes_tokens_of_version_1_where_version_2_is_configured(login: str, sts: str) -> None:
    defaults = entra(f"https://{login}/{TENANT}/v2.0", APP)
    assert defaults["token_issuers"] == [f"https://{sts}/{TENANT}/"]
    assert defaults["required_claims"] == {"tid": [TENANT]}
    assert "metadata_url" not in defaults


@pytest.mark.parametrize(
    ("sts", "login"),
    [("sts.windows.net", "login.microsoftonline.com"), ("sts.chinacloudapi.cn", "login.partner.microsoftonline.cn")],
)
def test_entra_takes_tokens_of_version_2_where_version_1_is_configured(sts: str, login: str) -> None:
    defaults = entra(f"https://{sts}/{TENANT}/", APP)
    assert defaults["token_issuers"] == [f"https://{login}/{TENANT}/v2.0"]
    assert defaults["metadata_url"] == f"https://{login}/{TENANT}/.well-known/openid-configuration"


def test_entra_elsewhere_has_one_issuer_only() -> None:
    assert "token_issuers" not in entra(f"https://corp.ciamlogin.com/{TENANT}/v2.0", APP)


@pytest.mark.parametrize(
    ("audience", "prefixes"),
    [
        (APP, [f"{APP}/", f"api://{APP}/"]),
        (f"api://{APP}", [f"api://{APP}/", f"{APP}/"]),
        ("api://db", ["api://db/"]),
        ("https://db.example.org", ["https://db.example.org/"]),
    ],
)
def test_scopes_that_entras_clients_ask_for_begin_with_the_audience(audience: str, prefixes: list[str]) -> None:
    assert entra(f"https://sts.windows.net/{TENANT}/", audience)["scope_prefixes"] == prefixes


def test_the_prefixes_of_all_audiences_are_known_once_each() -> None:
    defaults = entra(f"https://sts.windows.net/{TENANT}/", APP, f"api://{APP}")
    assert defaults["scope_prefixes"] == [f"{APP}/", f"api://{APP}/"]


def test_entra_never_says_that_a_token_has_the_scope_of_a_default() -> None:
    assert entra(f"https://sts.windows.net/{TENANT}/", APP)["implied_scopes"] == [
        "openid",
        "profile",
        "email",
        "offline_access",
    ]


def test_the_audience_of_adfs_goes_with_and_without_its_scheme_in_scopes() -> None:
    prefixes = profile_defaults("adfs", GIVEN["adfs"])["scope_prefixes"]
    assert prefixes == [f"microsoft:identityserver:{APP}/", f"{APP}/"]


def test_access_tokens_of_adfs_have_an_issuer_of_their_own() -> None:
    assert profile_defaults("adfs", GIVEN["adfs"])["token_issuers"] == ["http://fs.example.org/adfs/services/trust"]


@pytest.mark.parametrize(
    ("profile", "issuer", "remedy"),
    [
        ("entra", "https://login.microsoftonline.com/common/v2.0", "TENANT-ID"),
        ("entra", "https://login.microsoftonline.com/organizations/v2.0", "TENANT-ID"),
        ("entra", "https://login.microsoftonline.com/consumers/v2.0", "TENANT-ID"),
        ("entra", "https://login.microsoftonline.com/contoso.onmicrosoft.com/v2.0", "TENANT-ID"),
        ("entra", "https://login.microsoftonline.com/{tenantid}/v2.0", "TENANT-ID"),
        ("entra", f"https://login.microsoftonline.com/{TENANT.upper()}/v2.0", "lower case"),
        ("entra", f"https://login.microsoftonline.com/{TENANT}/v2.0/", "TENANT-ID"),
        ("entra", f"https://login.microsoftonline.com/{TENANT}", "TENANT-ID"),
        ("entra", f"https://sts.windows.net/{TENANT}", "TENANT-ID"),
        ("entra", f"https://sts.windows.net/x/{TENANT}/", "TENANT-ID"),
        ("okta", "https://corp.okta.com", "/oauth2/default"),
        ("okta", "https://corp.okta.com/oauth2", "/oauth2/default"),
        ("okta", "https://corp.okta.com/oauth2/default/", "/oauth2/default"),
        ("auth0", "https://corp.eu.auth0.com", '"https://corp.eu.auth0.com/"'),
        ("google", "https://accounts.google.com/", "https://accounts.google.com"),
        ("google", "https://google.com", "https://accounts.google.com"),
        ("google", "https://oauth2.google.com", "https://accounts.google.com"),
        ("adfs", "https://fs.example.org", "/adfs"),
        ("adfs", "https://fs.example.org/adfs/", "/adfs"),
        ("adfs", "https://fs.example.org/adfs/services/trust", "/adfs"),
        ("cognito", "https://people.auth.eu-central-1.amazoncognito.com", "https://cognito-idp."),
    ],
)
def test_an_issuer_that_cannot_be_the_providers_is_met_with_what_to_write(
    profile: str, issuer: str, remedy: str
) -> None:
    (problem,) = profile_problems(profile, {**GIVEN[profile], "issuer": issuer})
    assert problem.key == "issuer"
    assert problem.what
    assert remedy in problem.remedy


def test_the_org_server_of_okta_may_be_asked_about_its_tokens() -> None:
    given = {"issuer": "https://corp.okta.com", "mode": "introspect", "introspection": {"client_id": "x"}}
    assert profile_problems("okta", given) == ()


def test_the_org_server_of_okta_may_not_be_believed_by_its_signature_first() -> None:
    given = {"issuer": "https://corp.okta.com", "mode": "jwt_then_introspect", "introspection": {"client_id": "x"}}
    assert len(profile_problems("okta", given)) == 1


@pytest.mark.parametrize("profile", ["entra", "auth0", "google", "adfs", "cognito"])
def test_introspection_where_the_provider_has_none_is_a_problem(profile: str) -> None:
    (problem,) = profile_problems(profile, {**GIVEN[profile], "introspection": {"client_id": "x"}})
    assert problem.key == "introspection"
    assert PROFILES[profile].provider in problem.what


@pytest.mark.parametrize("profile", ["entra", "auth0", "google", "adfs", "cognito"])
def test_something_else_may_answer_for_a_provider_without_introspection(profile: str) -> None:
    asked = {"client_id": "x", "endpoint": "https://gateway.example.org/introspect"}
    assert profile_problems(profile, {**GIVEN[profile], "introspection": asked}) == ()


@pytest.mark.parametrize("profile", ["generic", "keycloak", "okta"])
def test_introspection_where_the_provider_has_it_is_no_problem(profile: str) -> None:
    assert profile_problems(profile, {**GIVEN[profile], "introspection": {"client_id": "x"}}) == ()
