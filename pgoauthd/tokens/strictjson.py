"""JSON read so that only one reading is possible: the rules that RFC 8259 leaves open are closed; never guesses.

Python's decoder alone accepts a key twice, NaN, numbers beyond every range and lone surrogates (RFC 8725 section 2.6
and RFC 7493 say why that is dangerous).
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

MAX_DEPTH = 16
"""Objects and arrays inside each other; access tokens of real identity providers need four."""

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


class _DuplicateKeyError(ValueError):
    """An object has a key twice."""


def read_object(raw: bytes, what: str) -> dict[str, Any] | Refusal:
    """The JSON object in `raw`, or a Refusal (json_invalid, json_duplicate_key) that names it as `what`.

    Refused besides what RFC 8259 refuses: bytes that are not UTF-8, a byte order mark, keys given twice at any depth,
    NaN and infinities, numbers beyond a double, lone surrogates, more than MAX_DEPTH levels, anything but an object.
    """
    try:
        text = raw.decode("utf-8")
        value = _DECODER.decode(text)
        if _SURROGATE_ESCAPE.search(text):
            _check_surrogates(value)
    except UnicodeError:
        return Refusal(Reason.JSON_INVALID, f"{what} is not UTF-8")
    except _DuplicateKeyError:
        return Refusal(Reason.JSON_DUPLICATE_KEY, f"{what} has a key twice")
    except (ValueError, RecursionError):
        return Refusal(Reason.JSON_INVALID, f"{what} is not JSON")
    if not isinstance(value, dict):
        return Refusal(Reason.JSON_INVALID, f"{what} is not a JSON object")
    if _may_be_deep(raw) and _is_deep(value):
        return Refusal(Reason.JSON_INVALID, f"{what} is nested more than {MAX_DEPTH} levels deep")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DuplicateKeyError
    return found


def _no_constant(_name: str) -> NoReturn:
    raise ValueError


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError
    return number


def _check_surrogates(value: object) -> None:
    """UnicodeEncodeError where a string holds a lone surrogate: it cannot be written as UTF-8."""
    json.dumps(value, ensure_ascii=False).encode("utf-8")


def _may_be_deep(raw: bytes) -> bool:
    """There cannot be more levels than opening brackets; counting those is cheaper than walking."""
    return raw.count(b"{") + raw.count(b"[") > MAX_DEPTH


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return any(isinstance(value, dict | list) for value in level)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
