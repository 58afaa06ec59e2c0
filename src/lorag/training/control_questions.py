"""Multiple-choice questions asked before and after a training, read from a JSONL file and checked.

A row holds ``question``, ``choices`` and which of them is right: its text as the one entry of ``answers``, its number
from 0 as ``label``, or both, which must then agree. Other keys are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorag.errors import DataError
from lorag.files import read_jsonl

_EXPECTED = (
    'expected "question", two or more different "choices", and the right one as "answers": ["its text"] or as its'
    ' number from 0, "label"'
)


@dataclass(frozen=True, slots=True)
class MultipleChoice:
    """A question and what may be its answer."""

    question: str
    choices: tuple[str, ...]
    right: int
    """Number of the right choice, from 0."""


def read_control(path: Path) -> list[MultipleChoice]:
    """The questions of a JSONL file, in its order.

    Raises ``DataError`` with the line number for a row without a question, choices or one right choice among them, or
    whose ``answers`` and ``label`` contradict each other; and for a file without rows.
    """
    questions = [_question(path, line, row) for line, row in read_jsonl(path)]
    if not questions:
        raise DataError(path, f"holds no questions; {_EXPECTED} in every row")
    return questions


def _question(path: Path, line: int, row: Mapping[str, Any]) -> MultipleChoice:
    question: Any = row.get("question")
    choices: Any = row.get("choices")
    if not _is_text(question):
        raise DataError(path, f"'question' is {question!r}; {_EXPECTED}", line)
    if not isinstance(choices, list) or len(choices) < 2 or not all(map(_is_text, choices)):
        raise DataError(path, f"'choices' is {choices!r}; {_EXPECTED}", line)
    if len(set(choices)) < len(choices):
        raise DataError(path, f"'choices' holds a text twice, {choices!r}; {_EXPECTED}", line)
    return MultipleChoice(question, tuple(choices), _right(path, line, row, choices))


def _right(path: Path, line: int, row: Mapping[str, Any], choices: list[str]) -> int:
    answers: Any = row.get("answers")
    label: Any = row.get("label")
    if answers is not None and not (isinstance(answers, list) and len(answers) == 1 and answers[0] in choices):
        raise DataError(path, f"'answers' is {answers!r}, not one of the choices {choices!r}; {_EXPECTED}", line)
    right: int | None = choices.index(answers[0]) if answers else label
    if right is None:
        raise DataError(path, f"marks no choice as right; {_EXPECTED}", line)
    if label is not None and (type(label) is not int or label not in range(len(choices))):
        raise DataError(path, f"'label' is {label!r}, not a number from 0 to {len(choices) - 1}; {_EXPECTED}", line)
    if label not in (None, right):
        raise DataError(path, f"'label' {label} is {choices[label]!r}, but 'answers' says {choices[right]!r}", line)
    return right


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
