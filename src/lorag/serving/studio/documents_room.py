"""The room of documents: what is in the index, how it was cut, what was refused and why, and what a search finds."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from lorag.documents.load import SUFFIXES
from lorag.files import files_below, write_whole
from lorag.serving.http_errors import HttpError
from lorag.serving.routes import read_body
from lorag.serving.studio.assistants import Assistants
from lorag.serving.studio.jobs import Jobs, last_lines, printed_by, progress_of, state_of
from lorag.serving.studio.workplace import Workplace, json_body, require_binary, text_of
from lorag.serving.uploads import Uploads, plain_name
from lorag.settings import ServeSettings
from lorag.types import Entry

T = TypeVar("T")

MOST_DOCUMENTS = 10_000
_MOST_SHOWN, _MOST_HITS = 2000, 20


@dataclass(frozen=True, slots=True)
class DocumentsRoom:
    """The documents of ``place`` and the index over them, which one request at a time may change."""

    place: Workplace
    assistants: Assistants
    jobs: Jobs
    settings: ServeSettings = field(default_factory=ServeSettings)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def routes(self) -> APIRouter:
        """Where each of the methods below is reached."""
        room = APIRouter()
        room.add_api_route("/documents", self.documents, response_model=None)
        room.add_api_route("/documents/read", self.read, methods=["POST"], status_code=202, response_model=None)
        room.add_api_route("/documents/stop", self.stop, methods=["POST"], response_model=None)
        room.add_api_route("/documents/{name:path}", self.put, methods=["PUT"], response_model=None)
        room.add_api_route("/documents/{name:path}", self.delete, methods=["DELETE"], response_model=None)
        room.add_api_route("/passages/{name:path}", self.passages, response_model=None)
        room.add_api_route("/search", self.search, methods=["POST"], response_model=None)
        return room

    def documents(self) -> dict[str, Any]:
        """Every document of the index, and every file of the folder that is not in it, with its state.

        Of either, the first 2,000 are listed, refused files before others. A refused file of which the index holds an
        older version is among both.
        """
        reading, refused = self._reading(), self._refused()  # before the entries: what has ended is among them
        entries = self._entries()
        known = {entry.source for entry in entries} - refused.keys()
        unread = [name for name in self._names() if name not in known]
        unread.sort(key=lambda name: name not in refused)
        shown = [
            {"id": entry.id, "title": dict(entry.attributes).get("title", ""), "passages": entry.chunks}
            for entry in entries[:_MOST_SHOWN]
        ]
        return {
            "folder": self._folder,
            "documents": shown,
            "total": len(entries),
            "passages": sum(entry.chunks for entry in entries),
            "unread": [
                {"name": name, "reason": refused.get(name, ""), "is_read": name <= reading["latest"]}
                for name in unread[:_MOST_SHOWN]
            ],
            "unread_total": len(unread),
            "reading": reading,
            "limits": {"bytes": self.settings.max_upload_bytes, "documents": MOST_DOCUMENTS, "suffixes": SUFFIXES},
        }

    async def put(self, name: str, request: Request) -> JSONResponse:
        """Stores an uploaded document, and brings the index in step."""
        require_binary(request)
        plain_name(name)
        content = await read_body(request, self.settings.max_upload_bytes)

        def store() -> dict[str, Any]:
            into = self._uploads()
            self._require_room([name])
            done = into.put(name, content)
            self._mended(name)
            return done

        done = await run_in_threadpool(self._alone, store)
        return JSONResponse(done, 201 if done["result"] == "added" else 200)

    def delete(self, name: str) -> dict[str, Any]:
        """Removes an uploaded document and its file."""
        return self._alone(lambda: self._uploads().delete(name))

    async def read(self, request: Request) -> dict[str, Any]:
        """Starts the job that adds the folder to the index; what is in the index from elsewhere stays."""
        await json_body(request)
        return await run_in_threadpool(self._alone, self._begin)

    async def stop(self, request: Request) -> dict[str, Any]:
        """Stops that job; the index is what it was before."""
        await json_body(request)
        await run_in_threadpool(self.jobs.stop, self.place.reading)
        return {"state": state_of(self.place.reading)}

    def passages(self, name: str) -> dict[str, Any]:
        """The passages of a document as they were cut, in its order."""
        found = [chunk for chunk in self.assistants.knowledge().chunks() if chunk.document_id == name]
        if not found:
            raise HttpError(404, f"there is no document {name[:80]!r} in the index; reload the page")
        return {"id": name, "passages": [asdict(chunk) for chunk in found]}

    async def search(self, request: Request) -> list[dict[str, Any]]:
        """The passages that fit a question best, with their scores and the way each was found."""
        query = text_of(await json_body(request), "query")
        if not query:
            raise HttpError(400, "the question is empty; ask something", "query")
        if not self.assistants.has_index:
            raise HttpError(409, "there are no documents to search; add some first")
        (hits,) = await run_in_threadpool(lambda: self.assistants.knowledge().retrieve([query], _MOST_HITS))
        return [hit.cited() for hit in hits]

    @property
    def _folder(self) -> str:
        return self.place.named(self.place.uploads)

    def _entries(self) -> list[Entry]:
        return self.assistants.knowledge().entries() if self.assistants.has_index else []

    def _begin(self) -> dict[str, Any]:
        known, names = {entry.source for entry in self._entries()}, {*self._names()}
        if not names:
            raise HttpError(409, f"there are no documents in {self._folder}/; add some first")
        if names - known and len(names | known) > MOST_DOCUMENTS:
            raise _too_many(len(names | known))
        arguments = ["index", self._folder, "--add-only", "--json", f"--embedder={self.assistants.embedder}"]
        self.jobs.start(self.place.reading, arguments, store=str(self.assistants.place))
        return {"state": state_of(self.place.reading)}

    def _reading(self) -> dict[str, Any]:
        """The job that reads the folder: its state and stages, the file that it read last, and what came of it."""
        run = self.place.reading
        state, stages, done = state_of(run), progress_of(run), printed_by(run) or {}
        read = [stage["note"] for stage in stages if stage["stage"] == "reading"]
        return {
            "state": state,
            "stages": stages,
            "latest": read[-1] if read and state == "running" else "",
            "added": done.get("added", 0),
            "updated": done.get("updated", 0),
            "refused": len(done.get("refused", ())),
            "notes": [note.replace(f"{self._folder}/", "") for note in done.get("notes", ())],
            "reason": "".join(last_lines(run, 1)) if state == "failed" else "",
        }

    def _refused(self) -> dict[str, str]:
        """Why files could not be read when the folder was last read."""
        refused = (printed_by(self.place.reading) or {}).get("refused", ())
        return {file["source"]: file.get("message") or file["reason"] for file in refused}

    def _mended(self, name: str) -> None:
        """Takes an uploaded file from those that could not be read."""
        if name in self._refused():
            printed = printed_by(self.place.reading) or {}
            printed["refused"] = [file for file in printed["refused"] if file["source"] != name]
            write_whole(self.place.reading.folder / "job" / "printed.json", json.dumps(printed))

    def _names(self) -> list[str]:
        """The files of the folder that may hold documents."""
        folder = self.place.uploads
        files = files_below(folder) if folder.is_dir() else []
        return [file.relative_to(folder).as_posix() for file in files if file.suffix.lower() in SUFFIXES]

    def _require_room(self, ids: Collection[str]) -> None:
        """Raises ``HttpError`` where the index takes no more documents, and does not hold all of these yet."""
        known = self.assistants.knowledge().documents()
        count = len({*known, *ids})
        if len(known) < count > MOST_DOCUMENTS:
            raise _too_many(count)

    def _uploads(self) -> Uploads:
        self.place.uploads.mkdir(parents=True, exist_ok=True)
        return Uploads(self.place.uploads, self.assistants.knowledge())

    def _alone(self, work: Callable[[], T]) -> T:
        """What ``work`` gives. Raises ``HttpError`` while other work, or the job, changes the documents."""
        if not self._writing.acquire(blocking=False):
            raise HttpError(429, "other documents are being read; try again in a moment", code="busy")
        try:
            if state_of(self.place.reading) == "running":
                raise HttpError(429, "the folder is being read; wait for its end, or stop it", code="busy")
            return work()
        finally:
            self._writing.release()


def _too_many(count: int) -> HttpError:
    message = f"there would be {count} documents, above the limit of {MOST_DOCUMENTS}"
    return HttpError(413, f"{message}; remove some first, or use `lorag index`")
