"""How much of a file to read at once: ChunkSize, so that no chunk holds the event loop for long; never reads itself."""

from __future__ import annotations

from pgoauthd.logs.readers import READ_BYTES
from pgoauthd.runtime.pace import SLICE_SECONDS

LARGEST = READ_BYTES // 2
"""Lines of work say nothing of how many logins follow: so many bytes, all of logins, take milliseconds, once."""
SMALLEST = 2048


class ChunkSize:
    """Grows and shrinks so that a chunk takes half a slice; what comes is taken to be like what came last."""

    def __init__(self) -> None:
        self.bytes = LARGEST

    def learn(self, size: int, seconds: float) -> None:
        """So many bytes took so long. Fewer than were wanted are as slow to read as some more, and teach nothing."""
        if size >= self.bytes:
            fitting = size * SLICE_SECONDS / 2 / max(seconds, 1e-6)
            self.bytes = int(min(max(fitting, SMALLEST), 2 * size, LARGEST))
