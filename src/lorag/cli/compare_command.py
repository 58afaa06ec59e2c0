"""``lorag compare`` and ``lorag demo``: which way to give a model your knowledge, measured."""

from __future__ import annotations

import shlex
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from lorag.cli import data_commands, evaluate_command
from lorag.cli.assistant_commands import Model, PromptFile, given_prompt
from lorag.cli.index_command import DOCUMENTS
from lorag.cli.screen import Json, output, print_json, print_table, progress_bars, translated_errors
from lorag.cli.shared_options import (
    Config,
    Control,
    EmbedderName,
    Epochs,
    FinetuneMethod,
    LearningRate,
    MinCosine,
    Rerank,
    RerankerName,
    Search,
    described,
    retrieval_settings,
    sampling_of,
    training_settings,
    write_options,
)
from lorag.errors import InputError
from lorag.files import read_text, write_whole
from lorag.settings import (
    DEFAULT_EMBEDDER,
    ChatSettings,
    CompareSettings,
    RecipeSettings,
    RemoteSettings,
    VerdictOn,
    VerdictSettings,
)
from lorag.types import Sampling, ThinkingSampling
from lorag.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lorag.evaluation.comparison import Comparison
    from lorag.interfaces import Progress

_SEARCHED_BY = ("embedder", "search", "reranker", "min-cosine")
"""Options of a comparison that its assistant needs too."""
_MADE = 60
"""Questions made where none are given: a comparison of them ends within 45 minutes on two cores."""
Documents = Annotated[Path, typer.Option(help=f"{DOCUMENTS}.")]
Questions = Annotated[
    Path | None, typer.Option(help="A qa.jsonl: id, question, answers, doc_ids (default: questions made by rules).")
]
Train = Annotated[
    Path | None, typer.Option(help="Training conversations (default: other wordings of the questions, or made ones).")
]
Style = Annotated[Path | None, typer.Option(help="A JSON file with style checks.")]
Out = Annotated[Path | None, typer.Option(help="The run's folder; the same command resumes it.")]
Limit = Annotated[int | None, typer.Option(help=described(CompareSettings, "limit"))]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        help=described(
            ThinkingSampling,
            "max_tokens",
            f"Default: {Sampling().max_tokens}; with --thinking hidden {ThinkingSampling().max_tokens}, at most half of"
            " the context.",
        )
    ),
]
ComparedThinking = Annotated[
    str,
    typer.Option(
        "--thinking",
        help="off or hidden: whether every arm may think before it answers; only the answer"
        " is scored, but seconds and tokens include the thoughts.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Print every table and every reason.")]
Seeds = Annotated[int | None, typer.Option(help=described(CompareSettings, "seeds"))]
Budget = Annotated[
    float | None, typer.Option(help=described(RecipeSettings, "minutes", f"Default: {RecipeSettings().minutes:g}."))
]
Requirements = Annotated[list[str] | None, typer.Option(help=described(VerdictSettings, "require", "May be repeated."))]
PricesFile = Annotated[
    Path | None, typer.Option("--prices", help="A TOML file with the prices of tokens and machine hours.")
]
Update = Annotated[Path | None, typer.Option(help="The documents after a change, to measure how each arm follows it.")]
VerdictRest = Annotated[
    VerdictOn, typer.Option("--verdict-on", metavar="ANSWERS", help=described(VerdictSettings, "verdict_on"))
]
TrainUpdate = Annotated[Path | None, typer.Option(help="Training conversations about the updated documents.")]
Finetuned = Annotated[
    str | None,
    typer.Option(help="A finetune on a server, openai:MODEL@URL, with its base as --model; nothing is trained."),
]
ComparedAdapter = Annotated[
    Path | None,
    typer.Option("--adapter", help="The folder of an adapter, by lorag finetune or PEFT; nothing is trained."),
]
LongContext = Annotated[bool, typer.Option("--long-context", help=described(CompareSettings, "long_context"))]
Judge = Annotated[
    str | None,
    typer.Option(help="A model that also judges the claims in answers, beside the rule; its cost is printed first."),
]
Concurrency = Annotated[
    int | None,
    typer.Option(help=described(RemoteSettings, "concurrency", f"Default: {RemoteSettings().concurrency}.")),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Ask a local model on a Ray cluster: HOST:PORT of its head, auto, or local for this machine's GPUs.",
    ),
]
MaxCostTokens = Annotated[
    int | None, typer.Option(help=described(RemoteSettings, "max_cost_tokens", "A higher limit resumes it."))
]


