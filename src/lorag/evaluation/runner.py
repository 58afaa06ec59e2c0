"""Asks an arm its questions, slice by slice, each slice on the disk before the next one is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lorag.errors import InputError
from lorag.evaluation.row_log import Phase, Row, RowLog
from lorag.interfaces import Progress, Responder, Retriever, no_progress
from lorag.types import Example

_FOUND = 3
"""Passages that are looked for to check an answer without sources."""


def ask(
    arm: str,
    responder: Responder,
    examples: Sequence[Example],
    phase: Phase,
    log: RowLog,
    slice_size: int,
    progress: Progress = no_progress,
    search: Retriever | None = None,
    keeps_failed: bool = True,
) -> list[Row]:
    """One row for each example, in order, recorded in ``log`` or asked now.

    Slices are fixed by position, so that a resumed run asks in the same batches as an uninterrupted one: a slice
    whose rows are all recorded is not asked; one with a row missing is asked whole, and only the missing rows are
    added. A recorded row is never replaced, one with an error neither; where failed ones are not kept, they are in
    ``log.rows`` and not on the disk, so that the next process asks them again. Where an answer had no passage in its
    prompt, ``search`` finds some for it.

    What the responder raises is passed on; a question that failed alone belongs in ``Answer.error``. Raises
    ``InputError`` when the responder returns more or fewer answers than questions.
    """
    if slice_size < 1:
        raise InputError(f"slice_size {slice_size!r} is below 1")
    rows: list[Row] = []
    for start in range(0, len(examples), slice_size):
        part = examples[start : start + slice_size]
        if any((phase, arm, example.id) not in log.rows for example in part):
            new = [row for row in _asked(arm, responder, part, phase, search) if row.key not in log.rows]
            log.append([row for row in new if keeps_failed or row.answer.error is None])
            log.hold([row for row in new if row.key not in log.rows])
        rows += [log.rows[phase, arm, example.id] for example in part]
        progress(f"asking {arm} ({phase})", len(rows), len(examples))
    return rows


def _asked(
    arm: str, responder: Responder, part: Sequence[Example], phase: Phase, search: Retriever | None
) -> list[Row]:
    answers = responder.answer([example.question for example in part])
    if len(answers) != len(part):
        raise InputError(
            f"the responder of arm {arm!r} returned {len(answers)} answers to {len(part)} questions; "
            "it must return one for each, in order"
        )
    rows = [Row(phase, arm, example.id, answer) for example, answer in zip(part, answers, strict=True)]
    return rows if search is None else _with_found(rows, part, search)


def _with_found(rows: Sequence[Row], part: Sequence[Example], search: Retriever) -> list[Row]:
    """The rows, those without sources with what a search for their question and answer finds."""
    texts = {
        place: f"{example.question}\n{row.answer.text}"
        for place, (row, example) in enumerate(zip(rows, part, strict=True))
        if row.answer.text.strip() and not row.answer.sources
    }
    found = dict(zip(texts, search.retrieve([*texts.values()], _FOUND), strict=True)) if texts else {}
    return [replace(row, found=tuple(found.get(place, ()))) for place, row in enumerate(rows)]
