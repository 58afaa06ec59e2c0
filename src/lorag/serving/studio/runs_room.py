"""The room of the comparisons: all of them with their verdicts, one with its answers, and the start of a new one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from lorag.errors import DataError, InputError
from lorag.evaluation.examples import read_examples
from lorag.evaluation.marks.review import with_marks
from lorag.evaluation.report.html_page import report_policy
from lorag.evaluation.report.json_record import read_result
from lorag.evaluation.results import Comparison
from lorag.evaluation.row_log import Row
from lorag.serving.http_errors import HttpError
from lorag.serving.studio.jobs import Jobs, job_of, last_lines, progress_of, state_of
from lorag.serving.studio.workplace import Workplace, json_body, text_of
from lorag.workspace import Run

_NAME = re.compile(r"\w[\w .-]{0,60}")
_PATHS = ("documents", "questions", "train", "update", "train-update", "style", "control")
_NUMBERS = ("limit", "budget", "seeds", "max-tokens")
_MOST_ROWS = 200
"""Rows sent at once while they come."""


@dataclass(frozen=True, slots=True)
class RunsRoom:
    """The comparisons in ``place``, and the ``jobs`` that make them."""

    place: Workplace
    jobs: Jobs

    def routes(self) -> APIRouter:
        """Where each of the methods below is reached."""
        room = APIRouter()
        for path, answer in (
            ("/files", self.files),
            ("/runs", self.runs),
            ("/run", self.run),
            ("/run/rows", self.rows),
            ("/run/answers", self.answers),
            ("/run/report", self.report),
        ):
            room.add_api_route(path, answer, response_model=None)
        for path, act, status in (
            ("/runs", self.start, 201),
            ("/run/stop", self.stop, 200),
            ("/run/resume", self.resume, 200),
        ):
            room.add_api_route(path, act, methods=["POST"], status_code=status, response_model=None)
        return room

    def files(self) -> dict[str, Any]:
        """What can be compared."""
        return asdict(self.place.files())

    def runs(self) -> list[dict[str, Any]]:
        """All comparisons, the latest first."""
        return sorted((_summary(self.place, run) for run in self.place.runs()), key=lambda run: -run["changed"])

    def run(self, run: str) -> dict[str, Any]:
        """One comparison: what it found, or how far it is."""
        found = self.place.run(run)
        job = job_of(found)
        watched = {"stages": progress_of(found), "lines": last_lines(found)}
        return {**_summary(self.place, found), **watched, "can_resume": job is not None}

    def rows(self, run: str, after: int = 0) -> dict[str, Any]:
        """The answers that were recorded from the byte ``after`` on, and the byte to ask from next.

        Raises ``HttpError`` for a byte at which no answer begins.
        """
        found = self.place.run(run)
        lines, end = _recorded(found.rows, after)
        asked = _questions(self.place, found) if lines else {}
        return {"rows": [_reply(Row.from_json(json.loads(line)), asked) for line in lines], "next": end}

    def answers(self, run: str) -> list[dict[str, Any]]:
        """The questions of a finished comparison, each with the answers of all arms and whether they are right."""
        found = self.place.run(run)
        if not found.result.is_file():
            raise HttpError(409, "this comparison is not finished")
        return _answers(read_result(found.result))

    def report(self, run: str) -> FileResponse:
        """The page of a finished comparison."""
        path = self.place.run(run).report
        if not path.is_file():
            raise HttpError(404, "this comparison has no report yet")
        policy = f"{report_policy()}; frame-ancestors 'none'"
        return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": policy})

    async def start(self, request: Request) -> dict[str, Any]:
        """Starts a comparison."""
        return await run_in_threadpool(self._begin, await json_body(request))

    async def stop(self, request: Request) -> dict[str, Any]:
        """Stops a comparison; what it finished is kept."""
        found = self.place.run(text_of(await json_body(request), "run"))
        await run_in_threadpool(self.jobs.stop, found)
        return {"state": state_of(found)}

    async def resume(self, request: Request) -> dict[str, Any]:
        """Resumes a comparison that was stopped or failed."""
        found = self.place.run(text_of(await json_body(request), "run"))
        job = job_of(found)
        if job is None:
            raise HttpError(409, "this run was started in a terminal; resume it there with the same command")
        await run_in_threadpool(self._start, found, job.arguments)
        return {"state": state_of(found)}

    def _begin(self, given: Mapping[str, Any]) -> dict[str, Any]:
        new = Run(self.place.workspace.runs / _name(given))
        if new.folder.exists():
            raise HttpError(409, f"the run {new.folder.name!r} exists; give another name", "name")
        self._start(new, _arguments(self.place, given))
        return {"run": self.place.named(new.folder)}

    def _start(self, run: Run, arguments: Sequence[str]) -> None:
        """Begins or resumes a run, where it lies now."""
        rest = [argument for argument in arguments if not argument.startswith("--out=")]
        self.jobs.start(run, [*rest, f"--out={run.folder}"], self.place.runs())


def _name(given: Mapping[str, Any]) -> str:
    name = text_of(given, "name") or datetime.now(UTC).strftime("%Y-%m-%d %H.%M.%S")
    if not _NAME.fullmatch(name) or ".." in name or name.endswith((".", " ")):
        raise HttpError(400, f"{name[:80]!r} cannot name a run; expected up to 61 letters, digits, spaces, . and -")
    return name


def _arguments(place: Workplace, given: Mapping[str, Any]) -> list[str]:
    """The arguments of ``lorag`` for what the form says. Raises ``HttpError`` for what is missing or no number."""
    model = text_of(given, "model")
    chosen = [f"--model={model}"] if model else []
    if given.get("demo") is True:
        return ["demo", *chosen]
    for name in ("documents", "questions"):
        if not text_of(given, name):
            raise HttpError(400, f"a comparison needs {name}; choose them", name)
    for name in _PATHS:
        if path := text_of(given, name):
            place.inside(path, name)
            chosen.append(f"--{name}={path}")
    for name in _NUMBERS:
        if number := text_of(given, name):
            if not re.fullmatch(r"\d{1,7}(\.\d{1,3})?", number):
                raise HttpError(400, f"{name} {number!r} is not a number", name)
            chosen.append(f"--{name}={number}")
    return ["compare", *chosen]


def _summary(place: Workplace, run: Run) -> dict[str, Any]:
    """What a list shows of a run; ``changed`` is in seconds of the epoch."""
    state = state_of(run)
    kept = [path for path in (run.result, run.rows, run.folder) if path.exists()]
    summary = {
        "run": place.named(run.folder),
        "name": run.folder.name,
        "state": state,
        "changed": kept[0].stat().st_mtime,
        "has_report": run.report.is_file(),
    }
    if state != "finished":
        return summary
    try:
        read = (run.result, *(run.folder / "marks").glob("*.jsonl"))
        return summary | _found(run, tuple(sorted((path.name, path.stat().st_mtime_ns) for path in read)))
    except (InputError, OSError) as error:
        return summary | {"state": "failed", "reason": str(error)}


@lru_cache(64)
def _found(run: Run, changed: tuple[tuple[str, int], ...]) -> dict[str, Any]:
    """The verdict and the arms of a result with its marks, read once for each time that a file ``changed``."""
    result = read_result(run.result)
    unread = []
    try:
        result = with_marks(result, run.folder)
    except DataError as error:
        unread = [f"Marks: not counted, because {error}"]
    arms = [{"arm": arm.arm, "phase": arm.phase, "correct": asdict(arm.accuracy)} for arm in result.arms]
    verdict = {"choice": result.verdict.choice, "sentence": result.verdict.sentence}
    reasons = [*unread, *map(str, result.verdict.reasons)]
    return {"verdict": {**verdict, "reasons": reasons}, "arms": arms, "questions": len(result.examples)}


def _recorded(path: Path, after: int) -> tuple[list[bytes], int]:
    """Whole lines of a file that is being written, from a byte on, and where they end."""
    if not path.is_file():
        return [], 0
    start = min(max(0, after), path.stat().st_size)
    with path.open("rb") as file:
        file.seek(max(0, start - 1))
        if start and file.read(1) != b"\n":
            raise HttpError(400, f"no row begins at byte {start}; reload the page", "after")
        lines: list[bytes] = []
        for line in file:
            if not line.endswith(b"\n") or len(lines) == _MOST_ROWS:
                break
            lines.append(line)
    return lines, start + sum(map(len, lines))


def _questions(place: Workplace, run: Run) -> dict[str, str]:
    """The questions of a run by their ids, as far as they are known while it runs."""
    job = job_of(run)
    path = job.option("questions") if job is not None else None
    try:
        return {example.id: example.question for example in read_examples(place.root / path)} if path else {}
    except InputError:
        return {}


def _reply(row: Row, asked: Mapping[str, str]) -> dict[str, Any]:
    return {
        "arm": row.arm,
        "phase": row.phase,
        "question": asked.get(row.example_id, row.example_id),
        "text": row.answer.text,
        "error": row.answer.error,
    }


def _answers(result: Comparison) -> list[dict[str, Any]]:
    replies: dict[str, list[dict[str, Any]]] = {}
    for row, scores in zip(result.rows, result.scores, strict=True):
        found = _reply(row, {}) | {"correct": bool(scores["correct"])}
        replies.setdefault(row.example_id, []).append(found)
    return [
        {
            "id": example.id,
            "question": example.question,
            "before": example.answers,
            "after": example.after_update().answers,
            "replies": replies.get(example.id, []),
        }
        for example in result.examples
    ]
