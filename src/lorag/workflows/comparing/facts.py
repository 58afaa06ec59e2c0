"""How rows were made: options to repeat the run by, facts for a report, and caveats."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lorag.evaluation.results import Built
from lorag.files import toml_lines
from lorag.llm.engines.transformers import TransformersModel
from lorag.settings import CompareSettings, FinetuneSettings, RecipeSettings, RetrievalSettings
from lorag.training.adapter import MANIFEST, Adapter, read_adapter
from lorag.training.loss_curve import loss_curve
from lorag.training.recipe import Recipe
from lorag.types import ThinkingSampling
from lorag.workflows.comparing.inputs import Inputs
from lorag.workspace import Chosen, Run


def run_options(given: Mapping[str, object], settings: CompareSettings, chosen: Chosen, beside: Sequence[str]) -> str:
    """The options of ``lorag compare`` that repeat a run, as TOML; a comment lists what has no option.

    ``given`` are the options beside the settings, ``chosen`` the settings of the workspace, on which the command
    builds, and ``beside`` is what else was given that has no option.
    """
    usual = CompareSettings(chunks=chosen.chunks, retrieval=chosen.retrieval)
    searching, search = _search_options(settings.retrieval, usual.retrieval)
    training, trained = _training_options(settings, usual)
    thinking = settings.chat.sampling.thinking
    drawn = usual.chat.sampling if thinking == "off" else ThinkingSampling(thinking=thinking)
    sampling = replace(drawn, max_tokens=settings.chat.sampling.max_tokens)
    remote, verdict = settings.remote, settings.verdict
    reached = replace(
        trained,
        limit=settings.limit,
        seeds=settings.seeds,
        long_context=settings.long_context,
        remote=replace(usual.remote, concurrency=remote.concurrency, max_cost_tokens=remote.max_cost_tokens),
        retrieval=search,
        chat=replace(usual.chat, sampling=sampling),
        verdict=replace(usual.verdict, require=verdict.require, verdict_on=verdict.verdict_on),
    )
    options = {
        **given,
        "limit": settings.limit,
        "max-tokens": _unless(drawn.max_tokens, sampling.max_tokens),
        "thinking": _unless("off", thinking),
        **training,
        "seeds": _unless(usual.seeds, settings.seeds),
        "require": _unless((), verdict.require),
        "long-context": _unless(False, settings.long_context),
        "concurrency": _unless(usual.remote.concurrency, remote.concurrency),
        "max-cost-tokens": remote.max_cost_tokens,
        "verdict-on": _unless(usual.verdict.verdict_on, verdict.verdict_on),
        **searching,
    }
    known = dict(_leaves(asdict(reached)))
    other = [f"{name} = {json.dumps(value)}" for name, value in _leaves(asdict(settings)) if known.get(name) != value]
    lines = [f"# Not repeated, because `lorag compare` has no option for it: {each}" for each in (*beside, *other)]
    values = {name: value for name, value in options.items() if value is not None}
    return "".join(f"{line}\n" for line in lines) + toml_lines(values)


def _unless(usual: object, value: object) -> object:
    """``value``, or None where it is the usual one."""
    return None if value == usual else value


def _leaves(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested mappings, by the names that lead to it."""
    for name, each in value.items():
        if isinstance(each, dict):
            yield from _leaves(each, f"{above}{name}.")
        else:
            yield f"{above}{name}", each


def _search_options(wanted: RetrievalSettings, usual: RetrievalSettings) -> tuple[dict[str, object], RetrievalSettings]:
    """The options by which ``usual`` comes nearest to ``wanted``, and how near that is."""
    options: dict[str, object] = {}
    both = usual.dense_weight if 0 < usual.dense_weight < 1 else RetrievalSettings().dense_weight
    sides = {1.0: "dense", 0.0: "lexical", both: "hybrid"}
    if wanted.dense_weight != usual.dense_weight and wanted.dense_weight in sides:
        options["search"] = sides[wanted.dense_weight]
        usual = replace(usual, dense_weight=wanted.dense_weight)
    if wanted.reranker != usual.reranker:
        options |= {"rerank": False} if wanted.reranker is None else {"reranker": wanted.reranker}
        usual = replace(usual, reranker=wanted.reranker)
    if wanted.min_cosine is not None and wanted.min_cosine != usual.min_cosine:
        options["min-cosine"] = wanted.min_cosine
        usual = replace(usual, min_cosine=wanted.min_cosine)
    return options, usual


