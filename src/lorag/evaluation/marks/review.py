"""What the marks of a run say: how the metrics agree with people, people with each other, and which verdict stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from lorag.evaluation.labels import METRIC_NAMES
from lorag.evaluation.marks.marking import Reviewer, read_reviewers
from lorag.evaluation.marks.prediction_powered import judged_by_marks
from lorag.evaluation.marks.rater_agreement import POOR, Agreement, metric_agreements, reviewer_agreements
from lorag.evaluation.results import Comparison, Reason, Verdict
from lorag.evaluation.statistics import Estimate
from lorag.evaluation.verdict import deciding_metric

FEWEST_ANSWERS = 20
"""Fewer marked answers say nothing of a metric."""


@dataclass(frozen=True, slots=True)
class Review:
    """The marks of a run and what follows from them."""

    reviewers: tuple[Reviewer, ...]
    metrics: tuple[Agreement, ...]
    """Each metric with each reviewer."""
    people: tuple[Agreement, ...]
    """Every two reviewers."""
    judging: tuple[Agreement, ...]
    """Those of ``metrics`` by which the metric of the verdict is judged: of reviewers who marked enough answers."""
    by_metric: Verdict
    """The verdict of the comparison."""
    marked: Comparison | None
    """The comparison by marks, once the metric can be judged by them; its questions are those that were marked."""

    @property
    def by_marks(self) -> Verdict | None:
        """The verdict by marks."""
        return self.marked.verdict if self.marked is not None else None

    @property
    def marks_decide(self) -> bool:
        """Whether marks are enough for another choice, or the metric cannot be relied on for its own.

        It cannot where it agrees poorly with people, and where the choice depends on how strictly it scores.
        """
        if self.by_marks is None:
            return False
        is_other = self.by_marks.choice not in ("undecided", self.by_metric.choice)
        return is_other or self._agrees_poorly or self.by_metric.depends_on_scoring

    @property
    def _agrees_poorly(self) -> bool:
        return fmean(each.ac1.mean for each in self.judging) < POOR

    @property
    def verdict(self) -> Verdict:
        """The verdict that stands."""
        return self.by_marks if self.marks_decide and self.by_marks is not None else self.by_metric

    @property
    def sentences(self) -> tuple[str, ...]:
        """What follows for the verdict, for people: agreement, then both verdicts; empty without marks."""
        if not self.metrics:
            return ()
        if self.by_marks is None:
            return (f"Too few answers are marked to judge the metric; {FEWEST_ANSWERS} are needed.",)
        sure = [reason.text for reason in self.by_marks.reasons if reason.term == "Certainty" and self.marks_decide]
        return self._agreement, *self._verdicts, *sure

    @property
    def beside(self) -> tuple[str, ...]:
        """What stands beside the verdict: agreement, and the verdict that does not stand."""
        return self.sentences if self.by_marks is None else (self._agreement, self._verdicts[not self.marks_decide])

    @property
    def _agreement(self) -> str:
        ac1, kappa = (fmean(column) for column in zip(*((e.ac1.mean, e.kappa.mean) for e in self.judging), strict=True))
        several = f", means over {len(self.judging)} reviewers" if len(self.judging) > 1 else ""
        found = f"AC1 {ac1:.2f}, kappa {kappa:.2f}{several}"
        if self._agrees_poorly:
            return f"The metric agrees poorly with people ({found}; AC1 below {POOR}): marks decide."
        if self.by_metric.depends_on_scoring:
            return f"The metric agrees with people ({found}), but its verdict depends on the scoring: marks decide."
        if self.marks_decide:
            return f"The metric agrees with people ({found}), but enough marks give another verdict: marks decide."
        return f"The metric agrees with people ({found}): the verdict stands on it."

    @property
    def _verdicts(self) -> tuple[str, str]:
        """Both verdicts in a sentence each, that by the metric first."""
        by_marks = self.by_marks.sentence if self.by_marks is not None else ""
        return (
            f"Verdict by the metric: {self.by_metric.sentence}",
            f"Verdict by marks, over marked questions: {by_marks}",
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object of everything but the single marks, of which it has the number.

        ``verdict`` is the one that stands, ``by_metric`` and ``by_marks`` are sentences.
        """
        people = [{"name": each.name, "marked": len(each.marks), "refused": each.refused} for each in self.reviewers]
        return {
            "reviewers": people,
            "metrics": list(map(asdict, self.metrics)),
            "people": list(map(asdict, self.people)),
            "verdict": asdict(self.verdict),
            "decided_by": "marks" if self.marks_decide else "metric",
            "by_metric": self.by_metric.sentence,
            "by_marks": self.by_marks.sentence if self.by_marks is not None else None,
            "sentences": self.sentences,
        }


def review(comparison: Comparison, run: Path) -> Review:
    """What the marks in the folder ``run`` say of the comparison there. Raises ``DataError`` for a broken file."""
    reviewers = tuple(read_reviewers(run, comparison))
    metrics = tuple(metric_agreements(comparison, reviewers))
    decides = deciding_metric(list(comparison.at(comparison.phases[-1]).values()), comparison.settings)
    judging = tuple(each for each in metrics if each.first == decides and each.kappa.n >= FEWEST_ANSWERS)
    return Review(
        reviewers,
        metrics,
        tuple(reviewer_agreements(comparison, reviewers, decides)),
        judging,
        comparison.verdict,
        judged_by_marks(comparison, reviewers) if judging else None,
    )


def with_marks(comparison: Comparison, run: Path) -> Comparison:
    """The comparison that stands by the marks in its folder, for a report.

    The first reasons of its verdict name the agreement of metric and people, and the verdict that does not stand.
    """
    found = review(comparison, run)
    marks = tuple(Reason("Marks", sentence) for sentence in found.beside)
    standing = found.marked if found.marks_decide and found.marked is not None else comparison
    return replace(standing, verdict=replace(standing.verdict, reasons=(*marks, *standing.verdict.reasons)))


def agreement_rows(agreements: Sequence[Agreement]) -> list[tuple[str, ...]]:
    """One row for two raters, for a table.

    Who, answers, AC1 and kappa with their intervals, and what only one takes for right.
    """
    return [
        (
            f"{METRIC_NAMES.get(each.first, each.first)} and {each.second}",
            str(each.kappa.n),
            _shown(each.ac1),
            _shown(each.kappa),
            str(each.only_first),
            str(each.only_second),
        )
        for each in agreements
    ]


def _shown(found: Estimate) -> str:
    return f"{found.mean:.2f} ({found.interval.low:.2f} to {found.interval.high:.2f})"
