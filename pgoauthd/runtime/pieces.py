"""Long work on the event loop in short pieces, so that a login hardly waits for it; knows no work itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

PIECE_SECONDS = 0.0003
"""How long the event loop is held up at a time, but for a single step that takes longer."""


async def in_pieces(steps: Iterable[None]) -> None:
    """Take all steps; others get their turn in between."""
    begun = time.perf_counter()
    for _ in steps:
        if time.perf_counter() - begun > PIECE_SECONDS:
            await asyncio.sleep(0)
            begun = time.perf_counter()
