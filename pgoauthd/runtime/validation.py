"""From a token's text to its verdict: asks the core in order, and fetches keys in between; decides nothing itself."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import msgspec

from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.verified import Verified, VerifiedTokens
from pgoauthd.tokens.bearer import BearerToken, UnverifiedToken, decode
from pgoauthd.tokens.issuers import IssuerPolicy, choose_issuer
from pgoauthd.tokens.judge import judge, read_statement, weigh
from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import LoginRequest, Refusal, Verdict

_NO_KEYS = KeySet(())

_WANTS_KEYS = frozenset({Reason.KEY_UNKNOWN, Reason.KEY_AMBIGUOUS, Reason.KEY_MISMATCH})
"""How a token is refused by a judge without keys, where nothing else is wrong before its signature."""


class Keys(Protocol):
    """What the validator needs of the key store."""

    def held(self, issuer: str, kid: str | None) -> KeySet | None:
        """The keys at hand."""

    async def keys_for(self, issuer: str, kid: str | None) -> KeySet | Refusal:
        """The keys, fetched where they are not at hand."""


class AwaitsKeys(msgspec.Struct, frozen=True, gc=False):
    """A judgement that stopped because the issuer's keys must be fetched first."""

    bearer: BearerToken
    token: UnverifiedToken
    request: LoginRequest
    policy: IssuerPolicy

    def __repr__(self) -> str:
        return f"<AwaitsKeys of {self.policy.name}>"


class Validator:
    """Judges tokens of the configured issuers at this moment's wall clock."""

    def __init__(self, policies: tuple[IssuerPolicy, ...], keys: Keys, *, max_token_bytes: int, clock: Clock) -> None:
        # A server asks with the few issuers of its pg_hba.conf, again and again.
        self._choose_issuer = lru_cache(maxsize=64)(lambda name: choose_issuer(name, policies))
        self._by_issuer = {policy.issuer: policy for policy in policies}
        self._keys = keys
        self._max_token_bytes = max_token_bytes
        self._clock = clock
        self._verified = VerifiedTokens()

    def begin(self, text: str, request: LoginRequest) -> Verdict | AwaitsKeys:
        """May the bearer of this token log in as `request` says? `finish` it where keys must be fetched first."""
        policy = self._choose_issuer(request.issuer)
        if isinstance(policy, Refusal):
            return Verdict.refused(policy)
        bearer = BearerToken.read(text, max_bytes=self._max_token_bytes)
        if isinstance(bearer, Refusal):
            return Verdict.refused(bearer)
        if (verdict := self._weigh_verified(bearer, request, policy)) is not None:
            return verdict
        token = decode(bearer)
        return Verdict.refused(token) if isinstance(token, Refusal) else self._begin(bearer, token, request, policy)

    def begin_introspection(self, text: str) -> Verdict | AwaitsKeys:
        """Is this token good for the issuer that it names itself? Rules about roles do not apply (RFC 7662)."""
        bearer = BearerToken.read(text, max_bytes=self._max_token_bytes)
        if isinstance(bearer, Refusal):
            return Verdict.refused(bearer)
        token = decode(bearer)
        if isinstance(token, Refusal):
            return Verdict.refused(token)
        policy = self._by_issuer.get(token.issuer or "")
        if policy is None:
            return Verdict.refused(Refusal(Reason.ISSUER_MISMATCH, "the token is not from a configured issuer"))
        return self._begin(bearer, token, LoginRequest(role="", issuer=policy.issuer), policy)

    async def finish(self, waiting: AwaitsKeys) -> Verdict:
        """Fetch the keys, or wait for whoever fetches them, and judge; an idp_ reason where they cannot be had."""
        keys = await self._keys.keys_for(waiting.policy.name, waiting.token.kid)
        if isinstance(keys, Refusal):
            return Verdict.refused(keys)
        return self._judge(waiting.bearer, waiting.token, waiting.request, waiting.policy, keys)

    def _weigh_verified(self, bearer: BearerToken, request: LoginRequest, policy: IssuerPolicy) -> Verdict | None:
        """The verdict without a signature check, where the same keys verified the same token a moment ago."""
        check = self._verified.find(bearer, self._clock.monotonic())
        if check is None or check.policy is not policy or self._keys.held(policy.name, check.kid) is not check.keys:
            return None
        return weigh(check.statement, request, policy, self._clock.time())

    def _begin(
        self, bearer: BearerToken, token: UnverifiedToken, request: LoginRequest, policy: IssuerPolicy
    ) -> Verdict | AwaitsKeys:
        keys = self._keys.held(policy.name, token.kid)
        if keys is not None:
            return self._judge(bearer, token, request, policy, keys)
        # What is wrong with it whatever the keys are, another issuer above all, must not cause a fetch.
        verdict = judge(token, request, policy, _NO_KEYS, self._clock.time())
        return AwaitsKeys(bearer, token, request, policy) if verdict.reason in _WANTS_KEYS else verdict

    def _judge(
        self, bearer: BearerToken, token: UnverifiedToken, request: LoginRequest, policy: IssuerPolicy, keys: KeySet
    ) -> Verdict:
        verdict = judge(token, request, policy, keys, self._clock.time())
        if verdict.authorized:
            check = Verified(read_statement(token.claims, policy), token.kid, policy, keys, self._clock.monotonic())
            self._verified.add(bearer, check)
        return verdict
