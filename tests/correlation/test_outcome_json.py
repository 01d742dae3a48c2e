from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pgoauthd.correlation.outcome_json import encode, rfc3339
from pgoauthd.logs.redaction import REDACTED, redact
from pgoauthd.mapping.prediction import Expected, MapPrediction, TriedLine
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import KeptClaims
from tests.fix_outcomes import outcome

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnktd2hpY2gtbXVzdC1uZXZlci1zaG93"
OPAQUE = "2YotnFZFEjr1zCsicMWpAAq8Xw3LmT7uPv0sKd9G"
SUBJECT = "AbCdEf0123GhIjKl4567MnOpQr89StUvWx_yZ01234a"

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "outcome.schema.json").read_text(encoding="utf-8"))

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


@pytest.mark.parametrize("reason", list(Reason))
def test_no_sentence_of_ours_looks_like_a_token(reason: Reason) -> None:
    """`encode` takes them as they are."""
    assert redact(reason.sentence) == reason.sentence


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (-0.25, "1969-12-31T23:59:59.750Z"),
        (1_795_310_000.0, "2026-11-22T01:13:20.000Z"),
        (1_795_310_000.599, "2026-11-22T01:13:20.599Z"),
        (1_795_310_000.9996, "2026-11-22T01:13:21.000Z"),
        (32_503_679_999.999, "2999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_rfc_3339_with_milliseconds(seconds: float, text: str) -> None:
    assert rfc3339(seconds) == text


def test_an_identity_that_claims_vouch_for_stays_readable() -> None:
    line = encode(outcome(identity=SUBJECT, claims=KeptClaims(sub=SUBJECT)))
    assert json.loads(line)["identity"] == SUBJECT


@pytest.mark.parametrize("number", [None, 1, 2**53])
def test_its_number_in_the_history_stands_right_behind_the_version(number: int | None) -> None:
    members = json.loads(encode(outcome(id=number)))
    jsonschema.validate(members, SCHEMA)
    assert list(members.items())[:2] == [("version", 1), ("id", number)]


def test_what_is_absent_stays_absent() -> None:
    absent: dict[str, Any] = dict.fromkeys(("role", "database", "application_name", "identity"))
    assert json.loads(encode(outcome(**absent))).items() >= absent.items()


LINE = TriedLine(
    file="/etc/pg_ident.conf", line=3, text="people bob bob", why='it gives the role "bob", asked was "app"'
)

MAPPINGS = [
    MapPrediction(expected=Expected.MATCH, map="people", message="Line 3 does.", file="/etc/pg_ident.conf", line=3),
    MapPrediction(expected=Expected.NO_MATCH, map="people", message="None does.", tried=(LINE,), nearest=LINE),
    MapPrediction(expected=Expected.NO_MATCH, map="people", message="There is no map."),
    MapPrediction(expected=Expected.UNKNOWN, map="people", message="Who knows.", tried=(LINE,)),
]


@pytest.mark.parametrize("mapping", [None, *MAPPINGS])
def test_what_the_map_said_fits_the_schema(mapping: MapPrediction | None) -> None:
    members = json.loads(encode(outcome(mapping=mapping)))
    jsonschema.validate(members, SCHEMA)
    assert (members["mapping"] is None) is (mapping is None)


def test_members_of_a_map_that_do_not_apply_are_left_out() -> None:
    assert set(json.loads(encode(outcome(mapping=MAPPINGS[0])))["mapping"]) == {
        "expected",
        "map",
        "message",
        "file",
        "line",
    }


@pytest.mark.parametrize("token", [TOKEN, OPAQUE])
def test_a_token_in_what_the_map_said_is_redacted(token: str) -> None:
    line = TriedLine(file="/f", line=1, text=f"m {token} x", why=f'asked was "{token}"')
    mapping = MapPrediction(expected=Expected.NO_MATCH, map="m", message=f'No "{token}".', tried=(line,), nearest=line)
    assert token[:24] not in encode(outcome(mapping=mapping, claims=KeptClaims(sub=SUBJECT))).decode()
