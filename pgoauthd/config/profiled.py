"""An [[issuers]] table before it is read: its profile put under it, its required claims made one flat table.

It judges no value but those two; what is wrong it says and leaves out, so that reading goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pgoauthd.tokens.claimpaths import read_path, write_path
from pgoauthd.tokens.profiles import profile_defaults, profile_problems

Report = Callable[[str, str, str], None]
"""Takes where a problem is, what it is and the remedy."""


def complete_issuer(raw: Mapping[str, Any], path: str, report: Report) -> dict[str, Any]:
    """The table with all that its profile says where it says nothing itself; problems go to `report`.

    A required claim that is given without values takes that of the profile away.
    """
    profile = raw.get("profile", "generic")
    if not isinstance(profile, str):
        return dict(raw)
    for wrong in profile_problems(profile, raw):
        report(f"{path}{wrong.key}", f"{wrong.what} (profile {profile})", wrong.remedy)
    defaults = profile_defaults(profile, raw)
    whole: dict[str, Any] = {**defaults, **raw}
    given, known = raw.get("required_claims", {}), defaults.get("required_claims", {})
    if isinstance(given, dict) and isinstance(known, dict):
        merged = {**known, **dict(_flatten(given, f"{path}required_claims.", report))}
        for claim in [claim for claim, values in merged.items() if not values]:
            if claim not in known:
                report(f"{path}required_claims.{claim}", "has no values", "name the values that the claim may have")
            del merged[claim]
        whole["required_claims"] = merged
    return whole


def _flatten(table: Mapping[str, Any], where: str, report: Report, outer: str = "") -> Iterator[tuple[str, list[str]]]:
    """Claim paths and their values; a table in the table goes one name deeper, as `a.b = "c"` is to TOML."""
    for name, value in table.items():
        claim = write_path((*read_path(outer), name)) if outer else name
        try:
            read_path(claim)
            if isinstance(value, dict) and value:
                yield from _flatten(value, where, report, claim)
            else:
                yield claim, _values(value)
        except ValueError as error:
            report(f"{where}{claim}", str(error), 'write for example typ = "Bearer" or "realm.groups" = ["dba", "ops"]')


def _values(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | bool) and one != "" for one in values):
        raise ValueError("holds something else than words, true and false")
    return [one if isinstance(one, str) else str(one).lower() for one in values]
