"""Where everything stands in the plot of the arms. Only geometry: the template draws it.

An arm has one line, or two where the documents were updated: before it, and below that after it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lorag.evaluation.labels import METRIC_NAMES, share
from lorag.evaluation.results import Comparison
from lorag.evaluation.statistics import Estimate
from lorag.evaluation.verdict import deciding_metric

LEFT, RIGHT, WIDTH = 220, 590, 790
"""Where the axis begins and ends, and the width of the drawing."""
TOP, STEP, PAIR = 44, 38, 20
"""Where the first line stands, the distance of two arms, and that of two lines of one arm."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One arm in one phase: a dot at its share of right answers, whiskers to the ends of its interval."""

    name: str
    """Empty in the second line of an arm."""
    y: int
    x: float
    low: float
    high: float
    label: str
    chosen: bool
    earlier: bool
    """Whether it is from before the update."""


@dataclass(frozen=True, slots=True)
class Plot:
    """The drawing and its description in words."""

    heading: str
    """What is counted."""
    marks: tuple[Mark, ...]
    ticks: tuple[tuple[float, str], ...]
    bottom: int
    height: int
    description: str


def arms_plot(comparison: Comparison, chosen: str | None) -> Plot:
    """The arms of the last phase in the measure that decides, with what they were before the update.

    Those with gold passages are among them.
    """
    phases = comparison.phases
    metric = deciding_metric(comparison.arms, comparison.settings)
    counted = METRIC_NAMES[metric]
    marks: list[Mark] = []
    words: list[str] = []
    y = TOP
    for name in comparison.at(phases[-1]):
        lines = [(phase, comparison.at(phase)[name]) for phase in phases if name in comparison.at(phase)]
        for line, (phase, arm) in enumerate(lines):
            estimate = arm.estimates[metric]
            earlier = phase != phases[-1]
            marks.append(_mark("" if line else name, y + PAIR * line, estimate, name == chosen, earlier))
            words.append(f"{name}{' before the update' if earlier else ''} {share(estimate)}")
        y += STEP + PAIR * (len(lines) - 1)
    bottom = y - STEP + 24
    return Plot(
        heading=f"{counted.capitalize()} answers",
        marks=tuple(marks),
        ticks=tuple((_x(percent / 100), f"{percent} %") for percent in range(0, 101, 20)),
        bottom=bottom,
        height=bottom + 26,
        description=f"Answers that are {counted}, with intervals: {'; '.join(words)}.",
    )


def _mark(name: str, y: int, estimate: Estimate, chosen: bool, earlier: bool) -> Mark:
    low, high = _x(estimate.interval.low), _x(estimate.interval.high)
    return Mark(name, y, _x(estimate.mean), low, high, share(estimate), chosen, earlier)


def _x(value: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * value, 1)
