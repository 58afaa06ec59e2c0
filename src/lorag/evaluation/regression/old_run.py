"""What changed since an earlier run: paired differences of each arm over the questions that both runs asked.

A question is common when id and wording are the same. Answers of both are scored with today's metric, by today's
references and with the word weights of today's report, so that a difference comes from the answers alone. Where the
verdict rests on right and supported answers, the claims of both are checked by rule, without a judge. Where a run
trained several times, its share is the mean over its trainings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from lorag.errors import DataError, InputError
from lorag.evaluation.answers.metrics import Correct, NewContentRecall
from lorag.evaluation.answers.scoring import clusters, is_supported
from lorag.evaluation.comparison import found_passages
from lorag.evaluation.labels import ARM_NAMES, METRIC_NAMES, p_value, points
from lorag.evaluation.marks.review import with_marks
from lorag.evaluation.report.json_record import examples_of, read_result
from lorag.evaluation.results import CHOSEN_ARMS, LONG_CONTEXT, NO_ARM, Comparison, compared, own_arms
from lorag.evaluation.row_log import Phase, Row, RowLog
from lorag.evaluation.statistics import Difference, holm, trainings_difference
from lorag.evaluation.verdict import FEWEST_QUESTIONS, deciding_metric
from lorag.files import read_text
from lorag.types import Chunk, Example


@dataclass(frozen=True, slots=True)
class OldRun:
    """A finished run, of this version or an earlier one; ``in_use`` is the arm that its verdict chose, if any."""

    folder: str
    rows: tuple[Row, ...]
    examples: tuple[Example, ...]
    in_use: str | None
    further: tuple[tuple[Row, ...], ...] = ()
    """The rows under each further training, such as one with another seed."""


@dataclass(frozen=True, slots=True)
class Change:
    """An arm's share of right answers now minus that of the old run; ``adjusted_p`` is Holm's over the arms."""

    arm: str
    metric: str
    """What counts as right: the metric that the verdict rests on."""
    phase: Phase
    old: float
    new: float
    difference: Difference
    adjusted_p: float
    confidence: float

    @property
    def is_worse(self) -> bool:
        """Whether the arm is significantly worse: the interval lies below 0, and the adjusted p is small enough."""
        return self.difference.interval.high < 0 and self.adjusted_p < 1 - self.confidence

    def __str__(self) -> str:
        """The change in a sentence."""
        return (
            f"{ARM_NAMES[self.arm]} is {METRIC_NAMES[self.metric]} on {100 * self.new:.1f} %, before on"
            f" {100 * self.old:.1f} %:"
            f" {points(self.difference)} over {self.difference.n} common questions (Holm p {p_value(self.adjusted_p)})"
        )


def read_old_run(folder: Path) -> OldRun:
    """The run in ``folder``. Raises ``DataError`` for a folder without a finished one."""
    path = folder / "result.json"
    if not path.is_file():
        raise DataError(path, "no such file; expected the result of a finished `lorag compare`")
    try:
        record = json.loads(read_text(path))
        rows = [Row.from_json({key: value for key, value in row.items() if key != "scores"}) for row in record["rows"]]
        choice = record["verdict"]["choice"]
        if any((folder / "marks").glob("*.jsonl")):
            choice = with_marks(read_result(path), folder).verdict.choice
        in_use = None if choice in NO_ARM else CHOSEN_ARMS.get(choice, choice)
        return OldRun(str(folder), tuple(rows), examples_of(record), in_use, _further(folder))
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(path, f"is not the result of a comparison ({type(error).__name__}: {error})") from error


def common_questions(old: OldRun, examples: Sequence[Example], phase: Phase) -> list[Example]:
    """Those of ``examples`` that the old run asked too.

    Raises ``InputError`` where they are fewer than 20, in which only the largest losses could show, and where the old
    run asked nothing in ``phase``.
    """
    if not any(row.phase == phase for row in old.rows):
        raise InputError(
            f"the run in {old.folder!r} had no update of the documents, so it has no answers to compare with after one;"
            " leave out --update, or name a run with an update with --against"
        )
    asked = {example.id: example.question for example in old.examples}
    common = [example for example in examples if asked.get(example.id) == example.question]
    if len(common) < FEWEST_QUESTIONS:
        raise InputError(
            f"the run in {old.folder!r} asked {len(common) or 'none'} of these {len(examples)} questions (same id and"
            f" wording); with fewer than {FEWEST_QUESTIONS} hardly any loss can be shown: name a run over more of the"
            " same questions with --against"
        )
    return common


def changes_since(old: OldRun, comparison: Comparison) -> tuple[Change, ...]:
    """What changed in each arm that both runs measured in the phase that decides now, in the order of tables.

    Raises ``InputError`` as ``common_questions`` does.
    """
    phase, settings = comparison.phases[-1], comparison.settings
    further = _further(comparison.folder) if comparison.folder is not None else ()
    now, earlier = _Answered.of(phase, comparison.rows, further), _Answered.of(phase, old.rows, old.further)
    both = common_questions(old, comparison.examples, phase)
    recall = NewContentRecall.fit(comparison.examples)
    metric = deciding_metric(comparison.arms, settings)
    if earlier.passages is None or now.passages is None:
        metric = "correct"  # there is nothing to check claims against
    found = []
    for arm in compared(comparison.at(phase)):
        asked = [e for e in both if (arm, e.id) in earlier.trainings[0] and (arm, e.id) in now.trainings[0]]
        if asked:
            current = [example.after_update() if phase == "after" else example for example in asked]
            new, before = (run.right(arm, current, metric, recall) for run in (now, earlier))
            difference = trainings_difference(new, before, clusters(asked), settings)
            found.append((arm, fmean(map(fmean, before)), fmean(map(fmean, new)), difference))
    adjusted = holm([difference.p_value for *_, difference in found])
    return tuple(
        Change(arm, metric, phase, before, new, difference, p, settings.confidence)
        for (arm, before, new, difference), p in zip(found, adjusted, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Answered:
    """The answers of a run in one phase."""

    trainings: list[dict[tuple[str, str], Row]]
    """Of each training, by arm and question."""
    passages: Mapping[str, Sequence[Chunk]] | None
    """For each question those that any arm was given; None where none was given any."""

    @classmethod
    def of(cls, phase: Phase, rows: Sequence[Row], further: Sequence[Sequence[Row]]) -> _Answered:
        trainings = [
            {(row.arm, row.example_id): row for row in each if row.phase == phase} for each in (rows, *further)
        ]
        return cls(trainings, found_passages(rows).get(phase))

    def right(self, arm: str, asked: Sequence[Example], metric: str, recall: NewContentRecall) -> list[list[float]]:
        """The metric of each answer, under each training that has them all."""
        found = []
        for rows in self.trainings:
            answered = [rows[arm, each.id] for each in asked if (arm, each.id) in rows]
            if len(answered) == len(asked):
                scores = Correct(recall).score(asked, [row.answer for row in answered])
                values = [score.value or 0.0 for score in scores]
                if metric == "right_and_supported" and self.passages is not None:
                    values = [
                        value * is_supported(row, example, self.passages[example.id], recall)
                        for value, row, example in zip(values, answered, asked, strict=True)
                    ]
                found.append(values)
        return found


def missing_arms(old: OldRun, comparison: Comparison) -> list[str]:
    """The arms that the old run measured and this one did not, in the order of tables.

    A long context and the user's own arms are measured only where they are asked for: without that they are missed only
    if the old run chose one.
    """
    phase = comparison.phases[-1]
    measured = compared({row.arm for row in old.rows if row.phase == phase} | ({old.in_use} if old.in_use else set()))
    on_request = {*own_arms(measured), *(() if LONG_CONTEXT in comparison.facts else (LONG_CONTEXT,))}
    return [arm for arm in measured if arm not in comparison.at(phase) and (arm not in on_request or arm == old.in_use)]


def _further(folder: Path) -> tuple[tuple[Row, ...], ...]:
    """The rows under the further trainings of the run in ``folder``."""
    return tuple(tuple(RowLog(path).rows.values()) for path in sorted(folder.glob("seed-*/rows.jsonl")))
