"""Takes what looks like a token out of a text that may be shown; never decides who may see the rest."""

from __future__ import annotations

import re

REDACTED = "[redacted]"

_JWT_START = "eyJ"
"""Base64url of `{"`."""
_LONG_RUN = re.compile(r"[A-Za-z0-9_\-.~+/=]{32}")
_RUN = re.compile(r"eyJ[A-Za-z0-9_-]{8,}[A-Za-z0-9_\-.~+/=]*|[A-Za-z0-9_\-.~+/=]{32,}")
"""A JWT or a piece of one from its start, or a long run of b64token characters (RFC 6750)."""
_SHORTEST_RUN = 11
_LONG_RUN_CHARS = 32
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_CHANGE = re.compile(r"(?=[a-z][A-Z0-9]|[A-Z][0-9]|[0-9][A-Za-z])")
"""Where the kind of character changes; a capital that begins a word (Xx) counts once."""
_MIN_RANDOM_CHARS = 20
_MIN_CHANGES_PER_CHAR = 0.22
"""Random base64 has 0.47, hex 0.47, base32 0.30; CamelCase words about 0.15, words and names less."""


def redact(text: str) -> str:
    """The text with token-like runs replaced by `[redacted]`.

    A run of 32 or more token characters is token-like if what is left of it without UUIDs looks random: at least 20
    characters that change between lower case, upper case and digits as often as random base64 or hex does. Words,
    role names, host names, paths and UUIDs do not, so they stay readable.
    """
    if len(text) < _SHORTEST_RUN or not _may_have_run(text):
        return text
    return _RUN.sub(lambda run: REDACTED if _is_token_like(run[0]) else run[0], text)


def _may_have_run(text: str) -> bool:
    """Most texts have none, and can be told without trying to match one at every character."""
    return _JWT_START in text or (len(text) >= _LONG_RUN_CHARS and _LONG_RUN.search(text) is not None)


def _is_token_like(run: str) -> bool:
    if run.startswith(_JWT_START):
        return True
    rest = _UUID.sub("", run)
    return len(rest) >= _MIN_RANDOM_CHARS and len(_CHANGE.findall(rest)) >= _MIN_CHANGES_PER_CHAR * len(rest)
