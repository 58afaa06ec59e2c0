"""Where everything stands in the plot of the arms' accuracy. Only geometry: the template draws it."""

from __future__ import annotations

from dataclasses import dataclass

from lorag.evaluation.labels import share
from lorag.evaluation.results import Comparison
from lorag.evaluation.row_log import Moment
from lorag.evaluation.statistics import Estimate

LEFT, RIGHT, WIDTH = 220, 590, 790
"""Where the axis begins and ends, and the width of the drawing."""
TOP, STEP = 44, 38
"""Where the first arm stands and the distance to the next."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One arm: a dot at its accuracy, whiskers to the ends of its interval."""

    name: str
    y: int
    x: float
    low: float
    high: float
    label: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """One moment's drawing and its description in words."""

    marks: tuple[Mark, ...]
    ticks: tuple[tuple[float, str], ...]
    bottom: int
    height: int
    description: str


def accuracy_plot(comparison: Comparison, moment: Moment, chosen: str | None) -> Plot:
    """The arms at ``moment``, those with gold passages among them."""
    shown = {name: arm.accuracy for name, arm in comparison.at(moment).items()}
    bottom = TOP + STEP * (len(shown) - 1) + 24
    words = [f"{name} {share(estimate)}" for name, estimate in shown.items()]
    return Plot(
        marks=tuple(
            _mark(name, TOP + STEP * place, estimate, name == chosen)
            for place, (name, estimate) in enumerate(shown.items())
        ),
        ticks=tuple((_x(percent / 100), f"{percent} %") for percent in range(0, 101, 20)),
        bottom=bottom,
        height=bottom + 26,
        description=f"Questions answered right, with intervals: {'; '.join(words)}.",
    )


def _mark(name: str, y: int, estimate: Estimate, chosen: bool) -> Mark:
    low, high = _x(estimate.interval.low), _x(estimate.interval.high)
    return Mark(name, y, _x(estimate.mean), low, high, share(estimate), chosen)


def _x(value: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * value, 1)
