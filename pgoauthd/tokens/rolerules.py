"""Which roles an identity may take where PostgreSQL leaves that to the validator: rules in order, the first decides.

What cannot be told for certain allows nothing and denies. It never asks whether a role exists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pgoauthd.tokens.claimpaths import ABSENT, find_claim, write_path
from pgoauthd.tokens.identity import REPLACED
from pgoauthd.tokens.issuers import ClaimPath, IssuerPolicy, RoleRule
from pgoauthd.tokens.linearregex import LinearRegex
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from pgoauthd.tokens.wording import kind, listed, quoted

Groups = tuple[str, ...]
"""What an expression and its groups matched, from \\0 on; empty where there is no expression."""

MAX_VALUES = 2_000
"""Of a claim. Every rule looks at all of them while other logins wait; a directory has a thousand groups for one."""

PLACE = re.compile(r"\\([0-9\\]?)")
"""In a role of a rule: a backslash and what it stands for."""
_FOLDED_TO_ASCII = frozenset("\u017f\u212a")
"""The letters that are s and k for (?i), and yet those of another name: the long s and the Kelvin sign."""


def check_delegation(claims: Mapping[str, Any], identity: str, role: str, policy: IssuerPolicy) -> Refusal | None:
    """None if the bearer may be `role` although no user name map is asked: by a rule, or without any by its name.

    With delegate_ident_mapping=1 PostgreSQL believes the validator (18 documentation, section 20.15), so everything
    that no rule allows is refused with delegation_refused, and with role_denied what one denies.
    """
    if not role or REPLACED in role:
        wrong = "has bytes that were no UTF-8, so it may look like another" if role else "is empty"
        return _refused(f"the identity {quoted(identity)} may not be the role {quoted(role)}: its name {wrong}")
    if not policy.role_rules:
        return None if identity == role else _refused_without_rules(identity, role, policy)
    number = deciding_rule(policy.role_rules, claims, identity, role)
    if number is not None and policy.role_rules[number - 1].allow:
        return None
    bearer = f"the identity {quoted(identity)}"
    if number is None:
        asked = f"no role rule of issuer {quoted(policy.name)} lets {bearer} be the role {quoted(role)}"
        return _refused(f"{asked} ({len(policy.role_rules)} tried){_nearest(policy.role_rules, claims, identity)}")
    denied = f"role rule {number} of issuer {quoted(policy.name)} denies {bearer} the role {quoted(role)}"
    return Refusal(Reason.ROLE_DENIED, denied + _doubt(policy.role_rules[number - 1], claims))


def deciding_rule(rules: Sequence[RoleRule], claims: Mapping[str, Any], identity: str, role: str) -> int | None:
    """The number, from 1, of the first rule that is about this bearer and this role; None if there is none."""
    for number, rule in enumerate(rules, 1):
        if any(_names(rule, groups, role) for groups in _ways(rule, claims, identity)):
            return number
    return None


def nearest_rule(
    rules: Sequence[RoleRule], claims: Mapping[str, Any], identity: str
) -> tuple[int, tuple[str, ...]] | None:
    """The number of the first rule that allows this bearer anything by name, and the roles that it names."""
    for number, rule in enumerate(rules, 1):
        if rule.allow:
            filled = (_fill(template, groups) for groups in _ways(rule, claims, identity) for template in rule.roles)
            roles = tuple(dict.fromkeys(role for role in filled if role))
            if roles:
                return number, roles
    return None


def _ways(rule: RoleRule, claims: Mapping[str, Any], identity: str) -> list[Groups]:
    """The ways in which the rule's conditions hold for the bearer, each with what its groups matched; none if not."""
    groups: Groups = ()
    if rule.identity is not None and rule.identity != identity:
        return []
    if rule.identity_regex is not None:
        matched = _match(rule, rule.identity_regex, identity)
        if matched is None:
            return []
        groups = matched
    if rule.claim is not None:
        return _ways_by_claim(rule, rule.claim, claims, groups)
    if rule.value is not None or rule.value_regex is not None:
        return _unclear(rule)
    conditional = rule.identity is not None or rule.identity_regex is not None
    return [groups] if conditional or not rule.allow else []


