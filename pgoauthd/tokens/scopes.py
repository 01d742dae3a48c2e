"""What a verified token may be used for: its scopes beside those that are required; nothing else of the token."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pgoauthd.tokens.claimpaths import ABSENT, find_claim, write_path
from pgoauthd.tokens.issuers import IssuerPolicy, ScopeMatching, ScopeRule
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from pgoauthd.tokens.wording import kind, listed

_ROOT = re.compile(r"[^:./]+(?:://[^/]*)?")
"""What no other scope stands for part of: the first part, and of a URL the host with it."""
_PARTS = re.compile(r"([:./])")
_ANY = ScopeRule.ANY


def granted_scopes(claims: Mapping[str, Any], policy: IssuerPolicy) -> tuple[str, ...] | Refusal:
    """The scopes in all of the policy's `scope_claims` together, and its `implied_scopes`, each once.

    A claim is a string of scopes with spaces between (RFC 8693 section 4.2) or an array of them; claim_invalid if it
    is something else.
    """
    granted: dict[str, None] = {}
    for path in policy.scope_claims:
        value = find_claim(claims, path)
        if value is ABSENT:
            continue
        scopes = value.split(" ") if isinstance(value, str) else value
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            return _invalid(write_path(path), scopes)
        granted.update(dict.fromkeys(scopes))
    granted.update(dict.fromkeys(policy.implied_scopes))
    granted.pop("", None)
    return tuple(granted)


def check_scopes(granted: Sequence[str], hba_scopes: Sequence[str], policy: IssuerPolicy) -> Refusal | None:
    """None if the token may be used under a pg_hba.conf line with `hba_scopes`; else scope_missing.

    Needed are all `required_scopes`, one of `any_scopes` if there are any, and of the line's all or, as ScopeRule says,
    one. When a granted scope stands for a needed one, ScopeMatching says.
    """
    one_of_line = policy.hba_scopes is _ANY
    needed = policy.required_scopes if one_of_line else (*policy.required_scopes, *hba_scopes)
    missing = [scope for scope in needed if scope not in granted and not _stood_for(scope, granted, policy)]
    choices: list[Sequence[str]] = []
    if policy.any_scopes and not _has_one(policy.any_scopes, granted, policy):
        choices.append(policy.any_scopes)
    if one_of_line and hba_scopes and not _has_one(hba_scopes, granted, policy):
        choices.append(hba_scopes)
    if not missing and not choices:
        return None
    lacks = [f"lacks {listed(dict.fromkeys(missing))}"] if missing else []
    lacks += [f"needs one of {listed(choice)}" for choice in choices]
    return Refusal(Reason.SCOPE_MISSING, f"the token {' and '.join(lacks)}; it has {listed(granted)}")


def _has_one(choice: Sequence[str], granted: Sequence[str], policy: IssuerPolicy) -> bool:
    return any(scope in granted or _stood_for(scope, granted, policy) for scope in choice)


def _stood_for(needed: str, granted: Sequence[str], policy: IssuerPolicy) -> bool:
    """Whether another granted scope, or the needed one without its prefix, stands for the needed one."""
    bare = _without_prefix(needed, policy.scope_prefixes)
    if bare in granted:
        return True
    stands = _STANDS[policy.scope_matching]
    return stands is not None and any(stands(scope, name) for scope in granted for name in {needed, bare})


def _without_prefix(scope: str, prefixes: Sequence[str]) -> str:
    """The scope without the longest prefix that it has; a scope that is nothing else keeps it."""
    longest = max((prefix for prefix in prefixes if scope.startswith(prefix)), key=len, default="")
    return scope[len(longest) :] or scope


def _stands_by_wildcard(granted: str, needed: str) -> bool:
    """Part by part: a granted `*` is one part, whatever it is; in a needed scope `*` means nothing."""
    if "*" not in granted:
        return False
    patterns, parts = _PARTS.split(granted), _PARTS.split(needed)
    return len(patterns) == len(parts) and all(
        pattern == part or (pattern == "*" and part != "") for pattern, part in zip(patterns, parts, strict=True)
    )


def _stands_by_hierarchy(granted: str, needed: str) -> bool:
    """The granted scope is what the needed one begins with, up to a separator; never only a part of a URL's host."""
    root = _ROOT.match(needed)
    return (
        root is not None
        and root.end() <= len(granted) < len(needed)
        and needed.startswith(granted)
        and needed[len(granted)] in ":./"
    )


_STANDS = {
    ScopeMatching.EXACT: None,
    ScopeMatching.WILDCARD: _stands_by_wildcard,
    ScopeMatching.HIERARCHICAL: _stands_by_hierarchy,
}


def _invalid(name: str, scopes: object) -> Refusal:
    found = "an array of more than strings" if isinstance(scopes, list) else kind(scopes)
    return Refusal(Reason.CLAIM_INVALID, f"the token's {name} is {found}; expected a string or an array of strings")
