"""The way of a row of introspection answers through the core, as the validator goes it when it asks the issuer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgoauthd.tokens.bearer import BearerToken, UnverifiedToken, decode
from pgoauthd.tokens.disclosure import check_disclosure
from pgoauthd.tokens.introspection import read_answer, read_signed_answer, verify_signed_answer
from pgoauthd.tokens.issuers import Mode
from pgoauthd.tokens.judge import judge_introspected, precheck
from pgoauthd.tokens.verdict import Refusal, Verdict
from tests.tokens.case import MAX_TOKEN_BYTES
from tests.tokens.case_introspection import IntrospectionCase
from tests.tokens.through_core import NOW, published


@dataclass(frozen=True)
class Judged:
    """How a row ended, and whether its token was shown to the endpoint."""

    verdict: Verdict
    asked: bool


def judge_case(case: IntrospectionCase, now: float = NOW) -> Judged:
    bearer = BearerToken.read(case.token(now), max_bytes=MAX_TOKEN_BYTES)
    assert isinstance(bearer, BearerToken)
    token = _verified(bearer, case, now)
    if isinstance(token, Verdict):
        return Judged(token, asked=False)
    answer = read_body(case, now)
    if isinstance(answer, Refusal):
        return Judged(Verdict.refused(answer), asked=True)
    return Judged(judge_introspected(answer, token, case.request, case.settings.policy, now), asked=True)


def read_body(case: IntrospectionCase, now: float = NOW) -> Mapping[str, Any] | Refusal:
    """The answer of the row, read as its settings ask."""
    asked, body = case.settings.introspection, case.answer(now)
    if asked is None or not asked.signed_answers:
        return read_answer(body)
    answer = read_signed_answer(body)
    if isinstance(answer, Refusal):
        return answer
    return verify_signed_answer(answer, case.settings.policy, published(), now)


def _verified(bearer: BearerToken, case: IntrospectionCase, now: float) -> UnverifiedToken | Verdict | None:
    """The token where its own claims count, None where only the answer does."""
    policy = case.settings.policy
    token = decode(bearer)
    if isinstance(token, Refusal) or policy.mode is Mode.INTROSPECT:
        refusal = check_disclosure(bearer, policy)
        return None if refusal is None else Verdict.refused(refusal)
    return precheck(token, policy, published(), now) or token
