"""Export: an adapter and its base become a model that other programs run, with no part of Lorag or PEFT in it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from lorag import build
from lorag.chat.prompts import system_message
from lorag.errors import InputError, ModelError
from lorag.files import folder_whole, require_writable
from lorag.interfaces import Progress, no_progress
from lorag.llm.engines.transformers import load
from lorag.models.gguf_writing import Precision, write_gguf
from lorag.models.hub import HubName
from lorag.models.ollama import modelfile
from lorag.models.supply.publishing import require_repository, upload
from lorag.settings import REFUSAL, PromptSettings
from lorag.training.adapter import Adapter, read_adapter

if TYPE_CHECKING:
    from lorag.llm.engines.base_model import Weights

Format = Literal["merged", "gguf", "ollama"]
GGUF = "model.gguf"


def export(
    adapter: Path | str,
    out: Path | str,
    *,
    form: Format = "merged",
    precision: Precision = "f16",
    push: str | None = None,
    model: str | None = None,
    progress: Progress = no_progress,
) -> Path:
    """The folder of a model for other programs: what was trained, merged into its base.

    Args:
        adapter: The folder of an adapter, of Lorag or in PEFT's format.
        out: The folder of the model. It must not exist, or be empty.
        form: ``merged``, a model of transformers; ``gguf``, a GGUF file; ``ollama``, one beside a Modelfile.
        precision: Of the matrices: ``f32``, ``f16``, ``bf16``, or ``q8_0`` in a GGUF file. A warning names one that may
            round away what all weights have learned.
        push: The name of a hub's repository to which the folder is uploaded, with a model card. One that does not exist
            is created, private.
        model: The base; needed for an adapter of another program.
        progress: Called as the work proceeds, with a stage and how much of it is done.

    Returns:
        ``out``.

    Raises:
        InputError: The adapter consists of virtual tokens, which weights cannot hold; ``out`` holds something; or
            nothing may be pushed.
        FetchError: The hub cannot be reached.
        ModelError: The adapter was trained on another base, or the model has no GGUF form here.

    Examples:
        >>> folder = lorag.export("adapter", "model", form="gguf", precision="q8_0")
        >>> print(folder / "model.gguf")
    """
    folder, target = Path(adapter), Path(out)
    trained = None if build.is_foreign(folder) else read_adapter(folder)
    base = build.base_of(model, [folder])
    _check(trained, target, form, precision)
    if push is not None:
        require_repository(push)
    if _may_lose(trained, precision):
        warnings.warn(
            f"all weights were trained, in float32, and {precision} may round away what they learned; f16 keeps more,"
            " f32 all of it",
            stacklevel=2,
        )
    weights = merged_weights(folder, model, progress)
    instruction = system_message(REFUSAL, trained.prompt if trained is not None else PromptSettings()).content
    progress(f"writing {form}", 0, 1)
    with folder_whole(target) as whole:
        if form == "merged":
            _write_merged(weights, whole, precision)
        else:
            write_gguf(weights.model, weights.tokenizer, whole / GGUF, precision, target.name)
        if form == "ollama":
            (whole / "Modelfile").write_text(modelfile(weights.tokenizer, GGUF, instruction), encoding="utf-8")
        if push is not None:
            (whole / "README.md").write_text(_model_card(push, str(base), trained, instruction), encoding="utf-8")
    progress(f"writing {form}", 1, 1)
    if push is not None:
        progress(f"pushing to {push}", 0, 1)
        upload(target, push, f"{base} finetuned")
        progress(f"pushing to {push}", 1, 1)
    return target


def merged_weights(adapter: Path, name: str | None = None, progress: Progress = no_progress) -> Weights:
    """The weights of the base with those of its adapter added, in float32; no adapter can be attached to them.

    The base of an adapter of another program must be named. An adapter that was trained on 4 bits is merged into the
    base as it is published, with a warning. Raises ``ModelError`` for another base, and for virtual tokens.
    """
    trained = None if build.is_foreign(adapter) else read_adapter(adapter)
    if trained is not None and trained.spec.is_whole_model:
        return load(adapter, trained.base, "float32").weights
    if trained is not None and trained.spec.on_four_bits:
        warnings.warn(
            "the adapter was trained on a base of 4 bits and is merged into the base as it is published: answers may"
            " differ a little",
            stacklevel=2,
        )
    name, place = build.base_folder(adapter, trained, name, progress)
    model = load(place, name, "float32").with_adapter(adapter)
    if model.virtual is not None:
        raise ModelError(f"{str(adapter)!r} holds virtual tokens, which are not in the weights and cannot be merged")
    weights = model.weights
    weights.model = weights.adapted.merge_and_unload(adapter_names=[model.adapter])
    return weights


def _model_card(name: str, base: str, trained: Adapter | None, instruction: str) -> str:
    """A hub's README of what was trained: its base, and of a training of Lorag its data in numbers and its figures."""
    from huggingface_hub import ModelCardData

    parsed = HubName.parse(base)
    repository = parsed.repository if parsed is not None else None
    data = ModelCardData(
        library_name="transformers", pipeline_tag="text-generation", tags=["lorag"], base_model=repository
    )
    if trained is None:
        known = (
            f"- Base: {base}. Its licence holds for this model too.\n- An adapter of another program, merged into it"
        )
    else:
        known = "\n".join(f"- {fact}" for fact in _of_training(trained))
        known += f"\n\nIt was trained under this instruction, and answers best under it:\n\n```text\n{instruction}\n```"
    return f"---\n{data.to_yaml()}\n---\n\n# {name.partition('/')[2]}\n\n{known}\n"


