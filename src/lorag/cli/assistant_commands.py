"""``lorag search``, ``ask`` and ``chat``, and the options of an assistant that ``lorag serve`` and ``mcp`` take too."""

from __future__ import annotations

import re
from dataclasses import dataclass
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
    print_sources,
    print_warning,
    progress_bars,
    translated_errors,
)
from lorag.cli.shared_options import (
    EmbedderName,
    MinCosine,
    Rerank,
    RerankerName,
    Search,
    Where,
    described,
    retrieval_settings,
    sampling_of,
    takes_options,
)
from lorag.errors import InputError
from lorag.settings import DEFAULT_EMBEDDER, RetrievalSettings
from lorag.types import ThinkingSampling
from lorag.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lorag import types
    from lorag.chat.bot import ChatBot
    from lorag.chat.kept_prompt import KeptPrompt
    from lorag.chat.session import Session
    from lorag.interfaces import Progress
    from lorag.retrieval.backends.location import IndexLocation
    from lorag.retrieval.knowledge import Knowledge
    from lorag.settings import ChatSettings
    from lorag.types import Answer

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A catalogue name (`lorag models list`), a folder, a .gguf file, OWNER/NAME or"
        " OWNER/NAME@REVISION of a hub, openai:MODEL@URL, or ollama:MODEL.",
    ),
]
AdapterFolder = Annotated[
    Path | None, typer.Option("--adapter", help="The folder of an adapter, by `lorag finetune` or PEFT.")
]
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
    str, typer.Option("--engine", help="transformers, llama.cpp, or auto: llama.cpp where its answers match.")
]
Blocked = Annotated[Path | None, typer.Option("--blocked", help="A file of blocked words, one per line.")]
PromptFile = Annotated[
    Path | None,
    typer.Option(
        "--prompt",
        help='A JSON prompt file: prompts/retrieval.json of a run, or your own, such as {"question_first": true}.',
    ),
]
ThinkingName = Annotated[str, typer.Option("--thinking", help=described(ThinkingSampling, "thinking"))]

