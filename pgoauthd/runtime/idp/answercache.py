"""Remembers for a few seconds what an identity provider said about a token; never a failure, never past its time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec

from pgoauthd.config.values import Introspection
from pgoauthd.runtime.tokenhash import TokenHash
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

MAX_ANSWERS = 4096
"""Of each kind."""
MAX_ANSWER_BYTES = 16_384
"""A larger answer is not kept, so that the memory for all of them has a bound."""


class _Kept(msgspec.Struct, frozen=True, gc=False):
    answer: Mapping[str, Any] | Refusal
    until: float
    """Monotonic seconds."""
    expires: float | None
    """`exp` of the token, by the wall clock."""


class AnswerCache:
    """Answers by the hash of their token, those about active tokens apart from those about inactive ones."""

    def __init__(self, introspection: Introspection) -> None:
        self._active = _Answers(introspection.cache_seconds)
        self._inactive = _Answers(introspection.negative_cache_seconds)

    def __len__(self) -> int:
        return len(self._active) + len(self._inactive)

    def find(self, token: TokenHash, *, monotonic: float, wall: float) -> Mapping[str, Any] | Refusal | None:
        """What was said about the token, if it is not too old and the token has not expired since."""
        return self._active.find(token, monotonic, wall) or self._inactive.find(token, monotonic, wall)

    def keep(self, token: TokenHash, answer: Mapping[str, Any] | Refusal, *, size: int, asked_at: float) -> None:
        """Remember an answer of `size` bytes, from the monotonic time on at which the provider was asked."""
        self._active.forget(token)
        self._inactive.forget(token)
        if isinstance(answer, Refusal):
            if answer.reason is Reason.TOKEN_INACTIVE:
                self._inactive.keep(token, answer, None, asked_at)
        elif size <= MAX_ANSWER_BYTES:
            self._active.keep(token, answer, _expiry(answer), asked_at)


class _Answers:
    """The last MAX_ANSWERS of one kind, each for so many seconds, oldest first; none where that is 0."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: OrderedDict[TokenHash, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, token: TokenHash, monotonic: float, wall: float) -> Mapping[str, Any] | Refusal | None:
        kept = self._kept.get(token)
        if kept is None or monotonic >= kept.until or (kept.expires is not None and wall >= kept.expires):
            return None
        return kept.answer

    def keep(
        self, token: TokenHash, answer: Mapping[str, Any] | Refusal, expires: float | None, asked_at: float
    ) -> None:
        if self._seconds <= 0:
            return
        self._kept[token] = _Kept(answer, asked_at + self._seconds, expires)
        while len(self._kept) > MAX_ANSWERS or next(iter(self._kept.values())).until <= asked_at:
            self._kept.popitem(last=False)

    def forget(self, token: TokenHash) -> None:
        self._kept.pop(token, None)


def _expiry(members: Mapping[str, Any]) -> float | None:
    """`exp` where it is a number; whether it must be there is not decided here."""
    expires = members.get("exp")
    return expires if isinstance(expires, int | float) and not isinstance(expires, bool) else None
