"""Asks an arm its questions, slice by slice, each slice on the disk before the next one is asked."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.errors import DataError, InputError
from lorag.evaluation.row_log import Moment, Row
from lorag.files import LineLog
from lorag.interfaces import Progress, Responder, no_progress
from lorag.types import Example


def ask(
    arm: str,
    responder: Responder,
    examples: Sequence[Example],
    moment: Moment,
    log: LineLog,
    slice_size: int,
    progress: Progress = no_progress,
) -> list[Row]:
    """One row for each example, in order, recorded in ``log`` or asked now.

    Slices are fixed by position, so that a resumed run asks in the same batches as an uninterrupted one: a slice
    whose rows are all recorded is not asked; one with a row missing is asked whole, and only the missing rows are
    added. A recorded row is never replaced, one with an error neither.

    What the responder raises is passed on; a question that failed alone belongs in ``Answer.error``. Raises
    ``InputError`` when the responder returns more or fewer answers than questions, ``DataError`` for a damaged log.
    """
    if slice_size < 1:
        raise InputError(f"slice_size {slice_size!r} is below 1")
    recorded = recorded_rows(log)
    rows: list[Row] = []
    for start in range(0, len(examples), slice_size):
        part = examples[start : start + slice_size]
        if any((moment, arm, example.id) not in recorded for example in part):
            missing = [row for row in _asked(arm, responder, part, moment) if row.key not in recorded]
            log.append([row.to_json() for row in missing])
            recorded.update({row.key: row for row in missing})
        rows += [recorded[moment, arm, example.id] for example in part]
        progress(f"asking {arm} ({moment})", len(rows), len(examples))
    return rows


def _asked(arm: str, responder: Responder, part: Sequence[Example], moment: Moment) -> list[Row]:
    answers = responder.answer([example.question for example in part])
    if len(answers) != len(part):
        raise InputError(
            f"the responder of arm {arm!r} returned {len(answers)} answers to {len(part)} questions; "
            "it must return one for each, in order"
        )
    return [Row(moment, arm, example.id, answer) for example, answer in zip(part, answers, strict=True)]


def recorded_rows(log: LineLog) -> dict[tuple[str, str, str], Row]:
    """The rows of ``log`` by ``Row.key``; the first of equal keys. Raises ``DataError`` with the entry's number."""
    rows: dict[tuple[str, str, str], Row] = {}
    for number, value in enumerate(log.rows, start=1):
        try:
            row = Row.from_json(value)
        except InputError as error:
            raise DataError(log.path, str(error), number) from error
        rows.setdefault(row.key, row)
    return rows
