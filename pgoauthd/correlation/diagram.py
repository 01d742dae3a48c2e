"""Draws the transition table as a Mermaid state diagram for docs/correlation.md; adds nothing of its own."""

from __future__ import annotations

from collections import defaultdict

from pgoauthd.correlation.session import ENDS, TRANSITIONS, State, Step


def render() -> str:
    """The diagram's text, without the fence; steps that change nothing are left out."""
    arrows: dict[tuple[State, State], list[Step]] = defaultdict(list)
    for state, steps in TRANSITIONS.items():
        for step, target in steps.items():
            if target is not state:
                arrows[state, target].append(step)
    lines = ["stateDiagram-v2", f"    [*] --> {State.EXPECTED}"]
    lines += [f"    {state} --> {target}: {', '.join(steps)}" for (state, target), steps in arrows.items()]
    lines += [f"    {end} --> [*]" for end in State if end in ENDS]
    return "\n".join(lines)
