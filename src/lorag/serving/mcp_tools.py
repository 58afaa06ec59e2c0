"""The index as tools of the Model Context Protocol: an assistant elsewhere searches it, or lets this one answer.

Needs the extra ``mcp``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Annotated, cast

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field
from typing_extensions import TypedDict  # pydantic takes that of typing from Python 3.12 on

from lorag.chat.bot import ChatBot
from lorag.errors import LoragError
from lorag.interfaces import Retriever
from lorag.types import Hit

_MOST_PASSAGES = 50
_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)


class Source(TypedDict):
    """A passage as ``Hit.cited`` gives it."""

    document_id: str
    place: str
    start: int
    end: int
    heading: str
    text: str
    score: float
    via: str


class Found(TypedDict):
    """What the tool ``search`` gives: passages, best first."""

    passages: list[Source]


class Answered(TypedDict):
    """What the tool ``ask`` gives; ``[1]`` in the answer is the first of the sources."""

    answer: str
    refused: bool
    sources: list[Source]


def mcp_server(retriever: Retriever, bot: ChatBot | None = None) -> MCPServer:
    """The server of the tools ``search`` and, over a ``bot``, ``ask``.

    What the caller can mend comes back as the tool's error; calls take turns, as tokenizers are not made for threads.
    """
    server = MCPServer("lorag", version=version("lorag"), log_level="WARNING")
    turn = threading.Lock()

    def search(
        query: Annotated[str, Field(description="What to look for, as a question or in keywords.", pattern=r"\S")],
        k: Annotated[int, Field(description="The maximum number of passages to return.", ge=1, le=_MOST_PASSAGES)] = 5,
    ) -> Found:
        with turn, _mendable():
            (hits,) = retriever.retrieve([query], k)
        return {"passages": _sources(hits)}

    server.add_tool(search, description="Find the passages of the indexed documents that fit best.", annotations=_READS)
    if bot is None:
        return server

    def ask(question: Annotated[str, Field(description="One whole question.", pattern=r"\S")]) -> Answered:
        with turn, _mendable():
            answer = bot.ask(question)
        return {"answer": answer.text, "refused": answer.refused, "sources": _sources(answer.sources)}

    server.add_tool(ask, description="Answer a question from the indexed documents, with sources.", annotations=_READS)
    return server


def run_stdio(server: MCPServer) -> None:
    """Serves the program that started this one, over its streams, until it closes them."""
    with suppress(KeyboardInterrupt):
        server.run("stdio")


def _sources(hits: Sequence[Hit]) -> list[Source]:
    return [cast("Source", hit.cited()) for hit in hits]


@contextmanager
def _mendable() -> Iterator[None]:
    """Passes on what Lorag says of its errors; of any other the caller learns only that the tool failed."""
    try:
        yield
    except LoragError as error:
        raise ToolError(str(error)) from error
