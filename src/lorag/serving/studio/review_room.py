"""The room of the review: answers of a run, blind and in random order, and how far the metric agrees with the marks."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from lorag.evaluation.marks.marking import (
    ANSWERS,
    BlindAnswer,
    Mark,
    add_mark,
    answer_sha,
    answers_to_mark,
    marks_path,
    read_marks,
)
from lorag.evaluation.marks.review import FEWEST_ANSWERS, agreement_rows, review, with_marks
from lorag.evaluation.report.html_page import write_report
from lorag.evaluation.report.json_record import read_result
from lorag.evaluation.results import Comparison
from lorag.files import LineLog
from lorag.serving.http_errors import HttpError
from lorag.serving.studio.workplace import Workplace, json_body, text_of
from lorag.workspace import Run

_HEADINGS = (
    "Agreement of",
    "Answers",
    "AC1 (interval)",
    "Kappa (interval)",
    "Right by the first only",
    "Right by the second only",
)


@dataclass(frozen=True, slots=True)
class ReviewRoom:
    """The marks that people give to the answers of the runs in ``place``."""

    place: Workplace
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def routes(self) -> APIRouter:
        """Where each of the methods below is reached."""
        room = APIRouter()
        room.add_api_route("/review", self.answers, response_model=None)
        room.add_api_route("/review", self.mark, methods=["POST"], response_model=None)
        room.add_api_route("/review/agreement", self.agreement, response_model=None)
        room.add_api_route("/review/report", self.report, methods=["POST"], response_model=None)
        return room

    def answers(self, run: str, reviewer: str, count: int = ANSWERS) -> list[dict[str, Any]]:
        """The answers that a reviewer is shown, each with the mark it has; who gave them is not in it."""
        found = self.place.run(run)
        comparison = _comparison(found)
        kept = read_marks(marks_path(found.folder, reviewer), comparison).marks
        marks: dict[tuple[str, str, str], Mark] = {key: marked.mark for key, marked in kept.items()}
        return [
            {
                "question": each.example.question,
                "references": [" and ".join(answer.split("\n")) for answer in each.example.answers],
                "answer": each.answer.text,
                "sha": answer_sha(each.answer.text),
                "passages": [hit.cited() for hit in each.passages],
                "mark": marks.get(each.rows[0].key),
            }
            for each in answers_to_mark(comparison, count)
        ]

    async def mark(self, request: Request) -> dict[str, str]:
        """Keeps the mark of one answer. Raises ``HttpError`` where the run holds another answer at its place now."""
        given = await json_body(request)
        return await run_in_threadpool(self._mark, given)

    def agreement(self, run: str) -> dict[str, Any]:
        """How the metric agrees with people and people with each other, once somebody has marked enough.

        Less says too little, and would sway whoever marks.
        """
        found = self.place.run(run)
        said = review(_comparison(found), found.folder)
        enough = any(each.kappa.n >= FEWEST_ANSWERS for each in said.metrics)
        return {
            "fewest": FEWEST_ANSWERS,
            "headings": _HEADINGS,
            "rows": agreement_rows([*said.metrics, *said.people]) if enough else [],
            "sentences": said.sentences if enough else [],
            "refused": [f"{each.name}: {line}" for each in said.reviewers for line in each.refused],
        }

    async def report(self, request: Request) -> dict[str, str]:
        """Writes what the marks say into the report of the run."""
        found = self.place.run(text_of(await json_body(request), "run"))
        await run_in_threadpool(lambda: write_report(with_marks(_comparison(found), found.folder), found.report))
        return {"result": "written"}

    def _mark(self, given: Mapping[str, Any]) -> dict[str, str]:
        found = self.place.run(text_of(given, "run"))
        mark, number, count = text_of(given, "mark"), given.get("number"), given.get("count", ANSWERS)
        if mark not in get_args(Mark):
            raise HttpError(400, f"unknown mark {mark[:40]!r}, expected one of {', '.join(get_args(Mark))}", "mark")
        if not isinstance(number, int) or not isinstance(count, int):
            raise HttpError(400, "number and count must be whole numbers; reload the page", "number")
        shown = _at(answers_to_mark(_comparison(found), count), number)
        if answer_sha(shown.answer.text) != given.get("sha"):
            raise HttpError(409, "this answer has changed since it was shown; reload the page", code="changed")
        with self._writing:
            add_mark(LineLog(marks_path(found.folder, text_of(given, "reviewer"))), shown, mark)  # type: ignore[arg-type]
        return {"mark": mark}


def _at(shown: Sequence[BlindAnswer], number: int) -> BlindAnswer:
    if not 0 <= number < len(shown):
        raise HttpError(400, f"there is no answer {number} among {len(shown)}; reload the page", "number")
    return shown[number]


def _comparison(run: Run) -> Comparison:
    if not run.result.is_file():
        raise HttpError(409, "this comparison is not finished, so there is nothing to mark yet")
    return _read(run.result, run.result.stat().st_mtime_ns)


@lru_cache(4)
def _read(path: Path, changed: int) -> Comparison:
    """The result, read once for each time that it ``changed``."""
    return read_result(path)