def compare(
    context: typer.Context,
    documents: Documents,
    questions: Questions = None,
    train: Train = None,
    update: Update = None,
    train_update: TrainUpdate = None,
    style: Style = None,
    control: Control = None,
    prompt: PromptFile = None,
    model: Model = None,
    finetuned: Finetuned = None,
    adapter: ComparedAdapter = None,
    out: Out = None,
    limit: Limit = None,
    max_tokens: MaxTokens = None,
    thinking: ComparedThinking = "off",
    method: FinetuneMethod = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    budget: Budget = None,
    seeds: Seeds = None,
    require: Requirements = None,
    prices: PricesFile = None,
    against: evaluate_command.Against = None,
    junit: evaluate_command.Junit = None,
    markdown: evaluate_command.MarkdownFile = None,
    long_context: LongContext = False,
    concurrency: Concurrency = None,
    max_cost_tokens: MaxCostTokens = None,
    verdict_on: VerdictRest = "right",
    judge: Judge = None,
    ray: Ray = None,
    sides: Search = None,
    rerank: Rerank = None,
    reranker: RerankerName = None,
    min_cosine: MinCosine = None,
    embedder: EmbedderName = DEFAULT_EMBEDDER,
    config: Config = None,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Compare base, finetuned, retrieval and both on your documents and questions, and give a verdict."""
    from lorag.workflows.compare import compare as run_comparison

    with translated_errors(), progress_bars() as progress:
        sampling = sampling_of(thinking, max_tokens)
        asking = (limit, seeds, sampling, require, verdict_on, long_context, concurrency, max_cost_tokens)
        settings = _trained(_comparison(*asking), budget, method, epochs, learning_rate)
        search = retrieval_settings(settings.retrieval, sides, rerank, reranker, min_cosine)
        asked = questions or _made_questions(documents, out, json, progress)
        old = evaluate_command.old_run(against, asked, out, settings, updated=update is not None)
        given: dict[str, Any] = {"train": train, "update": update, "train_update": train_update, "style": style}
        given |= {"model": model, "finetuned": finetuned, "adapter": adapter, "control": control, "out": out}
        given |= {"prompt": given_prompt(prompt), "prices": prices, "judge": judge, "progress": progress}
        given |= {"against": against, "embedder": embedder, "ray": ray, "settings": replace(settings, retrieval=search)}
        result = run_comparison(documents, asked, **given, show=None if json else partial(_print_first, settings))
    write_options(context, result.folder / "run.toml", leave_out=("out", "verbose", "json", "ray"))
    print_comparison(result, result.folder, json=json, verbose=verbose)
    evaluate_command.check_build(result, old, junit, markdown, quiet=json)


def _made_questions(documents: Path, out: Path | None, json: bool, progress: Progress) -> Path:
    """The file of questions made by rules, for who has none: always the same for the same documents."""
    from lorag.workflows.questions.making import make_questions

    target = (out or Workspace().root) / "questions.jsonl"
    with TemporaryDirectory() as folder:
        made = make_questions(documents, Path(folder, target.name), count=_MADE, progress=progress)
        text = read_text(Path(made.out))
    if out is not None and target.is_file() and read_text(target) != text:
        raise InputError(
            f"{str(target)!r} has other questions than are made from {str(documents)!r}; name another folder with"
            f" --out, or ask these with --questions {target}"
        )
    write_whole(target, text)
    if not json:
        data_commands.print_made(replace(made, out=str(target)))
    return target


def _comparison(
    limit: int | None,
    seeds: int | None,
    sampling: Sampling,
    require: Sequence[str] | None,
    verdict_on: VerdictOn,
    long_context: bool,
    concurrency: int | None,
    max_cost_tokens: int | None,
) -> CompareSettings:
    """The settings of a comparison in this workspace, but for its search and its training."""
    chosen, remote = Workspace().chosen(), replace(CompareSettings().remote, max_cost_tokens=max_cost_tokens)
    return CompareSettings(
        limit=limit,
        seeds=seeds,
        long_context=long_context,
        remote=remote if concurrency is None else replace(remote, concurrency=concurrency),
        chunks=chosen.chunks,
        retrieval=chosen.retrieval,
        chat=ChatSettings(sampling=sampling),
        verdict=VerdictSettings(require=tuple(require or ()), verdict_on=verdict_on),
    )


def _trained(
    settings: CompareSettings,
    budget: float | None,
    method: str | None,
    epochs: int | None,
    learning_rate: float | None,
) -> CompareSettings:
    """``settings`` with how the finetune is trained: by a recipe within a budget, or as it is set by hand."""
    fixed = any(given is not None for given in (method, epochs, learning_rate))
    if fixed and budget is not None:
        raise InputError(
            "--budget chooses the training, and --method, --epochs and --learning-rate set it by hand; give one or the"
            " other"
        )
    recipe = None if fixed else RecipeSettings() if budget is None else RecipeSettings(minutes=budget)
    training = training_settings(settings.finetune, method=method, epochs=epochs, learning_rate=learning_rate)
    return replace(settings, recipe=recipe, finetune=training)


def demo(
    out: Out = None,
    model: Model = None,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Run the whole comparison on the bundled documents of an invented company."""
    from lorag.workflows.demo import SETTINGS
    from lorag.workflows.demo import demo as run_demo

    with translated_errors(), progress_bars() as progress:
        show = None if json else partial(_print_first, SETTINGS)
        result = run_demo(out, model=model, progress=progress, show=show)
    print_comparison(result, result.folder, json=json, verbose=verbose)


def _print_tables(result: Comparison, title: str | None = None) -> None:
    from lorag.evaluation.labels import phase_heading
    from lorag.evaluation.report.result_tables import narrow_table, update_table

    for phase in result.phases:
        table = narrow_table(result, phase)
        print_table(table.headings, table.rows, title or phase_heading(result, phase) or None)
    if result.updated:
        followed = update_table(result, narrow=True)
        print_table(followed.headings, followed.rows, "Following the update")


def _print_first(settings: CompareSettings, result: Comparison) -> None:
    """What needs no training, shown before the training begins, and what that will take at most."""
    _print_tables(result, "First results: without finetuning")
    takes = "its minutes are estimated before it begins"
    if settings.recipe is not None:
        takes = f"at most about {settings.recipe.minutes * (settings.seeds or 1):g} minutes"
    output.print(
        f"Finetuning comes next: {takes}. To stop here, press Ctrl+C; to resume, run the same command again.\n"
    )


def print_comparison(result: Comparison, folder: Path, *, json: bool, verbose: bool) -> None:
    """The verdict and one table for people, with ``verbose`` all tables and reasons; or everything as JSON."""
    import json as json_library

    from lorag.evaluation.report.cost_tables import cost_tables
    from lorag.evaluation.report.factor_table import LEGEND, factor_table, short_factor_table
    from lorag.evaluation.report.json_record import result_json

    if json:
        print_json(json_library.loads(result_json(result)))
        return
    if verbose:
        _print_tables(result)
        for caption, costs in cost_tables(result).items():
            print_table(costs.headings, costs.rows, caption)
    factors = factor_table(result) if verbose else short_factor_table(result)
    print_table(factors.headings, factors.rows)
    if verbose:
        output.print(f"Percent with intervals. {LEGEND}\n", style="dim")
    output.print(f"[bold]Verdict: {result.verdict.choice}.[/bold] {escape(result.verdict.sentence)}")
    for reason in result.verdict.reasons if verbose else result.warnings:
        output.print(f"- {reason}", markup=False)
    if command := assistant_command(result.verdict.choice, folder):
        output.print(f"Use it: {shlex.join(command)}", markup=False, soft_wrap=True)
    more = "" if verbose else f" (all tables and reasons: lorag report {folder} --verbose)"
    output.print(f"Report: {folder / 'report.html'}{more}", markup=False)


def assistant_command(choice: str, folder: Path) -> list[str]:
    """The command that talks with the arm of that run which a verdict names, with what the run kept of it.

    Empty for a verdict that names none, a finetune that was brought or is served, an arm of the user's own, and where
    the folder holds a result alone.
    """
    import json

    from lorag.evaluation.results import BOTH, CHOSEN_ARMS, FINETUNED, RETRIEVAL
    from lorag.files import read_toml
    from lorag.settings import DEFAULT_MODEL
    from lorag.workspace import Run

    arm, run = CHOSEN_ARMS.get(choice, ""), Run(folder)
    adapter = run.reading_adapter if arm == BOTH and run.reading_adapter.is_dir() else run.adapter
    prompt, identity = run.prompts / f"{arm}.json", folder / "run.json"
    kept = [prompt, identity, run.index if arm == RETRIEVAL else adapter]
    if arm not in (RETRIEVAL, FINETUNED, BOTH) or not all(path.exists() for path in kept):
        return []
    model = json.loads(identity.read_text())["model"]
    command = ["lorag", "chat", *(() if model == DEFAULT_MODEL else ("--model", model)), "--prompt", str(prompt)]
    if arm != RETRIEVAL:
        command += ["--adapter", str(adapter)]
    options = read_toml(folder / "run.toml") if (folder / "run.toml").is_file() else {}
    if "thinking" in options:
        command += ["--thinking", str(options["thinking"])]
    if arm == FINETUNED:
        return [*command, "--no-sources"]
    searching = [(f"--{name}", str(options[name])) for name in _SEARCHED_BY if name in options]
    return [*command, "--store", str(run.index), *chain(*searching), *(("--rerank",) if options.get("rerank") else ())]


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    prices: PricesFile = None,
    verbose: Verbose = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the result as Markdown, for a pull request.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the result of a finished run again, and write its report.html; with --prices, update its result.json too."""
    from lorag.evaluation.cost.price_list import read_prices
    from lorag.evaluation.marks.review import with_marks
    from lorag.evaluation.report.html_page import write_report
    from lorag.evaluation.report.json_record import read_result, result_json
    from lorag.evaluation.report.markdown_text import to_markdown
    from lorag.evaluation.results import compared
    from lorag.files import write_whole

    with translated_errors():
        result = read_result(run / "result.json")
        if prices is not None:
            result = replace(result, prices=read_prices(prices, compared(arm.arm for arm in result.arms)))
            write_whole(run / "result.json", result_json(result))
        result = with_marks(result, run)
        write_report(result, run / "report.html")
    if markdown:
        output.print(to_markdown(result), markup=False, soft_wrap=True)
    else:
        print_comparison(result, run, json=json, verbose=verbose)
