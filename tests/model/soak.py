"""Histories without end: `python -m tests.model.soak --minutes 10 --seed 7` plays random ones and says what went wrong.

What goes wrong is shrunk, and printed as it can be played again. Exit status 1 where anything did.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from random import SystemRandom

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.model import fix_actions
from tests.model.fix_actions import Action, Setting
from tests.model.fix_histories import play

EXAMPLES = 250
"""Histories of one seed."""


def soak(number: int, played: Counter[str]) -> bool:
    """Play the histories of one seed; whether all went well."""

    @seed(number)
    @given(setting=fix_actions.settings, actions=fix_actions.histories)
    @settings(
        deadline=None,
        max_examples=EXAMPLES,
        database=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    def go(setting: Setting, actions: list[Action]) -> None:
        played["histories"] += 1
        played.update(type(action).__name__ for action in actions)
        play(setting, actions)

    try:
        go()
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are played, too
        say(f"seed {number}: {type(error).__name__}: {error}", *getattr(error, "__notes__", ()))
        return False
    return True


def say(*lines: str) -> None:
    """On standard output, at once."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def main() -> int:
    """For so many minutes; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="the first one; at random where it is not given")
    wanted = parser.parse_args()
    first = wanted.seed if wanted.seed is not None else SystemRandom().getrandbits(31)
    end = time.monotonic() + 60 * wanted.minutes
    played = Counter[str]()
    bad = []
    for number in itertools.takewhile(lambda _: time.monotonic() < end, itertools.count(first)):
        if not soak(number, played):
            bad.append(number)
    say(f"seeds {first} to {number}: " + ", ".join(f"{count:,} {what}" for what, count in played.most_common()))
    say(f"went wrong: {bad or 'nothing'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