def _training_options(settings: CompareSettings, usual: CompareSettings) -> tuple[dict[str, object], CompareSettings]:
    """The options of the finetune: a budget, or how it is trained by hand; and what they make of ``usual``."""
    if settings.recipe is not None:
        recipe = RecipeSettings(minutes=settings.recipe.minutes)
        return {"budget": _unless(RecipeSettings().minutes, recipe.minutes)}, replace(usual, recipe=recipe)
    by, fixed = settings.finetune, ("method", "epochs", "learning_rate")
    by_hand = {name: getattr(by, name) for name in fixed}
    options = {name.replace("_", "-"): value for name, value in by_hand.items()}
    return options, replace(usual, recipe=None, finetune=replace(usual.finetune, **by_hand))


def run_facts(inputs: Inputs, model: str, embedder: str, settings: CompareSettings) -> dict[str, str]:
    """What one needs to know to repeat the run."""
    packages = ("lorag", "torch", "transformers", "peft", "lancedb", "onnxruntime")
    sampling = settings.chat.sampling
    thinking, most = "", f"{sampling.max_tokens} tokens"
    if sampling.thinking != "off":
        thinking, most = f", thinking {sampling.thinking}", f"{most} or half of the context"
    return {
        "model": f"{model} (greedy decoding{thinking}, at most {most})",
        "embedder": embedder,
        "documents": f"{len(inputs.documents)}" + (f", {len(inputs.update)} after the update" if inputs.update else ""),
        "questions": f"{len(inputs.tested)} asked of {len(inputs.examples)}",
        "context": f"up to {settings.chat.context_tokens} tokens of passages of at most {settings.chunks.max_tokens},"
        " unless the prompt of an arm has more",
        "seeds": f"sample {settings.seed}, training {settings.finetune.seed}, intervals {settings.verdict.seed}",
        "versions": ", ".join(f"{name} {version(name)}" for name in packages),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def training_facts(
    engine: TransformersModel,
    finetuned: TransformersModel,
    adapter: Adapter,
    settings: FinetuneSettings,
    recipe: Recipe | None,
) -> dict[str, str]:
    """How the finetuned arms were trained, and what that cost the model."""
    other = "" if finetuned.dtype == engine.dtype else f", those that were trained in {finetuned.dtype}"
    return {
        **({"recipe": str(recipe)} if recipe else {}),
        "weights": f"{engine.dtype}{other}",
        "finetuning": f"{adapter.conversations} conversations, {adapter.steps} steps,"
        f" {adapter.seconds / 60:.1f} minutes",
        "training loss": loss_curve(adapter.loss_curve),
        "method": str(_as_trained(adapter, settings)),
        "served": adapter.served,
        "forgetting": str(adapter.forgetting or "not measured"),
    }


def _as_trained(adapter: Adapter, settings: FinetuneSettings) -> FinetuneSettings:
    """``settings`` as the adapter was trained with them, by its manifest."""
    names = ("method", "learning_rate", "epochs", "trained_layers")
    chosen: dict[str, Any] = {name: adapter.settings[name] for name in names if name in adapter.settings}
    if adapter.epochs is not None:
        chosen["epochs"] = adapter.epochs
    return replace(settings, **chosen)


def training_notes(adapter: Adapter) -> list[str]:
    """What weakens the finetuned arms as a measure of finetuning."""
    notes = []
    if adapter.too_long:
        limit = adapter.settings["max_tokens"]
        notes.append(f"{adapter.too_long} conversations longer than {limit} tokens were not trained on.")
    return notes


def recipe_notes(recipe: Recipe | None) -> tuple[str, ...]:
    """What the choice of the training says of it, and what is wrong with the facts that it did not teach."""
    return (*recipe.notes, *recipe.diagnosis.lines) if recipe is not None else ()


def built(run: Run, inputs: Inputs) -> Built:
    """What building the arms of a run took, and what was built takes in memory."""
    adapter = inputs.brought.trained if inputs.brought is not None else None
    if (run.adapter / MANIFEST).is_file():
        adapter = read_adapter(run.adapter)
    measured = run.built()
    weights = int(measured["weights_bytes"]) if "weights_bytes" in measured else None
    recipe: dict[str, Any] = run.tried().get("recipe", {})
    trainings = [each["seconds"] for each in (*recipe.get("rungs", ()), recipe.get("final")) if each]
    finetuned = None
    if adapter is not None and weights is not None:
        finetuned = _bytes_in(Path(adapter.folder)) + (0 if adapter.spec.is_whole_model else weights)
    return Built(
        measured.get("index_seconds"),
        sum(trainings) if trainings else adapter.seconds if adapter is not None else None,
        _bytes_in(run.index),
        weights,
        finetuned,
    )


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
