"""The share of right answers by marks of some answers and the metric's opinion of all, with intervals, and the verdict.

Prediction-powered inference (Angelopoulos, Bates, Fannjiang, Jordan and Zrnic 2023, "Prediction-powered inference",
Science 382:669): with the metric ``f`` on all ``N`` questions and marks ``y`` on ``n`` random ones,

    share = mean of f over N + mean of (y - f) over n

is right on average however wrong the metric is; a good metric only makes it narrower. Both means are sums over
questions, so that of one question the share holds ``(f - mean f) / N``, and where it is marked also
``((y - f) - mean (y - f)) / n``. The sum of these squares, added up inside documents first (where there are 8), is the
variance; that of a difference between two arms is made of the differences of these parts. Marked and unmarked answers
are the same questions here, which this counts.

``n`` marks that all agree with the metric do not show that it never errs: two errors of either sign are added to the
variance, ``2 / (n + 2)²``, as Agresti and Min add them to pairs (2005, Stat. Med. 24:729). Intervals are Student's,
with as many degrees of freedom as marked documents or questions, less one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from lorag.evaluation.answers.scoring import clusters
from lorag.evaluation.marks.marking import GIVES_THE_ANSWER, Reviewer
from lorag.evaluation.results import ArmDifference, Comparison, Verdict, compared, pairs
from lorag.evaluation.row_log import RowKey
from lorag.evaluation.statistics import (
    FEWEST_CLUSTERS,
    Difference,
    Estimate,
    Floats,
    Interval,
    effective_documents,
    holm,
)
from lorag.evaluation.verdict import decide

FEWEST_MARKED = 2
"""Fewer marked questions of an arm give no interval."""


@dataclass(frozen=True, slots=True)
class Powered:
    """A share of right answers, or a difference of two, with what each question contributes to its error.

    ``parts`` and ``marked`` (1 or 0) have the shape ``(questions,)``.
    """

    value: float
    parts: Floats
    marked: Floats

    def __sub__(self, other: Powered) -> Powered:
        """The difference of two arms over the same questions, marked where both are."""
        return Powered(self.value - other.value, self.parts - other.parts, self.marked * other.marked)

    def difference(self, documents: Sequence[Hashable], confidence: float) -> Difference:
        """It as a ``Difference`` with interval and p-value, over the marked questions; ``documents`` are the units."""
        from scipy.stats import t

        units = documents if effective_documents(documents) >= FEWEST_CLUSTERS else range(len(documents))
        numbers = np.unique([str(unit) for unit in units], return_inverse=True)[1]
        totals, n = np.bincount(numbers, weights=self.parts), int(self.marked.sum())
        error = math.sqrt(len(totals) / (len(totals) - 1) * float((totals**2).sum()) + 2 / (n + 2) ** 2)
        freedom = max(len(np.unique(numbers[self.marked > 0])) - 1, 1)
        half = float(t.ppf((1 + confidence) / 2, freedom)) * error
        p_value = 2 * float(t.sf(abs(self.value) / error, freedom))
        interval = Interval(max(-1.0, self.value - half), min(1.0, self.value + half))
        return Difference(self.value, interval, p_value, n, n, error, freedom + 1)


def powered(metric: Sequence[float], marks: Sequence[float | None]) -> Powered:
    """The share right of one arm: what the metric gives each question, and people where they marked it, from 0 to 1.

    Raises ``ValueError`` for fewer than two marks.
    """
    f = np.array(metric, dtype=np.float64)
    marked = np.array([float(mark is not None) for mark in marks])
    if (n := marked.sum()) < FEWEST_MARKED:
        raise ValueError(f"{n:.0f} marked questions give no interval; expected at least {FEWEST_MARKED}")
    missed = np.array([0.0 if y is None else y - x for x, y in zip(metric, marks, strict=True)])
    rectifier = missed.sum() / n
    parts = (f - f.mean()) / len(f) + marked * (missed - rectifier) / n
    return Powered(float(f.mean() + rectifier), parts, marked)


def verdict_by_marks(comparison: Comparison, reviewers: Sequence[Reviewer]) -> Verdict | None:
    """The verdict by the rule of the comparison, over shares of right answers that rest on marks.

    Its "questions" are those that are marked in every arm; of several reviewers, the share who take an answer for right
    counts. None where there are fewer than two such questions.
    """
    phase, confidence = comparison.phases[-1], comparison.settings.confidence
    arms = {name: comparison.at(phase)[name] for name in compared(comparison.at(phase))}
    columns = {name: _columns(comparison, name, _marks(reviewers)) for name in arms}
    everywhere = [None not in marks for marks in zip(*(people for _, people in columns.values()), strict=True)]
    if sum(everywhere) < FEWEST_MARKED:
        return None
    documents = clusters(comparison.examples)
    shares = {name: powered(ours, people) for name, (ours, people) in columns.items()}
    against = pairs(shares)
    results = [(shares[first] - shares[second]).difference(documents, confidence) for first, second in against]
    adjusted = holm([result.p_value for result in results])
    by_marks = []
    for name, share in shares.items():
        found = share.difference(documents, confidence)
        estimate = Estimate(found.mean, Interval(max(0.0, found.interval.low), found.interval.high), found.n)
        estimates = {**arms[name].estimates, "correct": estimate}
        by_marks.append(replace(arms[name], questions=sum(everywhere), estimates=estimates, trainings=()))
    differences = [
        ArmDifference("correct", phase, first, second, result, p)
        for (first, second), result, p in zip(against, results, adjusted, strict=True)
    ]
    asked = [document for document, marked in zip(documents, everywhere, strict=True) if marked]
    return decide(by_marks, differences, replace(comparison.settings, verdict_on="right"), documents=asked)


def _marks(reviewers: Sequence[Reviewer]) -> dict[RowKey, float]:
    """The share of reviewers who take each marked answer for right."""
    said: dict[RowKey, list[bool]] = {}
    for reviewer in reviewers:
        for key, marked in reviewer.marks.items():
            said.setdefault(key, []).append(marked.mark in GIVES_THE_ANSWER)
    return {key: fmean(rights) for key, rights in said.items()}


def _columns(comparison: Comparison, arm: str, marks: Mapping[RowKey, float]) -> tuple[list[float], list[float | None]]:
    """What the metric and people say of an arm's answers, by question.

    Nobody is shown an answer that failed: where other answers to its question are marked, it counts as marked wrong.
    """
    phase = comparison.phases[-1]
    asked = {question for when, _, question in marks if when == phase}
    failed = {row.key: 0.0 for row in comparison.rows if row.answer.error is not None and row.example_id in asked}
    found = {
        row.example_id: (scores["correct"] or 0.0, failed.get(row.key, marks.get(row.key)))
        for row, scores in zip(comparison.rows, comparison.scores, strict=True)
        if (row.phase, row.arm) == (phase, arm)
    }
    ordered = [found[example.id] for example in comparison.examples]
    return [ours for ours, _ in ordered], [people for _, people in ordered]
