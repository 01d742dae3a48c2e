"""Compares what was with what is known in the end: each function gives the differences, and there must be none."""

from __future__ import annotations

import itertools
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.crash.fix_aftermath import Aftermath
from tests.crash.fix_load import Attempt
from tests.crash.fix_scrapes import Scrapes
from tests.crash.fix_storm import Copy

MOST = 5
"""Differences of one kind that are shown."""

Outcomes = Iterable[Mapping[str, Any]]

_ENDING = re.compile(r'pgoauthd_login_attempts_total\{.*reason="(\w+)",result="(\w+)"')


def missing_or_repeated(attempts: Iterable[Attempt], outcomes: Outcomes) -> list[str]:
    """Sessions without an outcome or with several, and outcomes of no session."""
    there = Counter(it["session_id"] for it in outcomes)
    expected = Counter(it.session_id for it in attempts)
    return [
        *_shown("missing", (expected - there).elements()),
        *_shown("repeated, or of no session", (there - expected).elements()),
    ]


def wrongly_ended(attempts: Iterable[Attempt], outcomes: Outcomes) -> list[str]:
    """Sessions whose outcome has another result or reason."""
    expected = {it.session_id: (it.result, it.reason) for it in attempts}
    ended = ((it["session_id"], (it["result"], it["reason"])) for it in outcomes)
    return _shown("wrong", (f"{one}: {how}, not {expected.get(one)}" for one, how in ended if how != expected.get(one)))


def verdicts_lost(attempts: Iterable[Attempt], outcomes: Outcomes) -> list[str]:
    """Sessions of whose verdict somebody was told, and whose outcome lacks it."""
    replied = {it.session_id: it for it in attempts if it.reply is not None}
    told = (it for it in outcomes if it["session_id"] in replied)
    return _shown("lost", (f"{it['session_id']}" for it in told if not _has_verdict(it, replied[it["session_id"]])))


def verdicts_of_others(attempts: Iterable[Attempt], outcomes: Outcomes) -> list[str]:
    """Sessions with claims, or with a verdict at all, that are not theirs."""
    by_id = {it.session_id: it for it in attempts}
    joined = [it for it in outcomes if it["validation_seconds"] is not None]
    claimed = [it for it in joined if it["claims"] is not None]
    return [
        *_shown("never asked for", (it["session_id"] for it in joined if not by_id[it["session_id"]].asked)),
        *_shown(
            "of another",
            (it["session_id"] for it in claimed if it["claims"].get("jti") != by_id[it["session_id"]].jti),
        ),
    ]


def _has_verdict(outcome: Mapping[str, Any], attempt: Attempt) -> bool:
    if outcome["validation_seconds"] is None or outcome["issuer"] is None:
        return False
    if attempt.identity is None:
        return True
    claims = outcome["claims"] or {}
    return bool(outcome["identity"] == attempt.identity == claims.get("sub"))


def out_of_order(outcomes: Outcomes) -> list[str]:
    """Ids that do not ascend."""
    ids = [it["id"] for it in outcomes]
    pairs = itertools.pairwise(ids)
    return _shown("not ascending", (f"{one}, {following}" for one, following in pairs if following <= one))


def told_otherwise(aftermath: Aftermath) -> list[str]:
    """Where the outcome file is not the history, line by line."""
    saved, told = ([it["id"] for it in them] for them in (aftermath.outcomes, aftermath.told))
    return [
        *_shown("not told", sorted((Counter(saved) - Counter(told)).elements())),
        *_shown("told twice, or not saved", sorted((Counter(told) - Counter(saved)).elements())),
        *out_of_order(aftermath.told),
        *(["the same ids, other lines"] if saved == told and aftermath.outcomes != aftermath.told else []),
    ]