_PLAIN_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """Which passages a command finds, and in which index."""

    sides: Search = None
    rerank: Rerank = None
    reranker: RerankerName = None
    min_cosine: MinCosine = None
    where: Where = None
    embedder: EmbedderName = DEFAULT_EMBEDDER
    store: IndexOption = None

    def place(self) -> IndexLocation:
        """Where the index lies. Raises ``InputError`` with the command that makes one where there is none."""
        return place_with_index(self.store)

    def retrieval(self) -> RetrievalSettings:
        """The settings of this workspace with what the options change."""
        chosen = Workspace().chosen().retrieval
        return retrieval_settings(chosen, self.sides, self.rerank, self.reranker, self.min_cosine)

    def documents(self) -> types.Where:
        """The documents to search, by the values of their fields; all of them without any."""
        from lorag.retrieval.filters import read_pairs

        return read_pairs(self.where or ())

    def knowledge(self, progress: Progress) -> Knowledge:
        """The index."""
        from lorag import build

        place = self.place()
        return build.knowledge(place, self.embedder, chunks_of_place(place), self.retrieval(), progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantOptions:
    """Who answers, and how."""

    model: Model = None
    adapter: AdapterFolder = None
    blocked: Blocked = None
    prompt: PromptFile = None
    engine: EngineName = "auto"
    thinking: ThinkingName = "off"

    def chatbot(self, options: SearchOptions, no_sources: bool, progress: Progress) -> ChatBot:
        """The chatbot of this workspace; a prompt that is not the default is named on stderr."""
        from lorag import build
        from lorag.chat.kept_prompt import KeptPrompt
        from lorag.settings import PromptSettings

        place = None if no_sources else options.place()
        prompt = given_prompt(self.prompt)
        if prompt is None and self.adapter is None and place is not None:
            prompt = _tuned(self.model, progress)
        bot = build.chatbot(
            self.model,
            self.adapter,
            place,
            self._settings(),
            chunks_of_place(place),
            options.retrieval(),
            engine=self.engine,  # type: ignore[arg-type]  # an unknown one is refused with the names
            where=options.documents(),
            by=options.embedder,
            prompt=prompt,
            progress=progress,
        )
        used = prompt or KeptPrompt(bot.settings.prompt)
        if used.settings != PromptSettings() or used.context_tokens is not None:
            chosen = "chosen by `lorag tune`" if prompt else "the one it was trained under"
            print_note(f"Prompt: {used} ({f'from {self.prompt}' if self.prompt else chosen})")
        return bot

    def chatbots(
        self, adapters: Mapping[str, Path], options: SearchOptions, no_sources: bool, progress: Progress
    ) -> dict[str, ChatBot]:
        """The base of this workspace and ``adapters``, as ``build.chatbots`` has them."""
        from lorag import build

        base = build.base_of(self.model, adapters.values())
        return build.chatbots(
            base,
            adapters,
            None if no_sources else options.knowledge(progress),
            self._settings(),
            options.retrieval(),
            engine=self.engine,  # type: ignore[arg-type]  # an unknown one is refused with the names
            where=options.documents(),
            prompt=given_prompt(self.prompt),
            tuned=None if no_sources else _tuned(base, progress),
            progress=progress,
        )

    def _settings(self) -> ChatSettings:
        from lorag.chat.guards import read_words
        from lorag.settings import ChatSettings

        words = read_words(self.blocked) if self.blocked is not None else ()
        return ChatSettings(sampling=sampling_of(self.thinking), blocked_words=words)


def _tuned(model: str | None, progress: Progress) -> KeptPrompt | None:
    """The prompt that `lorag tune` chose in this workspace for that model, the default where None; None without one."""
    from lorag import build

    prompt = given_prompt(path) if (path := Workspace().prompt).is_file() else None
    return prompt if prompt is not None and prompt.model == build.model_name(model, progress) else None


@takes_options
def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    options: SearchOptions,
    k: Annotated[int, typer.Option("-k", help=described(RetrievalSettings, "k"))] = 5,
    json: Json = False,
) -> None:
    """Show the passages that fit a question best."""
    with translated_errors(), progress_bars() as progress:
        where = options.documents()
        (hits,) = options.knowledge(progress).retrieve([query], k, where)
    if json:
        print_json([hit.cited() for hit in hits])
        return
    if not hits:
        print_warning("no passage fits the question")
    print_sources(hits, texts=True)


@takes_options
def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    assistant: AssistantOptions,
    options: SearchOptions,
    no_sources: NoSources = False,
    json: Json = False,
) -> None:
    """Answer one question, from the index unless --no-sources."""
    with translated_errors(), progress_bars() as progress:
        bot = assistant.chatbot(options, no_sources, progress)
    with translated_errors():
        if json:
            print_json(_answer(bot.ask(question)))
            return
        reply = bot.reply(question)
        print_pieces(reply)
        print_sources(reply.sources)


@takes_options
def chat(
    assistant: AssistantOptions,
    options: SearchOptions,
    no_sources: NoSources = False,
    history: Annotated[
        Path | None, typer.Option(help="A file to keep the conversation in, and to continue it from.")
    ] = None,
) -> None:
    """Talk with the assistant; an empty line or Ctrl-D ends, /reset forgets, /sources shows the last sources."""
    from lorag.chat.session import Session

    with translated_errors(), progress_bars() as progress:
        bot = assistant.chatbot(options, no_sources, progress)
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
            print_sources(sources, texts=True)
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
            raise InputError(
                f"--offer {offer!r} is not valid; expected NAME=FOLDER, with letters, digits and .-_ in NAME"
            )
        if name in folders or name == "base":
            raise InputError(f"two models have the name {name!r}; give each adapter its own, other than 'base'")
        folders[name] = Path(folder)
    return folders
