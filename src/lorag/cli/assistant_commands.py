"""``lorag search``, ``ask`` and ``chat``, and the assistant that these and ``lorag serve`` mean by the same options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorag.cli.index_command import IndexOption, chunks_of_place, place_with_index
from lorag.cli.screen import (
    Json,
    output,
    print_json,
    print_note,
    print_pieces,
    print_source,
    print_sources,
    print_warning,
    progress_bars,
    translated_errors,
)
from lorag.cli.shared_options import EmbedderName, MinCosine, Rerank, RerankerName, Search, Where, retrieval_settings
from lorag.errors import InputError
from lorag.settings import DEFAULT_EMBEDDER
from lorag.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lorag.chat.bot import ChatBot
    from lorag.chat.kept_prompt import KeptPrompt
    from lorag.chat.session import Session
    from lorag.interfaces import Progress
    from lorag.retrieval.backends.location import IndexLocation
    from lorag.settings import ChatSettings, RetrievalSettings
    from lorag.types import Answer

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A catalogue name (`lorag models list`), a folder, a .gguf file, OWNER/NAME[@REVISION] of a hub,"
        " openai:MODEL@URL, or ollama:MODEL.",
    ),
]
AdapterFolder = Annotated[Path | None, typer.Option("--adapter", help="Folder of an adapter made by `lorag finetune`.")]
Offers = Annotated[
    list[str] | None,
    typer.Option(
        "--offer",
        metavar="NAME=FOLDER",
        help="Serve this adapter as NAME beside `base`, and each as NAME+documents too; may be repeated.",
    ),
]
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
ThinkingName = Annotated[
    str,
    typer.Option(
        "--thinking", help="off, hidden or shown: let the model think before it answers, and show its thoughts or not."
    ),
]

_PLAIN_NAME = re.compile(r"\w[\w.-]*")


def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", help="Passages to show.")] = 5,
    sides: Search = None,
    rerank: Rerank = None,
    reranker: RerankerName = None,
    min_cosine: MinCosine = None,
    where: Where = None,
    embedder: EmbedderName = DEFAULT_EMBEDDER,
    store: IndexOption = None,
    json: Json = False,
) -> None:
    """Show the passages that fit a question best."""
    from lorag import build
    from lorag.retrieval.filters import read_pairs

    with translated_errors(), progress_bars() as progress:
        chosen, meant = Workspace().chosen(), read_pairs(where or ())
        retrieval = retrieval_settings(chosen.retrieval, sides, rerank, reranker, min_cosine)
        place = place_with_index(store)
        chunks = chunks_of_place(place)
        hits = build.search(
            query, place, k, where=meant, by=embedder, chunks=chunks, retrieval=retrieval, progress=progress
        )
    if json:
        print_json([hit.cited() for hit in hits])
        return
    if not hits:
        print_warning("no passage fits the question")
    for number, hit in enumerate(hits, start=1):
        print_source(number, hit)
        output.print(hit.chunk.text.strip() + "\n", markup=False)


def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    model: Model = None,
    adapter: AdapterFolder = None,
    no_sources: NoSources = False,
    sides: Search = None,
    rerank: Rerank = None,
    reranker: RerankerName = None,
    min_cosine: MinCosine = None,
    where: Where = None,
    embedder: EmbedderName = DEFAULT_EMBEDDER,
    blocked: Blocked = None,
    prompt: PromptFile = None,
    engine: EngineName = "auto",
    thinking: ThinkingName = "off",
    store: IndexOption = None,
    json: Json = False,
) -> None:
    """Answer one question, from the index unless --no-sources."""
    with translated_errors(), progress_bars() as progress:
        place = None if no_sources else place_with_index(store)
        retrieval = retrieval_settings(Workspace().chosen().retrieval, sides, rerank, reranker, min_cosine)
        bot = chatbot(model, adapter, engine, place, retrieval, where, embedder, blocked, prompt, thinking, progress)
    with translated_errors():
        if json:
            print_json(_answer(bot.ask(question)))
            return
        reply = bot.reply(question)
        print_pieces(reply)
        print_sources(reply.sources)


def chat(
    model: Model = None,
    adapter: AdapterFolder = None,
    no_sources: NoSources = False,
    history: Annotated[Path | None, typer.Option(help="A file that keeps the conversation to continue it.")] = None,
    sides: Search = None,
    rerank: Rerank = None,
    reranker: RerankerName = None,
    min_cosine: MinCosine = None,
    where: Where = None,
    embedder: EmbedderName = DEFAULT_EMBEDDER,
    blocked: Blocked = None,
    prompt: PromptFile = None,
    engine: EngineName = "auto",
    thinking: ThinkingName = "off",
    store: IndexOption = None,
) -> None:
    """Talk with the assistant; an empty line or Ctrl-D ends, /reset forgets, /sources shows the last sources."""
    from lorag.chat.session import Session

    with translated_errors(), progress_bars() as progress:
        place = None if no_sources else place_with_index(store)
        retrieval = retrieval_settings(Workspace().chosen().retrieval, sides, rerank, reranker, min_cosine)
        bot = chatbot(model, adapter, engine, place, retrieval, where, embedder, blocked, prompt, thinking, progress)
        session = Session(bot, history)
    with translated_errors():
        _converse(session)


def _answer(answer: Answer) -> dict[str, Any]:
    from dataclasses import asdict

    fields = {name: value for name, value in asdict(answer).items() if name != "logprobs"}
    return {**fields, "sources": [hit.cited() for hit in answer.sources]}


def _converse(session: Session) -> None:
    """Reads questions from the terminal until an empty line or the end of input."""
    while question := _read():
        sources = session.answer.sources if session.answer is not None else ()
        if question == "/reset":
            session.reset()
        elif question == "/sources":
            for number, hit in enumerate(sources, start=1):
                print_source(number, hit)
                output.print(hit.chunk.text.strip() + "\n", markup=False)
        elif question.startswith("/"):
            output.print("Commands are /reset and /sources; an empty line ends.", markup=False)
        else:
            print_pieces(session.ask(question))
            print_sources(session.answer.sources if session.answer is not None else ())


def _read() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""


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
    thinking: str,
    progress: Progress,
) -> ChatBot:
    """The chatbot of this workspace, as the options want it; a prompt that is not the default is named on stderr."""
    from lorag import build
    from lorag.chat.kept_prompt import KeptPrompt, read_prompt
    from lorag.retrieval.filters import read_pairs
    from lorag.settings import PromptSettings

    prompt = None
    if prompt_file is not None:
        prompt = read_prompt(prompt_file)
    elif adapter is None and place is not None:
        prompt = _tuned(model, progress)
    bot = build.chatbot(
        model,
        adapter,
        place,
        _settings(blocked, thinking),
        chunks_of_place(place),
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


def chatbots(
    model: str | None,
    adapters: Mapping[str, Path],
    engine: str,
    place: IndexLocation | None,
    retrieval: RetrievalSettings,
    where: Sequence[str] | None,
    embedder: str,
    blocked: Path | None,
    prompt_file: Path | None,
    thinking: str,
    progress: Progress,
) -> dict[str, ChatBot]:
    """The base of this workspace and ``adapters``, as ``build.chatbots`` has them."""
    from lorag import build
    from lorag.retrieval.filters import read_pairs

    base = build.base_of(model, adapters.values())
    chunks = chunks_of_place(place)
    return build.chatbots(
        base,
        adapters,
        build.knowledge(place, embedder, chunks, retrieval, progress) if place is not None else None,
        _settings(blocked, thinking),
        retrieval,
        engine=engine,  # type: ignore[arg-type]  # an unknown one is refused with the names
        where=read_pairs(where or ()),
        prompt=given_prompt(prompt_file),
        tuned=_tuned(base, progress) if place is not None else None,
        progress=progress,
    )


def _settings(blocked: Path | None, thinking: str) -> ChatSettings:
    from lorag.chat.guards import read_words
    from lorag.settings import ChatSettings
    from lorag.types import Sampling, ThinkingSampling

    sampling = Sampling() if thinking == "off" else ThinkingSampling(thinking=thinking)  # type: ignore[arg-type]
    return ChatSettings(sampling=sampling, blocked_words=read_words(blocked) if blocked is not None else ())


def given_prompt(path: Path | None) -> KeptPrompt | None:
    """The prompt in a file; None without one."""
    from lorag.chat.kept_prompt import read_prompt

    return read_prompt(path) if path is not None else None


def offered(offers: Sequence[str]) -> dict[str, Path]:
    """The folders of adapters by the names in ``NAME=FOLDER``. Raises ``InputError`` for a name that is none."""
    folders: dict[str, Path] = {}
    for offer in offers:
        name, sign, folder = offer.partition("=")
        if not sign or not folder or not _PLAIN_NAME.fullmatch(name):
            raise InputError(f"{offer!r} offers no adapter; expected NAME=FOLDER, the name of letters, digits and .-_")
        if name in folders or name == "base":
            raise InputError(f"two models would be called {name!r}; give each adapter a name of its own, not 'base'")
        folders[name] = Path(folder)
    return folders


def _tuned(model: str | None, progress: Progress) -> KeptPrompt | None:
    """The prompt that `lorag tune` chose in this workspace for that model, the default where None; None without one."""
    from lorag import build
    from lorag.chat.kept_prompt import read_prompt

    path = Workspace().prompt
    if not path.is_file():
        return None
    prompt = read_prompt(path)
    return prompt if prompt.model == build.model_name(model, progress) else None