def counted_otherwise(outcomes: Outcomes, scrapes: Scrapes) -> list[str]:
    """Endings of which the metrics know another number than the history."""
    counted: Counter[str] = Counter()
    for series, value in scrapes.last.items():
        if (ending := _ENDING.match(series)) is not None:
            counted[f"{ending[2]} {ending[1]}"] += int(value)
    saved = Counter(f"{it['result']} {it['reason']}" for it in outcomes)
    every = sorted(counted.keys() | saved.keys())
    return [f"{it}: {counted[it]} counted, {saved[it]} saved" for it in every if counted[it] != saved[it]]


def matched_otherwise(outcomes: Outcomes, scrapes: Scrapes) -> list[str]:
    """Another number of outcomes with a verdict counted than there are."""
    there = sum(it["validation_seconds"] is not None for it in outcomes)
    return _unlike("correlation_matched_total", scrapes.total("correlation_matched_total"), there)


def unmatched_otherwise(aftermath: Aftermath) -> list[str]:
    """Another number of tokens that nobody vouched for counted than there were."""
    counted = aftermath.scrapes.total("correlation_unmatched_total", 'kind="logged_not_validated"')
    return _unlike("logged_not_validated", counted, sum(it.lacks_verdict for it in aftermath.attempts))


def bytes_read_otherwise(aftermath: Aftermath) -> list[str]:
    """Another number of bytes read counted than there are."""
    counted = aftermath.scrapes.total("log_read_bytes_total")
    return _unlike("log_read_bytes_total", counted, aftermath.log_bytes)


def lines_lost(aftermath: Aftermath) -> list[str]:
    """Lines counted as lost, truncations that were none, and entries that were not understood."""
    names = ("log_lost_lines_total", "log_truncations_total", "log_parse_failures_total")
    return [it for name in names for it in _unlike(name, aftermath.scrapes.total(name), 0)]


def lost_from_copy(aftermath: Aftermath, copy: Copy, outcomes: Outcomes) -> list[str]:
    """What a daemon does not know that went on from a copy; of verdicts it can know those that had been told."""
    told = [it for it in aftermath.attempts if it.reply is not None and it.replied <= copy.replies]
    return [
        *missing_or_repeated(aftermath.attempts, outcomes),
        *wrongly_ended(aftermath.attempts, outcomes),
        *verdicts_lost(told, outcomes),
        *verdicts_of_others(aftermath.attempts, outcomes),
    ]


def ended_otherwise(aftermath: Aftermath) -> list[str]:
    """Lives that ended neither killed nor well."""
    exits = aftermath.exits.items()
    return [f"exit status {it}: {count}" for it, count in exits if it not in (0, -signal.SIGKILL)]


FACTS: dict[str, Callable[[Aftermath], list[str]]] = {
    "each session has one outcome": lambda it: missing_or_repeated(it.attempts, it.outcomes),
    "each with its result and reason": lambda it: wrongly_ended(it.attempts, it.outcomes),
    "each verdict that was told is there": lambda it: verdicts_lost(it.attempts, it.outcomes),
    "no verdict is another's": lambda it: verdicts_of_others(it.attempts, it.outcomes),
    "ids ascend": lambda it: out_of_order(it.outcomes),
    "the outcome file is the history": told_otherwise,
    "metrics count what the history has": lambda it: counted_otherwise(it.outcomes, it.scrapes),
    "metrics count what was joined": lambda it: matched_otherwise(it.outcomes, it.scrapes),
    "metrics count what was not joined": unmatched_otherwise,
    "metrics count the bytes that were read": bytes_read_otherwise,
    "no line is lost": lines_lost,
    "no life ends on its own": ended_otherwise,
    "no counter ever falls": lambda it: _shown("fell", it.scrapes.falls),
}
"""What must be true after any storm."""


def _unlike(name: str, counted: float, there: int) -> list[str]:
    return [f"{name}: {counted:.0f} counted, {there} there"] if counted != there else []


def _shown(what: str, found: Iterable[object]) -> list[str]:
    every = [f"{what}: {it}" for it in found]
    return [*every[:MOST], f"and {len(every) - MOST} more {what}"] if len(every) > MOST else every
