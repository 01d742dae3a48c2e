"""From a token's text to its verdict: asks the core in order, and the issuer in between; decides nothing itself.

A JWT is judged by its signature, an opaque token by what its issuer says of it (RFC 7662), and by policy a JWT by both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.verified import Verified, VerifiedTokens
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.bearer import BearerToken, UnverifiedToken, decode
from pgoauthd.tokens.disclosure import check_disclosure
from pgoauthd.tokens.issuers import IssuerPolicy, Mode, choose_issuer
from pgoauthd.tokens.judge import (
    check_before_introspection,
    judge_introspected,
    precheck,
    read_signed,
    weigh,
)
from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import LoginRequest, Refusal, Verdict

_NO_KEYS = KeySet(())

_WANTS_KEYS = frozenset({Reason.KEY_UNKNOWN, Reason.KEY_AMBIGUOUS, Reason.KEY_MISMATCH})
"""How a token is refused by a judge without keys, where nothing else is wrong before its signature."""

_UNREADABLE = frozenset({Reason.TOKEN_OPAQUE, Reason.TOKEN_ENCRYPTED, Reason.TOKEN_MALFORMED})
"""Tokens that only their issuer can read: without the three parts of a signed JWT. Some opaque ones have dots."""


class Keys(Protocol):
    """What the validator needs of the key store."""

    def held(self, issuer: str, kid: str | None) -> KeySet | None:
        """The keys at hand."""

    async def keys_for(self, issuer: str, kid: str | None) -> KeySet | Refusal:
        """The keys, fetched where they are not at hand."""


class Introspection(Protocol):
    """What the validator needs of the introspectors."""

    def held(self, issuer: str, token: BearerToken) -> Mapping[str, Any] | Refusal | None:
        """The issuer's answer about this token, where it was asked a moment ago."""

    async def ask(self, issuer: str, token: BearerToken) -> Mapping[str, Any] | Refusal:
        """The issuer's answer about this token."""


