"""What changed since an earlier run: paired differences of each arm over the questions that both runs asked.

A question is common when id and wording are the same. Old answers are scored again, with today's metric and by today's
references, so that a difference comes from the answers alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorag.errors import DataError, InputError
from lorag.evaluation.answers.scoring import clusters, score_rows
from lorag.evaluation.labels import ARM_NAMES, p_value, points
from lorag.evaluation.report.json_record import examples_of
from lorag.evaluation.results import ARMS, CHOSEN_ARMS, Comparison
from lorag.evaluation.row_log import Phase, Row
from lorag.evaluation.statistics import Difference, holm, paired_difference
from lorag.files import read_text
from lorag.types import Example


@dataclass(frozen=True, slots=True)
class OldRun:
    """A finished run, of this version or an earlier one; ``in_use`` is the arm that its verdict chose, if any."""

    folder: str
    rows: tuple[Row, ...]
    examples: tuple[Example, ...]
    in_use: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """An arm's share of right answers now minus that of the old run; ``adjusted_p`` is Holm's over the arms."""

    arm: str
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
            f"{ARM_NAMES[self.arm]} is right on {100 * self.new:.1f} %, before on {100 * self.old:.1f} %:"
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
        return OldRun(str(folder), tuple(rows), examples_of(record), CHOSEN_ARMS.get(record["verdict"]["choice"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(path, f"is not the result of a comparison ({type(error).__name__}: {error})") from error


def common_questions(old: OldRun, examples: Sequence[Example]) -> list[Example]:
    """Those of ``examples`` that the old run asked too. Raises ``InputError`` where there are none."""
    asked = {example.id: example.question for example in old.examples}
    common = [example for example in examples if asked.get(example.id) == example.question]
    if not common:
        raise InputError(
            f"the run in {old.folder!r} asked none of these questions, so nothing can be compared; name a run over the"
            " same questions with --against"
        )
    return common


def changes_since(old: OldRun, comparison: Comparison) -> tuple[Change, ...]:
    """What changed in each arm that both runs measured in the phase that decides now, in the order of tables.

    Raises ``InputError`` where no question or no arm is common.
    """
    phase, settings = comparison.phases[-1], comparison.settings
    before, now = _answers(old.rows, phase), _answers(comparison.rows, phase)
    both = common_questions(old, comparison.examples)
    found = []
    for arm in ARMS:
        asked = [e for e in both if (arm, e.id) in before and (arm, e.id) in now]
        if asked:
            new, earlier = (
                [
                    s["correct"] or 0.0
                    for s in score_rows(arm, phase, asked, [rows[arm, e.id] for e in asked], None).scores
                ]
                for rows in (now, before)
            )
            found.append((arm, earlier, new, paired_difference(new, earlier, clusters(asked), settings)))
    if not found:
        raise InputError(
            f"the run in {old.folder!r} and this one have no arm in common {phase} the update; name another run with"
            " --against"
        )
    adjusted = holm([difference.p_value for *_, difference in found])
    return tuple(
        Change(arm, phase, sum(earlier) / len(earlier), sum(new) / len(new), difference, p, settings.confidence)
        for (arm, earlier, new, difference), p in zip(found, adjusted, strict=True)
    )


def _answers(rows: Sequence[Row], phase: Phase) -> dict[tuple[str, str], Row]:
    """The rows in one phase, by arm and question."""
    return {(row.arm, row.example_id): row for row in rows if row.phase == phase}
