"""What a verified token may be used for: its scopes beside those that are required; nothing else of the token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pgoauthd.tokens.issuers import IssuerPolicy
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from pgoauthd.tokens.wording import kind, listed


def granted_scopes(claims: Mapping[str, Any], policy: IssuerPolicy) -> tuple[str, ...] | Refusal:
    """The scopes in all of the policy's `scope_claims` together, each once.

    A claim is a string of scopes with spaces between (RFC 8693 section 4.2) or an array of them; claim_invalid if it
    is something else.
    """
    granted: dict[str, None] = {}
    for path in policy.scope_claims:
        name = ".".join(path)
        value = claims.get(name, [])
        scopes = value.split(" ") if isinstance(value, str) else value
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            found = "an array of more than strings" if isinstance(scopes, list) else kind(value)
            return Refusal(
                Reason.CLAIM_INVALID, f"the token's {name} is {found}; expected a string or an array of strings"
            )
        granted.update(dict.fromkeys(scopes))
    granted.pop("", None)
    return tuple(granted)


def check_scopes(granted: Sequence[str], hba_scopes: Sequence[str], policy: IssuerPolicy) -> Refusal | None:
    """None if all `required` scopes are granted, compared exactly (RFC 6749 section 3.3); else scope_missing."""
    missing = [scope for scope in dict.fromkeys((*policy.required_scopes, *hba_scopes)) if scope not in granted]
    if not missing:
        return None
    return Refusal(Reason.SCOPE_MISSING, f"the token lacks {listed(missing)}; it has {listed(granted)}")
