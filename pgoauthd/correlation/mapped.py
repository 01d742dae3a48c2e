"""What pg_ident.conf said of a login beside what the server did: agreement, and a better sentence; predicts nothing."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from pgoauthd.correlation.outcome import Outcome, Result
from pgoauthd.mapping.prediction import Expected, MapPrediction
from pgoauthd.tokens.reasons import Reason, Stage

_BEHIND_THE_MAP = frozenset({Stage.ROLE, Stage.DATABASE})
"""Stages that only a login reaches which the map has let in."""


class Agreement(StrEnum):
    """Whether the server did what pg_ident.conf says."""

    AGREED = "agreed"
    DISAGREED = "disagreed"
    UNKNOWN = "unknown"
    """It could not be said beforehand."""


def with_mapping(outcome: Outcome, mapping: MapPrediction) -> Outcome:
    """The outcome with what the map said; where the map ended the login, its message says which line was nearest."""
    message = outcome.message
    if outcome.reason is Reason.USERMAP_NO_MATCH and (hint := _hint(mapping)) is not None:
        message = f"{message} {hint}"
    return msgspec.structs.replace(outcome, mapping=mapping, message=message)


def agreement(outcome: Outcome) -> Agreement | None:
    """None where nothing was predicted, or the login ended before the server looked at its map."""
    mapped = _was_mapped(outcome)
    if outcome.mapping is None or mapped is None:
        return None
    if outcome.mapping.expected is Expected.UNKNOWN:
        return Agreement.UNKNOWN
    return Agreement.AGREED if mapped is (outcome.mapping.expected is Expected.MATCH) else Agreement.DISAGREED


def _was_mapped(outcome: Outcome) -> bool | None:
    """Whether the server's map let the login in; None where it was not asked."""
    if outcome.reason is Reason.USERMAP_NO_MATCH:
        return False
    return True if outcome.result is Result.SUCCESS or outcome.stage in _BEHIND_THE_MAP else None


def _hint(mapping: MapPrediction) -> str | None:
    match mapping.expected:
        case Expected.MATCH:
            return f"Line {mapping.line} of {mapping.file} lets it in: was the server reloaded since it was written?"
        case Expected.NO_MATCH:
            nearest = mapping.nearest
            return None if nearest is None else f"Nearest is line {nearest.line} of {nearest.file}: {nearest.why}."
        case Expected.UNKNOWN:
            return None
