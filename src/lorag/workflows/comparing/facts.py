"""What a report states of how its rows were made: facts to repeat the run by, and caveats."""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lorag.evaluation.results import Built
from lorag.llm.engines.transformers import TransformersModel
from lorag.settings import (
    CompareSettings,
    FinetuneSettings,
)
from lorag.training.adapter import MANIFEST, Adapter, read_adapter
from lorag.training.loss_curve import loss_curve
from lorag.training.recipe import Recipe
from lorag.workflows.comparing.inputs import Inputs
from lorag.workspace import Run


def run_facts(inputs: Inputs, model: str, embedder: str, settings: CompareSettings) -> dict[str, str]:
    """What one needs to know to repeat the run."""
    packages = ("lorag", "torch", "transformers", "peft", "lancedb", "onnxruntime")
    return {
        "model": f"{model} (greedy decoding, at most {settings.chat.sampling.max_tokens} tokens)",
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
