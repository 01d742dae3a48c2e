"""Reads what a FATAL's DETAIL says of the pg_hba.conf rule that matched; never judges the rule."""

from __future__ import annotations

import re

import msgspec

_MARK = "Connection matched "
"""PostgreSQL's auth_failed() writes it last; what stands before it is the method's own text (logdetail)."""
_MATCHED = re.compile(
    r'Connection matched (?:file "(?P<file>.*)"|(?P<old>pg_hba\.conf)) line (?P<line>\d{1,9})(?:: "(?P<rule>.*)")?',
    re.DOTALL,
)
_WORD = re.compile(r'(?:[^\s",]|"[^"]*"|,\s*)+')
_MASK = re.compile(r"[0-9a-fA-F]*[.:][0-9a-fA-F.:]*")
_DATABASE_USER = 3
"""Connection type, database and user come first."""


class MatchedRule(msgspec.Struct, frozen=True):
    """The rule, and the text of the DETAIL that is not about it."""

    file: str | None = None
    line: int | None = None
    method: str | None = None
    usermap: str | None = None
    delegated: bool = False
    own_text: str | None = None


def read_detail(detail: str) -> MatchedRule:
    """Take a FATAL's DETAIL apart: the method's own text, a newline, `Connection matched file "F" line N: "RULE"`.

    Either may lack.
    """
    start = detail.rfind(_MARK)
    matched = _MATCHED.fullmatch(detail, start) if start == 0 or detail[start - 1 : start] == "\n" else None
    if matched is None:
        return MatchedRule(own_text=detail)
    method, options = _read_rule(matched["rule"] or "")
    return MatchedRule(
        file=matched["file"] or matched["old"],
        line=int(matched["line"]),
        method=method,
        usermap=options.get("map"),
        delegated=options.get("delegate_ident_mapping") == "1",
        own_text=detail[:start].rstrip("\n") or None,
    )


def _read_rule(rule: str) -> tuple[str | None, dict[str, str]]:
    """Method and options of a raw rule: TYPE DATABASE USER [ADDRESS [MASK]] METHOD [OPTION=VALUE…]."""
    words = [word.replace('"', "") for word in _WORD.findall(rule)]
    rest = words[_DATABASE_USER:]
    if rest and words[0] != "local":
        rest = rest[2:] if len(rest) > 1 and _MASK.fullmatch(rest[1]) else rest[1:]
    if not rest:
        return None, {}
    return rest[0], dict(option.split("=", 1) for option in rest[1:] if "=" in option)
