"""The assistant of ``ask``, ``chat`` and ``serve``: the same options in each, and the chatbot that they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lorag.chat.bot import ChatBot
    from lorag.interfaces import Progress
    from lorag.retrieval.backends.location import IndexLocation
    from lorag.settings import RetrievalSettings

Model = Annotated[
    str | None,
    typer.Option("--model", help="A catalogue name (`lorag models list`), a model folder, or openai:MODEL@URL."),
]
AdapterFolder = Annotated[Path | None, typer.Option("--adapter", help="Folder of an adapter made by `lorag finetune`.")]
NoSources = Annotated[bool, typer.Option("--no-sources", help="Answer from the model alone, without the index.")]
EngineName = Annotated[
    str, typer.Option("--engine", help="transformers, llama.cpp, or auto: llama.cpp where it answers alike.")
]
Blocked = Annotated[
    Path | None,
    typer.Option("--blocked", help="A file of words, one a line: neither asked for nor said."),
]


def chatbot(
    model: str | None,
    adapter: Path | None,
    engine: str,
    place: IndexLocation | None,
    retrieval: RetrievalSettings,
    where: Sequence[str] | None,
    embedder: str,
    blocked: Path | None,
    progress: Progress,
) -> ChatBot:
    """The chatbot of this workspace, as the options want it."""
    from lorag import build
    from lorag.chat.guards import read_words
    from lorag.retrieval.filters import read_pairs
    from lorag.settings import ChatSettings

    return build.chatbot(
        model,
        adapter,
        place,
        ChatSettings(blocked_words=read_words(blocked) if blocked is not None else ()),
        Workspace().chosen().chunks,
        retrieval,
        engine=engine,  # type: ignore[arg-type]  # an unknown one is refused with the names
        where=read_pairs(where or ()),
        by=embedder,
        progress=progress,
    )
