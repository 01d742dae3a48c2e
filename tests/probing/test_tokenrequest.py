from __future__ import annotations

import json

import pytest

from pgoauthd.config.oauthclient import GrantType
from pgoauthd.probing.steps import Failure
from pgoauthd.probing.tokenrequest import REMEDIES, Obtained, read_discovery, read_token_answer, token_form
from pgoauthd.runtime.idp.credentials import Secret
from tests.probing.fix_parameters import oauth

CLIENT = oauth()
TOKEN = "a.token"


def failure(status: int, document: object) -> Failure:
    read = read_token_answer(status, document if isinstance(document, bytes) else json.dumps(document).encode(), CLIENT)
    assert isinstance(read, Failure)
    assert read.remedy
    return read


def test_client_credentials_send_scope_and_audience() -> None:
    assert token_form(oauth(scope="a b", audience="db")) == {
        "grant_type": "client_credentials",
        "scope": "a b",
        "audience": "db",
    }


def test_the_resource_is_sent_with_the_password_grant_alone() -> None:
    user = {"username": "kong", "password": Secret("p"), "resource": "r"}
    assert "resource" not in token_form(oauth(**user))
    assert token_form(oauth(grant_type=GrantType.PASSWORD, scope=None, **user)) == {
        "grant_type": "password",
        "username": "kong",
        "password": "p",
        "resource": "r",
    }


@pytest.mark.parametrize("kind", [{}, {"token_type": "Bearer"}, {"token_type": "bearer"}])
def test_a_token_is_taken(kind: dict[str, str]) -> None:
    body = json.dumps({"access_token": TOKEN, "scope": "a", "expires_in": 5, **kind}).encode()
    read = read_token_answer(200, body, CLIENT)
    assert isinstance(read, Obtained)
    assert (read.token.reveal(), read.scope, read.expires_in) == (TOKEN, "a", 5)
    assert TOKEN not in repr(read)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"access_token": 5},
        {"access_token": ""},
        {"access_token": "with space"},
        {"access_token": "x" * 70_000},
        {"access_token": TOKEN, "token_type": "DPoP"},
        [],
        b"<html>",
    ],
)
def test_an_answer_without_a_usable_token_is_a_failure(document: object) -> None:
    assert TOKEN not in failure(200, document).message


@pytest.mark.parametrize("error", REMEDIES)
def test_each_error_is_said_with_what_to_do(error: str) -> None:
    read = failure(400, {"error": error, "error_description": "Because."})
    assert read.message == f"it refused with {error} (status 400): Because."
    assert "{" not in read.remedy


def test_the_other_method_is_named_to_a_client_that_is_refused() -> None:
    assert "client_secret_basic" in failure(401, {"error": "invalid_client"}).remedy


def test_an_error_without_words_is_still_said() -> None:
    assert failure(401, b"").message == "it refused with status 401"
    assert failure(503, b"").message == "it answered with status 503"
    assert failure(400, {"error": 'x" onload='}).message == "it answered with status 400"


@pytest.mark.parametrize("said", ["horse battery", "CORRECT%20HORSE is wrong", "wrong: orse batt…"])
def test_a_description_that_repeats_a_piece_of_a_secret_is_not_shown(said: str) -> None:
    body = json.dumps({"error": "invalid_client", "error_description": said}).encode()
    read = read_token_answer(401, body, oauth(client_secret=Secret("correct horse battery")))
    assert isinstance(read, Failure)
    assert read.message == "it refused with invalid_client (status 401)"


def test_a_short_secret_is_not_repeated_either() -> None:
    body = json.dumps({"error": "invalid_client", "error_description": "not pw1"}).encode()
    read = read_token_answer(400, body, oauth(client_secret=Secret("pw1")))
    assert isinstance(read, Failure)
    assert "pw1" not in read.message


def test_controls_in_a_description_are_escaped_and_it_is_cut() -> None:
    message = failure(400, {"error": "invalid_request", "error_description": "\x1b[2J" + "x" * 10_000}).message
    assert message.isprintable()
    assert len(message) < 1_000


def test_the_document_names_the_token_endpoint() -> None:
    assert read_discovery(b'{"token_endpoint": "https://idp.example/token"}') == "https://idp.example/token"


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>", b'{"token_endpoint": 5}'])
def test_a_document_without_a_token_endpoint_is_a_failure(body: bytes) -> None:
    assert isinstance(read_discovery(body), Failure)


@pytest.mark.parametrize(
    "said",
    [
        "c o r r e c t h o r s e",
        "not correcth orsebattery",
        "you sent a29uZzpjb3JyZWN0K2hvcnNlK2JhdHRlcnk=",
        "you sent a29uZzpj b3JyZWN0 K2hv",
        "correct+horse",
        "wrong: eyJhbGciOiJSUzI1NiJ9",
    ],
)
def test_what_gives_a_secret_or_a_token_away_is_shown_in_no_member(said: str) -> None:
    client = oauth(client_secret=Secret("correct horse battery"))
    refused = json.dumps({"error": "invalid_client", "error_description": said}).encode()
    granted = json.dumps({"access_token": TOKEN, "scope": said}).encode()
    failed, read = read_token_answer(401, refused, client), read_token_answer(200, granted, client)
    assert isinstance(failed, Failure)
    assert failed.message == "it refused with invalid_client (status 401)"
    assert isinstance(read, Obtained)
    assert read.scope is None


def test_a_scope_that_repeats_the_token_is_not_kept() -> None:
    token = "a-token-of-the-provider"
    read = read_token_answer(200, json.dumps({"access_token": token, "scope": f"x {token[:9]}"}).encode(), CLIENT)
    assert isinstance(read, Obtained)
    assert read.scope is None
