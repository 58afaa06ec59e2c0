"""The commands, each a few lines over a public function. ``lorag COMMAND --help`` shows an example that runs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorag.cli import (
    data_commands,
    evaluate_command,
    finetune_command,
    model_commands,
    serve_command,
    tuning_commands,
)
from lorag.cli.assistant_options import AdapterFolder, Blocked, EngineName, Model, NoSources, PromptFile, chatbot
from lorag.cli.index_option import IndexOption, place_of, place_with_index
from lorag.cli.screen import (
    FAILED,
    Json,
    keep_libraries_quiet,
    output,
    print_error,
    print_json,
    print_pieces,
    print_source,
    print_sources,
    print_table,
    print_warning,
    progress_bars,
    translated_errors,
)
from lorag.cli.shared_options import (
    Control,
    EmbedderName,
    Epochs,
    FinetuneMethod,
    LearningRate,
    MinCosine,
    Rerank,
    Search,
    Where,
    retrieval_settings,
    training_settings,
)
from lorag.errors import InputError
from lorag.settings import DEFAULT_EMBEDDER, VerdictOn
from lorag.types import Sampling
from lorag.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lorag.documents.load import Loaded
    from lorag.evaluation.comparison import Comparison
    from lorag.interfaces import Progress
    from lorag.settings import CompareSettings, RecipeSettings
    from lorag.types import Answer

app = typer.Typer(
    help="Gives an LLM your knowledge by finetuning, by retrieval, or by both, and measures which to use.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.add_typer(data_commands.app, name="data")
app.add_typer(data_commands.questions_app, name="questions")
app.add_typer(model_commands.app, name="models")
app.command(epilog="Example: lorag tune --documents docs/ --questions qa.jsonl")(tuning_commands.tune)
app.command(epilog="Example: lorag calibrate --questions qa.jsonl")(tuning_commands.calibrate)
app.command(epilog="Example: lorag finetune chat.jsonl --model smollm2-135m --out adapters/support")(
    finetune_command.finetune
)
app.command(epilog="Example: lorag finetune-embedder docs/ --questions qa.jsonl --out embedders/support")(
    tuning_commands.finetune_embedder
)
app.command(epilog="Example: lorag evaluate adapters/support --tasks tasks/")(evaluate_command.evaluate)
app.command(epilog="Example: lorag review run/")(evaluate_command.review)
app.command(epilog="Example: lorag serve --model qwen2.5-coder-0.5b --port 8000")(serve_command.serve)
app.command(epilog="Example: lorag studio --port 8000")(serve_command.studio)

_LISTED = 20
_MADE = 60
"""Questions made where none are given: a comparison of them ends within 45 minutes on two cores."""
Budget = Annotated[
    float | None, typer.Option(help="Minutes for the finetune: to choose, train and update it (default 20).")
]
Requirements = Annotated[
    list[str] | None,
    typer.Option(
        help="What an arm must keep to be chosen, such as hallucination<=0.1 or latency_p95<=2; may be repeated."
    ),
]
Update = Annotated[Path | None, typer.Option(help="The documents after a change: index refreshed, not weights.")]
VerdictRest = Annotated[
    VerdictOn, typer.Option("--verdict-on", help="Which answers count: right ones, or right and supported ones.")
]
TrainUpdate = Annotated[Path | None, typer.Option(help="Training conversations about what the update changed.")]
Finetuned = Annotated[
    str | None,
    typer.Option(help="A finetune that is served, as its base --model is: openai:MODEL@URL. None is trained."),
]
ComparedAdapter = Annotated[
    Path | None, typer.Option("--adapter", help="An adapter of lorag finetune or PEFT to compare; none is trained.")
]
LongContext = Annotated[
    bool, typer.Option("--long-context", help="Also ask with all documents in the prompt, where they fit.")
]
Concurrency = Annotated[
    int | None, typer.Option(help="Questions on their way to a server at one time (default 8); fewer where it is busy.")
]
MaxCostTokens = Annotated[
    int | None, typer.Option(help="Tokens that servers may be asked for in this run; it stops there, and resumes.")
]
DOCUMENTS = "A folder of documents (text, pdf, office, html, mail, csv, ...), or one file, such as a docs.jsonl"


def run() -> None:
    """Runs the command line; every error becomes one line and an exit code, and other libraries keep still."""
    keep_libraries_quiet()
    try:
        with translated_errors():
            app(standalone_mode=True)
    except typer.Exit as end:  # of an error outside of every command
        sys.exit(end.exit_code)


@app.command(epilog="Example: lorag compare --documents docs/ --questions qa.jsonl --out run/")
def compare(
    documents: Annotated[Path, typer.Option(help=f"{DOCUMENTS}.")],
    questions: Annotated[
        Path | None, typer.Option(help="A qa.jsonl: id, question, answers, doc_ids; without it, questions are made.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Training conversations; else other wordings, else made.")] = None,
    update: Update = None,
    train_update: TrainUpdate = None,
    style: Annotated[Path | None, typer.Option(help="A JSON file of declared style checks.")] = None,
    control: Control = None,
    prompt: PromptFile = None,
    model: Model = None,
    finetuned: Finetuned = None,
    adapter: ComparedAdapter = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; the same command resumes it.")] = None,
    limit: Annotated[int | None, typer.Option(help="Ask a fixed sample of that many questions.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Tokens after which an answer is cut.")] = Sampling().max_tokens,
    method: FinetuneMethod = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    budget: Budget = None,
    seeds: Annotated[int, typer.Option(help="Trainings of the finetune, each with another seed.")] = 1,
    require: Requirements = None,
    against: evaluate_command.Against = None,
    junit: evaluate_command.Junit = None,
    markdown: evaluate_command.MarkdownFile = None,
    long_context: LongContext = False,
    concurrency: Concurrency = None,
    max_cost_tokens: MaxCostTokens = None,
    verdict_on: VerdictRest = "right",
    sides: Search = None,
    rerank: Rerank = None,
    min_cosine: MinCosine = None,
    json: Json = False,
) -> None:
    """Compare base, finetuned, retrieval and both on your documents and questions, and give a verdict."""
    from lorag.chat.kept_prompt import read_prompt
    from lorag.workflows.compare import compare as run_comparison

    with translated_errors(), progress_bars() as progress:
        settings = _comparison(
            limit, seeds, max_tokens, require, verdict_on, long_context, concurrency, max_cost_tokens
        )
        training = training_settings(settings.finetune, method=method, epochs=epochs, learning_rate=learning_rate)
        found = retrieval_settings(settings.retrieval, sides, rerank, min_cosine)
        recipe = _recipe(budget, method, epochs, learning_rate)
        asked = questions or _made_questions(documents, out, json, progress)
        old = evaluate_command.old_run(against, asked, out)
        result = run_comparison(
            documents,
            asked,
            train=train,
            update=update,
            train_update=train_update,
            style=style,
            control=control,
            prompt=read_prompt(prompt) if prompt is not None else None,
            model=model,
            finetuned=finetuned,
            adapter=adapter,
            out=out,
            settings=replace(settings, retrieval=found, finetune=training, recipe=recipe),
            progress=progress,
            show=None if json else _print_first_results,
        )
    _print_comparison(result, json)
    evaluate_command.check_build(result, old, junit, markdown, quiet=json)


def _made_questions(documents: Path, out: Path | None, json: bool, progress: Progress) -> Path:
    """The file of questions made by rules, for who has none: always the same for the same documents."""
    from lorag.workflows.questions.making import make_questions

    target = (out or Workspace().root) / "questions.jsonl"
    made = make_questions(documents, target, count=_MADE, progress=progress)
    if not json:
        data_commands.print_made(made)
    return target


def _comparison(
    limit: int | None,
    seeds: int,
    max_tokens: int,
    require: Sequence[str] | None,
    verdict_on: VerdictOn,
    long_context: bool,
    concurrency: int | None,
    max_cost_tokens: int | None,
) -> CompareSettings:
    """The settings of a comparison in this workspace, but for its search and its training."""
    from lorag.settings import ChatSettings, CompareSettings, VerdictSettings

    chosen, remote = Workspace().chosen(), replace(CompareSettings().remote, max_cost_tokens=max_cost_tokens)
    return CompareSettings(
        limit=limit,
        seeds=seeds,
        long_context=long_context,
        remote=remote if concurrency is None else replace(remote, concurrency=concurrency),
        chunks=chosen.chunks,
        retrieval=chosen.retrieval,
        chat=ChatSettings(sampling=Sampling(max_tokens=max_tokens)),
        verdict=VerdictSettings(require=tuple(require or ()), verdict_on=verdict_on),
    )


def _recipe(budget: float | None, *by_hand: object) -> RecipeSettings | None:
    """The recipe settings for a budget; None where the training is set by hand."""
    from lorag.settings import RecipeSettings

    fixed = any(given is not None for given in by_hand)
    if fixed and budget is not None:
        raise InputError(
            "--budget chooses the training, and --method, --epochs and --learning-rate set it by hand; give one or the"
            " other"
        )
    return None if fixed else RecipeSettings() if budget is None else RecipeSettings(minutes=budget)


@app.command(epilog="Example: lorag demo --out run/")
def demo(
    out: Annotated[Path | None, typer.Option(help="The run's folder; the same command resumes it.")] = None,
    model: Model = None,
    json: Json = False,
) -> None:
    """Run the whole comparison on the bundled documents of an invented company."""
    from lorag.workflows.demo import demo as run_demo

    with translated_errors(), progress_bars() as progress:
        result = run_demo(out, model=model, progress=progress, show=None if json else _print_first_results)
    _print_comparison(result, json)


def _print_tables(result: Comparison, title: str | None = None) -> None:
    from lorag.evaluation.labels import moment_heading
    from lorag.evaluation.report.result_tables import narrow_table, update_table

    for moment in result.moments:
        table = narrow_table(result, moment)
        print_table(table.headings, table.rows, title or moment_heading(result, moment) or None)
    if result.updated:
        followed = update_table(result, narrow=True)
        print_table(followed.headings, followed.rows, "Following the update")


def _print_first_results(result: Comparison) -> None:
    """What needs no training, shown before the training begins."""
    _print_tables(result, "First results: without finetuning")
    output.print("Finetuning comes next. To stop here, press Ctrl+C; to resume, run the same command again.\n")


def _print_comparison(result: Comparison, json: bool) -> None:
    import json as json_library

    from lorag.evaluation.report.json_record import result_json

    if json:
        print_json(json_library.loads(result_json(result)))
        return
    _print_tables(result)
    output.print(f"\nVerdict: {result.verdict.choice}", style="bold")
    output.print(result.verdict.sentence, markup=False)
    for reason in result.verdict.reasons:
        output.print(f"- {reason}", markup=False)
    output.print(f"\nReport: {Path(result.facts['run folder']) / 'report.html'}", markup=False)


@app.command(epilog="Example: lorag export adapters/support --format gguf --out exported/support")
def export(
    adapter: Annotated[Path, typer.Argument(help="Folder of what `lorag finetune` trained.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    form: Annotated[
        str, typer.Option("--format", help="merged (transformers), gguf (llama.cpp) or ollama.")
    ] = "merged",
    precision: Annotated[str, typer.Option(help="f32, f16, bf16, or q8_0 for gguf and ollama.")] = "f16",
    push: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Put it up on the hub as well, with a model card; private.")
    ] = None,
) -> None:
    """Merge what was trained into its base, as a model that other programs run."""
    from lorag.workflows.export import export as run_export

    with translated_errors(), progress_bars() as progress:
        chosen: dict[str, Any] = {"form": form, "precision": precision, "push": push}
        folder = run_export(adapter, out, **chosen, progress=progress)
    output.print(f"Written to {folder}{f', and pushed to {push}' if push is not None else ''}", markup=False)
    if form == "ollama":
        output.print(f"Try it: ollama create {folder.name} -f {folder / 'Modelfile'}", markup=False)


@app.command(epilog="Example: lorag index docs/")
def index(
    documents: Annotated[Path, typer.Argument(help=f"{DOCUMENTS}.")],
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Replace the index with a new one.")] = False,
    allow_removals: Annotated[
        bool, typer.Option("--allow-removals", help="Remove even if most documents are gone from the folder.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Embed every text again, without the cache of vectors.")
    ] = False,
    embedder: EmbedderName = DEFAULT_EMBEDDER,
    store: IndexOption = None,
    json: Json = False,
) -> None:
    """Bring the index in step with a folder of documents: add, update and remove."""
    from dataclasses import asdict

    from lorag.retrieval.backends.location import location_name
    from lorag.settings import CacheSettings
    from lorag.workflows.index import index as run_index

    place = place_of(store)
    with translated_errors(), progress_bars() as progress:
        done = run_index(
            documents,
            place,
            rebuild=rebuild,
            allow_removals=allow_removals,
            embedder=embedder,
            cache=CacheSettings(max_bytes=0) if no_cache else None,
            chunks=Workspace().chosen().chunks,
            progress=progress,
        )
    report, loaded = done.report, done.loaded
    if json:
        refused = [asdict(file) for file in loaded.refused]
        left_out = {"refused": refused, "passed_over": loaded.passed_over, "notes": loaded.notes}
        print_json({**asdict(report), "from_cache": done.from_cache, **left_out})
    else:
        known = f", {done.from_cache} vectors known from earlier runs" if done.from_cache else ""
        output.print(
            f"{report.added} added, {report.updated} updated, {report.removed} removed, {report.unchanged} unchanged;"
            f" {report.chunks} passages in {location_name(place)}{known}"
        )
        if report.recall is not None:
            output.print(f"Dense search is approximate now: it finds {report.recall:.1%} of the 10 nearest passages.")
        _print_left_out(loaded, report.kept)
    if loaded.refused:
        raise typer.Exit(FAILED)


def _print_left_out(loaded: Loaded, kept: Sequence[str]) -> None:
    """On the error stream: the files that are not in the index, or not wholly, and why."""
    for note in loaded.notes:
        print_warning(note)
    if other := loaded.passed_over:
        what = "1 file of another kind was" if len(other) == 1 else f"{len(other)} files of other kinds were"
        print_warning(f"{what} passed over: {_listed(other)}")
    if kept:
        one = "1 document stays in the index as it was when it"
        what = one if len(kept) == 1 else f"{len(kept)} documents stay in the index as they were when they"
        print_warning(f"{what} could be read: {_listed(kept)}")
    for file in loaded.refused:
        print_error(file.reason)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more (--json names all)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


@app.command(epilog='Example: lorag search "how long is the warranty"')
def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", help="Passages to show.")] = 5,
    sides: Search = None,
    rerank: Rerank = None,
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
        retrieval = retrieval_settings(chosen.retrieval, sides, rerank, min_cosine)
        place, chunks = place_with_index(store), chosen.chunks
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


@app.command(epilog='Example: lorag ask "how long is the warranty?"')
def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    model: Model = None,
    adapter: AdapterFolder = None,
    no_sources: NoSources = False,
    sides: Search = None,
    rerank: Rerank = None,
    min_cosine: MinCosine = None,
    where: Where = None,
    embedder: EmbedderName = DEFAULT_EMBEDDER,
    blocked: Blocked = None,
    prompt: PromptFile = None,
    engine: EngineName = "auto",
    store: IndexOption = None,
    json: Json = False,
) -> None:
    """Answer one question, from the index unless --no-sources."""
    with translated_errors(), progress_bars() as progress:
        place = None if no_sources else place_with_index(store)
        retrieval = retrieval_settings(Workspace().chosen().retrieval, sides, rerank, min_cosine)
        bot = chatbot(model, adapter, engine, place, retrieval, where, embedder, blocked, prompt, progress)
    with translated_errors():
        if json:
            print_json(_answer(bot.ask(question)))
            return
        reply = bot.reply(question)
        print_pieces(reply)
        print_sources(reply.sources)


@app.command(epilog="Example: lorag chat --model qwen2.5-coder-0.5b --history talk.json")
def chat(
    model: Model = None,
    adapter: AdapterFolder = None,
    no_sources: NoSources = False,
    history: Annotated[Path | None, typer.Option(help="A file that keeps the conversation, to go on with it.")] = None,
    sides: Search = None,
    rerank: Rerank = None,
    min_cosine: MinCosine = None,
    where: Where = None,
    embedder: EmbedderName = DEFAULT_EMBEDDER,
    blocked: Blocked = None,
    prompt: PromptFile = None,
    engine: EngineName = "auto",
    store: IndexOption = None,
) -> None:
    """Talk with the assistant; an empty line or Ctrl-D ends, /reset forgets, /sources shows the last sources."""
    from lorag.chat.session import Session
    from lorag.cli.chat_loop import converse

    with translated_errors(), progress_bars() as progress:
        place = None if no_sources else place_with_index(store)
        retrieval = retrieval_settings(Workspace().chosen().retrieval, sides, rerank, min_cosine)
        bot = chatbot(model, adapter, engine, place, retrieval, where, embedder, blocked, prompt, progress)
        session = Session(bot, history)
    with translated_errors():
        converse(session)


def _answer(answer: Answer) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(answer), "sources": [hit.cited() for hit in answer.sources]}
