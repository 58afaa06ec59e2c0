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
from lorag.evaluation.comparison import adjusted, made_warnings
from lorag.evaluation.marks.marking import Reviewer, answers_of, right_marks
from lorag.evaluation.results import ArmDifference, ArmResult, Comparison, Reason, Verdict, compared, pairs
from lorag.evaluation.row_log import Phase, RowKey
from lorag.evaluation.statistics import FEWEST_CLUSTERS, Difference, Estimate, Floats, Interval, effective_documents
from lorag.evaluation.verdict import FEWEST_QUESTIONS, decide, deciding_metric
from lorag.settings import VerdictSettings

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
        value, *ends = (min(1.0, max(-1.0, each)) for each in (self.value, self.value - half, self.value + half))
        interval = Interval(*ends)
        return Difference(value, interval, p_value, n, n, error, freedom + 1)


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


def judged_by_marks(comparison: Comparison, reviewers: Sequence[Reviewer]) -> Comparison:
    """The comparison by the same rule, with shares and differences that rest on marks instead of the metric.

    A mark counts by what the verdict rests on: right, or right and supported. The "questions" of the verdict are those
    that are marked in every arm; of several reviewers, the share who take an answer for right counts. With fewer than
    20 such questions it is undecided, with the number of answers to mark. Ceilings and other measures stay as they are.
    """
    if len(comparison.examples) < FEWEST_QUESTIONS:
        return comparison
    phase, settings = comparison.phases[-1], comparison.settings
    arms, documents = comparison.at(phase), clusters(comparison.examples)
    metrics = tuple(dict.fromkeys(("correct", deciding_metric(list(arms.values()), settings))))
    columns = {each: _all_columns(comparison, each, reviewers) for each in metrics}
    people = zip(*(marks for _, marks in columns["correct"].values()), strict=True)
    marked = [None not in marks for marks in people]
    enough = sum(marked) >= FEWEST_QUESTIONS
    shares = {
        each: {name: powered(*column) for name, column in found.items()} for each, found in columns.items() if enough
    }
    differences = [pair for pair in comparison.differences if pair.phase != phase or pair.metric not in shares]
    for metric, found in shares.items():
        arms = {name: _by_marks(arm, metric, found.get(name), documents, settings) for name, arm in arms.items()}
        differences += _differences(metric, phase, found, documents, settings)
    judged = [replace(arm, questions=sum(marked)) for arm in arms.values()]
    asked = [document for document, counts in zip(documents, marked, strict=True) if counts or not enough]
    warnings = made_warnings(comparison.examples)
    verdict = decide(judged, differences, settings, comparison.notes, warnings, asked)
    if not enough:
        return replace(comparison, verdict=_too_few(verdict, comparison, reviewers, sum(marked)))
    standing = {(phase, name): arm for name, arm in arms.items()}
    return replace(
        comparison,
        arms=tuple(standing.get((arm.phase, arm.arm), arm) for arm in comparison.arms),
        differences=tuple(differences),
        verdict=_of_the_first_training(verdict, comparison),
    )


def _of_the_first_training(verdict: Verdict, comparison: Comparison) -> Verdict:
    """``verdict`` with the number of trainings that nobody saw answers of."""
    count = max(len(arm.trainings) for arm in comparison.arms)
    if count < 2:
        return verdict
    text = f"people marked answers of the first of {count} trainings; variation between trainings is not included."
    found = [Reason(each.term, text) if each.term == "Trainings" else each for each in verdict.reasons]
    return replace(verdict, reasons=tuple(found))


def _too_few(verdict: Verdict, comparison: Comparison, reviewers: Sequence[Reviewer], questions: int) -> Verdict:
    """``verdict``, undecided for want of marks, with how many more answers to mark."""
    first = answers_of(comparison, FEWEST_QUESTIONS)
    marks = _marks(reviewers, "correct")
    more = sum(any(row.key not in marks for row in each.rows) for each in first)
    mark = (
        f"Mark {more} more answers: `lorag review --answers {len(first)}`." if more else "No arm answered the others."
    )
    sentence = f"Undecided: {questions} questions are marked in every arm, and {FEWEST_QUESTIONS} are needed. {mark}"
    return replace(verdict, sentence=sentence, more_questions=None)


def _by_marks(
    arm: ArmResult, metric: str, share: Powered | None, documents: Sequence[Hashable], settings: VerdictSettings
) -> ArmResult:
    """``arm`` with its share in ``metric`` by marks, which are of its first training; a ceiling as it is."""
    if share is None:
        return arm
    found = share.difference(documents, settings.confidence)
    mean, *ends = (max(0.0, each) for each in (found.mean, found.interval.low, found.interval.high))
    estimate = Estimate(mean, Interval(*ends), found.n)
    others = {name: mean for name, mean in arm.over_trainings.items() if name != metric}
    return replace(arm, estimates={**arm.estimates, metric: estimate}, trainings=(), over_trainings=others)


def _differences(
    metric: str,
    phase: Phase,
    shares: Mapping[str, Powered],
    documents: Sequence[Hashable],
    settings: VerdictSettings,
) -> list[ArmDifference]:
    """The pairs of arms by marks, with Holm's p-values."""
    against = pairs(shares)
    results = [(shares[first] - shares[second]).difference(documents, settings.confidence) for first, second in against]
    return adjusted(metric, phase, against, results)


def _marks(reviewers: Sequence[Reviewer], metric: str) -> dict[RowKey, float]:
    """The share of reviewers who take each marked answer for right in the sense of ``metric``."""
    right, said = right_marks(metric), dict[RowKey, list[bool]]()
    for reviewer in reviewers:
        for key, marked in reviewer.marks.items():
            said.setdefault(key, []).append(marked.mark in right)
    return {key: fmean(rights) for key, rights in said.items()}


_Columns = tuple[list[float], list[float | None]]
"""What the metric and people say of an arm's answers, by question."""


def _all_columns(comparison: Comparison, metric: str, reviewers: Sequence[Reviewer]) -> dict[str, _Columns]:
    marks = _marks(reviewers, metric)
    names = compared(comparison.at(comparison.phases[-1]))
    return {name: _columns(comparison, name, metric, marks) for name in names}


def _columns(comparison: Comparison, arm: str, metric: str, marks: Mapping[RowKey, float]) -> _Columns:
    """Nobody is shown an answer that failed: where other answers to its question are marked, it counts as wrong."""
    phase = comparison.phases[-1]
    asked = {question for when, _, question in marks if when == phase}
    failed = {row.key: 0.0 for row in comparison.rows if row.answer.error is not None and row.example_id in asked}
    found = {
        row.example_id: (scores[metric] or 0.0, failed.get(row.key, marks.get(row.key)))
        for row, scores in zip(comparison.rows, comparison.scores, strict=True)
        if (row.phase, row.arm) == (phase, arm)
    }
    ordered = [found[example.id] for example in comparison.examples]
    return [ours for ours, _ in ordered], [people for _, people in ordered]
