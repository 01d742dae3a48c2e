"""What clients chose, without tokens, before it is written down: somebody may have given one for a user name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from pgoauthd.logs.redaction import redact

S = TypeVar("S", bound=msgspec.Struct)


def redact_texts(value: S, names: Iterable[str]) -> S:
    """The struct with token-like runs in these of its texts replaced; itself where there are none."""
    texts = {name: text for name in names if (text := getattr(value, name)) is not None}
    changed = {name: shown for name, text in texts.items() if (shown := redact(text)) is not text and shown != text}
    return msgspec.structs.replace(value, **changed) if changed else value
