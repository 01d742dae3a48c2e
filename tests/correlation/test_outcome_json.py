from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest

from pgoauthd.correlation.outcome_json import encode
from pgoauthd.logs.redaction import REDACTED
from pgoauthd.tokens.verdict import KeptClaims
from tests.fix_outcomes import outcome

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnktd2hpY2gtbXVzdC1uZXZlci1zaG93"
OPAQUE = "2YotnFZFEjr1zCsicMWpAAq8Xw3LmT7uPv0sKd9G"
SUBJECT = "AbCdEf0123GhIjKl4567MnOpQr89StUvWx_yZ01234a"

MISLEADING = [
    chr(code) for code in range(0x7F, 0x3000) if unicodedata.category(chr(code)) in {"Cc", "Zl", "Zp"}
] + list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


@pytest.mark.parametrize("char", MISLEADING)
def test_a_line_is_one_record_for_every_reader_and_means_the_same(char: str) -> None:
    line = encode(outcome(role=f"a{char}b", identity=f"é{char}"))
    assert len(line.decode().splitlines()) == 1
    assert char not in line.decode()
    assert json.loads(line)["role"] == f"a{char}b"
    assert json.loads(line)["identity"] == f"é{char}"


def test_other_letters_stay_as_they_are() -> None:
    assert "zoë 田中 🎉".encode() in encode(outcome(role="zoë 田中 🎉"))


@pytest.mark.parametrize("token", [TOKEN, OPAQUE])
@pytest.mark.parametrize("member", ["role", "database", "application_name", "identity", "message"])
def test_a_token_in_a_text_of_a_client_is_redacted(member: str, token: str) -> None:
    fields: dict[str, Any] = {member: f"x {token}"}
    line = encode(outcome(**fields))
    assert token[:24] not in line.decode()
    assert json.loads(line)[member] == f"x {REDACTED}"


def test_an_identity_that_claims_vouch_for_stays_readable() -> None:
    line = encode(outcome(identity=SUBJECT, claims=KeptClaims(sub=SUBJECT)))
    assert json.loads(line)["identity"] == SUBJECT


def test_what_is_absent_stays_absent() -> None:
    absent: dict[str, Any] = dict.fromkeys(("role", "database", "application_name", "identity"))
    assert json.loads(encode(outcome(**absent))).items() >= absent.items()
