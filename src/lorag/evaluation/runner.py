"""Asks an arm its questions, slice by slice, each slice on the disk before the next one is asked."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.errors import InputError
from lorag.evaluation.row_log import Phase, Row, RowLog
from lorag.interfaces import Progress, Responder, no_progress
from lorag.types import Example


def ask(
    arm: str,
    responder: Responder,
    examples: Sequence[Example],
    phase: Phase,
    log: RowLog,
    slice_size: int,
    progress: Progress = no_progress,
) -> list[Row]:
    """One row for each example, in order, recorded in ``log`` or asked now.

    Slices are fixed by position, so that a resumed run asks in the same batches as an uninterrupted one: a slice
    whose rows are all recorded is not asked; one with a row missing is asked whole, and only the missing rows are
    added. A recorded row is never replaced, one with an error neither.

    What the responder raises is passed on; a question that failed alone belongs in ``Answer.error``. Raises
    ``InputError`` when the responder returns more or fewer answers than questions.
    """
    if slice_size < 1:
        raise InputError(f"slice_size {slice_size!r} is below 1")
    rows: list[Row] = []
    for start in range(0, len(examples), slice_size):
        part = examples[start : start + slice_size]
        if any((phase, arm, example.id) not in log.rows for example in part):
            log.append([row for row in _asked(arm, responder, part, phase) if row.key not in log.rows])
        rows += [log.rows[phase, arm, example.id] for example in part]
        progress(f"asking {arm} ({phase})", len(rows), len(examples))
    return rows


def _asked(arm: str, responder: Responder, part: Sequence[Example], phase: Phase) -> list[Row]:
    answers = responder.answer([example.question for example in part])
    if len(answers) != len(part):
        raise InputError(
            f"the responder of arm {arm!r} returned {len(answers)} answers to {len(part)} questions; "
            "it must return one for each, in order"
        )
    return [Row(phase, arm, example.id, answer) for example, answer in zip(part, answers, strict=True)]