def _ways_by_claim(rule: RoleRule, path: ClaimPath, claims: Mapping[str, Any], groups: Groups) -> list[Groups]:
    values = _strings(claims, path)
    if values is None or (rule.value is None and rule.value_regex is None):
        return _unclear(rule)
    if rule.value is not None:
        values = [value for value in values if value == rule.value]
    if rule.value_regex is None:
        return [groups] if values else []
    found = (_match(rule, rule.value_regex, value) for value in values)
    return [matched for matched in found if matched is not None]


def _unclear(rule: RoleRule) -> list[Groups]:
    """For conditions that cannot be judged: a rule that denies holds, and has no groups that would narrow its roles."""
    return [] if rule.allow else [()]


def _strings(claims: Mapping[str, Any], path: ClaimPath) -> list[str] | None:
    """The strings of a claim, none if it is not there; None if it, or something on the way to it, is anything else.

    None, too, if there are more than MAX_VALUES.
    """
    value = find_claim(claims, path)
    if value is ABSENT:
        way = (find_claim(claims, path[:end]) for end in range(1, len(path)))
        return [] if all(step is ABSENT or isinstance(step, dict) for step in way) else None
    values: list[Any] = value if isinstance(value, list) else [value]
    return values if len(values) <= MAX_VALUES and all(isinstance(one, str) for one in values) else None


def _names(rule: RoleRule, groups: Groups, role: str) -> bool:
    """Whether the role is one of the rule's; a rule that denies without naming roles, or a nameable one, means all."""
    if rule.roles_regex is not None and _match(rule, rule.roles_regex, role) is not None:
        return True
    if not rule.allow and not rule.roles and rule.roles_regex is None:
        return True
    filled = [_fill(template, groups) for template in rule.roles]
    return role in filled or (not rule.allow and None in filled)


def _fill(template: str, groups: Groups) -> str | None:
    """The template with what the groups matched in its places; None if it has a place that nothing can fill."""

    def put(place: re.Match[str]) -> str:
        return "\\" if place[1] == "\\" else groups[int(place[1])]

    if "\\" not in template:
        return template
    try:
        return PLACE.sub(put, template)
    except (ValueError, IndexError):
        return None


def _match(rule: RoleRule, regex: LinearRegex, text: str) -> Groups | None:
    if rule.allow and regex.ignores_case and not _FOLDED_TO_ASCII.isdisjoint(text):
        return None
    return regex.match_whole(text)


def _refused(message: str) -> Refusal:
    return Refusal(Reason.DELEGATION_REFUSED, message)


def _refused_without_rules(identity: str, role: str, policy: IssuerPolicy) -> Refusal:
    return _refused(
        f"issuer {quoted(policy.name)} has no role rules, so the identity {quoted(identity)} may only be the role of "
        f"its own name, not {quoted(role)}"
    )


def _nearest(rules: Sequence[RoleRule], claims: Mapping[str, Any], identity: str) -> str:
    nearest = nearest_rule(rules, claims, identity)
    return "" if nearest is None else f"; the nearest is rule {nearest[0]}, for {listed(nearest[1])}"


def _doubt(rule: RoleRule, claims: Mapping[str, Any]) -> str:
    """Why a rule denied that may not be about the bearer at all."""
    if rule.claim is None or _strings(claims, rule.claim) is not None:
        return ""
    value = find_claim(claims, rule.claim)
    what = kind(value)
    if isinstance(value, list):
        what = "an array of more than strings" if len(value) <= MAX_VALUES else f"an array of more than {MAX_VALUES:,}"
    found = "has something on the way to it that is no object" if value is ABSENT else f"is {what}"
    return f", to be safe: the claim {quoted(write_path(rule.claim))} {found}"
