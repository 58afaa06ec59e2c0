"""How far a metric agrees with people, and people with each other: Cohen's kappa and Gwet's AC1, with intervals.

Both are the agreement beyond chance, as a share of what was left to reach. Kappa (Cohen 1960) takes for chance what two
raters with these shares of right answers would reach. Where nearly every answer is right, that leaves next to nothing:
raters who agree on 28 of 30 answers can have a kappa of 0, the first paradox of Feinstein and Cicchetti (1990, J. Clin.
Epidemiol. 43:543). AC1 (Gwet 2008, Br. J. Math. Stat. Psychol. 61:29) takes ``2 p (1 - p)``, with ``p`` the mean of
both shares, which is never more than a half: it stays near the observed agreement there (0.93 in this case), and near
kappa where right and wrong answers are equally many. So AC1 decides whether agreement is poor, beside kappa.

Intervals draw whole questions with replacement. A few marks that all agree would give no width, so an interval is at
least as wide as that of the observed agreement, at the same agreement by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lorag.evaluation.marks.marking import Reviewer, answer_sha, right_marks
from lorag.evaluation.results import Comparison, compared
from lorag.evaluation.statistics import Estimate, Floats, Interval, bootstrap, mean_interval
from lorag.settings import VerdictSettings

POOR = 0.6
"""Agreement below this AC1 is poor: the upper end of "moderate" (Landis and Koch 1977)."""
METRICS = ("correct", "right_and_supported", "correct_strict", "correct_lenient", "contains", "exact_match")
"""Metrics of 0 and 1 that look for what was asked, those that verdicts rest on first."""

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
    ac1: Estimate
    only_first: int
    """Answers that only the first takes for right."""
    only_second: int
    """Answers that only the second takes for right."""


def kappa(
    first: Sequence[bool],
    second: Sequence[bool],
    questions: Sequence[Hashable],
    settings: VerdictSettings | None = None,
) -> Estimate:
    """Cohen's kappa of what two raters take for right, with its interval; ``questions`` names that of each answer.

    Where both always give the same one value it is 1. Raises ``ValueError`` for no answers.
    """
    return _beyond_chance(first, second, questions, settings, lambda one, other: one * other + (1 - one) * (1 - other))


def ac1(
    first: Sequence[bool],
    second: Sequence[bool],
    questions: Sequence[Hashable],
    settings: VerdictSettings | None = None,
) -> Estimate:
    """Gwet's AC1, as ``kappa``."""
    return _beyond_chance(first, second, questions, settings, lambda one, other: (one + other) * (2 - one - other) / 2)


def _beyond_chance(
    first: Sequence[bool],
    second: Sequence[bool],
    questions: Sequence[Hashable],
    settings: VerdictSettings | None,
    by_chance: Callable[[Floats, Floats], Floats],
) -> Estimate:
    """The agreement beyond what ``by_chance`` gives for the two shares of right answers."""
    settings = settings or VerdictSettings()
    units = {name: place for place, name in enumerate(dict.fromkeys(questions))}
    counts = np.zeros((len(units), 4))
    for one, other, question in zip(first, second, questions, strict=True):
        counts[units[question], 2 * one + other] += 1
    agreed = [float(one == other) for one, other in zip(first, second, strict=True)]
    interval = mean_interval(agreed, questions, settings).interval
    observed, chance = _observed_and_chance(counts.sum(axis=0)[None], by_chance)
    value = float(_corrected(observed, chance)[0])
    drawn = bootstrap(counts, lambda sums: _corrected(*_observed_and_chance(sums, by_chance)), settings)
    low, high = (float(_corrected(np.array([end]), chance)[0]) for end in (interval.low, interval.high))
    return Estimate(value, Interval(max(-1.0, min(drawn.low, low)), max(drawn.high, high)), len(agreed))


def _observed_and_chance(tables: Floats, by_chance: Callable[[Floats, Floats], Floats]) -> tuple[Floats, Floats]:
    """The share on which two raters agree, and that by chance; a row counts neither, second, first and both right."""
    shares = tables / tables.sum(axis=1, keepdims=True)
    one, other = shares[:, 2] + shares[:, 3], shares[:, 1] + shares[:, 3]
    return shares[:, 0] + shares[:, 3], by_chance(one, other)


def _corrected(observed: Floats, chance: Floats) -> Floats:
    """Where chance leaves nothing to reach, the observed agreement."""
    room = 1 - chance
    return np.asarray(np.where(room > 1e-9, (observed - chance) / np.maximum(room, 1e-9), observed))


def metric_agreements(comparison: Comparison, reviewers: Sequence[Reviewer]) -> list[Agreement]:
    """How each metric agrees with each reviewer on what the reviewer marked, by metric and then reviewer.

    Of equal answers with other passages, one that is supported counts.
    """
    found, phase = [], comparison.phases[-1]
    shown = compared(comparison.at(phase))
    for metric in METRICS:
        ours: dict[tuple[str, str], bool] = {}
        for row, scores in zip(comparison.rows, comparison.scores, strict=True):
            if row.phase == phase and row.arm in shown and scores.get(metric) is not None:
                answer = row.example_id, answer_sha(row.answer.text)
                ours[answer] = ours.get(answer, False) or bool(scores[metric])
        found += [_agreement(metric, ours, each.name, _judged(each, metric), comparison.settings) for each in reviewers]
    return [agreement for agreement in found if agreement is not None]


def reviewer_agreements(comparison: Comparison, reviewers: Sequence[Reviewer], metric: str) -> list[Agreement]:
    """How every two reviewers agree on what both marked, in the sense of ``metric``."""
    found = [
        _agreement(one.name, _judged(one, metric), other.name, _judged(other, metric), comparison.settings)
        for one, other in combinations(reviewers, 2)
    ]
    return [agreement for agreement in found if agreement is not None]


def _judged(reviewer: Reviewer, metric: str) -> dict[tuple[str, str], bool]:
    """What the reviewer takes for right in the sense of ``metric``."""
    right = right_marks(metric)
    return {(each.question_id, each.answer_sha): each.mark in right for each in reviewer.marks.values()}


def _agreement(first: str, ours: _Judged, second: str, theirs: _Judged, settings: VerdictSettings) -> Agreement | None:
    """None where the two judged no answer in common."""
    common = [answer for answer in ours if answer in theirs]
    if not common:
        return None
    one, other = [ours[answer] for answer in common], [theirs[answer] for answer in common]
    questions = [question for question, _ in common]
    return Agreement(
        first,
        second,
        kappa(one, other, questions, settings),
        ac1(one, other, questions, settings),
        sum(a and not b for a, b in zip(one, other, strict=True)),
        sum(b and not a for a, b in zip(one, other, strict=True)),
    )
