"""Remembers which tokens were verified lately, so that a pool's next login costs no second signature check.

It never holds a token, only a keyed hash of it that no other process can compute; and what it remembers is that the
signature was right under these keys and what the claims say, not that the token is good: time, the scopes of the line
and the role are judged every time.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from pgoauthd.runtime.tokenhash import keyed_hash
from pgoauthd.tokens.bearer import BearerToken
from pgoauthd.tokens.issuers import IssuerPolicy
from pgoauthd.tokens.judge import Statement
from pgoauthd.tokens.keys import KeySet

MAX_TOKENS = 4096
MAX_AGE_SECONDS = 300.0


class Verified(msgspec.Struct, frozen=True, gc=False):
    """A signature check that came out right."""

    statement: Statement
    """Read under `policy`."""
    kid: str | None
    policy: IssuerPolicy
    keys: KeySet
    """The very key set: after a refresh the token is checked anew."""
    since: float
    """Monotonic seconds."""


class VerifiedTokens:
    """The last MAX_TOKENS checks, each for MAX_AGE_SECONDS, oldest first. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._hash = keyed_hash()
        self._checks: OrderedDict[bytes, Verified] = OrderedDict()

    def __len__(self) -> int:
        return len(self._checks)

    def find(self, token: BearerToken, now: float) -> Verified | None:
        """The check of this very token, if it is not too old."""
        if not self._checks:
            return None
        check = self._checks.get(self._hash(token))
        return check if check is not None and now - check.since <= MAX_AGE_SECONDS else None

    def add(self, token: BearerToken, check: Verified) -> None:
        """Remember a check, and forget those that are too old or too many."""
        key = self._hash(token)
        self._checks[key] = check
        self._checks.move_to_end(key)
        while len(self._checks) > MAX_TOKENS or self._oldest_since() < check.since - MAX_AGE_SECONDS:
            self._checks.popitem(last=False)

    def _oldest_since(self) -> float:
        return next(iter(self._checks.values())).since
