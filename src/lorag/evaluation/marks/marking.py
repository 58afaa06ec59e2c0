"""Marks that people give to answers: which answers they are shown, and the file that keeps what they said.

The answers are those of random questions in the phase that decides, of every arm that is compared: so the arms are
marked on the same questions, and each question had the same chance. Who answered is not shown, and answers of several
arms that are equal are shown once. The order depends on the seed alone: reviewers see the same answers in the same
order, and what is marked already is left out when one resumes.

``marks/NAME.jsonl`` in the run folder holds one JSON object per line; the last one for an answer counts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from lorag.errors import DataError, InputError
from lorag.evaluation.results import EVIDENCE, Comparison, compared
from lorag.evaluation.row_log import Phase, Row, RowKey
from lorag.files import LineLog, draw, read_jsonl
from lorag.types import Answer, Example, Hit

Mark = Literal["right", "wrong", "partly", "unsupported"]
"""``partly``: some of what was asked; ``unsupported``: right, beside something that the documents do not say."""
ANSWERS = 30
"""Answers shown unless another number is asked for: with four arms some eight questions, enough to judge the metric.

A verdict by marks needs those of 20 questions: up to 80.
"""
_NAME = re.compile(r"\w[\w.@ -]{0,79}")


@dataclass(frozen=True, slots=True)
class BlindAnswer:
    """An answer as a reviewer sees it. ``rows`` are those that gave it: not to be shown."""

    example: Example
    """With the references that hold in the phase it was asked in."""
    answer: Answer
    passages: tuple[Hit, ...]
    """What the evidence documents say, as far as the run holds it."""
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Marked:
    """A line of a file of marks; ``at`` is the time in UTC (ISO 8601)."""

    question_id: str
    arm: str
    phase: Phase
    mark: Mark
    answer_sha: str
    at: str

    @property
    def key(self) -> RowKey:
        """``Row.key`` of the marked answer."""
        return self.phase, self.arm, self.question_id


@dataclass(frozen=True, slots=True)
class Reviewer:
    """What one reviewer said of each row, by its key. ``refused`` names the lines that do not count, and why."""

    name: str
    marks: Mapping[RowKey, Marked]
    refused: tuple[str, ...]


def right_marks(metric: str) -> frozenset[Mark]:
    """The marks of answers that are right in the sense of ``metric``."""
    return frozenset({"right"} if metric == "right_and_supported" else {"right", "unsupported"})


def answers_to_mark(comparison: Comparison, count: int = ANSWERS, seed: int = 0) -> list[BlindAnswer]:
    """At least ``count`` answers, if there are as many, in random order: every arm's answers to random questions.

    A larger ``count`` shows the answers of a smaller one and more. Failed answers are left out: they count as wrong.
    Raises ``InputError`` for a count below 1.
    """
    if count < 1:
        raise InputError(f"cannot show {count!r} answers, expected at least 1")
    shown: list[BlindAnswer] = []
    for answers in _by_question(comparison, seed):
        if len(shown) >= count:
            break
        shown += answers
    return sorted(shown, key=lambda each: draw(f"answer {seed} {each.example.id} {each.answer.text}"))


def answers_of(comparison: Comparison, questions: int) -> list[BlindAnswer]:
    """The answers that reviewers are shown first, to as many questions."""
    return [each for answers in _by_question(comparison, 0)[:questions] for each in answers]


def _by_question(comparison: Comparison, seed: int) -> list[list[BlindAnswer]]:
    """Every arm's answers in the phase that decides, by question, in random order; none where all failed."""
    phase = comparison.phases[-1]
    given: dict[str, dict[str, list[Row]]] = {}
    passages = {
        row.example_id: row.answer.sources for row in comparison.rows if (row.phase, row.arm) == (phase, EVIDENCE)
    }
    shown_arms = compared(comparison.at(phase))
    for row in comparison.rows:
        if row.phase == phase and row.arm in shown_arms and row.answer.error is None:
            given.setdefault(row.example_id, {}).setdefault(row.answer.text, []).append(row)
    found = []
    for example in sorted(comparison.examples, key=lambda example: draw(f"question {seed} {example.id}")):
        current = example.after_update() if phase == "after" else example
        held = passages.get(example.id, ())
        alike = given.get(example.id, {}).values()
        found.append([BlindAnswer(current, rows[0].answer, held, tuple(rows)) for rows in alike])
    return [answers for answers in found if answers]


def answer_sha(text: str) -> str:
    """The first 16 hex digits of the SHA-256 of an answer: a mark holds for this text alone."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def marks_path(run: Path, name: str) -> Path:
    """Where the marks of a reviewer lie. Raises ``InputError`` for a name that no file can have."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot name a file of marks; expected letters, digits, spaces or any of . @ _ -")
    return run / "marks" / f"{name}.jsonl"


def add_mark(log: LineLog, shown: BlindAnswer, mark: Mark) -> None:
    """Keeps the mark for every arm that gave the answer, over an earlier one; it is then on the disk.

    Raises ``InputError`` for an unknown mark.
    """
    _require_mark(mark)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    sha = answer_sha(shown.answer.text)
    log.append([asdict(Marked(row.example_id, row.arm, row.phase, mark, sha, at)) for row in shown.rows])


def _require_mark(mark: str) -> None:
    if mark not in get_args(Mark):
        raise InputError(f"unknown mark {mark!r}, expected one of {', '.join(get_args(Mark))}")


def read_reviewers(run: Path, comparison: Comparison) -> list[Reviewer]:
    """Everyone who marked answers of the run, by name. Raises ``DataError`` for a file that holds no marks."""
    return [read_marks(path, comparison) for path in sorted((run / "marks").glob("*.jsonl"))]


def read_marks(path: Path, comparison: Comparison) -> Reviewer:
    """The marks in a file that belong to answers of this run; of several for an answer, the last. None without a file.

    A mark of an answer that the run does not hold, or that has changed since, is refused and named. Raises
    ``DataError`` with the line for anything that is not a mark.
    """
    answers = {row.key: answer_sha(row.answer.text) for row in comparison.rows}
    marks: dict[RowKey, Marked] = {}
    refused = []
    for number, line in read_jsonl(path) if path.is_file() else ():
        marked = _read(path, number, line)
        where = f"{path.name}:{number}: {marked.arm}, question {marked.question_id!r}"
        if marked.key not in answers:
            refused.append(f"{where}: the run has no such answer")
        elif marked.answer_sha != answers[marked.key]:
            refused.append(f"{where}: the answer has changed since it was marked")
        else:
            marks[marked.key] = marked
    return Reviewer(path.stem, marks, tuple(refused))


def _read(path: Path, number: int, line: Mapping[str, Any]) -> Marked:
    try:
        marked = Marked(**{field.name: line[field.name] for field in fields(Marked)})
        _require_mark(marked.mark)
    except KeyError as error:
        raise DataError(path, f"is not a mark of an answer: it lacks {error}", number) from error
    except (InputError, TypeError) as error:
        raise DataError(path, str(error), number) from error
    return marked