def _of_training(trained: Adapter) -> list[str]:
    """What is known of a training of Lorag: its base, its data in numbers, and what was measured."""
    weaker = f", applied at {trained.strength:g} of its strength" if trained.strength != 1 else ""
    facts = [
        f"Base: {trained.base}, weights {trained.base_weights}. Its licence holds for this model too.",
        f"Method: {trained.method}, learning rate {trained.settings['learning_rate']:g},"
        f" {trained.settings['epochs']} passes, {trained.steps} steps{weaker}",
        f"Data: {trained.conversations} conversations, {trained.supervised_tokens} learned tokens per pass"
        f" (fingerprint {trained.data}); the data itself is not part of this repository",
        f"Loss per learned token: {trained.loss_first:.2f} in the first step, {trained.loss_last:.2f} in the last",
    ]
    before, after = trained.held_out_loss_before, trained.held_out_loss_after
    if before is not None and after is not None:
        facts.append(f"Loss on {trained.held_out} conversations held out: {before:.2f} before, {after:.2f} after")
    if trained.forgetting is not None:
        facts.append(f"Forgetting: {trained.forgetting}")
    return [*facts, "Made with " + ", ".join(f"{package} {version}" for package, version in trained.versions.items())]


def _check(trained: Adapter | None, target: Path, form: Format, precision: Precision) -> None:
    if form not in get_args(Format):
        raise InputError(f"format {form!r} is not one of {', '.join(get_args(Format))}")
    if precision not in get_args(Precision) or (form == "merged" and precision == "q8_0"):
        known = [name for name in get_args(Precision) if form != "merged" or name != "q8_0"]
        raise InputError(f"precision {precision!r} is not one of {', '.join(known)}, in which {form} can be written")
    if trained is not None and trained.spec.is_virtual:
        raise InputError(f"a {trained.method} of virtual tokens is not in the weights and cannot be merged into them")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{str(target)!r} exists; choose another with --out")
    require_writable(target.absolute().parent)


def _may_lose(trained: Adapter | None, precision: Precision) -> bool:
    """Whether ``precision`` is too coarse for steps of a full finetune, as far as it was not measured to keep them."""
    if trained is None:
        return False
    coarse = precision == "q8_0" or (precision == "bf16" and trained.served_format != "bfloat16")
    return trained.spec.is_whole_model and coarse


def _write_merged(weights: Weights, folder: Path, precision: Precision) -> None:
    import torch

    dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[precision]
    weights.model.to(dtype).save_pretrained(folder)  # type: ignore[arg-type]
    weights.tokenizer.save_pretrained(folder)
