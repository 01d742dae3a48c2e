"""Ways to change a token a little: its characters, the bytes and the JSON of its parts, and the order of the parts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from pgoauthd.tokens.compact import decode_base64url
from tests.fix_tokens import segment

Mutation = Callable[[str], str]
"""From a token's text to another text, or to the same where there is nothing to change."""

places = st.integers(0, 2000)


def _character(place: int, removed: int, put: str) -> Mutation:
    """Replaces, inserts or removes."""

    def mutate(text: str) -> str:
        at = place % (len(text) + 1)
        return text[:at] + put + text[at + removed :]

    return mutate


def _in_part(which: int, change: Callable[[bytes], bytes]) -> Mutation:
    def mutate(text: str) -> str:
        parts = text.split(".")
        at = which % len(parts)
        raw = decode_base64url(parts[at])
        return text if raw is None else ".".join([*parts[:at], segment(change(raw)), *parts[at + 1 :]])

    return mutate


def _bit(which: int, place: int) -> Mutation:
    def flip(raw: bytes) -> bytes:
        if not raw:
            return raw
        at, bit = divmod(place % (len(raw) * 8), 8)
        return raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]

    return _in_part(which, flip)


def _bytes(which: int, place: int, removed: int, put: bytes) -> Mutation:
    def change(raw: bytes) -> bytes:
        at = place % (len(raw) + 1)
        return raw[:at] + put + raw[at + removed :]

    return _in_part(which, change)


def _member(which: int, name: str, value: object) -> Mutation:
    """Sets a member of the header or of the payload."""
    return _in_part(which, lambda raw: _json_changed(raw, lambda members: members | {name: value}))


def _without_member(which: int, place: int) -> Mutation:
    def change(members: dict[str, Any]) -> dict[str, Any]:
        names = sorted(members)
        return {name: members[name] for name in names if not names or name != names[place % len(names)]}

    return _in_part(which, lambda raw: _json_changed(raw, change))


def _rewritten(which: int, indent: int) -> Mutation:
    """The same JSON with other spaces."""
    return _in_part(which, lambda raw: _json_changed(raw, lambda members: members, indent))


def _json_changed(raw: bytes, change: Callable[[dict[str, Any]], dict[str, Any]], indent: int | None = None) -> bytes:
    try:
        members = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    return json.dumps(change(members), indent=indent).encode() if isinstance(members, dict) else raw


def _moved(order: tuple[int, ...]) -> Mutation:
    """The parts in another order, some of them twice or not at all."""

    def mutate(text: str) -> str:
        parts = text.split(".")
        return ".".join(parts[at % len(parts)] for at in order)

    return mutate


def _grafted(which: int, donor: str, other: int) -> Mutation:
    """One part replaced by a part of another token."""

    def mutate(text: str) -> str:
        parts = text.split(".")
        parts[which % len(parts)] = donor.split(".")[other]
        return ".".join(parts)

    return mutate


def _wrapped(before: str, after: str) -> Mutation:
    return lambda text: before + text + after


def mutations_with(
    tokens: list[str], characters: str, names: list[str], values: st.SearchStrategy[object]
) -> st.SearchStrategy[list[Mutation]]:
    """One to three changes. `tokens` give parts, `characters` replace characters, members are set to `values`."""
    parts = st.integers(0, 2)
    short = st.text(characters, max_size=2)
    edges = st.sampled_from(["", ".", "=", "==", "====", "A", "~~~~", "e30"])
    return st.lists(
        st.one_of(
            st.builds(_character, places, st.integers(0, 3), short),
            st.builds(_bit, parts, st.integers(0, 8000)),
            st.builds(_bytes, parts, places, st.integers(0, 4), st.binary(max_size=3)),
            st.builds(_member, st.integers(0, 1), st.sampled_from(names), values),
            st.builds(_without_member, st.integers(0, 1), places),
            st.builds(_rewritten, st.integers(0, 1), st.integers(0, 2)),
            st.builds(_moved, st.lists(parts, min_size=1, max_size=5).map(tuple)),
            st.builds(_grafted, parts, st.sampled_from(tokens), parts),
            st.builds(_wrapped, edges, edges),
        ),
        min_size=1,
        max_size=3,
    )
