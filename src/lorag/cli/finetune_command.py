"""``lorag finetune``: conversations become an adapter, from the base or from an adapter that there is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorag.cli import evaluate_command
from lorag.cli.assistant_commands import Model
from lorag.cli.screen import Json, output, print_json, print_table, progress_bars, translated_errors
from lorag.cli.shared_options import Control, Epochs, FinetuneMethod, LearningRate, described, training_settings
from lorag.errors import InputError
from lorag.settings import REPLAY_SHARE, FinetuneSettings, RecipeSettings
from lorag.workspace import Workspace

if TYPE_CHECKING:
    from lorag.training.adapter import Adapter

GeneralShare = Annotated[float | None, typer.Option(help=described(FinetuneSettings, "general_share"))]
GeneralTextShare = Annotated[float | None, typer.Option(help=described(FinetuneSettings, "general_text_share"))]
Patience = Annotated[int | None, typer.Option(help=described(FinetuneSettings, "patience"))]
Budget = Annotated[
    float | None,
    typer.Option(help=described(RecipeSettings, "minutes", f"Default: {RecipeSettings().minutes:g}; implies --auto.")),
]
ReportTo = Annotated[str | None, typer.Option(help="Also log the training to tensorboard, wandb, mlflow or trackio.")]
Shard = Annotated[bool, typer.Option("--shard", help=described(FinetuneSettings, "shard"))]
CpuOffload = Annotated[bool, typer.Option("--cpu-offload", help=described(FinetuneSettings, "cpu_offload"))]
GradientCheckpointing = Annotated[
    bool, typer.Option("--gradient-checkpointing", help=described(FinetuneSettings, "gradient_checkpointing"))
]


def finetune(
    conversations: Annotated[Path, typer.Argument(help="Training data: see `lorag data check --help`.")],
    model: Model = None,
    out: Annotated[Path | None, typer.Option(help="The adapter's folder.")] = None,
    method: FinetuneMethod = None,
    epochs: Epochs = None,
    rank: Annotated[int | None, typer.Option(help=described(FinetuneSettings, "rank"))] = None,
    learning_rate: LearningRate = None,
    general_share: GeneralShare = None,
    general_text_share: GeneralTextShare = None,
    patience: Patience = None,
    continue_from: Annotated[
        Path | None, typer.Option("--continue", help="Begin from the weights of this adapter, with its base and shape.")
    ] = None,
    replay: Annotated[Path | None, typer.Option(help="Old conversations, of which a sample is mixed in.")] = None,
    replay_share: Annotated[
        float, typer.Option(help="Share of --replay in all training conversations.")
    ] = REPLAY_SHARE,
    auto: Annotated[
        bool, typer.Option("--auto", help="Choose wordings, rate and passes by recall on held-out wordings.")
    ] = False,
    budget: Budget = None,
    prompt: Annotated[
        Path | None, typer.Option(help="A JSON prompt file to train under, such as RUN/prompts/retrieval.json.")
    ] = None,
    control: Control = None,
    tasks: Annotated[Path | None, typer.Option(help=f"{evaluate_command.TASKS}; run before and after.")] = None,
    thoughts: Annotated[
        str, typer.Option(help="Text in <think>: train it as part of the answer, or strip it.")
    ] = "train",
    report_to: ReportTo = None,
    shard: Shard = False,
    cpu_offload: CpuOffload = False,
    gradient_checkpointing: GradientCheckpointing = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate time and memory, and train nothing.")] = False,
    json: Json = False,
) -> None:
    """Train an adapter, or a whole model, on conversations."""
    from lorag.workflows.finetune import estimate_finetune
    from lorag.workflows.finetune import finetune as run_training

    target = out or Workspace().adapters / conversations.stem
    given = {"method": method, "epochs": epochs, "rank": rank, "learning_rate": learning_rate, "patience": patience}
    given |= {"shard": shard, "cpu_offload": cpu_offload, "gradient_checkpointing": gradient_checkpointing}
    given |= {"general_share": general_share, "general_text_share": general_text_share}
    with translated_errors(), progress_bars() as progress:
        recipe = _recipe(budget, epochs, dry_run) if auto or budget is not None else None
        settings = _settings(continue_from, **given)
        shared: dict[str, Any] = {"model": model, "settings": settings, "control": control, "tasks": tasks}
        shared |= {"continue_from": continue_from, "replay": replay, "replay_share": replay_share, "prompt": prompt}
        if dry_run:
            expected = estimate_finetune(conversations, **shared, progress=progress)
        else:
            shared |= {"recipe": recipe, "report_to": report_to, "thoughts": thoughts}
            adapter = run_training(conversations, target, **shared, progress=progress)
    if json:
        print_json(asdict(expected) if dry_run else _as_json(adapter))
    elif dry_run:
        output.print(f"{settings}: {expected}.", markup=False)
    else:
        _print_adapter(adapter)


def _recipe(budget: float | None, epochs: int | None, dry_run: bool) -> RecipeSettings:
    """The recipe settings for a budget, with the passes that are set by hand."""
    if dry_run:
        raise InputError(
            "--dry-run measures a training whose settings are given; --auto prints its plan before it trains"
        )
    return RecipeSettings(minutes=RecipeSettings().minutes if budget is None else budget, passes=epochs)


def _as_json(adapter: Adapter) -> dict[str, Any]:
    from lorag.training.recipe import read_recipe

    recipe = read_recipe(Path(adapter.folder))
    return {**asdict(adapter), **({"recipe": recipe.to_json()} if recipe is not None else {})}


def _settings(continue_from: Path | None, **given: Any) -> FinetuneSettings:
    """What was asked for in the command line; for the rest what is continued, or else the defaults."""
    from lorag.training.adapter import read_adapter, shape_of

    shape = shape_of(read_adapter(continue_from)) if continue_from is not None else {}
    return training_settings(FinetuneSettings(**shape), **given)


def _print_adapter(adapter: Adapter) -> None:
    from lorag.training.loss_curve import loss_curve
    from lorag.workflows.evaluate import read_changes

    output.print(
        f"Trained {adapter.base} with {adapter.method} on {adapter.conversations} conversations in"
        f" {adapter.seconds:.0f} seconds, with the {adapter.step} step."
    )
    output.print(f"Loss per token: {loss_curve(adapter.loss_curve)}.", markup=False)
    if adapter.held_out_loss_before is not None and adapter.held_out_loss_after is not None:
        before, after = adapter.held_out_loss_before, adapter.held_out_loss_after
        kept_back = {"wordings": "other wordings of what was learned", "documents": "conversations of other documents"}
        what = kept_back[adapter.held_out_kind]
        output.print(f"Loss on {adapter.held_out} held-out {what}: {before:.2f} -> {after:.2f}.", markup=False)
    if adapter.served_loss is not None:
        output.print(f"As it is served: {adapter.served}.", markup=False)
    if adapter.forgetting is not None:
        output.print(f"Forgetting: {adapter.forgetting}.", markup=False)
    _print_recipe(Path(adapter.folder))
    if changes := read_changes(Path(adapter.folder)):
        evaluate_command.print_changes(changes)
    where = f'{adapter.folder}\nTry it: lorag ask "…" --no-sources --adapter {adapter.folder}'
    output.print(f"{'Model' if adapter.spec.is_whole_model else 'Adapter'}: {where}", markup=False)


def _print_recipe(folder: Path) -> None:
    """How the adapter was chosen, where it was."""
    from lorag.evaluation.report.tried_tables import curve_table, recipe_table
    from lorag.training.recipe import read_recipe

    recipe = read_recipe(folder)
    if recipe is None:
        return
    tried = {"recipe": recipe.to_json()}
    for title, table in (("Trainings", recipe_table(tried)), ("Learning curve", curve_table(tried))):
        if table.rows:
            print_table(table.headings, table.rows, f"{title}; shares in percent")
    output.print(f"Chosen: {recipe}.", markup=False)
    for line in (*recipe.notes, *recipe.diagnosis.lines):
        output.print(f"- {line}", markup=False)


def export(
    adapter: Annotated[Path, typer.Argument(help="The folder of an adapter, by `lorag finetune` or PEFT.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    model: Annotated[
        str | None, typer.Option("--model", help="The base of an adapter that another program trained.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="merged (transformers), gguf (llama.cpp) or ollama.")
    ] = "merged",
    precision: Annotated[str, typer.Option(help="f32, f16, bf16, or q8_0 for gguf and ollama.")] = "f16",
    push: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="Also upload it to the hub, as a private model with a model card."),
    ] = None,
) -> None:
    """Merge a finetune into its base, as a model that other programs can run."""
    from lorag.workflows.export import export as run_export

    with translated_errors(), progress_bars() as progress:
        chosen: dict[str, Any] = {"form": form, "precision": precision, "push": push, "model": model}
        folder = run_export(adapter, out, **chosen, progress=progress)
    output.print(f"Written to {folder}{f', and pushed to {push}' if push is not None else ''}", markup=False)
    if form == "ollama":
        output.print(f"Try it: ollama create {folder.name} -f {folder / 'Modelfile'}", markup=False)
