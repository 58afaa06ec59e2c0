"""What a model folder needs in memory, known from its files' headers before anything is allocated.

Weights are read from safetensors files alone, which tell their contents in advance and cannot run code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorag.errors import ModelError

BYTES_A_WEIGHT: Mapping[str, float] = {"float32": 4, "bfloat16": 2, "nf4": 0.53}
"""NF4 with the scales of its blocks of 64 (Dettmers et al. 2023, section 3)."""
_NEVER_IN_4_BITS = ("embed", "lm_head")
_WORKING_BYTES = 300_000_000
"""Beside the weights: the library itself, activations and the cache of a short answer."""
_HEADER_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000
"""Bytes, the limit of safetensors itself."""


def require_whole(folder: Path) -> list[Path]:
    """The safetensors files of a model folder.

    Raises ``ModelError`` for weights of another kind, and one that names the file when one of several is missing, or
    one is cut short.
    """
    files = [folder / name for name in indexed_files(folder)]
    if not files and (folder / "model.safetensors").is_file():
        files = [folder / "model.safetensors"]
    if not files:
        raise ModelError(
            f"{str(folder)!r} holds no weights in safetensors files; others are not loaded, since they can run code;"
            " save the model with save_pretrained"
        )
    for file in files:
        if not file.is_file():
            raise ModelError(f"{str(file)!r} is missing, one of {len(files)} files of weights; copy the model again")
        begin, tensors = read_tensors(file)
        size = begin + max((end for tensor in tensors.values() for end in tensor["data_offsets"]), default=0)
        if file.stat().st_size < size:
            raise ModelError(
                f"{str(file)!r} is cut short: {file.stat().st_size:,} bytes of {size:,}; copy the model again"
            )
    return files


def indexed_files(folder: Path) -> list[str]:
    """The names of the files of weights in the index of a model folder; none where it has no index.

    Raises ``ModelError`` for a damaged index.
    """
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return []
    try:
        return sorted(set(map(str, json.loads(index.read_text())["weight_map"].values())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{str(index)!r} is damaged: {error!r}; copy the model again") from error


def tensor_shapes(files: list[Path]) -> dict[str, list[int]]:
    """The shape of every tensor in safetensors files, by name."""
    return {name: tensor["shape"] for file in files for name, tensor in read_tensors(file)[1].items()}


def needed_bytes(files: list[Path], dtype: str) -> int:
    """About the memory that the weights in these files take in that dtype, and room to work."""
    tensors = tensor_shapes(files).items()
    return int(sum(math.prod(shape) * _bytes_a_weight(name, shape, dtype) for name, shape in tensors)) + _WORKING_BYTES


def _bytes_a_weight(name: str, shape: list[int], dtype: str) -> float:
    """Of ``nf4`` only the matrices of linear layers are in 4 bits; the rest is in at most float32."""
    whole = dtype == "nf4" and (len(shape) != 2 or any(part in name for part in _NEVER_IN_4_BITS))
    return BYTES_A_WEIGHT["float32" if whole else dtype]


def read_tensors(file: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """The byte of a safetensors file at which its data begin, and its tensors by name, from its header.

    A tensor has its ``dtype``, its ``shape``, and in ``data_offsets`` where it begins and ends in the data. Raises
    ``ModelError`` for a file with a damaged header, and for one that cannot be read.
    """
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(_HEADER_LENGTH_BYTES), "little")
            text = opened.read(length) if length <= min(file.stat().st_size, _LONGEST_HEADER) else b""
    except OSError as error:
        raise ModelError(f"{str(file)!r} cannot be read: {error.strerror or error}; make it readable") from error
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        tensors = {str(name): _tensor(given) for name, given in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{str(file)!r} is not a complete safetensors file; copy the model again") from error
    return _HEADER_LENGTH_BYTES + length, tensors


def _tensor(given: dict[str, Any]) -> dict[str, Any]:
    """What a header has of a tensor. Raises as Python does for what cannot be one."""
    begin, end = map(int, given["data_offsets"])
    if not 0 <= begin <= end:
        raise ValueError(given)
    return {"dtype": given["dtype"], "shape": list(map(int, given["shape"])), "data_offsets": [begin, end]}
