"""Which settings of search to take, by a rule that does not take noise for a gain.

Of many ways the best one looks better than it is. So it is chosen on one half of the documents, and its gain over the
default is measured on the questions of the other half. Only where that gain is above zero at both ends of its interval
the default is left.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lorag.evaluation.statistics import FEWEST_CLUSTERS, Difference, halves, paired_difference, questions_needed
from lorag.settings import ChunkSettings, RetrievalSettings, VerdictSettings

FEWEST_QUESTIONS = 2 * FEWEST_CLUSTERS
"""Below this many questions there is no half to measure on."""


@dataclass(frozen=True, slots=True, order=True)
class Way:
    """Settings of search that are compared: the size of chunks, and the share of dense search."""

    max_tokens: int = ChunkSettings().max_tokens
    dense_weight: float = RetrievalSettings().dense_weight


@dataclass(frozen=True, slots=True)
class Choice:
    """The way to take. ``best`` did best on the first half; ``gain`` is its difference to the default on the second.

    ``way`` is the best where its gain is significant, else the default.
    """

    way: Way
    best: Way
    gain: Difference
    chosen_on: int

    @property
    def needed(self) -> int:
        """Questions, both halves together, at which the gain seen (or 5 points) would be significant."""
        return 2 * questions_needed(self.gain)


def choose(
    columns: Mapping[Way, Sequence[float]], clusters: Sequence[Hashable], settings: VerdictSettings | None = None
) -> Choice:
    """The way to take, from a value in 0 to 1 for each question under each way, the default among them.

    Equal means go to the default, then to smaller chunks. Raises ``ValueError`` for fewer than 16 questions.
    """
    if len(clusters) < FEWEST_QUESTIONS:
        raise ValueError(f"{len(clusters)} questions are too few, expected at least {FEWEST_QUESTIONS}")
    default = Way()
    values = {way: np.asarray(column, dtype=np.float64) for way, column in columns.items()}
    first = halves(clusters) == 0
    second = np.flatnonzero(~first).tolist()
    best = min(values, key=lambda way: (-round(float(values[way][first].mean()), 9), way != default, way))
    documents = [clusters[row] for row in second]
    gain = paired_difference(values[best][second].tolist(), values[default][second].tolist(), documents, settings)
    return Choice(best if significant(gain) else default, best, gain, int(first.sum()))


def significant(gain: Difference) -> bool:
    """Whether a difference is above zero at both ends of its interval."""
    return gain.interval.low > 0
