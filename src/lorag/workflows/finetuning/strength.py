"""What was trained of a model, at a share of its strength and beside its base, to be asked or kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lorag import build
from lorag.files import folder_whole
from lorag.llm.engines.transformers import TransformersModel
from lorag.training.adapter import MANIFEST, Adapter, read_adapter


@contextmanager
def attached(engine: TransformersModel, adapter: Adapter) -> Iterator[TransformersModel]:
    """``engine`` with what was trained of it; afterwards it is the base alone again, and can be trained."""
    model = build.finetuned_model(engine, adapter)
    try:
        yield model
    finally:
        if model.adapter is not None:
            engine.weights.detach(model.adapter)


@contextmanager
def weaker(engine: TransformersModel, adapter: Adapter, share: float) -> Iterator[TransformersModel]:
    """``engine`` with what was trained of it at a share of its strength, until the block ends."""
    with TemporaryDirectory() as folder:
        set_strength(engine, Path(adapter.folder), Path(folder) / "weaker", share)
        with attached(engine, read_adapter(Path(folder) / "weaker")) as model:
            yield model


def set_strength(base: TransformersModel, source: Path, out: Path, share: float) -> None:
    """Writes what was trained of ``base``, which lies in ``source``, to ``out`` at a share of its strength.

    An adapter gets that share of its scale; all weights go that share of the way from those of ``base``. Its manifest
    holds nothing that was measured at another strength: see ``measure_again``.
    """
    trained = read_adapter(source)
    with folder_whole(out) as temporary:
        if trained.spec.is_whole_model:
            _average(base, source, temporary, share)
        else:
            shutil.copytree(source, temporary, dirs_exist_ok=True)
            path = temporary / "adapter_config.json"
            config = json.loads(path.read_text())
            config["lora_alpha"] *= share
            path.write_text(json.dumps(config, indent=2))
        unmeasured: dict[str, Any] = {"held_out_loss_after": None, "forgetting": None, "served_loss": None}
        if trained.spec.is_whole_model:  # how much a coarser dtype rounds away is measured too
            unmeasured["served_format"] = None
        kept = replace(trained, strength=trained.strength * share, **unmeasured)
        (temporary / MANIFEST).write_text(kept.to_json())


def _average(base: TransformersModel, source: Path, out: Path, share: float) -> None:
    """Writes the model of ``source`` with the weights ``base + share * (trained - base)``, one file of it at a time."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
    begun = base.weights.model.state_dict()
    for path in sorted(source.glob("*.safetensors")):
        trained = load_file(path)
        between = {name: begun[name].to(weight).lerp(weight, share) for name, weight in trained.items()}
        save_file(between, out / path.name, metadata={"format": "pt"})