def most_waiting(max_connections: int, issuers: int) -> int:
    """How many of the connections may wait for one issuer: half of them, so that a slow one leaves room for others.

    Where it is the only one, there is nobody to leave room for.
    """
    return max_connections if issuers < 2 else max(1, max_connections // 2)  # noqa: PLR2004 - one and no other


class AwaitsIssuer(msgspec.Struct, frozen=True, gc=False):
    """A judgement that stopped because its issuer must be asked, for keys or about the token."""

    bearer: BearerToken
    token: UnverifiedToken | None
    """None where only the issuer can say what the token is."""
    request: LoginRequest
    policy: IssuerPolicy
    wants_keys: bool

    def __repr__(self) -> str:
        return f"<AwaitsIssuer {self.policy.name}>"


class Validator:
    """Judges tokens of the configured issuers at this moment's wall clock."""

    def __init__(
        self,
        policies: tuple[IssuerPolicy, ...],
        keys: Keys,
        *,
        introspection: Introspection | None = None,
        max_token_bytes: int,
        max_waiting: int = 1024,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """`max_waiting`: how many tokens may wait for one issuer, so that a slow one leaves seats for the others.

        `introspection` is there where a policy has an `introspection_client`.
        """
        # A server asks with the few issuers of its pg_hba.conf, again and again.
        self._choose_issuer = lru_cache(maxsize=64)(lambda name: choose_issuer(name, policies))
        self._policies = policies
        self._keys = keys
        self._introspection = introspection
        self._max_token_bytes = max_token_bytes
        self._max_waiting = max_waiting
        self._waiting = Counter[str]()
        self._waiting_gauges = {policy.name: metrics.issuer_waiting.labels(policy.name) for policy in policies}
        self._count_hit = metrics.verified_cache.labels("hit").inc
        self._count_miss = metrics.verified_cache.labels("miss").inc
        self._clock = clock
        self._verified = VerifiedTokens()

    def begin(self, text: str, request: LoginRequest) -> Verdict | AwaitsIssuer:
        """May the bearer of this token log in as `request` says? `finish` it where the issuer must be asked first."""
        policy = self._choose_issuer(request.issuer)
        if isinstance(policy, Refusal):
            return Verdict.refused(policy)
        bearer = BearerToken.read(text, max_bytes=self._max_token_bytes)
        if isinstance(bearer, Refusal):
            return Verdict.refused(bearer)
        if (verdict := self._weigh_verified(bearer, request, policy)) is not None:
            return verdict
        return self._begin(bearer, decode(bearer), request, policy)

    def begin_introspection(self, text: str) -> Verdict | AwaitsIssuer:
        """Is this token good for the issuer that it names itself? Rules about roles do not apply (RFC 7662)."""
        bearer = BearerToken.read(text, max_bytes=self._max_token_bytes)
        if isinstance(bearer, Refusal):
            return Verdict.refused(bearer)
        token = decode(bearer)
        policy = self._only_reader(token) if isinstance(token, Refusal) else self._named_issuer(token)
        if isinstance(policy, Refusal):
            return Verdict.refused(policy)
        return self._begin(bearer, token, LoginRequest(role="", issuer=policy.issuer), policy)

    async def finish(self, waiting: AwaitsIssuer) -> Verdict:
        """Ask the issuer, or wait for whoever asks it, and judge; an idp_ reason where there is no answer to be had."""
        with self._seat(waiting.policy.name) as refusal:
            return Verdict.refused(refusal) if refusal is not None else await self._finish(waiting)

    def _begin(
        self, bearer: BearerToken, token: UnverifiedToken | Refusal, request: LoginRequest, policy: IssuerPolicy
    ) -> Verdict | AwaitsIssuer:
        asks = policy.introspection_client is not None
        if isinstance(token, Refusal):
            if not asks or (policy.mode is not Mode.INTROSPECT and token.reason not in _UNREADABLE):
                return Verdict.refused(token)
            refusal = check_disclosure(bearer, policy)
            return self._introspected(bearer, None, request, policy) if refusal is None else Verdict.refused(refusal)
        if policy.mode is not Mode.INTROSPECT:
            return self._signed(bearer, token, request, policy)
        if (refusal := check_before_introspection(token, policy, self._clock.time())) is not None:
            return Verdict.refused(refusal)
        return self._introspected(bearer, None, request, policy)

    def _signed(
        self, bearer: BearerToken, token: UnverifiedToken, request: LoginRequest, policy: IssuerPolicy
    ) -> Verdict | AwaitsIssuer:
        """A JWT whose signature counts."""
        keys = self._keys.held(policy.name, token.kid)
        if keys is not None:
            return self._judge_signed(bearer, token, request, policy, keys)
        # What is wrong with it whatever the keys are, another issuer above all, must not cause a fetch.
        verdict = precheck(token, policy, _NO_KEYS, self._clock.time())
        if verdict is None or verdict.reason in _WANTS_KEYS:
            return AwaitsIssuer(bearer, token, request, policy, wants_keys=True)
        return verdict

    def _judge_signed(
        self, bearer: BearerToken, token: UnverifiedToken, request: LoginRequest, policy: IssuerPolicy, keys: KeySet
    ) -> Verdict | AwaitsIssuer:
        if policy.mode is Mode.JWT_THEN_INTROSPECT:
            refused = precheck(token, policy, keys, self._clock.time())
            return refused or self._introspected(bearer, token, request, policy)
        self._count_miss()
        statement = read_signed(token, policy, keys)
        if isinstance(statement, Refusal):
            return Verdict.refused(statement)
        verdict = weigh(statement, request, policy, self._clock.time())
        if verdict.authorized:
            self._verified.add(bearer, Verified(statement, token.kid, policy, keys, self._clock.monotonic()))
        return verdict

    def _introspected(
        self, bearer: BearerToken, token: UnverifiedToken | None, request: LoginRequest, policy: IssuerPolicy
    ) -> Verdict | AwaitsIssuer:
        """By the issuer's answer; `token` is a JWT whose signature was right, to be held against the answer."""
        answer = self._asked().held(policy.name, bearer)
        if answer is None:
            return AwaitsIssuer(bearer, token, request, policy, wants_keys=False)
        return self._judge_answer(answer, token, request, policy)

    def _judge_answer(
        self,
        answer: Mapping[str, Any] | Refusal,
        token: UnverifiedToken | None,
        request: LoginRequest,
        policy: IssuerPolicy,
    ) -> Verdict:
        if isinstance(answer, Refusal):
            return Verdict.refused(answer)
        return judge_introspected(answer, token, request, policy, self._clock.time())

    async def _finish(self, waiting: AwaitsIssuer) -> Verdict:
        bearer, token, request, policy = waiting.bearer, waiting.token, waiting.request, waiting.policy
        if waiting.wants_keys and token is not None:
            keys = await self._keys.keys_for(policy.name, token.kid)
            if isinstance(keys, Refusal):
                return Verdict.refused(keys)
            judged = self._judge_signed(bearer, token, request, policy, keys)
            if isinstance(judged, Verdict):
                return judged
        answer = await self._asked().ask(policy.name, bearer)
        return self._judge_answer(answer, token, request, policy)

    def _weigh_verified(self, bearer: BearerToken, request: LoginRequest, policy: IssuerPolicy) -> Verdict | None:
        """The verdict without a signature check, where the same keys verified the same token a moment ago."""
        check = self._verified.find(bearer, self._clock.monotonic())
        if check is None or check.policy is not policy or self._keys.held(policy.name, check.kid) is not check.keys:
            return None
        self._count_hit()
        return weigh(check.statement, request, policy, self._clock.time())

    def _named_issuer(self, token: UnverifiedToken) -> IssuerPolicy | Refusal:
        """The policy whose own issuer it is, else the first that takes tokens of that issuer, too."""
        takers = [policy for policy in self._policies if token.issuer in (policy.issuer, *policy.token_issuers)]
        if not takers:
            return Refusal(Reason.ISSUER_MISMATCH, "the token is not from a configured issuer")
        return next((policy for policy in takers if policy.issuer == token.issuer), takers[0])

    def _only_reader(self, unreadable: Refusal) -> IssuerPolicy | Refusal:
        """Whom to ask about a token that names nobody: nobody, where it could be shown to the wrong one."""
        readers = [policy for policy in self._policies if policy.introspection_client is not None]
        return readers[0] if len(readers) == 1 else unreadable

    def _asked(self) -> Introspection:
        if self._introspection is None:
            raise RuntimeError("a policy with an introspection_client needs introspection")
        return self._introspection

    @contextmanager
    def _seat(self, issuer: str) -> Iterator[Refusal | None]:
        """A place among those who wait for the issuer, or why there is none."""
        if self._waiting[issuer] >= self._max_waiting:
            message = f"{self._max_waiting} tokens wait for the issuer {issuer!r} already"
            yield Refusal(Reason.IDP_QUEUE_FULL, message)
            return
        self._waiting[issuer] += 1
        self._waiting_gauges[issuer].inc()  # a validator of before may have others in it
        try:
            yield None
        finally:
            self._waiting[issuer] -= 1
            self._waiting_gauges[issuer].dec()
