"""The way of a token through the core, as the callout goes it: line, text, decoding, judgement."""

from __future__ import annotations

from functools import cache

from pgoauthd.tokens.bearer import BearerToken, decode
from pgoauthd.tokens.issuers import choose_issuer
from pgoauthd.tokens.judge import judge
from pgoauthd.tokens.keys import KeySet, read_key_set
from pgoauthd.tokens.verdict import LoginRequest, Refusal, Verdict
from tests.tokens.case import MAX_TOKEN_BYTES, POLICY, PUBLISHED_KEYS, REQUEST

NOW = 1_763_869_200.0


@cache
def published() -> KeySet:
    """The key set of the table, read once."""
    keys = read_key_set(PUBLISHED_KEYS)
    assert isinstance(keys, KeySet)
    return keys


def judge_text(text: str, request: LoginRequest = REQUEST, now: float = NOW) -> Verdict:
    """The verdict on a token's text under the policy and the keys of the table."""
    policy = choose_issuer(request.issuer, (POLICY,))
    if isinstance(policy, Refusal):
        return Verdict.refused(policy)
    bearer = BearerToken.read(text, max_bytes=MAX_TOKEN_BYTES)
    if isinstance(bearer, Refusal):
        return Verdict.refused(bearer)
    token = decode(bearer)
    if isinstance(token, Refusal):
        return Verdict.refused(token)
    return judge(token, request, policy, published(), now)
