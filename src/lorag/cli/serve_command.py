"""``lorag serve``: the assistant over HTTP; ``lorag studio``: a page in a browser; ``lorag mcp``: as tools of MCP."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.cli.assistant_commands import AssistantOptions, EngineName, Model, NoSources, Offers, SearchOptions, offered
from lorag.cli.screen import output, progress_bars, translated_errors
from lorag.cli.shared_options import EmbedderName, described, takes_options
from lorag.errors import InputError, require
from lorag.settings import DEFAULT_EMBEDDER, ServeSettings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from fastapi import FastAPI

    from lorag.chat.bot import ChatBot
    from lorag.retrieval.knowledge import Knowledge
    from lorag.serving.keys import Access
    from lorag.serving.routes import Service
    from lorag.serving.uploads import Uploads


Host = Annotated[str, typer.Option(help="The address to listen on; any other than this machine's own needs a key.")]
Port = Annotated[int, typer.Option(help="The port to listen on.")]
Key = Annotated[
    str | None,
    typer.Option(
        envvar="LORAG_API_KEY", help="The key that clients must send; the environment keeps it out of the command line."
    ),
]
Keys = Annotated[
    Path | None, typer.Option(help="A TOML file of keys and the documents that each may see, instead of one key.")
]
UploadsFolder = Annotated[
    Path | None,
    typer.Option(help="The folder of the index's documents, which clients may then add, replace and delete."),
]
Origins = Annotated[
    list[str] | None,
    typer.Option(help="A site whose pages may send requests, with the key, such as https://app.example."),
]
MaxSeconds = Annotated[float, typer.Option(help=described(ServeSettings, "max_seconds"))]
WithPage = Annotated[bool, typer.Option("--page", help="Also serve the page of `lorag studio`, on this folder.")]

_MAX_SECONDS = ServeSettings().max_seconds


@takes_options
def serve(
    assistant: AssistantOptions,
    options: SearchOptions,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    key: Key = None,
    keys: Keys = None,
    uploads: UploadsFolder = None,
    allow_origin: Origins = None,
    max_seconds: MaxSeconds = _MAX_SECONDS,
    page: WithPage = False,
    offer: Offers = None,
    no_sources: NoSources = False,
) -> None:
    """Serve answers over an OpenAI-compatible HTTP API, from the index unless --no-sources."""
    with translated_errors():
        for package in ("fastapi", "uvicorn"):
            require(package, "serve", "`lorag serve`")
    from lorag.serving.admission import require_origins
    from lorag.serving.routes import Service, application, by_name
    from lorag.serving.server import listen, run

    with translated_errors(), progress_bars() as progress, ExitStack() as on_failure:
        if offer and assistant.adapter is not None:
            raise InputError("--adapter is served alone and --offer beside the base; give one of them")
        opens = _opened_by(keys, key)
        origins, any_key = tuple(allow_origin or ()), key if key is not None else next(iter(opens), None)
        require_origins(origins, any_key)
        if page and (any_key is not None or options.where):
            raise InputError(
                "--page shows every document to this machine alone; leave out --where, --key, --keys and LORAG_API_KEY"
            )
        settings = ServeSettings(max_seconds=max_seconds)
        adapters, searched = offered(offer or ()), (options, no_sources, progress)
        listening = on_failure.enter_context(listen(host, port, any_key))
        bots = assistant.chatbots(adapters, *searched) if offer else by_name(assistant.chatbot(*searched))
        known = _knowledge(bots.values())
        into = _uploads(uploads, known) if uploads is not None else None
        service = Service(bots, key, into, settings, origins, opens, known.embedder if known is not None else None)
        answers = application(service)
        if page:
            loaded = {"base": None, **adapters} if offer else dict.fromkeys(bots, assistant.adapter)
            _add_page(answers, service, loaded, known, assistant, options)
        on_failure.pop_all()
    output.print(_greeting(bots, host, listening.getsockname()[1], page), markup=False)
    with translated_errors():
        run(answers, listening)


def _add_page(
    app: FastAPI,
    service: Service,
    adapters: Mapping[str, Path | None],
    known: Knowledge | None,
    assistant: AssistantOptions,
    options: SearchOptions,
) -> None:
    """Adds the page over the current folder, which answers with the models and the index of ``service``.

    ``adapters`` has the folder of each loaded adapter, None for the base, under the name of a chatbot over it.
    """
    from lorag import build
    from lorag.serving.studio.assistants import Assistants
    from lorag.serving.studio.studio_app import add_page
    from lorag.serving.studio.workplace import Workplace

    place = Workplace.of(Path(), "documents")
    base = build.base_of(assistant.model, filter(None, adapters.values()))
    index_of, store = (lambda: known, options.store) if known is not None else (None, None)
    how = (options.embedder, assistant.engine)
    assistants = Assistants(place.workspace, base, *how, index_of=index_of, store=store)  # type: ignore[arg-type]
    for name, folder in adapters.items():
        assistants.share(service.bots[name].model, folder)
    add_page(app, place, assistants, service)


def _greeting(names: Collection[str], host: str, port: int, page: bool) -> str:
    shown = f"[{host}]" if ":" in host else host
    where = f"http://{shown}:{port}/v1{f', the page at http://{shown}:{port}/' if page else ''}"
    return f"{', '.join(names)} {'answers' if len(names) == 1 else 'answer'} at {where} (Ctrl-C ends)"


def _opened_by(keys: Path | None, key: str | None) -> dict[str, Access]:
    """What each key of the file opens. Raises ``InputError`` where a single ``key`` is given beside it."""
    from lorag.serving.keys import read_keys

    if keys is not None and key is not None:
        raise InputError("--keys and one key (--key, LORAG_API_KEY) are both given; put that key into the file")
    return read_keys(keys) if keys is not None else {}


def studio(
    folder: Annotated[
        Path, typer.Argument(help="The folder to work in: its files can be chosen on the page.")
    ] = Path(),
    port: Port = 8000,
    documents: Annotated[
        str, typer.Option(help="The folder inside it that takes the documents added on the page.")
    ] = "documents",
    model: Model = None,
    embedder: EmbedderName = DEFAULT_EMBEDDER,
    engine: EngineName = "auto",
) -> None:
    """Open a page on this machine: documents, questions, training data, comparisons and their review."""
    with translated_errors():
        for package in ("fastapi", "uvicorn"):
            require(package, "serve", "`lorag studio`")
    from lorag.serving.server import listen, run
    from lorag.serving.studio.assistants import Assistants
    from lorag.serving.studio.studio_app import studio_application
    from lorag.serving.studio.workplace import Workplace

    with translated_errors():
        place = Workplace.of(folder, documents)
        assistants = Assistants(place.workspace, model, embedder, engine)  # type: ignore[arg-type]  # refused later
        listening = listen("127.0.0.1", port, None)
        output.print(f"Open http://127.0.0.1:{listening.getsockname()[1]}/ in a browser (Ctrl-C ends)", markup=False)
        run(studio_application(place, assistants), listening)


@takes_options
def mcp(
    assistant: AssistantOptions,
    options: SearchOptions,
    search_only: Annotated[
        bool,
        typer.Option("--search-only", help="Offer `search` alone and load no model: the client's own model answers."),
    ] = False,
) -> None:
    """Offer the tools `search` and `ask` over the index to the MCP client that starts this command."""
    with translated_errors():
        require("mcp", "mcp", "`lorag mcp`")
    from lorag.serving.mcp_tools import mcp_server, run_stdio

    with translated_errors(), progress_bars() as progress:
        asked = {f"--{name}": getattr(assistant, name) for name in ("model", "adapter", "blocked", "prompt")}
        if search_only and (named := [name for name, value in asked.items() if value is not None]):
            raise InputError(f"--search-only asks no model, but {', '.join(named)} was given; leave one of them out")
        if search_only:
            known = options.knowledge(progress)
            server = mcp_server(known.only(options.documents()) if options.where else known)
        else:
            bot = assistant.chatbot(options, False, progress)
            assert bot.retriever is not None
            server = mcp_server(bot.retriever, bot)
    with translated_errors():
        run_stdio(server)


def _uploads(folder: Path, known: Knowledge | None) -> Uploads:
    from lorag.serving.uploads import Uploads

    if known is None:
        raise InputError("--uploads are for an index, but no index is searched; leave one of the options out")
    return Uploads(folder, known)


def _knowledge(bots: Iterable[ChatBot]) -> Knowledge | None:
    """The index that one of ``bots`` searches; None where none does."""
    from lorag.retrieval.knowledge import Knowledge, Selection

    searched = (bot.retriever.knowledge if isinstance(bot.retriever, Selection) else bot.retriever for bot in bots)
    return next((known for known in searched if isinstance(known, Knowledge)), None)
