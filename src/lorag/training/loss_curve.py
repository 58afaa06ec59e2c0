"""The course of a training in one line of text, for terminals, reports and logs alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

_BARS = "▁▂▃▄▅▆▇█"


def loss_curve(losses: Sequence[float], width: int = 40) -> str:
    """The losses as bars from nothing to the highest, each the mean of a stretch, and the first and last in figures."""
    stretch = math.ceil(len(losses) / width)
    means = [fmean(losses[start : start + stretch]) for start in range(0, len(losses), stretch)]
    most = max(means)
    bars = "".join(_BARS[min(int(mean / most * len(_BARS)), len(_BARS) - 1)] for mean in means)
    return f"{bars} {means[0]:.2f} to {means[-1]:.2f}"
