"""Draws the plots of the page as SVG without any text in them, so that labels stay readable at every width.

Each has a title and a description for those who do not see it; the figures stand in a table beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgoauthd.reporting.markup import Markup, element, joined
from pgoauthd.reporting.values import Bar, OverTime
from pgoauthd.reporting.wording import many, short_moment, step

STACK = ("success", "abandoned", "refused")
"""From the bottom up: what did not succeed stands out on top."""
HEIGHT = 100.0
_GAP = 0.15
"""Between two bars, as a share of a bar; none where the bars are too thin to have gaps."""
_MAX_BARS_WITH_GAPS = 60
LEAST_HEIGHT = 0.8
"""Of what is there at all: one refusal among a thousand successes is to be seen."""


def stacked_bars(over_time: OverTime) -> Markup:
    """Attempts by step, stacked by how they ended."""
    bars = over_time.bars
    most = round_up(max(bar.attempts for bar in bars))
    gap = _GAP if len(bars) <= _MAX_BARS_WITH_GAPS else 0.0
    refused = max(bars, key=lambda bar: bar.refused)
    description = f"At most {many(max(bar.attempts for bar in bars), 'attempt', 'attempts')} in one {step(over_time)}."
    if refused.refused:
        when = short_moment(refused.start, over_time.step_seconds)
        description += f" Most refusals, {refused.refused:,}, from {when} UTC on."
    return element(
        "svg",
        element("title", f"Attempts per {step(over_time)}", id="plot-title"),
        element("desc", description, id="plot-description"),
        *(element("line", x1=0, x2=len(bars), y1=y, y2=y, class_="grid") for y in (0, HEIGHT / 2)),
        *(_stack(bar, place, most, gap, over_time.step_seconds) for place, bar in enumerate(bars)),
        xmlns="http://www.w3.org/2000/svg",
        view_box=f"0 0 {len(bars)} {HEIGHT:g}",
        preserve_aspect_ratio="none",
        role="img",
        aria_labelledby="plot-title plot-description",
    )


def _stack(bar: Bar, place: int, most: int, gap: float, step_seconds: int) -> Markup:
    counts = [(result, getattr(bar, result)) for result in STACK]
    if not bar.attempts:
        return joined()
    told = ", ".join(f"{count:,} {result}" for result, count in counts if count)
    boxes, top = [], HEIGHT
    for (result, _), height in zip(counts, _heights([count for _, count in counts], most), strict=True):
        top -= height
        if height:
            x, y = f"{place + gap / 2:g}", f"{top:.2f}"
            boxes.append(element("rect", x=x, y=y, width=f"{1 - gap:g}", height=f"{height:.2f}", class_=result))
    return element("g", element("title", f"{short_moment(bar.start, step_seconds)} UTC: {told}"), *boxes)


def _heights(counts: Sequence[int], most: int) -> list[float]:
    """In proportion, but what is not zero is seen; the tallest part gives what that takes."""
    heights = [max(HEIGHT * count / most, LEAST_HEIGHT) if count else 0.0 for count in counts]
    tallest = heights.index(max(heights))
    heights[tallest] -= max(sum(heights) - HEIGHT * sum(counts) / most - LEAST_HEIGHT, 0.0)
    return heights


def share_bar(share: float, kind: str, title: str) -> Markup:
    """A horizontal bar; the number that it shows stands beside it."""
    return element(
        "svg",
        element("title", title),
        element("rect", x=0, y=0, width=f"{max(100 * share, 0.5):.2f}", height=10, class_=kind),
        xmlns="http://www.w3.org/2000/svg",
        view_box="0 0 100 10",
        preserve_aspect_ratio="none",
        role="img",
    )


def swatch(kind: str) -> Markup:
    """What a colour of the plot looks like."""
    box = element("rect", width=10, height=10, class_=kind)
    return element("svg", box, xmlns="http://www.w3.org/2000/svg", view_box="0 0 10 10", aria_hidden="true")


def round_up(most: int) -> int:
    """The end of a scale that people can halve: 2, 4, 6, 8, 10, 12, 16, 20, 40 and so on."""
    scale = 1
    while True:
        for factor in (2, 4, 6, 8, 10, 12, 16):
            if factor * scale >= most:
                return factor * scale
        scale *= 10
