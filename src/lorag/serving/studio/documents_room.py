"""The room of documents: what is in the index, how it was cut, what was refused and why, and what a search finds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from lorag.documents.load import SUFFIXES, load_documents
from lorag.files import files_below
from lorag.serving.http_errors import HttpError
from lorag.serving.routes import read_body
from lorag.serving.studio.assistants import Assistants
from lorag.serving.studio.workplace import Workplace, json_body, require_binary, text_of
from lorag.serving.uploads import Uploads, plain_name
from lorag.settings import ServeSettings

T = TypeVar("T")

MOST_DOCUMENTS = 10_000
_MOST_SHOWN, _MOST_HITS = 2000, 20


@dataclass(frozen=True, slots=True)
class DocumentsRoom:
    """The documents of ``place`` and the index over them, which one request at a time may change."""

    place: Workplace
    assistants: Assistants
    settings: ServeSettings = field(default_factory=ServeSettings)
    refused: dict[str, str] = field(default_factory=dict)
    """Why files of the folder could not be read when it was last read."""
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def routes(self) -> APIRouter:
        """Where each of the methods below is reached."""
        room = APIRouter()
        room.add_api_route("/documents", self.documents, response_model=None)
        room.add_api_route("/documents/read", self.read, methods=["POST"], response_model=None)
        room.add_api_route("/documents/{name:path}", self.put, methods=["PUT"], response_model=None)
        room.add_api_route("/documents/{name:path}", self.delete, methods=["DELETE"], response_model=None)
        room.add_api_route("/passages/{name:path}", self.passages, response_model=None)
        room.add_api_route("/search", self.search, methods=["POST"], response_model=None)
        return room

    def documents(self) -> dict[str, Any]:
        """Every document of the index, and every file of the folder that is not in it, with the reason where known.

        A refused file of which the index holds an older version is among both.
        """
        entries = self.assistants.knowledge().entries() if self.assistants.has_index else []
        read = {entry.source for entry in entries} - self.refused.keys()
        shown = [
            {"id": entry.id, "title": dict(entry.attributes).get("title", ""), "passages": entry.chunks}
            for entry in entries[:_MOST_SHOWN]
        ]
        return {
            "folder": self.place.named(self.place.uploads),
            "documents": shown,
            "total": len(entries),
            "passages": sum(entry.chunks for entry in entries),
            "unread": [
                {"name": name, "reason": self.refused.get(name, "")} for name in self._names() if name not in read
            ],
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
            return into.put(name, content)

        done = await run_in_threadpool(self._alone, store)
        self.refused.pop(name, None)
        return JSONResponse(done, 201 if done["result"] == "added" else 200)

    def delete(self, name: str) -> dict[str, Any]:
        """Removes an uploaded document and its file."""
        return self._alone(lambda: self._uploads().delete(name))

    async def read(self, request: Request) -> dict[str, Any]:
        """Adds what lies in the folder to the index; what is in the index from elsewhere stays."""
        await json_body(request)
        return await run_in_threadpool(self._alone, self._sync)

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

    def _sync(self) -> dict[str, Any]:
        folder = self.place.uploads
        known, names = {entry.source for entry in self.assistants.knowledge().entries()}, {*self._names()}
        if names - known and len(names | known) > MOST_DOCUMENTS:
            raise _too_many(len(names | known))
        loaded = load_documents(folder)
        self._require_room([document.id for document in loaded.documents])
        self.refused.clear()
        for file in loaded.refused:
            self.refused[file.source] = file.reason.removeprefix(f"{folder / file.source}: ")
        report = self.assistants.knowledge().sync(loaded.documents, add_only=True)
        told = [note.replace(f"{folder}/", "") for note in loaded.notes]
        return {"added": report.added, "updated": report.updated, "refused": len(loaded.refused), "notes": told}

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
        """What ``work`` gives. Raises ``HttpError`` while other work changes the documents."""
        if not self._writing.acquire(blocking=False):
            raise HttpError(429, "other documents are being read; try again in a moment", code="busy")
        try:
            return work()
        finally:
            self._writing.release()


def _too_many(count: int) -> HttpError:
    most = f"{MOST_DOCUMENTS} is the most"
    return HttpError(413, f"there would be {count} documents, and {most}; remove some first, or use `lorag index`")
