"""The room of questions: the same question to up to four assistants, each streamed as ``lorag serve`` streams."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from lorag.chat.bot import ChatBot
from lorag.errors import DataError
from lorag.serving.http_errors import HttpError
from lorag.serving.keys import THIS_MACHINE
from lorag.serving.routes import Service, ending
from lorag.serving.studio.assistants import COLUMNS, SAMPLING, Assistants
from lorag.serving.studio.workplace import Workplace
from lorag.training.adapter import Adapter, read_adapter


@dataclass(frozen=True, slots=True)
class AskRoom:
    """Questions to ``assistants``, with the adapters that lie in ``place``.

    All columns share the queue, the measures and the lock of ``service``.
    """

    place: Workplace
    assistants: Assistants
    service: Service

    def routes(self) -> APIRouter:
        """Where each of the methods below is reached."""
        room = APIRouter()
        room.add_api_route("/assistants", self.columns, response_model=None)
        room.add_api_route("/ask/{column}", self.ask, methods=["POST"], response_model=None)
        return room

    def columns(self) -> dict[str, Any]:
        """What can be asked."""
        return {
            "columns": COLUMNS,
            "adapters": [{"adapter": name, "base": adapter.base} for name, adapter in self._adapters().items()],
            "model": self.assistants.model,
            "has_index": self.assistants.has_index,
        }

    async def ask(
        self, column: str, request: Request, ending: Annotated[AsyncExitStack, Depends(ending)], adapter: str = ""
    ) -> Response:
        """The answer of one column to a request for a chat completion, in which the column is the model."""
        if column not in COLUMNS:
            raise HttpError(404, f"there is no column {column[:40]!r}; expected one of {', '.join(COLUMNS)}")
        request.state.access = THIS_MACHINE
        return await self.service.completed(request, ending, {column: SAMPLING}, partial(self._bot, adapter))

    def _bot(self, adapter: str, column: str) -> ChatBot:
        """The chatbot of a column for one request: nothing else here keeps a model."""
        found = self._adapters().get(adapter)
        if adapter and found is None:
            raise HttpError(404, f"there is no adapter {adapter[:80]!r} in this folder; reload the page", "adapter")
        path = Path(found.folder).resolve() if found is not None else None
        return self.assistants.bot(column, path)

    def _adapters(self) -> dict[str, Adapter]:
        """The adapters that this version reads, by the names that the page has for them."""
        found = {}
        for path in self.place.adapters():
            with suppress(DataError, OSError):
                found[self.place.named(path)] = read_adapter(path)
        return found
