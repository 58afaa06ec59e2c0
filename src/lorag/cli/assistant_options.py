"""The assistant of ``ask``, ``chat`` and ``serve``: the same options in each, and the chatbot that they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.cli.screen import print_note
from lorag.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lorag.chat.bot import ChatBot
    from lorag.chat.kept_prompt import KeptPrompt
    from lorag.interfaces import Progress
    from lorag.retrieval.backends.location import IndexLocation
    from lorag.settings import RetrievalSettings

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A catalogue name (`lorag models list`), a folder, a .gguf file, OWNER/NAME[@REVISION] of a hub,"
        " openai:MODEL@URL, or ollama:MODEL.",
    ),
]
AdapterFolder = Annotated[Path | None, typer.Option("--adapter", help="Folder of an adapter made by `lorag finetune`.")]
NoSources = Annotated[bool, typer.Option("--no-sources", help="Answer from the model alone, without the index.")]
EngineName = Annotated[
    str, typer.Option("--engine", help="transformers, llama.cpp, or auto: llama.cpp where it answers alike.")
]
Blocked = Annotated[
    Path | None,
    typer.Option("--blocked", help="A file of blocked words, one per line."),
]
PromptFile = Annotated[
    Path | None,
    typer.Option(
        "--prompt",
        help='A JSON file of a prompt: RUN/prompts/retrieval.json of a run, or such as {"question_first": true}.',
    ),
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
    prompt_file: Path | None,
    progress: Progress,
) -> ChatBot:
    """The chatbot of this workspace, as the options want it; a prompt that is not the default is named on stderr."""
    from lorag import build
    from lorag.chat.guards import read_words
    from lorag.chat.kept_prompt import KeptPrompt, read_prompt
    from lorag.retrieval.filters import read_pairs
    from lorag.settings import ChatSettings, PromptSettings

    prompt = None
    if prompt_file is not None:
        prompt = read_prompt(prompt_file)
    elif adapter is None and place is not None:
        prompt = _tuned(model, progress)
    bot = build.chatbot(
        model,
        adapter,
        place,
        ChatSettings(blocked_words=read_words(blocked) if blocked is not None else ()),
        Workspace().chosen().chunks,
        retrieval,
        engine=engine,  # type: ignore[arg-type]  # an unknown one is refused with the names
        where=read_pairs(where or ()),
        by=embedder,
        prompt=prompt,
        progress=progress,
    )
    used = prompt or KeptPrompt(bot.settings.prompt)
    if used.settings != PromptSettings() or used.context_tokens is not None:
        chosen = "chosen by `lorag tune`" if prompt else "the one it was trained under"
        print_note(f"Prompt: {used} ({f'from {prompt_file}' if prompt_file else chosen})")
    return bot


def _tuned(model: str | None, progress: Progress) -> KeptPrompt | None:
    """The prompt that `lorag tune` chose in this workspace for that model, the default where None; None without one."""
    from lorag import build
    from lorag.chat.kept_prompt import read_prompt

    path = Workspace().prompt
    if not path.is_file():
        return None
    prompt = read_prompt(path)
    return prompt if prompt.model == build.model_name(model, progress) else None
