from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from pgoauthd.config.reader import parse
from pgoauthd.tokens.reasons import Reason, Stage
from tests.tokens.refusals import ACCEPTANCES, CASES, POLICY, POLICY_TOML, REFUSALS, Case
from tests.tokens.through_core import NOW, judge_text

BEFORE_CLAIMS = frozenset({Stage.HBA, Stage.TOKEN_FORMAT, Stage.DECODE, Stage.SIGNATURE})
UNVERIFIED_CLAIMS = frozenset({Reason.ISSUER_MISSING, Reason.ISSUER_MISMATCH})
IDENTIFIED = frozenset({Stage.NONE, Stage.SCOPE, Stage.USERMAP})
PIECE = 12

of_table = pytest.mark.parametrize("case", CASES, ids=str)


@of_table
def test_every_row_ends_in_its_reason(case: Case) -> None:
    verdict = judge_text(case.token(NOW), case.request)
    assert (verdict.reason, verdict.authorized) == (case.reason, case.reason is Reason.OK), verdict.message


@of_table
def test_no_verdict_holds_a_piece_of_the_token(case: Case) -> None:
    text = case.token(NOW)
    shown = f"{judge_text(text, case.request)!r}{msgspec.json.encode(judge_text(text, case.request)).decode()}"
    segments = [part for part in text.split(".") if len(part) >= PIECE]
    pieces = {part[i : i + PIECE] for part in segments for i in range(len(part) - PIECE + 1)}
    assert not [piece for piece in pieces if piece in shown]


@of_table
def test_nothing_of_an_unverified_token_is_kept(case: Case) -> None:
    verdict = judge_text(case.token(NOW), case.request)
    verified = case.reason.stage not in BEFORE_CLAIMS and case.reason not in UNVERIFIED_CLAIMS
    assert (verdict.claims is not None) is verified
    if not verified or case.reason.stage is Stage.CLAIMS:
        assert verdict.authn_id is None


@of_table
def test_messages_are_one_short_printable_sentence(case: Case) -> None:
    message = judge_text(case.token(NOW), case.request).message
    assert message
    assert message.isprintable()
    assert len(message) <= 1000
    assert not message.endswith(".")


@pytest.mark.parametrize("case", [case for case in CASES if case.reason.stage in IDENTIFIED], ids=str)
def test_an_identity_is_told_once_time_issuer_and_audience_are_right(case: Case) -> None:
    verdict = judge_text(case.token(NOW), case.request)
    assert verdict.authn_id
    assert verdict.claims is not None
    assert verdict.claims.exp is not None


def test_the_table_has_every_reason_that_the_core_can_give() -> None:
    not_by_token = {
        Stage.HANDSHAKE,
        Stage.DISCOVERY,
        Stage.VALIDATOR,
        Stage.IDP,
        Stage.ROLE,
        Stage.DATABASE,
    }
    elsewhere = {
        Reason.HBA_NO_ENTRY,
        Reason.HBA_REJECTED,
        Reason.TOKEN_NOT_BEARER,
        Reason.IDENTITY_MISMATCH,
        Reason.USERMAP_NO_MATCH,
        Reason.TOKEN_INACTIVE,
        Reason.INTROSPECTION_MISMATCH,
        Reason.CLAIM_MISMATCH,
    }
    possible = {reason for reason in Reason if reason.stage not in not_by_token} - elsewhere
    assert {case.reason for case in CASES} == possible


def test_the_policy_of_the_table_is_what_a_daemon_reads_from_its_configuration() -> None:
    config = parse(POLICY_TOML.replace("JWKS_URI", "http://127.0.0.1:8180/certs"))
    assert [issuer.policy for issuer in config.issuers] == [POLICY]


def test_names_of_rows_are_unique() -> None:
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []


def test_the_table_is_as_large_as_is_said() -> None:
    assert (len(REFUSALS), len(ACCEPTANCES)) == (517, 58)
