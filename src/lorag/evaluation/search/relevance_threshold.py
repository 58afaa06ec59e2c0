"""The gate: the cosine under which a question is not about these documents, and what such a gate can see.

It tells questions on something else from questions of the user's. It does not tell a question whose passage is missing
from one whose passage is there, as long as both are on the topic; how little it sees of that is measured too.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorag.evaluation.statistics import FEWEST_CLUSTERS, Estimate, Interval, halves, mean_interval
from lorag.settings import GATE_KEEP, VerdictSettings

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Nearest:
    """A question's best cosine, among all passages and among those of other documents than the ones that answer it.

    ``document`` is the name under which questions go together; None for a question on something else.
    """

    cosine: float
    elsewhere: float | None = None
    document: Hashable | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """What a gate sees of the user's questions once the documents that answer them are taken out.

    ``auc`` is the chance that a question with its passage there has a higher cosine than one without; 0.5 sees
    nothing. ``refused`` is the share of questions that are refused without their documents.
    """

    auc: Estimate
    refused: Estimate


@dataclass(frozen=True, slots=True)
class Gate:
    """A threshold, and what it does to questions that it was not chosen on.

    ``auc`` is the chance that a question of the user's has a higher cosine than one on something else. ``kept`` and
    ``refused`` are shares of the user's questions and of those on something else, ``accuracy`` the mean of both.
    ``missing`` is None where too few questions name their documents.
    """

    cosine: float
    auc: Estimate
    accuracy: Estimate
    kept: Estimate
    refused: Estimate
    missing: Missing | None


def off_topic_questions() -> list[str]:
    """Everyday questions on cooking, travel, sport and the like."""
    return (files("lorag") / "evaluation" / "search" / "off_topic.txt").read_text(encoding="utf-8").splitlines()


def calibrate(
    own: Sequence[Nearest],
    off_topic: Sequence[Nearest],
    keep: float = GATE_KEEP,
    settings: VerdictSettings | None = None,
) -> Gate:
    """The gate that refuses most of ``off_topic`` and no more than ``1 - keep`` of ``own``.

    Its threshold is chosen on all of them. What it does is measured with thresholds chosen on one half (of the
    documents, and of the other questions) and applied to the other. Raises ``ValueError`` for fewer than 8 of either.
    """
    if min(len(own), len(off_topic)) < FEWEST_CLUSTERS:
        raise ValueError(f"{len(own)} and {len(off_topic)} questions are too few, expected {FEWEST_CLUSTERS} of each")
    inside, outside = _column([each.cosine for each in own]), _column([each.cosine for each in off_topic])
    documents = [number if each.document is None else each.document for number, each in enumerate(own)]
    numbers = list(range(len(off_topic)))
    half_own, half_off = halves(documents), halves(numbers)
    cut = np.array([_threshold(inside[half_own != half], outside[half_off != half], keep) for half in (0, 1)])

    def mean(values: NDArray[Any], units: Sequence[Hashable]) -> Estimate:
        return mean_interval(values.tolist(), units, settings)

    kept, refused = mean(inside >= cut[half_own], documents), mean(outside < cut[half_off], numbers)
    above, below = _placements(inside, outside)
    return Gate(
        cosine=_threshold(inside, outside, keep),
        auc=_around(float(above.mean()), 1.0, mean(above, documents), mean(below, numbers)),
        accuracy=_around((kept.mean + refused.mean) / 2, 0.5, kept, refused),
        kept=kept,
        refused=refused,
        missing=_missing(own, documents, cut[half_own], settings),
    )


def _missing(
    own: Sequence[Nearest], documents: Sequence[Hashable], cuts: Floats, settings: VerdictSettings | None
) -> Missing | None:
    """What the gate sees of a missing passage, over the questions whose documents are known."""
    known = [row for row, each in enumerate(own) if each.elsewhere is not None]
    if len(known) < FEWEST_CLUSTERS:
        return None
    units = [documents[row] for row in known]
    there, gone = _column([own[row].cosine for row in known]), _column([own[row].elsewhere or 0.0 for row in known])
    above, below = _placements(there, gone)
    both = mean_interval(((above + below) / 2).tolist(), units, settings)
    refused = mean_interval((gone < cuts[known]).astype(float).tolist(), units, settings)
    return Missing(_around(float(above.mean()), 2.0, both), refused)


def _column(values: Sequence[float]) -> Floats:
    return np.array(values, dtype=np.float64)


def _threshold(inside: Floats, outside: Floats, keep: float) -> float:
    """The threshold that refuses most of ``outside`` among those that keep enough of ``inside``.

    In the middle of the widest gap between scores, where several do.
    """
    scores = np.unique(np.concatenate([inside, outside]))
    cuts = np.concatenate([scores[:1], (scores[1:] + scores[:-1]) / 2])
    gaps = np.concatenate([[0.0], np.diff(scores)])
    ways = [
        (float((outside < cut).mean()), float(gap), float(cut))
        for cut, gap in zip(cuts, gaps, strict=True)
        if (inside >= cut).mean() >= keep
    ]
    return max(ways)[2]


def _placements(higher: Floats, lower: Floats) -> tuple[Floats, Floats]:
    """For each value the share of the other column on its right side, ties by half; the mean of either is the AUC."""
    above = (higher[:, None] > lower).astype(np.float64) + 0.5 * (higher[:, None] == lower)
    return above.mean(axis=1), above.mean(axis=0)


def _around(value: float, weight: float, *parts: Estimate) -> Estimate:
    """``value`` with the interval of a sum of independent estimates, each taken ``weight`` times.

    Distances to the ends are added as squares (the method of variance estimates recovery, Zou and Donner 2008, Stat.
    Med. 27:1693). The AUC is such a sum to first order (DeLong 1988, Biometrics 44:837).
    """
    low = weight * math.hypot(*(part.mean - part.interval.low for part in parts))
    high = weight * math.hypot(*(part.interval.high - part.mean for part in parts))
    return Estimate(value, Interval(max(0.0, value - low), min(1.0, value + high)), sum(part.n for part in parts))
