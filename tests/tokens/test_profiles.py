from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from pgoauthd.config.reader import parse
from pgoauthd.tokens.bearer import BearerToken, decode
from pgoauthd.tokens.issuers import IssuerPolicy, choose_issuer
from pgoauthd.tokens.judge import judge
from pgoauthd.tokens.keys import KeySet, read_key_set
from pgoauthd.tokens.profiles import PROFILES
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal, Verdict
from tests.tokens.case import MAX_TOKEN_BYTES
from tests.tokens.cases_profiles import GOOD, PROFILE_CASES
from tests.tokens.profile_case import ISSUERS, KEYS, ProfileCase, issuer_toml
from tests.tokens.through_core import NOW

BY_NAME = {str(case): case for case in PROFILE_CASES}


@cache
def _policies() -> tuple[IssuerPolicy, ...]:
    text = "".join(issuer_toml(profile, "http://127.0.0.1:8180/keys") for profile in ISSUERS)
    return tuple(issuer.policy for issuer in parse(text).issuers)


@cache
def _keys(profile: str) -> KeySet:
    keys = read_key_set(KEYS[profile])
    assert isinstance(keys, KeySet)
    return keys


def _judge(case: ProfileCase) -> Verdict:
    """The verdict on a row, made once: signing is what takes time here."""
    return _judged(str(case))


@cache
def _judged(name: str) -> Verdict:
    case = BY_NAME[name]
    policy = choose_issuer(case.request.issuer, _policies())
    assert isinstance(policy, IssuerPolicy)
    bearer = BearerToken.read(case.token(NOW), max_bytes=MAX_TOKEN_BYTES)
    assert isinstance(bearer, BearerToken)
    token = decode(bearer)
    if isinstance(token, Refusal):
        return Verdict.refused(token)
    return judge(token, case.request, policy, _keys(case.profile), NOW)


@pytest.mark.parametrize("case", PROFILE_CASES, ids=str)
def test_every_token_of_every_kind_of_issuer_ends_in_its_reason(case: ProfileCase) -> None:
    verdict = _judge(case)
    assert (verdict.reason, verdict.authorized) == (case.reason, case.reason is Reason.OK), verdict.message


@pytest.mark.parametrize("case", [case for case in PROFILE_CASES if case.reason is Reason.OK], ids=str)
def test_the_identity_is_that_of_the_profile(case: ProfileCase) -> None:
    assert _judge(case).authn_id == case.identity


@pytest.mark.parametrize("case", PROFILE_CASES, ids=str)
def test_messages_are_one_short_printable_sentence(case: ProfileCase) -> None:
    message = _judge(case).message
    assert message
    assert message.isprintable()
    assert len(message) <= 1000
    assert not message.endswith(".")


def test_every_profile_has_its_tokens() -> None:
    assert GOOD.keys() == ISSUERS.keys() == PROFILES.keys()


def test_names_of_rows_are_unique() -> None:
    assert [name for name, count in Counter(map(str, PROFILE_CASES)).items() if count > 1] == []


def test_the_table_is_as_large_as_is_said() -> None:
    accepted = sum(case.reason is Reason.OK for case in PROFILE_CASES)
    assert (len(PROFILE_CASES) - accepted, accepted) == (278, 28)
