"""How far a metric agrees with people, and people with each other: Cohen's kappa with its interval.

Kappa (Cohen 1960) is the agreement beyond what two raters with these shares would reach by chance, as a share of what
was left to reach. Its interval draws whole questions with replacement. A few marks that all agree would give that
interval no width, so it is at least as wide as the interval of the observed agreement, at the same agreement by chance.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lorag.evaluation.marks.marking import GIVES_THE_ANSWER, Reviewer, answer_sha
from lorag.evaluation.results import Comparison
from lorag.evaluation.statistics import Estimate, Floats, Interval, bootstrap, mean_interval
from lorag.settings import VerdictSettings

POOR = 0.6
"""Agreement below this kappa is poor: the upper end of "moderate" (Landis and Koch 1977)."""
METRICS = ("correct", "correct_strict", "correct_lenient", "contains", "exact_match")
"""Metrics of 0 and 1 that look for what was asked, the one that verdicts rest on first."""

_Judged = Mapping[tuple[str, str], bool]
"""Whether an answer is right, by its question and its hash: equal answers to a question are one."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two raters agree on whether answers are right; ``first`` is a metric or a reviewer, ``second`` a reviewer.

    ``kappa.n`` is the number of answers; equal answers to a question are one.
    """

    first: str
    second: str
    kappa: Estimate
    only_first: int
    """Answers that only the first takes for right."""
    only_second: int
    """Answers that only the second takes for right."""

    @property
    def is_poor(self) -> bool:
        """Whether the raters agree too little for one to stand in for the other."""
        return self.kappa.mean < POOR


def kappa(
    first: Sequence[bool],
    second: Sequence[bool],
    questions: Sequence[Hashable],
    settings: VerdictSettings | None = None,
) -> Estimate:
    """Cohen's kappa of what two raters take for right, with its interval; ``questions`` names that of each answer.

    Where both always give the same one value it is 1. Raises ``ValueError`` for no answers.
    """
    settings = settings or VerdictSettings()
    units = {name: place for place, name in enumerate(dict.fromkeys(questions))}
    counts = np.zeros((len(units), 4))
    for one, other, question in zip(first, second, questions, strict=True):
        counts[units[question], 2 * one + other] += 1
    agreed = [float(one == other) for one, other in zip(first, second, strict=True)]
    interval = mean_interval(agreed, questions, settings).interval
    observed, chance = _observed_and_chance(counts.sum(axis=0)[None])
    value = float(_kappa(observed, chance)[0])
    drawn = bootstrap(counts, lambda sums: _kappa(*_observed_and_chance(sums)), settings)
    low, high = (float(_kappa(np.array([end]), chance)[0]) for end in (interval.low, interval.high))
    return Estimate(value, Interval(max(-1.0, min(drawn.low, low)), max(drawn.high, high)), len(agreed))


def _observed_and_chance(tables: Floats) -> tuple[Floats, Floats]:
    """The share on which two raters agree, and that by chance; a row counts neither, second, first and both right."""
    shares = tables / tables.sum(axis=1, keepdims=True)
    one, other = shares[:, 2] + shares[:, 3], shares[:, 1] + shares[:, 3]
    return shares[:, 0] + shares[:, 3], one * other + (1 - one) * (1 - other)


def _kappa(observed: Floats, chance: Floats) -> Floats:
    """Where chance leaves nothing to reach, the observed agreement."""
    room = 1 - chance
    return np.asarray(np.where(room > 1e-9, (observed - chance) / np.maximum(room, 1e-9), observed))


def metric_agreements(comparison: Comparison, reviewers: Sequence[Reviewer]) -> list[Agreement]:
    """How each metric agrees with each reviewer on what the reviewer marked, by metric and then reviewer."""
    found = []
    for metric in METRICS:
        ours = {
            (row.example_id, answer_sha(row.answer.text)): bool(scores[metric])
            for row, scores in zip(comparison.rows, comparison.scores, strict=True)
            if row.phase == comparison.phases[-1] and scores.get(metric) is not None
        }
        found += [_agreement(metric, ours, each.name, _judged(each), comparison.settings) for each in reviewers]
    return [agreement for agreement in found if agreement is not None]


def reviewer_agreements(comparison: Comparison, reviewers: Sequence[Reviewer]) -> list[Agreement]:
    """How every two reviewers agree on what both marked."""
    found = [
        _agreement(one.name, _judged(one), other.name, _judged(other), comparison.settings)
        for one, other in combinations(reviewers, 2)
    ]
    return [agreement for agreement in found if agreement is not None]


def _judged(reviewer: Reviewer) -> dict[tuple[str, str], bool]:
    return {(each.question_id, each.answer_sha): each.mark in GIVES_THE_ANSWER for each in reviewer.marks.values()}


def _agreement(first: str, ours: _Judged, second: str, theirs: _Judged, settings: VerdictSettings) -> Agreement | None:
    """None where the two judged no answer in common."""
    common = [answer for answer in ours if answer in theirs]
    if not common:
        return None
    one, other = [ours[answer] for answer in common], [theirs[answer] for answer in common]
    return Agreement(
        first,
        second,
        kappa(one, other, [question for question, _ in common], settings),
        sum(a and not b for a, b in zip(one, other, strict=True)),
        sum(b and not a for a, b in zip(one, other, strict=True)),
    )
