"""Who the bearer is, and which roles an identity may take where PostgreSQL leaves that to the validator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pgoauthd.tokens.issuers import IssuerPolicy, RoleRule
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from pgoauthd.tokens.wording import kind, quoted

MAX_IDENTITY_BYTES = 256

REPLACED = "\ufffd"
"""Stands for bytes that were no UTF-8: names that differ may look alike with it."""

_INVISIBLE = frozenset(
    [REPLACED, "\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u2800", "\u3164", "\uffa0"]
    + [chr(code) for code in (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))]
)
"""Printable for Unicode, but without a mark of their own: fillers, blanks and variation selectors."""

_ABSENT = object()


def find_identity(claims: Mapping[str, Any], policy: IssuerPolicy) -> str | Refusal:
    """The identity from the first of the claims that is there.

    Refused with identity_missing (none is there) or identity_invalid: not a string of 1 to 256 bytes, or with
    characters that do not show or change how text around them shows (controls, bidirectional controls, zero width,
    other spaces than U+0020), or with a space at either end. PostgreSQL logs identities as they are.
    """
    paths = [part for source in policy.identities for part in source.parts if isinstance(part, tuple)]
    for path in paths:
        value = _at(claims, path)
        if value is not _ABSENT:
            return _check_identity(value, ".".join(path))
    expected = ", ".join(quoted(".".join(path)) for path in paths)
    return Refusal(Reason.IDENTITY_MISSING, f"the token has no claim for the identity; expected is one of {expected}")


def check_delegation(claims: Mapping[str, Any], identity: str, role: str, policy: IssuerPolicy) -> Refusal | None:
    """None if the bearer may be `role` although no user name map is asked: by its name, or by a grant.

    With delegate_ident_mapping=1 PostgreSQL believes the validator (18 documentation, section 20.15), so everything
    that is not granted is refused with delegation_refused.
    """
    if REPLACED not in role and (
        identity == role or any(_grants(rule, claims, identity, role) for rule in policy.role_rules)
    ):
        return None
    return Refusal(
        Reason.DELEGATION_REFUSED,
        f"no rule of issuer {quoted(policy.name)} lets the identity {quoted(identity)} be the role {quoted(role)}",
    )


def _at(claims: Mapping[str, Any], path: Sequence[str]) -> object:
    value: object = claims
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return _ABSENT
        value = value[name]
    return value


def _check_identity(value: object, claim: str) -> str | Refusal:
    if not isinstance(value, str):
        return _invalid(claim, f"is {kind(value)}")
    if not value.isprintable() or not _INVISIBLE.isdisjoint(value):
        return _invalid(claim, "has a character that is not printable")
    size = len(value.encode())
    if not 0 < size <= MAX_IDENTITY_BYTES:
        return _invalid(claim, f"has {size} bytes")
    if value != value.strip():
        return _invalid(claim, "begins or ends with a space")
    return value


def _invalid(claim: str, what: str) -> Refusal:
    return Refusal(
        Reason.IDENTITY_INVALID,
        f"the identity claim {quoted(claim)} {what}; expected a printable string of 1 to {MAX_IDENTITY_BYTES} bytes",
    )


def _grants(grant: RoleRule, claims: Mapping[str, Any], identity: str, role: str) -> bool:
    """Whether the grant names the role and everything that it says of the bearer is so; it must say something."""
    conditions = []
    if grant.identity is not None:
        conditions.append(grant.identity == identity)
    if grant.claim is not None:
        conditions.append(grant.value is not None and _contains(_at(claims, grant.claim), grant.value))
    return role in grant.roles and bool(conditions) and all(conditions)


def _contains(value: object, wanted: str) -> bool:
    """A claim of one string, or of a list in which one string is the wanted one; a number is never a string."""
    return value == wanted if isinstance(value, str) else isinstance(value, list) and wanted in value
