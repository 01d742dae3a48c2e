"""Stops asking an endpoint that fails again and again, and tries it now and then; waits and counts nothing itself.

```
closed ── so many failures in a row ──▶ open ── the delay is over ──▶ one probe
   ▲                                      ▲                              │
   └───────────── it succeeds ────────────┼──────────────────────────────┤
                                          └── it fails: the delay doubles ┘
```
"""

from __future__ import annotations

import math

from pgoauthd.tokens.verdict import Refusal

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 30.0


class Breaker:
    """The state of one endpoint. All times are monotonic seconds."""

    def __init__(self, failures_to_open: int) -> None:
        self._failures_to_open = failures_to_open
        self._failures = 0
        """In a row."""
        self._last: Refusal | None = None
        """Of the failures; it is there while the breaker is open."""
        self._delay = 0.0
        self._open_until = -math.inf
        self._probing = False

    def take_over(self, previous: Breaker) -> None:
        """Go on from where `previous`, of the same endpoint, is; its probe is not ours."""
        self._failures, self._last = previous._failures, previous._last
        self._delay, self._open_until = previous._delay, previous._open_until

    @property
    def is_open(self) -> bool:
        """Whether the endpoint is out of use but for a probe."""
        return self._delay > 0

    @property
    def delay_seconds(self) -> float:
        """From the failure that opened it to the probe; 0 while closed."""
        return self._delay

    @property
    def open_until(self) -> float:
        """When the probe may begin; long past while closed."""
        return self._open_until

    @property
    def last_failure(self) -> Refusal | None:
        """While it is open, with what the endpoint failed last."""
        return self._last

    def refusal(self, now: float) -> Refusal | None:
        """Why the endpoint is not to be asked now, or None: the last failure, and when it is asked again."""
        if not self.is_open or self._last is None:
            return None
        if now < self._open_until:
            again = f"it is asked again in {math.ceil(self._open_until - now)} s"
        elif self._probing:
            again = "it is being asked again at this moment"
        else:
            return None
        return Refusal(self._last.reason, f"{self._last.message}; {again}")

    def is_at_edge(self, *, probe: bool) -> bool:
        """Whether one more failure opens it, or keeps it open for longer."""
        return probe or (not self.is_open and self._failures + 1 >= self._failures_to_open)

    def begin(self) -> bool:
        """Begin a request that `refusal` does not forbid. True where it is the probe; then no other may begin."""
        self._probing = self.is_open
        return self._probing

    def give_up(self, *, probe: bool) -> None:
        """A request ended without telling anything."""
        self._probing = self._probing and not probe

    def succeeded(self) -> bool:
        """The endpoint did its work. True where that closed the breaker."""
        closed = self.is_open
        self._failures, self._last, self._delay, self._open_until, self._probing = 0, None, 0.0, -math.inf, False
        return closed

    def failed(self, refusal: Refusal, now: float, *, probe: bool) -> bool:
        """A request failed. True where that opened the breaker; the failure of a probe keeps it open for longer.

        Requests that began before it opened and fail afterwards change nothing.
        """
        if self.is_open and not probe:
            return False
        self._failures += 1
        if self._failures < self._failures_to_open:
            return False
        opened = not self.is_open
        self._delay = min(max(FIRST_DELAY_SECONDS, 2 * self._delay), LONGEST_DELAY_SECONDS)
        self._last, self._open_until, self._probing = refusal, now + self._delay, False
        return opened
