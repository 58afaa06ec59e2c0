"""Whether an adapter in PEFT's format can belong to a base: seen in the headers of their files, nothing is loaded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lorag.errors import InputError, ModelError
from lorag.models.footprint import require_whole, tensor_shapes

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_FACTOR = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])\.weight")


def read_peft_config(folder: Path) -> dict[str, Any]:
    """An adapter's own description. Raises ``InputError`` for a folder without an adapter in PEFT's format."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(
                f"{str(folder)!r} holds no adapter: {name} is missing; expected a folder that `lorag finetune` or PEFT"
                " wrote (save_pretrained, with safetensors)"
            )
    try:
        config: dict[str, Any] = dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{str(folder / CONFIG)!r} is not a JSON object: {error}; save the adapter again") from error
    return config


def base_named(adapter: Path, model: str | None) -> str:
    """``model``, the base of an adapter of another program, which knows it only by a name that may be another's.

    Raises ``InputError`` where there is none, and for a folder without an adapter in PEFT's format.
    """
    theirs = read_peft_config(adapter).get("base_model_name_or_path")
    if model is None:
        raise InputError(
            f"the adapter in {str(adapter)!r} was trained elsewhere; name its base with --model (the adapter names"
            f" {theirs!r})"
        )
    return model


def require_fitting(adapter: Path, base: Path, base_name: str) -> None:
    """Raises ``ModelError`` where a factor of LoRA has a place or a shape that the base does not have.

    Where no place of the adapter is known in the base's files, loading decides: some models name them otherwise.
    """
    shapes = tensor_shapes(require_whole(base))
    factors = [
        (found["module"], found["side"], shape)
        for name, shape in tensor_shapes([adapter / WEIGHTS]).items()
        if (found := _FACTOR.fullmatch(name)) and len(shape) == 2
    ]
    if not any(f"{module}.weight" in shapes for module, _, _ in factors):
        return
    for module, side, shape in factors:
        theirs = shapes.get(f"{module}.weight", [])
        needed, kind = (shape[1], "inputs") if side == "A" else (shape[0], "outputs")
        if needed not in theirs:
            there = f"has one of {' by '.join(map(str, theirs))}" if theirs else "has no such layer"
            raise ModelError(
                f"the adapter in {str(adapter)!r} was made for another base: its {module} has {needed} {kind}, and"
                f" {base_name!r} {there}; name its own base with --model"
            )
