"""What looks like a token, and what must stay readable."""

from __future__ import annotations

import base64
import hashlib
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgoauthd.logs.redaction import REDACTED, redact
from tests.logs.test_sayings import JWT


@pytest.mark.parametrize(
    "token",
    [
        JWT,
        JWT.split(".", maxsplit=1)[0],
        JWT.rsplit(".", maxsplit=1)[0],
        "eyJhbGciOiJub25lIn0.e30.",
        hashlib.sha256(b"opaque").hexdigest(),
        hashlib.sha1(b"opaque", usedforsecurity=False).hexdigest(),
        base64.b64encode(hashlib.sha256(b"a").digest()).decode(),
        base64.urlsafe_b64encode(hashlib.sha512(b"a").digest()).decode().rstrip("="),
        base64.b32encode(hashlib.sha256(b"a").digest()).decode(),
        "gho_16C7e42F292c6912E7710c838347Ae178B4a",
    ],
)
def test_a_token_is_taken_out_whole(token: str) -> None:
    assert redact(f"could not parse {token}: bad") == f"could not parse {REDACTED}: bad"
    assert redact(f'"{token}"') == f'"{REDACTED}"'


@given(st.binary(min_size=32, max_size=600))
@settings(deadline=None)
def test_no_random_token_survives(secret: bytes) -> None:
    token = base64.urlsafe_b64encode(hashlib.sha512(secret).digest()).decode().rstrip("=")
    assert redact(f"token {token}") == f"token {REDACTED}"


@pytest.mark.parametrize(
    "text",
    [
        'Required scope "postgres" is missing.',
        "The token is not a JWT.",
        "0fc72b6f-6221-4ed8-a916-069e7a081d14",
        "https://login.microsoftonline.com/0fc72b6f-6221-4ed8-a916-069e7a081d14/v2.0",
        "/realms/0fc72b6f-6221-4ed8-a916-069e7a081d14/clients/0fc72b6f-6221-4ed8-a916-069e7a081d15/x",
        "http://127.0.0.1:8080/realms/postgres-realm/.well-known/openid-configuration",
        "svc_reporting_production_eu_west_1_readonly",
        "very-long-role-name-of-the-accounting-department-2026",
        "SomeVeryLongCamelCaseClassNameFactoryBean",
        "/var/lib/postgresql/18/main/pg_hba.conf",
        "====================================================",
        "----------------------------------------------------",
        "The key id is not known: sig-2026-11.",
        "alice@example.org",
        "eyJ",
    ],
)
def test_words_names_paths_and_uuids_stay(text: str) -> None:
    assert redact(text) == text


def test_any_uuid_stays() -> None:
    for _ in range(200):
        name = str(uuid.uuid4())
        assert redact(f"subject {name} has no role") == f"subject {name} has no role"


def test_an_empty_text_stays_empty() -> None:
    assert redact("") == ""


@pytest.mark.parametrize("text", ["eyJabcdefgh", "x eyJabcdefgh", "é" * 40 + "eyJabcdefgh", "eyJ" + "a" * 8 + "!" * 40])
def test_the_shortest_piece_of_a_jwt_is_taken_out_wherever_it_stands(text: str) -> None:
    assert redact(text) == text.replace("eyJabcdefgh", REDACTED).replace("eyJaaaaaaaa", REDACTED)


@pytest.mark.parametrize("length", [31, 32, 33])
def test_a_random_run_counts_from_32_characters_on(length: int) -> None:
    run = ("aB3" * 11)[:length]
    assert redact(f"({run})") == (f"({REDACTED})" if length >= 32 else f"({run})")
