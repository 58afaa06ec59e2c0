"""What the marks of a run say: how the metrics agree with people, people with each other, and who decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from lorag.evaluation.labels import METRIC_NAMES
from lorag.evaluation.marks.marking import Reviewer, read_reviewers
from lorag.evaluation.marks.prediction_powered import verdict_by_marks
from lorag.evaluation.marks.rater_agreement import (
    POOR,
    Agreement,
    metric_agreements,
    reviewer_agreements,
)
from lorag.evaluation.results import Comparison, Reason, Verdict

FEWEST_ANSWERS = 20
"""Fewer marked answers say nothing of a metric."""
_DECIDES = "correct"
"""The metric that verdicts rest on."""


@dataclass(frozen=True, slots=True)
class Review:
    """The marks of a run and what follows from them."""

    reviewers: tuple[Reviewer, ...]
    metrics: tuple[Agreement, ...]
    """Each metric with each reviewer."""
    people: tuple[Agreement, ...]
    """Every two reviewers."""
    verdict: Verdict | None
    """The verdict by marks, once the metric can be judged by them; its questions are those that were marked."""
    by_metric: str
    """The verdict of the comparison, which rests on the metric, in one sentence."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What follows for the verdict, for people; empty without marks."""
        if not self.metrics:
            return ()
        kappas = _kappas(self.metrics)
        if not kappas:
            return (f"Too few answers are marked to judge the metric; {FEWEST_ANSWERS} are needed.",)
        found = f"kappa {fmean(kappas):.2f}" + (f", the mean over {len(kappas)} reviewers" if len(kappas) > 1 else "")
        agrees = fmean(kappas) >= POOR
        well = f"The metric agrees with people ({found}): the verdict stands on it."
        poorly = f"The metric agrees poorly with people ({found}, below {POOR}): marks decide."
        both = (well if agrees else poorly, f"Verdict by the metric: {self.by_metric}")
        if self.verdict is None:
            return *both, "Too few questions are marked in every arm to decide by marks; mark more (--answers)."
        sure = [reason.text for reason in self.verdict.reasons if reason.term == "Certainty" and not agrees]
        return *both, f"Verdict by marks, over marked questions: {self.verdict.sentence}", *sure

    def to_json(self) -> dict[str, Any]:
        """A JSON object of everything but the single marks, of which it has the number."""
        people = [{"name": each.name, "marked": len(each.marks), "refused": each.refused} for each in self.reviewers]
        return {**asdict(self), "reviewers": people, "sentences": self.sentences}


def review(comparison: Comparison, run: Path) -> Review:
    """What the marks in the folder ``run`` say of the comparison there. Raises ``DataError`` for a broken file."""
    reviewers = tuple(read_reviewers(run, comparison))
    metrics = tuple(metric_agreements(comparison, reviewers))
    return Review(
        reviewers,
        metrics,
        tuple(reviewer_agreements(comparison, reviewers)),
        verdict_by_marks(comparison, reviewers) if _kappas(metrics) else None,
        comparison.verdict.sentence,
    )


def with_marks(comparison: Comparison, run: Path) -> Comparison:
    """The comparison with what follows from the marks in its folder among the reasons of its verdict, for a report."""
    found = tuple(Reason("Marks", sentence) for sentence in review(comparison, run).sentences)
    return replace(comparison, verdict=replace(comparison.verdict, reasons=(*comparison.verdict.reasons, *found)))


def _kappas(metrics: Sequence[Agreement]) -> list[float]:
    """Of the metric that decides, with each reviewer who marked enough answers."""
    return [each.kappa.mean for each in metrics if each.first == _DECIDES and each.kappa.n >= FEWEST_ANSWERS]


def agreement_rows(agreements: Sequence[Agreement]) -> list[tuple[str, ...]]:
    """One row for two raters, for a table: who, answers, kappa with its interval, and what only one takes for right."""
    return [
        (
            f"{METRIC_NAMES.get(each.first, each.first)} and {each.second}",
            str(each.kappa.n),
            f"{each.kappa.mean:.2f} ({each.kappa.interval.low:.2f} to {each.kappa.interval.high:.2f})",
            str(each.only_first),
            str(each.only_second),
        )
        for each in agreements
    ]
