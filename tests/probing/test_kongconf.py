from __future__ import annotations

import pytest

from pgoauthd.probing.kongconf import is_reference, look_up, read_conf, read_environment


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("pg_user=kong", "kong"),
        ("  pg_user  =  kong  ", "kong"),
        ("pg_user = kong    # who logs in", "kong"),
        ("pg_user = kong# who logs in", "kong"),
        (r"pg_user = ko\#ng", "ko#ng"),
        (r"pg_user = ko\#ng # who", "ko#ng"),
        ("pg_user = a=b", "a=b"),
        ("pg_user = 'kong'", "'kong'"),
        ('pg_user = "kong"', '"kong"'),
        ("pg_user = EXAMPLE\\kong", "EXAMPLE\\kong"),
        ("pg_user = one\npg_user = two", "two"),
        ("pg_user = ko\\\nng", "kong"),
        ("pg_user = kong\r", "kong"),
        ("pg_user = käng", "käng"),
    ],
)
def test_a_value_is_read_as_kong_reads_it(line: str, value: str) -> None:
    assert read_conf(f"# Kong\n{line}\n") == {"pg_user": value}


@pytest.mark.parametrize("line", ["", "# pg_user = kong", "   #pg_user = kong", "; pg_user = kong", "[pg]", "pg_user"])
def test_a_line_without_a_setting_says_nothing(line: str) -> None:
    assert read_conf(f"{line}\n") == {}


@pytest.mark.parametrize("line", ["pg_user =", "pg_user = # kong", "pg_user = kong\npg_user ="])
def test_an_empty_value_is_none(line: str) -> None:
    assert read_conf(line) == {}


def test_a_comment_that_ends_with_a_backslash_does_not_swallow_the_next_line() -> None:
    assert read_conf("# kong \\\npg_user = kong\n") == {"pg_user": "kong"}


def test_the_environment_has_other_names_and_keeps_its_signs() -> None:
    environment = {"KONG_PG_USER": " ko#ng ", "PG_USER": "other", "KONG_PG_HOST": "", "HOME": "/root"}
    assert read_environment(environment) == {"pg_user": "ko#ng"}


def test_a_vault_of_the_environment_is_looked_into() -> None:
    environment = {"MY_SECRET": "s", "KONG_VAULT_MY_SECRET": "t"}
    assert look_up("{vault://env/my-secret}", environment) == "s"
    assert look_up("{vault://env/my-secret}", environment, "kong_vault_") == "t"
    assert look_up("{vault://env/other}", environment) is None


@pytest.mark.parametrize("reference", ["{vault://hcv/kong/secret}", "{vault://aws/kong}", "{vault://env/one/member}"])
def test_other_vaults_are_told_apart_and_not_looked_into(reference: str) -> None:
    assert is_reference(reference)
    assert look_up(reference, {"KONG": "s", "ONE": "s"}) is None


def test_what_only_looks_like_a_reference_is_a_value() -> None:
    assert not is_reference("vault://env/secret")
    assert not is_reference("{vault://env/secret} and more")
