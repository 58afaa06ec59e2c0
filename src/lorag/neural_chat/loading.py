"""Which device, which dtype, and which of the old ways to load a model have an equal here."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from lorag.errors import InputError
from lorag.llm.engines.base_model import Dtype
from lorag.models import naming
from lorag.neural_chat.config import LoadingModelConfig, MixedPrecisionConfig, WeightOnlyQuantConfig
from lorag.neural_chat.knobs import require_known

_DEVICES = ("auto", "cpu", "cuda", "gpu", "hpu", "xpu")
_DTYPES: dict[str, Dtype] = {
    "auto": "auto",
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "bfloat16",
    "fp16": "bfloat16",
}


def check_device(device: str) -> None:
    """Warns where the device is another one than there is. Raises ``UnknownNameError`` for a name that is none."""
    import torch

    require_known("device", device, _DEVICES)
    here = "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("auto", here, {"cuda": "gpu"}.get(here)):
        warnings.warn(f"device {device!r} is not used: this machine computes on {here!r}", stacklevel=3)


def named_model(name: str | None, loading: LoadingModelConfig) -> str | None:
    """The model to load: the GGUF file, where one is given, else the one of that name.

    Raises ``InputError`` for a ``gguf_model_path`` that is not a GGUF file.
    """
    file = loading.gguf_model_path
    if file is not None and naming.form_of(file) != "gguf":
        raise InputError(f"gguf_model_path {file!r} is not a GGUF file; give the path of one, or name the model")
    return file or name


def adapter_folder(loading: LoadingModelConfig) -> Path | None:
    """The adapter to apply, if one is given."""
    return None if loading.peft_path is None else Path(loading.peft_path)


def dtype_of(optimization: Any) -> Dtype:
    """The format of the weights that an optimization asks for. Raises ``InputError`` for one that does not exist."""
    if optimization is None:
        return "auto"
    if isinstance(optimization, MixedPrecisionConfig):
        require_known("dtype", optimization.dtype, _DTYPES)
        return _DTYPES[optimization.dtype]
    if isinstance(optimization, WeightOnlyQuantConfig):
        four_bits = optimization.bits == 4
    else:
        four_bits = getattr(optimization, "load_in_4bit", False)
    if not four_bits:
        raise InputError(f"{optimization!r} is not supported; expected weights of 4 bits or a MixedPrecisionConfig")
    return "nf4"
