"""The room of training data: the conversations of a file with what is learned marked, and the refused rows."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from lorag.build import is_remote
from lorag.errors import DataError, LoragError
from lorag.files import storage_errors, write_whole
from lorag.serving.http_errors import HttpError
from lorag.serving.routes import read_body
from lorag.serving.studio.workplace import ROWS, Workplace, require_binary
from lorag.serving.uploads import plain_name
from lorag.settings import FinetuneSettings, ServeSettings
from lorag.training.data.conversations import Outcome, read_outcomes
from lorag.training.data.inspection import by_reason, contradicting, placed, repeated
from lorag.workflows.check_data import served_tokens
from lorag.workflows.finetune import estimate_finetune
from lorag.workflows.synthesize import plain_words

_PAGE = 50
_FOLDER = "data"
"""Where files go that are added on the page."""
_ESTIMATE_SECONDS = 600
"""What a model that has to be fetched first may take."""
_estimating = threading.Lock()


@dataclass(frozen=True, slots=True)
class DataRoom:
    """The training data in ``place``, and what training ``model`` on it takes; None for the default model."""

    place: Workplace
    model: str | None = None

    def routes(self) -> APIRouter:
        """Where each of the methods below is reached."""
        room = APIRouter()
        room.add_api_route("/data/files/{name:path}", self.put, methods=["PUT"], response_model=None)
        room.add_api_route("/data/rows", self.rows, response_model=None)
        room.add_api_route("/data/check", self.check, response_model=None)
        room.add_api_route("/data/tokens", self.tokens, response_model=None)
        room.add_api_route("/data/estimate", self.estimate, response_model=None)
        return room

    async def put(self, name: str, request: Request) -> JSONResponse:
        """Stores a file of rows, of questions or conversations. Raises ``HttpError`` where there is one of the name."""
        require_binary(request)
        target = self.place.root / _FOLDER / plain_name(name, ROWS)
        if target.exists():
            raise _exists(name)
        content = await read_body(request, ServeSettings().max_upload_bytes)
        await run_in_threadpool(_store, target, content)
        return JSONResponse({"file": self.place.named(target)}, 201)

    def rows(self, file: str, start: int = 0, refused: bool = False) -> dict[str, Any]:
        """A page of the rows of a file from the row ``start`` on; with ``refused``, of those that are refused."""
        outcomes = _outcomes(self.place.inside(file, "file"))
        meant = [(row, each) for row, each in enumerate(outcomes) if each.conversation is None or not refused]
        first = max(0, start)
        rows = [{"row": row, **_row(each)} for row, each in meant[first : first + _PAGE]]
        return {"total": len(meant), "rows": rows, "page": _PAGE}

    def check(self, file: str) -> dict[str, Any]:
        """What a file holds: rows kept, refused, repeated and contradicting; no model is needed."""
        outcomes = _outcomes(self.place.inside(file, "file"))
        kept = placed(outcomes)
        refused = by_reason((str(o.line), o.reason) for o in outcomes if o.conversation is None)
        return {
            "rows": len(outcomes),
            "kept": len(kept),
            "refused": [asdict(finding) for finding in refused],
            "repeated": asdict(repeated(kept)),
            "contradicting": asdict(contradicting(kept, plain_words)),
        }

    def tokens(self, file: str, row: int) -> dict[str, Any] | None:
        """The row of that number as the model sees it; None where that is the default model, which is not here yet.

        Raises ``HttpError`` for a row without a conversation, and for a remote model.
        """
        if self.model is not None and is_remote(self.model):
            raise HttpError(409, f"the tokens of {self.model} are not known here; start with a model on this machine")
        outcomes = _outcomes(self.place.inside(file, "file"))
        kept = placed(outcomes[row : row + 1]) if row >= 0 else []
        if not kept:
            raise HttpError(404, f"there is no conversation in row {row} of {file}; reload the page", "row")
        report = served_tokens(self.model, kept, FinetuneSettings().max_tokens)
        return None if report is None else asdict(report)

    def estimate(self, file: str) -> dict[str, str]:
        """What ``lorag finetune --dry-run`` prints for a file, estimated in a process of its own.

        Raises ``HttpError`` with the reason where nothing can be estimated, and while another file is.
        """
        path = self.place.inside(file, "file")
        if not _estimating.acquire(blocking=False):
            raise HttpError(429, "another training is being estimated; try again in a minute", code="busy")
        settings, alone = FinetuneSettings(), multiprocessing.get_context("spawn")
        try:
            with ProcessPoolExecutor(1, alone, _begin, (_ESTIMATE_SECONDS,)) as pool:
                found = pool.submit(estimate_finetune, path, model=self.model, settings=settings).result()
        except LoragError as error:
            raise HttpError(422, _said(error)) from error
        except BrokenProcessPool as error:
            reason = f"the estimate took over {_ESTIMATE_SECONDS} seconds or too much memory; use `lorag finetune`"
            raise HttpError(504, reason) from error
        finally:
            _estimating.release()
        return {"takes": f"{settings}: {found}."}


def _begin(most_seconds: int) -> None:
    """Ends this process after that time; what libraries log and warn of is not for the terminal of the server."""
    signal.alarm(most_seconds)
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())


def _said(error: LoragError) -> str:
    """The message, in which a data file has its name alone."""
    return str(DataError(error.path.name, error.message, error.line)) if isinstance(error, DataError) else str(error)


def _exists(name: str) -> HttpError:
    return HttpError(409, f"the file {name!r} exists in {_FOLDER}/; rename one of them", "name")


def _store(target: Path, content: bytes) -> None:
    """Writes a file that is not there yet: whoever makes it, empty, may fill it. Raises ``HttpError`` for another."""
    with storage_errors(target):
        target.parent.mkdir(exist_ok=True)
        try:
            target.open("xb").close()
        except FileExistsError as error:
            raise _exists(target.name) from error
    try:
        write_whole(target, content)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _outcomes(path: Path) -> list[Outcome]:
    try:
        return read_outcomes(path)
    except DataError as error:
        raise HttpError(422, _said(error)) from error


def _row(outcome: Outcome) -> dict[str, Any]:
    said = outcome.conversation
    return {
        "line": outcome.line,
        "reason": outcome.reason,
        "evidence": [] if said is None else said.evidence,
        "messages": [
            {
                "role": message.role,
                "content": message.content,
                "learned": message.learned and message.role in ("assistant", "text"),
            }
            for message in ([] if said is None else said.messages)
        ],
    }
